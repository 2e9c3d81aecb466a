//! `understudy health`: one verdict on the cluster, with the reasons and what to do, by the word of all its members.
//!
//! The exit code is the verdict's: see [`master::health`].
//!
//! Invariant: a member that does not answer holds the verdict up for [`ASK_WITHIN`], however many they are.
//!
//! Deliberately absent: the verdict. `master::health` gives it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use client::{Client, Error, Heartbeat, Options, Reason, Status, Transport};
use futures_util::future::join_all;
use master::config::check_host_port;
use master::health::{self, Asked, Health, InCluster, Peer, Said, Verdict, difference, judge_found};
use master::serve::StopSignals;
use serde_json::{Value, json};

use crate::connect::{Connect, Directory};
use crate::fault::{Fault, Verdict as Went};
use crate::output::Output;
use crate::status::parse_interval;
use crate::{config, words};

/// One member, for its connection and its answer.
const ASK_WITHIN: Duration = Duration::from_millis(800);
/// Longer than the moments in which a sound cluster has no primary that may answer, but for a takeover without proof.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// Addresses that were said, and those that members tell.
const ASKED_MAX: usize = 64;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Again and again, until Ctrl-C. With --json: one document on each line.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s", value_parser = parse_interval)]
    watch: Option<Duration>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| match args.watch {
        None => once(&args.connect, out).await,
        Some(interval) => watch(&args.connect, interval, out).await,
    })
}

async fn once(connect: &Connect, out: &mut Output) -> Result<Went, Fault> {
    let health = look(connect).await?;
    match out.is_json() {
        true => out.document(&document(&health))?,
        false => lines(&health).iter().try_for_each(|line| out.line(line))?,
    }
    Ok(Went::Health(health.verdict))
}

async fn watch(connect: &Connect, interval: Duration, out: &mut Output) -> Result<Went, Fault> {
    let signals = StopSignals::catch().map_err(|error| Fault::new("SIGNALS", error.to_string(), "Try again."))?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            ticks.tick().await;
            let health = look(connect).await?;
            match out.is_json() {
                true => out.line(&document(&health).to_string())?,
                false => lines(&health).iter().try_for_each(|line| out.line(line))?,
            }
            out.flush()?;
        }
    };
    tokio::select! {
        biased;
        _ = signals.stop() => Ok(Went::Yes),
        ended = rounds => ended,
    }
}

/// All members are asked. A takeover, and a change of the tenure, leave a moment without a primary, which is no
/// outage, so where no primary is seen, and a member answers, all are asked once more.
pub(super) async fn look(connect: &Connect) -> Result<Health, Fault> {
    let health = look_once(connect).await?;
    if health.verdict != Verdict::NoPrimary {
        return Ok(health);
    }
    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    look_once(connect).await
}

/// Those that were named, and those that these name.
async fn look_once(connect: &Connect) -> Result<Health, Fault> {
    let mut answers: BTreeMap<String, Result<Status, Silence>> = BTreeMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let Directory { members, trouble } = connect.directory().await?;
    let mut next: Vec<String> = Vec::new();
    for (address, name) in members {
        names.extend(name.map(|name| (address.clone(), name)));
        next.push(address);
    }
    for address in &next {
        check_host_port(address).map_err(|wrong| Fault::usage(wrong, "Say where members listen for clients."))?;
    }
    while !next.is_empty() && answers.len() < ASKED_MAX {
        let asked = join_all(next.iter().map(|address| ask(address))).await;
        answers.extend(next.into_iter().zip(asked));
        let members = statuses(&answers).filter_map(|status| status.cluster.as_ref());
        names.extend(members.flat_map(|cluster| &cluster.members).map(|one| (one.address.clone(), one.name.clone())));
        next = names.keys().filter(|address| !answers.contains_key(*address)).cloned().collect();
    }
    // One member may have been named by several addresses, and a name of a host is none that members know.
    let answered: Vec<String> = statuses(&answers).map(|status| status.node.clone()).collect();
    let mut asked: Vec<Asked> = Vec::new();
    // Two clusters may have members of one name; then its address tells them apart.
    let is_of = |status: &Status| status.cluster.as_ref().map_or_else(String::new, |cluster| words::hex(&cluster.id));
    let mut clusters: BTreeMap<String, String> = BTreeMap::new();
    for (address, status) in answers {
        let name = match (&status, names.get(&address)) {
            (Ok(status), _) if clusters.get(&status.node).is_some_and(|other| *other != is_of(status)) => {
                format!("{} ({address})", status.node)
            }
            (Ok(status), _) => status.node.clone(),
            (Err(_), Some(name)) => format!("{name} ({address})"),
            (Err(_), None) => address.clone(),
        };
        let is_known = match &status {
            Ok(_) => asked.iter().any(|one| one.name == name),
            Err(_) => names.get(&address).is_some_and(|name| answered.contains(name)),
        };
        if let Ok(status) = &status {
            clusters.entry(name.clone()).or_insert_with(|| is_of(status));
        }
        if !is_known {
            asked.push(match status {
                Ok(status) => Asked::said(&name, said(status)),
                Err(Silence { turned_away }) => Asked { name, said: None, turned_away },
            });
        }
    }
    asked.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(judge_found(trouble, &asked))
}

/// Why there is no word from a member.
#[derive(Default)]
struct Silence {
    /// What it has said instead; empty: nothing.
    turned_away: String,
}

fn statuses(answers: &BTreeMap<String, Result<Status, Silence>>) -> impl Iterator<Item = &Status> {
    answers.values().filter_map(|answer| answer.as_ref().ok())
}

async fn ask(address: &str) -> Result<Status, Silence> {
    let mut options = Options::new([address]);
    options.heartbeat = Heartbeat::Off;
    options.transport = Transport::Unary;
    options.deadline = ASK_WITHIN;
    options.connect_timeout = ASK_WITHIN;
    options.connect_deadline = Duration::ZERO;
    let asked = async { Client::connect(options).await?.status().await };
    match tokio::time::timeout(ASK_WITHIN, asked).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(Error::Deadline { last, reason: Reason::Overloaded, .. })) => Err(Silence { turned_away: last }),
        Ok(Err(_)) | Err(_) => Err(Silence::default()),
    }
}

pub(super) fn said(status: Status) -> Said {
    let leads = status.role == "primary";
    let is_mute = leads && status.cluster.as_ref().is_some_and(|cluster| !cluster.has_primary);
    let unsound = match status.verification.condition.as_str() {
        "sound" | "" => String::new(),
        condition => format!("{condition}: {}", status.verification.what),
    };
    let differ = status.settings.iter().filter_map(config::difference);
    let started_otherwise = differ.map(|(value, one)| difference(&one.name, value, &one.started_with)).collect();
    let cluster = status.cluster.map(|cluster| InCluster {
        id: words::hex(&cluster.id),
        epoch: cluster.epoch,
        born: cluster.born,
        primary: cluster.primary,
        lost_data: cluster.lost_data,
        coordinator_trouble: cluster.coordinator_trouble.unwrap_or_default(),
        not_promotable: cluster.not_promotable.unwrap_or_default(),
        members: cluster.members.into_iter().map(peer).collect(),
    });
    Said { leads, is_mute, cluster, full: status.full, unsound, started_otherwise }
}

fn peer(member: client::Member) -> Peer {
    let client::Member { name, in_sync, state, sound, .. } = member;
    Peer { name, in_sync, state, sound }
}

/// For people: the verdict, and under it each reason with what to do.
pub(super) fn lines(health: &Health) -> Vec<String> {
    let title = health.verdict.title();
    let told =
        |before: &str, reason: &health::Reason| [format!("{before}: {}.", reason.what), format!("  {}.", reason.next)];
    let reasons = match health.reasons.split_first() {
        None => vec![title.to_owned()],
        Some((first, rest)) => {
            let rest = rest.iter().flat_map(|reason| told("also", reason));
            told(title, first).into_iter().chain(rest).collect()
        }
    };
    let notes = health.notes.iter().flat_map(|note| told("note", note));
    reasons.into_iter().chain(notes).map(|line| words::plain(&line).into_owned()).collect()
}

/// The same in one line, for errors and hints.
pub(super) fn line(health: &Health) -> String {
    let why = health.reasons.first().map(|reason| format!(": {}", reason.what)).unwrap_or_default();
    words::plain(&format!("{}{why}", health.verdict.title())).into_owned()
}

pub(super) fn document(health: &Health) -> Value {
    let Health { verdict, reasons, notes } = health;
    json!({ "verdict": verdict.name(), "exit_code": verdict.exit_code(), "reasons": reasons, "notes": notes })
}
