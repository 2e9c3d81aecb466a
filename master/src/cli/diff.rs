//! `understudy diff A B`: what two members differ in, down to the key and the field.
//!
//! First the digests of both at the same seq, so that only shards that differ are looked at; then their records. Members go on
//! meanwhile: what has changed between two looks is counted and not told as a difference.
//!
//! Deliberately absent: files to compare with. Members keep nothing on disk yet.

use std::process::ExitCode;

use client::Member;
use metadata::{PartsDifference, compare_parts};
use oplog::{Mismatch, Part, PartsImage};
use proto::v1::{self, GetDigestsRequest, LogDigestsRequest, PartList};
use serde_json::{Value, json};
use verification::{digests_from_wire, parts_from_wire};

use crate::cli::connect::Connect;
use crate::cli::fault::{Fault, Verdict};
use crate::cli::output::Output;
use crate::cli::table::{Table, left, right};
use crate::cli::verify::{admin, members};

/// As the state has them.
const BUCKETS: u32 = 16;
/// Differences that are told one by one.
const TOLD_MAX: usize = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a member, as `understudy members` has it.
    #[arg(value_name = "MEMBER")]
    one: String,
    /// Name of another one.
    #[arg(value_name = "OTHER")]
    other: String,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| diff(args, out).await)
}

async fn diff(args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    let members = members(&args.connect).await?;
    let named = |name: &str| {
        members.iter().find(|member| member.name == name).ok_or_else(|| {
            let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
            let what = format!("there is no member {name:?}; there are: {}", names.join(", "));
            Fault::new("INVALID_ARGUMENT", what, "Look at `understudy members`.")
        })
    };
    let (one, other) = (named(&args.one)?, named(&args.other)?);
    let primary = named(members.iter().find(|member| member.role == "primary").map_or("", |member| &member.name))?;
    let failed = |member: &Member, why: &str| {
        Fault::new("REFUSED", format!("{}: {why}", member.name), "Look at `understudy members`.")
    };
    let logged = admin(&primary.address).await?.log_digests(LogDigestsRequest {}).await;
    let seq = logged.map_err(|status| failed(primary, status.message()))?.into_inner().at.unwrap_or_default().seq;
    let mut digests = Vec::new();
    for member in [one, other] {
        let answer = admin(&member.address).await?.get_digests(GetDigestsRequest { seq }).await;
        let answer = answer.map_err(|status| failed(member, status.message()))?.into_inner();
        digests.push(digests_from_wire(answer).map_err(|error| failed(member, &error.to_string()))?);
    }
    let difference = digests[0].difference(&digests[1]);
    let directory = digests[0].shards.len().saturating_sub(1) as u32;
    let mut found = PartsDifference::default();
    for &shard in difference.shards.iter().filter(|shard| **shard != directory) {
        let (ours, theirs) = (records(one, shard).await?, records(other, shard).await?);
        let compared = compare_parts(&ours, &theirs).map_err(|error| failed(other, &error.to_string()))?;
        found.records.extend(compared.records);
        found.undecided += compared.undecided;
    }
    let whole = [(difference.shards.contains(&directory), "directory"), (difference.implied, "free space and totals")];
    let whole: Vec<&str> = whole.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect();
    match out.is_json() {
        true => out.document(&json!({
            "seq": seq,
            "differing_shards": difference.shards,
            "records": found.records.iter().take(TOLD_MAX).map(record_json).collect::<Value>(),
            "records_in_all": found.records.len(),
            "changed_meanwhile": found.undecided,
            "whole": whole,
        }))?,
        false => show(args, &found, &whole, seq, out)?,
    }
    Ok(if difference.is_empty() { Verdict::Yes } else { Verdict::No })
}

async fn records(member: &Member, shard: u32) -> Result<PartsImage, Fault> {
    let failed =
        |why: String| Fault::new("REFUSED", format!("{}: {why}", member.name), "Look at `understudy members`.");
    let parts = (0..BUCKETS).map(|bucket| v1::Part { shard, bucket }).collect();
    let answer = admin(&member.address).await?.get_records(PartList { parts }).await;
    let answer = answer.map_err(|status| failed(status.message().to_owned()))?.into_inner();
    parts_from_wire(answer).map_err(|error| failed(error.to_string()))
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

fn show(args: &Args, found: &PartsDifference, whole: &[&str], seq: u64, out: &mut Output) -> Result<(), Fault> {
    if found.records.is_empty() && whole.is_empty() {
        return Ok(out.line(&format!("{} and {} are the same at seq {seq}", args.one, args.other))?);
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
    if found.undecided > 0 {
        out.hint(&format!("{} records changed meanwhile: of them nothing can be said", found.undecided))?;
    }
    Ok(())
}
