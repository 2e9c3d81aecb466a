//! `understudy kv`: objects, for hands and scripts.
//!
//! Deliberately absent: the bytes of objects. They lie with storage clients; these commands move metadata only.

mod keys;
mod list;
mod pin;
mod put;
mod read;
mod remove;
mod transfer;

pub(crate) use keys::KeyArg;

use std::process::ExitCode;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Get space for an object: write its bytes there, then put-end.
    PutStart(put::StartArgs),
    /// The bytes are written: readers find the object from now on.
    PutEnd(put::EndArgs),
    /// Give a put up.
    #[command(name = "revoke", visible_alias = "put-revoke")]
    PutRevoke(put::RevokeArgs),
    /// Where objects can be read. Keeps them there for the time that it prints.
    Get(read::GetArgs),
    /// Whether objects are there; exits with 1 if one is not.
    Exists(read::ExistsArgs),
    /// Remove objects by key, by pattern, or all of the tenant.
    Rm(remove::Args),
    /// List keys.
    Ls(list::Args),
    /// Keep objects: evict them last for some time, or never.
    Pin(pin::PinArgs),
    /// Take pins away.
    Unpin(pin::UnpinArgs),
    /// Get space for further replicas of an object: copy the bytes there, then copy-end.
    CopyStart(transfer::CopyArgs),
    /// The copies are written.
    CopyEnd(transfer::FinishArgs),
    /// Give a copy up.
    CopyRevoke(transfer::FinishArgs),
    /// Get space for a replica elsewhere: copy the bytes there, then move-end.
    MoveStart(transfer::MoveArgs),
    /// The replica is written: the old one is dropped.
    MoveEnd(transfer::FinishArgs),
    /// Give a move up.
    MoveRevoke(transfer::FinishArgs),
}

pub(super) fn run(args: &Args) -> ExitCode {
    args.connect.run(async |out| carry_out(args, out).await)
}

async fn carry_out(args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    use transfer::Finish;
    let connect = &args.connect;
    match &args.command {
        Command::PutStart(args) => put::start(connect, args, out).await,
        Command::PutEnd(args) => put::end(connect, args, out).await,
        Command::PutRevoke(args) => put::revoke(connect, args, out).await,
        Command::Get(args) => read::get(connect, args, out).await,
        Command::Exists(args) => read::exists(connect, args, out).await,
        Command::Rm(args) => remove::remove(connect, args, out).await,
        Command::Ls(args) => list::list(connect, args, out).await,
        Command::Pin(args) => pin::pin(connect, args, out).await,
        Command::Unpin(args) => pin::unpin(connect, args, out).await,
        Command::CopyStart(args) => transfer::copy_start(connect, args, out).await,
        Command::CopyEnd(args) => transfer::finish(connect, args, Finish::CopyEnd, out).await,
        Command::CopyRevoke(args) => transfer::finish(connect, args, Finish::CopyRevoke, out).await,
        Command::MoveStart(args) => transfer::move_start(connect, args, out).await,
        Command::MoveEnd(args) => transfer::finish(connect, args, Finish::MoveEnd, out).await,
        Command::MoveRevoke(args) => transfer::finish(connect, args, Finish::MoveRevoke, out).await,
    }
}
