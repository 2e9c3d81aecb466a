//! `understudy members` and `understudy transfer`: who is in the cluster, as what, and giving the primary's place away.
//!
//! A member is added by starting it and removed by stopping it: it enters and leaves the in-sync set by itself.

use std::process::ExitCode;

use client::{Cluster, Member, Status};
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::{health, words};

#[derive(Debug, clap::Args)]
pub(super) struct MembersArgs {
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
pub(super) struct TransferArgs {
    /// Name of the member that is to be the primary [default: the one in sync that has the most]
    #[arg(value_name = "MEMBER")]
    to: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: &MembersArgs) -> ExitCode {
    args.connect.run(async |out| {
        let status = the_one_who_knows(&args.connect).await?;
        let cluster = status.cluster.ok_or_else(|| {
            let what = format!("{} is alone: it was started without a coordinator", status.node);
            Fault::new(
                "ALONE",
                what,
                "Start members with `understudy serve --coordinator ...`, or try `understudy dev`.",
            )
        })?;
        let health = health::look(&args.connect).await?;
        if out.is_json() {
            let mut document = cluster_json(&cluster);
            document["health"] = health::document(&health);
            out.document(&document)?;
        } else {
            health::lines(&health).iter().try_for_each(|line| out.line(line))?;
            out.line("")?;
            table(&cluster, out)?;
        }
        Ok(Verdict::Yes)
    })
}

/// The status of the primary, if it can be reached: only it knows how far the others are.
pub(super) async fn the_one_who_knows(connect: &Connect) -> Result<Status, Fault> {
    let status = connect.client().await?.status().await?;
    let primary = status.cluster.iter().flat_map(|cluster| &cluster.members).find(|member| member.role == "primary");
    match primary {
        Some(primary) if status.role != "primary" => {
            let of_primary =
                async { Connect::to(&primary.address).client().await?.status().await.map_err(Fault::from) };
            Ok(of_primary.await.unwrap_or(status))
        }
        _ => Ok(status),
    }
}

pub(super) fn transfer(args: &TransferArgs) -> ExitCode {
    args.connect.run(async |out| {
        let done = args.connect.client().await?.transfer(args.to.as_deref()).await?;
        match out.is_json() {
            true => out.document(&json!({
                "to": done.to,
                "address": done.address,
                "epoch": done.epoch,
                "took_us": done.took.as_micros() as u64,
            }))?,
            false => {
                let (to, took) = (words::plain(&done.to), words::time(done.took));
                out.line(&format!("{to} at {} is the primary of epoch {}, after {took}", done.address, done.epoch))?;
            }
        }
        Ok(Verdict::Yes)
    })
}

/// What is said of the cluster beside its members.
pub(super) fn cluster_lines(cluster: &Cluster) -> Vec<String> {
    let tenure = match cluster.tenure_left {
        Some(left) => format!(", tenure left {}", words::time(left)),
        None => String::new(),
    };
    let promotable = cluster.not_promotable.as_deref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
    let pairs = [
        ("cluster", format!("epoch {}, primary {}{tenure}", cluster.epoch, named(&cluster.primary))),
        ("promotable", promotable),
        (
            "so far",
            format!(
                "{} takeovers, {} full syncs, {} coordinator errors",
                cluster.takeovers, cluster.full_syncs, cluster.coordinator_errors
            ),
        ),
    ];
    pairs.map(|(name, value)| format!("{name:<14}{}", words::plain(&value))).into()
}

fn named(name: &str) -> &str {
    if name.is_empty() { "(not here)" } else { name }
}

pub(super) fn table(cluster: &Cluster, out: &mut Output) -> Result<(), Fault> {
    let mut table = Table::new([
        left("MEMBER"),
        left("ROLE"),
        left("STATE"),
        left("IN SYNC"),
        right("RECEIVED"),
        right("APPLIED"),
        right("NOT RECEIVED"),
        right("NOT APPLIED"),
        left("ADDRESS"),
    ]);
    let mut members: Vec<&Member> = cluster.members.iter().collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    for member in members {
        table.row([
            member.name.clone(),
            member.role.clone(),
            state(member),
            if member.in_sync { "yes" } else { "no" }.to_owned(),
            number(member.received),
            number(member.applied),
            lag(member),
            apply_lag(member),
            member.address.clone(),
        ]);
    }
    Ok(out.table(&mut table)?)
}

fn state(member: &Member) -> String {
    match member.sync_shards {
        None if !member.sound => format!("{}, DIFFERS", member.state),
        Some((done, shards)) => format!("{} {}", member.state, words::percent(done.into(), shards.into())),
        None => member.state.clone(),
    }
}

/// Unknown is not 0.
fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), words::count)
}

fn lag(member: &Member) -> String {
    match (member.role.as_str(), member.lag_ops, member.lag) {
        ("primary", ..) => "-".to_owned(),
        (_, None, _) => "?".to_owned(),
        (_, Some(ops), None) => format!("{} ops", words::count(ops)),
        (_, Some(ops), Some(lag)) => format!("{} ops, {}", words::count(ops), words::time(lag)),
    }
}

/// Entries that it has received and not applied. A promotion applies them first.
fn apply_lag(member: &Member) -> String {
    match (member.role.as_str(), apply_lag_ops(member)) {
        ("primary", _) => "-".to_owned(),
        (_, None) => "?".to_owned(),
        (_, Some(ops)) => format!("{} ops", words::count(ops)),
    }
}

fn apply_lag_ops(member: &Member) -> Option<u64> {
    member.received.zip(member.applied).map(|(received, applied)| received.saturating_sub(applied))
}

pub(super) fn cluster_json(cluster: &Cluster) -> Value {
    json!({
        "id": words::hex(&cluster.id),
        "epoch": cluster.epoch,
        "primary": cluster.primary,
        "revision": cluster.revision,
        "tenure_left_ms": cluster.tenure_left.map(|left| left.as_millis() as u64),
        "promotable": cluster.not_promotable.is_none(),
        "not_promotable": cluster.not_promotable,
        "takeovers": cluster.takeovers,
        "full_syncs": cluster.full_syncs,
        "coordinator_errors": cluster.coordinator_errors,
        "lost_data": cluster.lost_data,
        "version": cluster.version,
        "members": cluster.members.iter().map(member_json).collect::<Value>(),
    })
}

fn member_json(member: &Member) -> Value {
    json!({
        "name": member.name,
        "address": member.address,
        "role": member.role,
        "in_sync": member.in_sync,
        "state": member.state,
        "received": member.received,
        "applied": member.applied,
        "lag_ops": member.lag_ops,
        "apply_lag_ops": apply_lag_ops(member),
        "lag_ms": member.lag.map(|lag| lag.as_millis() as u64),
        "sync_shards_done": member.sync_shards.map(|(done, _)| done),
        "sync_shards": member.sync_shards.map(|(_, shards)| shards),
        "verified": member.verified,
        "sound": member.sound,
    })
}
