//! `understudy diff A B`: what two members, or snapshots, differ in, down to the key and the field.
//!
//! First the digests of both, of members at the same seq, so that only shards that differ are looked at; then their records.
//! Members go on meanwhile: what has changed between two looks is counted and not told as a difference. Nor is what has changed
//! between two snapshots that are of different moments: each record says at which seq it changed last.

use std::path::Path;
use std::process::ExitCode;

use client::Member;
use indicatif::{ProgressBar, ProgressStyle};
use metadata::{PartsDifference, SHARD_BUCKETS, compare_parts};
use oplog::{Digests, Mismatch, Part, PartsImage};
use proto::v1::{self, PartList};
use serde_json::{Value, json};
use verification::parts_from_wire;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::output::Output;
use crate::snapshot_file::Snapshot;
use crate::table::{Table, left, right};
use crate::verify::{admin, cluster, digests, logged_seq_or_now, told};

/// Differences that are told one by one.
const TOLD_MAX: usize = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a member, as `understudy members` has it, or a file of `understudy snapshot`: that has a `/` in it, or ends in
    /// `.snapshot`.
    #[arg(value_name = "MEMBER|FILE")]
    one: String,
    /// Another one.
    #[arg(value_name = "OTHER")]
    other: String,
    /// Compare every record, also where the digests are the same: what has changed without an entry is found too.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| diff(args, out).await)
}

/// One of the two.
enum Side {
    Member(Member),
    File(Snapshot),
}

impl Side {
    async fn digests(&self, seq: u64) -> Result<Digests, Fault> {
        match self {
            Side::File(snapshot) => Ok(snapshot.head.digests.clone()),
            Side::Member(member) => digests(member, seq).await.map_err(|why| told(member, &why)),
        }
    }

    /// And whether they are known to be committed; a file does not say.
    async fn records(&mut self, shard: u32) -> Result<(PartsImage, bool), Fault> {
        match self {
            Side::File(snapshot) => Ok((snapshot.records(shard)?, true)),
            Side::Member(member) => records(member, shard).await,
        }
    }
}

fn is_file(name: &str) -> bool {
    name.contains('/') || name.ends_with(".snapshot")
}

/// Files alone need no cluster to be there. The seq is the one at which members are asked for their digests.
async fn sides(args: &Args, out: &mut Output) -> Result<([Side; 2], u64), Fault> {
    let names = [&args.one, &args.other];
    let (mut cluster_ids, mut members, mut seq) = (Vec::new(), Vec::new(), 0);
    if !names.iter().all(|name| is_file(name)) {
        let cluster = cluster(&args.connect).await?;
        seq = logged_seq_or_now(&cluster.members, out).await?;
        (cluster_ids, members) = (vec![cluster.id], cluster.members);
    }
    let mut sides = Vec::new();
    for name in names {
        sides.push(match is_file(name) {
            true => Side::File(Snapshot::open(Path::new(name))?),
            false => Side::Member(named(&members, name)?.clone()),
        });
    }
    cluster_ids.extend(sides.iter().filter_map(|side| match side {
        Side::File(snapshot) => Some(snapshot.head.cluster_id.clone()),
        Side::Member(_) => None,
    }));
    if cluster_ids.windows(2).any(|two| two[0] != two[1]) {
        let what = format!("{} and {} are of two clusters", args.one, args.other);
        return Err(Fault::new("OTHER_CLUSTER", what, "Compare what belongs together."));
    }
    let sides = <[Side; 2]>::try_from(sides).unwrap_or_else(|_| unreachable!("there are two names"));
    Ok((sides, seq))
}

pub(super) fn named<'a>(members: &'a [Member], name: &str) -> Result<&'a Member, Fault> {
    members.iter().find(|member| member.name == name).ok_or_else(|| {
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        let what = format!("there is no member {name:?}; there are: {}", names.join(", "));
        Fault::new("INVALID_ARGUMENT", what, "Look at `understudy members`.")
    })
}

async fn diff(args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    let ([mut one, mut other], seq) = sides(args, out).await?;
    let digests = [one.digests(seq).await?, other.digests(seq).await?];
    let difference = digests[0].difference(&digests[1]);
    let directory = digests[0].shards.len().saturating_sub(1) as u32;
    let (mut found, mut committed) = (PartsDifference::default(), true);
    let looked_at: Vec<u32> = if args.full { (0..directory).collect() } else { difference.shards.clone() };
    let style = ProgressStyle::with_template("comparing {wide_bar} {pos}/{len} shards").expect("the template is right");
    let bar = ProgressBar::new(looked_at.len() as u64).with_style(style);
    for shard in looked_at.into_iter().filter(|shard| *shard != directory) {
        bar.inc(1);
        let ((ours, one_committed), (theirs, other_committed)) =
            (one.records(shard).await?, other.records(shard).await?);
        committed &= one_committed && other_committed;
        let compared = compare_parts(&ours, &theirs).map_err(|error| {
            Fault::new("REFUSED", format!("{} or {}: {error}", args.one, args.other), "Take them anew.")
        })?;
        found.records.extend(compared.records);
        found.undecided += compared.undecided;
    }
    bar.finish_and_clear();
    let at = [digests[0].at.seq, digests[1].at.seq];
    let whole = [(difference.shards.contains(&directory), "directory"), (difference.implied, "free space and totals")];
    // At two moments these differ by what happened in between.
    let whole = whole.into_iter().filter(|(differs, _)| *differs && at[0] == at[1]);
    let whole: Vec<&str> = whole.map(|(_, name)| name).collect();
    match out.is_json() {
        true => out.document(&json!({
            "seq": at[0],
            "other_seq": at[1],
            "differing_shards": difference.shards,
            "records": found.records.iter().take(TOLD_MAX).map(record_json).collect::<Value>(),
            "records_in_all": found.records.len(),
            "changed_meanwhile": found.undecided,
            "committed": committed,
            "whole": whole,
        }))?,
        false => {
            show(args, &found, &whole, at, out)?;
            if !committed {
                out.hint("not all of it is known to be committed: a failover may take back what one of them holds")?;
            }
        }
    }
    // At one moment a digest that differs is a difference, whatever the records are by now.
    let same = found.records.is_empty() && (at[0] != at[1] || difference.is_empty());
    Ok(if same { Verdict::Yes } else { Verdict::No })
}

pub(super) async fn records(member: &Member, shard: u32) -> Result<(PartsImage, bool), Fault> {
    let parts = (0..SHARD_BUCKETS as u32).map(|bucket| v1::Part { shard, bucket }).collect();
    let answer = admin(&member.address).await?.get_records(PartList { parts }).await;
    let answer = answer.map_err(|status| told(member, status.message()))?.into_inner();
    let committed = answer.state.as_ref().is_some_and(|state| state.committed);
    let records = parts_from_wire(answer).map_err(|error| told(member, &error.to_string()))?;
    Ok((records, committed))
}

fn record_json(mismatch: &Mismatch) -> Value {
    let Mismatch { part: Part { shard, bucket }, kind, record, fields } = mismatch;
    let field = |(name, one, other): &(String, String, String)| json!({ "field": name, "one": one, "other": other });
    json!({
        "shard": shard,
        "bucket": bucket,
        "kind": kind.name(),
        "record": record,
        "fields": fields.iter().map(field).collect::<Value>(),
    })
}

fn show(args: &Args, found: &PartsDifference, whole: &[&str], at: [u64; 2], out: &mut Output) -> Result<(), Fault> {
    let (one, other) = (&args.one, &args.other);
    if found.records.is_empty() && whole.is_empty() {
        match at[0] == at[1] {
            true => out.line(&format!("{one} and {other} are the same at seq {}", at[0]))?,
            false => {
                let [one_at, other_at] = at;
                out.line(&format!(
                    "{one} at seq {one_at} and {other} at seq {other_at} are the same but for what changed in between"
                ))?;
            }
        }
        return tell_undecided(found, out);
    }
    let heads = [right("SHARD"), left("RECORD"), left("WHAT"), left("FIELD"), left("MEMBER"), left("OTHER")];
    let mut table = Table::new(heads);
    for Mismatch { part, kind, record, fields } in found.records.iter().take(TOLD_MAX) {
        for (field, one, other) in fields {
            let what = kind.name().to_owned();
            table.row([part.shard.to_string(), record.clone(), what, field.clone(), one.clone(), other.clone()]);
        }
    }
    out.table(&mut table)?;
    for name in whole {
        out.line(&format!("{name}: different"))?;
    }
    if found.records.len() > TOLD_MAX {
        out.hint(&format!("and {} more", found.records.len() - TOLD_MAX))?;
    }
    tell_undecided(found, out)
}

fn tell_undecided(found: &PartsDifference, out: &mut Output) -> Result<(), Fault> {
    if found.undecided > 0 {
        out.hint(&format!("{} records changed meanwhile: of them nothing can be said", found.undecided))?;
    }
    Ok(())
}
