//! `understudy verify`: every standby against the primary, at the same seq, now.
//!
//! Deliberately absent: repairs. Members find and repair by themselves what differs; this says whether there is anything.

use std::process::ExitCode;
use std::time::Duration;

use client::{Cluster, Member};
use indicatif::{ProgressBar, ProgressStyle};
use oplog::Digests;
use proto::v1::admin_client::AdminClient;
use proto::v1::{GetDigestsRequest, LogDigestsRequest, ScrubRequest};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use verification::digests_from_wire;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::members::the_one_who_knows;
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::words;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A member may have to come to a seq first.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// All digests of a state, or the records of a shard.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Let every member look at all of its records first: what has changed without an entry is found too.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    connect: Connect,
}

/// What came of one member.
struct Found {
    name: String,
    role: String,
    digests: Result<Digests, String>,
    scrubbed: Option<Result<Scrubbed, String>>,
}

#[derive(Default)]
struct Scrubbed {
    shards: u32,
    skipped: u32,
    rotten: Vec<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| verify(args, out).await)
}

async fn verify(args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    let members = members(&args.connect).await?;
    let mut scrubbed = Vec::new();
    for member in members.iter().filter(|_| args.full) {
        scrubbed.push(scrub(member).await);
    }
    let mut scrubbed = scrubbed.into_iter();
    let seq = logged_seq(&members).await?;
    let mut found = Vec::new();
    for member in &members {
        found.push(Found {
            name: member.name.clone(),
            role: member.role.clone(),
            digests: digests(member, seq).await,
            scrubbed: scrubbed.next(),
        });
    }
    let theirs = found.iter().find(|found| found.role == "primary").and_then(|found| found.digests.clone().ok());
    match out.is_json() {
        true => out.document(&document(&found, theirs.as_ref(), seq))?,
        false => show(&found, theirs.as_ref(), seq, out)?,
    }
    let same = found.iter().all(|found| is_same(found, theirs.as_ref()) && is_clean(found));
    Ok(if same { Verdict::Yes } else { Verdict::No })
}

async fn members(connect: &Connect) -> Result<Vec<Member>, Fault> {
    Ok(cluster(connect).await?.members)
}

pub(super) async fn cluster(connect: &Connect) -> Result<Cluster, Fault> {
    let status = the_one_who_knows(connect).await?;
    status.cluster.ok_or_else(|| {
        let what = format!("{} is alone: there is no member to compare it with", status.node);
        Fault::new("ALONE", what, "Start members with `understudy serve --coordinator ...`.")
    })
}

/// One that talks to this member and to no other.
pub(super) async fn admin(address: &str) -> Result<AdminClient<Channel>, Fault> {
    let unreachable = |why: String| Fault::new("UNAVAILABLE", format!("{address}: {why}"), "Is that member running?");
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|error| unreachable(error.to_string()))?;
    let endpoint = endpoint.connect_timeout(CONNECT_WITHIN);
    let channel = endpoint.connect().await.map_err(|error| unreachable(error.to_string()))?;
    Ok(AdminClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// At which the primary has logged the digests of everything, just now.
pub(super) async fn logged_seq(members: &[Member]) -> Result<u64, Fault> {
    let primary = members.iter().find(|member| member.role == "primary");
    let primary = primary.ok_or_else(|| Fault::new("NO_PRIMARY", "no member leads", "Try again in a moment."))?;
    let logged = admin(&primary.address).await?.log_digests(LogDigestsRequest {}).await;
    let logged = logged.map_err(|status| told(primary, status.message()))?.into_inner();
    Ok(logged.at.unwrap_or_default().seq)
}

/// The same; or 0, which stands for what each member holds now, where no primary can be asked.
pub(super) async fn logged_seq_or_now(members: &[Member], out: &mut Output) -> Result<u64, Fault> {
    match logged_seq(members).await {
        Ok(seq) => Ok(seq),
        Err(Fault::Told(told)) => {
            out.hint(&format!(
                "what members hold now, at positions of their own, since no primary can be asked ({})",
                told.message()
            ))?;
            Ok(0)
        }
        Err(gone) => Err(gone),
    }
}

pub(super) fn told(member: &Member, why: &str) -> Fault {
    Fault::new("REFUSED", format!("{}: {why}", member.name), "Look at `understudy members`.")
}

pub(super) async fn digests(member: &Member, seq: u64) -> Result<Digests, String> {
    let mut admin = admin(&member.address).await.map_err(|_| "it cannot be reached".to_owned())?;
    let asked = tokio::time::timeout(ANSWER_WITHIN, admin.get_digests(GetDigestsRequest { seq })).await;
    let answer = asked.map_err(|_| "no answer in time".to_owned())?.map_err(|status| status.message().to_owned())?;
    digests_from_wire(answer.into_inner()).map_err(|error| error.to_string())
}

async fn scrub(member: &Member) -> Result<Scrubbed, String> {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} shards").expect("the template is right");
    let bar = ProgressBar::new(1).with_style(style).with_message(member.name.clone());
    let mut admin = admin(&member.address).await.map_err(|_| "it cannot be reached".to_owned())?;
    let mut progress = admin.scrub(ScrubRequest {}).await.map_err(|status| status.message().to_owned())?.into_inner();
    let mut scrubbed = Scrubbed::default();
    while let Some(told) = progress.message().await.map_err(|status| status.message().to_owned())? {
        bar.set_length(told.shards.into());
        bar.set_position(told.shards_done.into());
        (scrubbed.shards, scrubbed.skipped) = (told.shards_done, told.skipped);
        scrubbed.rotten.extend(told.rotten);
    }
    bar.finish_and_clear();
    Ok(scrubbed)
}

fn is_same(found: &Found, theirs: Option<&Digests>) -> bool {
    matches!((&found.digests, theirs), (Ok(ours), Some(theirs)) if ours.difference(theirs).is_empty())
}

fn is_clean(found: &Found) -> bool {
    found.scrubbed.as_ref().is_none_or(|scrubbed| scrubbed.as_ref().is_ok_and(|scrubbed| scrubbed.rotten.is_empty()))
}

fn comparison(found: &Found, theirs: Option<&Digests>) -> String {
    match (&found.digests, theirs) {
        (Err(why), _) => why.clone(),
        (Ok(_), None) => "nothing to compare with".to_owned(),
        (Ok(_), Some(_)) if found.role == "primary" => "-".to_owned(),
        (Ok(ours), Some(theirs)) => {
            let difference = ours.difference(theirs);
            let implied = if difference.implied { " and what they imply" } else { "" };
            match difference.is_empty() {
                true => "the same".to_owned(),
                false => format!("DIFFERS in shards {:?}{implied}", difference.shards),
            }
        }
    }
}

fn records(found: &Found) -> String {
    match &found.scrubbed {
        None => "not looked at".to_owned(),
        Some(Err(why)) => why.clone(),
        Some(Ok(scrubbed)) if !scrubbed.rotten.is_empty() => format!("CHANGED: {}", scrubbed.rotten.join("; ")),
        Some(Ok(Scrubbed { skipped: 0, shards, .. })) => format!("all of {shards} shards are sound"),
        Some(Ok(Scrubbed { skipped, shards, .. })) => {
            format!("sound; {skipped} of {shards} shards changed too fast to be looked at")
        }
    }
}

fn show(found: &[Found], theirs: Option<&Digests>, seq: u64, out: &mut Output) -> Result<(), Fault> {
    let mut table = Table::new([left("MEMBER"), left("ROLE"), right("AT SEQ"), left("COMPARED"), left("RECORDS")]);
    for one in found {
        let at = if one.digests.is_ok() { words::count(seq) } else { "?".to_owned() };
        table.row([one.name.clone(), one.role.clone(), at, comparison(one, theirs), records(one)]);
    }
    Ok(out.table(&mut table)?)
}

fn document(found: &[Found], theirs: Option<&Digests>, seq: u64) -> Value {
    let member = |found: &Found| {
        let difference = found.digests.as_ref().ok().zip(theirs).map(|(ours, theirs)| ours.difference(theirs));
        json!({
            "name": found.name,
            "role": found.role,
            "error": found.digests.as_ref().err(),
            "same": is_same(found, theirs),
            "differing_shards": difference.as_ref().map(|difference| difference.shards.clone()),
            "implied_differs": difference.as_ref().map(|difference| difference.implied),
            "scrub": found.scrubbed.as_ref().map(|scrubbed| match scrubbed {
                Ok(Scrubbed { shards, skipped, rotten }) => {
                    json!({ "shards": shards, "skipped": skipped, "rotten": rotten })
                }
                Err(why) => json!({ "error": why }),
            }),
        })
    };
    json!({ "seq": seq, "members": found.iter().map(member).collect::<Value>() })
}
