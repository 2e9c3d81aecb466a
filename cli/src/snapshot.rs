//! `understudy snapshot MEMBER FILE`: what a member holds, kept in a file, to be compared with `understudy diff` whenever one likes:
//! with what another member held, or with what the same one holds later.
//!
//! Shards are taken one after the other while the member goes on, so each is of a moment of its own, which the file has.

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::connect::Connect;
use crate::diff::{named, records};
use crate::fault::{Fault, Verdict};
use crate::output::Output;
use crate::snapshot_file::{Head, SnapshotError, Writer};
use crate::verify::{cluster, digests, logged_seq_or_now, told};
use crate::words;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a member, as `understudy members` has it.
    #[arg(value_name = "MEMBER")]
    member: String,
    /// Where to. `understudy diff` knows it by a `/` in the path, or by the ending `.snapshot`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| {
        tokio::select! {
            done = snapshot(args, out) => done,
            // What was written so far goes with its writer.
            _ = tokio::signal::ctrl_c() => Err(Fault::new("INTERRUPTED", "nothing was written", "Start it again.")),
        }
    })
}

async fn snapshot(args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    if args.file.exists() && !args.force {
        return Err(SnapshotError::Exists { path: args.file.clone() }.into());
    }
    let cluster = cluster(&args.connect).await?;
    let member = named(&cluster.members, &args.member)?;
    let seq = logged_seq_or_now(&cluster.members, out).await?;
    let digests = digests(member, seq).await.map_err(|why| told(member, &why))?;
    let seq = digests.at.seq;
    let shards = digests.shards.len().saturating_sub(1) as u32;
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} shards").expect("the template is right");
    let bar = ProgressBar::new(shards.into()).with_style(style).with_message(member.name.clone());
    let head = Head { cluster_id: cluster.id.clone(), member: member.name.clone(), digests };
    let mut file = Writer::create(&args.file, &head)?;
    let mut committed = true;
    for shard in 0..shards {
        let (records, is_committed) = records(member, shard).await?;
        committed &= is_committed;
        file.shard(records)?;
        bar.inc(1);
    }
    let bytes = file.finish(args.force)?;
    bar.finish_and_clear();
    match out.is_json() {
        true => {
            let name = &member.name;
            let what = json!({ "member": name, "seq": seq, "file": args.file, "bytes": bytes, "committed": committed });
            out.document(&what)?;
        }
        false => {
            let (name, size) = (args.file.display(), words::size(bytes));
            out.line(&format!("{name}: {} from seq {seq} on, {size}", member.name))?;
            if !committed {
                out.hint("not all of it is known to be committed: a failover may take it back")?;
            }
        }
    }
    Ok(Verdict::Yes)
}

impl From<SnapshotError> for Fault {
    fn from(error: SnapshotError) -> Fault {
        let (reason, what_to_do) = match &error {
            SnapshotError::Io { .. } => ("FILE", "See to what the message names."),
            SnapshotError::Foreign { .. } => ("NOT_A_SNAPSHOT", "Take one with `understudy snapshot`."),
            SnapshotError::Damaged { .. } => ("DAMAGED", "Take another one with `understudy snapshot`."),
            SnapshotError::Exists { .. } => ("EXISTS", "Choose another name, or replace it with --force."),
        };
        Fault::new(reason, error.to_string(), what_to_do)
    }
}
