//! `kv copy-start`, `move-start`, and their ends: a replica elsewhere, made by hand.
//!
//! As with puts, the command that ends a transfer acts as the client that has started it.

use client::{CopyStartItem, MoveStartItem, TransferFinishItem, TransferStarted};
use serde_json::json;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::keys::{self, KeyArg};
use crate::metadata::kv::put::replica_table;
use crate::output::Output;
use crate::{json, words};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    key: KeyArg,
    /// Segments to copy to.
    #[arg(long, value_name = "SEGMENT", required = true, num_args = 1.., value_delimiter = ',')]
    to: Vec<String>,
    /// Segment to read from [default: any that has a complete replica].
    #[arg(long, value_name = "SEGMENT", default_value = "", hide_default_value = true)]
    from: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    key: KeyArg,
    /// Segment to move from.
    #[arg(long, value_name = "SEGMENT")]
    from: String,
    /// Segment to move to.
    #[arg(long, value_name = "SEGMENT")]
    to: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FinishArgs {
    #[command(flatten)]
    key: KeyArg,
    /// From the start; without it, this client's current transfer of the key.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    transfer_id: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finish {
    CopyEnd,
    CopyRevoke,
    MoveEnd,
    MoveRevoke,
}

pub(crate) async fn copy_start(connect: &Connect, args: &CopyArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let client = connect.client().await?;
    let item =
        CopyStartItem { key: key.clone().into(), source_segment: args.from.clone(), target_segments: args.to.clone() };
    let answer = client.copy_start(&[item]).await?;
    report(connect, Asked { key: &args.key, bytes: &key, kind: "copy" }, answer, out)
}

pub(crate) async fn move_start(connect: &Connect, args: &MoveArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let client = connect.client().await?;
    let (source_segment, target_segment) = (args.from.clone(), args.to.clone());
    let answer =
        client.move_start(&[MoveStartItem { key: key.clone().into(), source_segment, target_segment }]).await?;
    report(connect, Asked { key: &args.key, bytes: &key, kind: "move" }, answer, out)
}

struct Asked<'a> {
    key: &'a KeyArg,
    bytes: &'a [u8],
    kind: &'a str,
}

fn report(
    connect: &Connect,
    asked: Asked<'_>,
    mut answer: client::Items<TransferStarted>,
    out: &mut Output,
) -> Result<Verdict, Fault> {
    let started = answer.results.remove(0)?;
    let Asked { key, bytes, kind } = asked;
    let end = connect.command(&format!("kv {kind}-end"));
    let end = format!("{end} --transfer-id {} {}", started.transfer_id, key.word());
    if out.is_json() {
        out.document(&json!({
            "position": json::position(answer.position),
            "key": json::key(bytes),
            "transfer_id": started.transfer_id,
            "size": started.size,
            "source": json::replica(&started.source),
            "targets": json::replicas(&started.targets),
            "end_with": end,
        }))?;
        return Ok(Verdict::Yes);
    }
    let (id, size) = (started.transfer_id, words::size(started.size));
    out.line(&format!("{kind} {id} of {} is started: read {size} from", words::key(bytes)))?;
    out.table(&mut replica_table(std::iter::once(&started.source)))?;
    out.line("and write them to each of")?;
    out.table(&mut replica_table(started.targets.iter()))?;
    out.line("then:")?;
    out.line(&format!("  {end}"))?;
    Ok(Verdict::Yes)
}

pub(crate) async fn finish(
    connect: &Connect,
    args: &FinishArgs,
    how: Finish,
    out: &mut Output,
) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let client = connect.client().await?;
    let items = [TransferFinishItem { key: key.clone().into(), transfer_id: args.transfer_id }];
    let (done, answer) = match how {
        Finish::CopyEnd => ("copied", client.copy_end(&items).await?),
        Finish::CopyRevoke => ("revoked the copy of", client.copy_revoke(&items).await?),
        Finish::MoveEnd => ("moved", client.move_end(&items).await?),
        Finish::MoveRevoke => ("revoked the move of", client.move_revoke(&items).await?),
    };
    keys::report(out, done, &[key], &answer)
}
