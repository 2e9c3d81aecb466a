//! `understudy status`: how the master is, once or again and again.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use client::{Client, Status, Verification};
use master::health::{Health, difference as health_difference};
use master::serve::StopSignals;
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Told, Verdict, tell};
use crate::output::Output;
use crate::{config, health, json, members, words};

const BAR_CELLS: usize = 30;
const FINDINGS_SHOWN: usize = 5;
/// The cursor to the top left, and everything gone.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Again and again, until Ctrl-C. With --json: one document on each line.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s", value_parser = parse_interval)]
    watch: Option<Duration>,
}

pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = words::parse_time(text)?;
    match interval < Duration::from_millis(100) {
        true => Err(format!("{text:?} is too short: at least 100ms")),
        false => Ok(interval),
    }
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| {
        let client = args.connect.client().await?;
        match args.watch {
            None => once(&args.connect, &client, out).await,
            Some(interval) => watch(&args.connect, &client, interval, out).await,
        }
    })
}

async fn once(connect: &Connect, client: &Client, out: &mut Output) -> Result<Verdict, Fault> {
    let status = client.status().await?;
    let health = health::look(connect).await?;
    match out.is_json() {
        true => out.document(&status_json(&status, &health))?,
        false => show_to_people(&status, &health, out)?,
    }
    Ok(Verdict::Yes)
}

/// A master that is away comes back, or another one takes its place: that is what one watches for.
async fn watch(connect: &Connect, client: &Client, interval: Duration, out: &mut Output) -> Result<Verdict, Fault> {
    let signals = StopSignals::catch().map_err(|error| Fault::new("SIGNALS", error.to_string(), "Try again."))?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            ticks.tick().await;
            match client.status().await {
                Ok(status) => show(&status, &health::look(connect).await?, out)?,
                Err(error) => match Fault::from(error) {
                    Fault::Told(told) => show_trouble(&told, out)?,
                    gone => return Err(gone),
                },
            }
        }
    };
    tokio::select! {
        biased;
        _ = signals.stop() => Ok(Verdict::Yes),
        ended = rounds => ended,
    }
}

fn show(status: &Status, health: &Health, out: &mut Output) -> Result<(), Fault> {
    if out.is_json() {
        let document = status_json(status, health).to_string();
        out.line(&document)?;
    } else {
        if out.is_styled() {
            write!(out.raw(), "{CLEAR}")?;
        }
        show_to_people(status, health, out)?;
        out.line("")?;
    }
    Ok(out.flush()?)
}

fn show_to_people(status: &Status, health: &Health, out: &mut Output) -> Result<(), Fault> {
    health::lines(health).iter().try_for_each(|line| out.line(line))?;
    out.line("")?;
    lines(status).iter().try_for_each(|line| out.line(line))?;
    findings(status).iter().try_for_each(|line| out.line(line))?;
    let Some(cluster) = &status.cluster else { return Ok(()) };
    members::cluster_lines(cluster).iter().try_for_each(|line| out.line(line))?;
    out.line("")?;
    members::table(cluster, out)
}

fn show_trouble(told: &Told, out: &mut Output) -> Result<(), Fault> {
    out.flush()?;
    tell(told, out.is_json());
    Ok(())
}

fn lines(status: &Status) -> Vec<String> {
    let Status { node, role, version, uptime, applied, .. } = status;
    let used = words::percent(status.used_bytes, status.capacity_bytes);
    let (used_bytes, capacity) = (words::size(status.used_bytes), words::size(status.capacity_bytes));
    let pairs = [
        ("node", format!("{node}, {role}, version {version}, up {}", words::time(*uptime))),
        ("position", format!("epoch {}, applied {}, committed {}", applied.epoch, applied.seq, status.committed_seq)),
        ("shown", shown(status.committed).to_owned()),
        (
            "objects",
            format!("{} ({} unfinished)", words::count(status.objects), words::count(status.objects_unfinished)),
        ),
        ("capacity", format!("{} {used} of {capacity}", bar(status.used_bytes, status.capacity_bytes))),
        ("", {
            let (retired, pieces) = (words::size(status.retired_bytes), words::count(status.retired_extents));
            format!("{used_bytes} used, {retired} retired in {pieces} pieces")
        }),
        ("segments", words::count(status.segments)),
        ("clients", words::count(status.clients)),
        ("tenants", words::count(status.tenants)),
        ("tasks", words::count(status.tasks)),
        ("evicted", words::count(status.evicted_total)),
        ("log tail", tail(status)),
        ("digest", words::hex(&status.digest)),
        ("verification", verification(&status.verification)),
        ("settings", settings(status)),
        ("longest lock", words::time(status.lock_held_max)),
        ("memory", words::size(status.memory_resident_bytes)),
    ];
    pairs.map(|(name, value)| format!("{name:<14}{}", words::plain(&value))).into()
}

fn settings(status: &Status) -> String {
    let differ = status.settings.iter().filter_map(config::difference);
    let told: Vec<String> =
        differ.map(|(value, setting)| health_difference(&setting.name, value, &setting.started_with)).collect();
    match told.is_empty() {
        true if status.settings.iter().any(|setting| setting.value.is_none()) => {
            "this member does not know yet what the cluster goes by".to_owned()
        }
        true => "as this member was started".to_owned(),
        false => format!("the cluster goes by {}", told.join("; ")),
    }
}

fn shown(committed: bool) -> &'static str {
    match committed {
        true => "what is committed",
        false => "what this member holds: not known to be committed, a failover may take it back",
    }
}

fn verification(found: &Verification) -> String {
    let Verification { condition, what, verified, repaired, scrub_cycles, .. } = found;
    let what = if what.is_empty() { String::new() } else { format!(": {what}") };
    let verified = verified.map_or_else(String::new, |seq| format!(", the same as its primary at seq {seq}"));
    let (repaired, cycles) = (words::count(*repaired), words::count(*scrub_cycles));
    format!("{condition}{what}{verified}; {repaired} records repaired, {cycles} scrubs")
}

/// What was found lately. None of it is usual.
fn findings(status: &Status) -> Vec<String> {
    let shown = status.verification.findings.iter().rev().take(FINDINGS_SHOWN).rev();
    let line = |(at, what): &(SystemTime, String)| {
        let ago = at.elapsed().map(words::time).unwrap_or_default();
        words::plain(&format!("{:<14}{what} ({ago} ago)", "found")).into_owned()
    };
    shown.map(line).collect()
}

fn tail(status: &Status) -> String {
    let (entries, bytes) = (words::count(status.tail_entries), words::size(status.tail_bytes));
    format!("{entries} entries, {bytes}, from seq {}", status.tail_first_seq)
}

/// `[######····]`. Anything used fills a cell, and only what is full fills all of them.
fn bar(part: u64, whole: u64) -> String {
    let cells = BAR_CELLS as u128;
    let filled = match (u128::from(part.min(whole)) * cells).checked_div(u128::from(whole)) {
        None => 0,
        Some(0) if part > 0 => 1,
        Some(filled) => filled as usize,
    };
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_CELLS - filled))
}

fn status_json(status: &Status, health: &Health) -> Value {
    json!({
        "health": health::document(health),
        "node": status.node,
        "version": status.version,
        "role": status.role,
        "position": json::position(status.applied),
        "committed_seq": status.committed_seq,
        "committed": status.committed,
        "uptime_ms": status.uptime.as_millis() as u64,
        "objects": status.objects,
        "objects_unfinished": status.objects_unfinished,
        "segments": status.segments,
        "clients": status.clients,
        "capacity_bytes": status.capacity_bytes,
        "used_bytes": status.used_bytes,
        "retired_bytes": status.retired_bytes,
        "retired_extents": status.retired_extents,
        "tenants": status.tenants,
        "tasks": status.tasks,
        "evicted_total": status.evicted_total,
        "tail_first_seq": status.tail_first_seq,
        "tail_entries": status.tail_entries,
        "tail_bytes": status.tail_bytes,
        "digest": words::hex(&status.digest),
        "lock_held_us_max": status.lock_held_max.as_micros() as u64,
        "memory_resident_bytes": status.memory_resident_bytes,
        "verification": verification_json(&status.verification),
        "settings": status.settings.iter().map(config::document).collect::<Value>(),
        "cluster": status.cluster.as_ref().map(members::cluster_json),
    })
}

fn verification_json(found: &Verification) -> Value {
    let finding = |(at, what): &(SystemTime, String)| {
        let wall_ms = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        json!({ "wall_ms": wall_ms, "what": what })
    };
    json!({
        "condition": found.condition,
        "what": found.what,
        "verified": found.verified,
        "compared": found.compared,
        "differed": found.differed,
        "samples": found.samples,
        "repaired": found.repaired,
        "rotten": found.rotten,
        "alarms": found.alarms,
        "scrub_cycles": found.scrub_cycles,
        "findings": found.findings.iter().map(finding).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_a_little_as_a_little_and_all_as_all() {
        let filled = |part, whole| bar(part, whole).matches('#').count();
        assert_eq!([filled(0, 0), filled(0, 9), filled(1, u64::MAX)], [0, 0, 1]);
        assert_eq!([filled(1, 2), filled(u64::MAX - 1, u64::MAX), filled(9, 9)], [15, 29, 30]);
        assert_eq!(bar(7, 3).chars().count(), BAR_CELLS + 2, "more than all is all");
    }

    #[test]
    fn watching_has_a_shortest_interval() {
        assert_eq!(parse_interval("2"), Ok(Duration::from_secs(2)));
        assert!(parse_interval("50ms").is_err() && parse_interval("x").is_err());
    }
}
