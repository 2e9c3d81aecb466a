//! `kv pin` and `kv unpin`.

use std::time::Duration;

use client::Pin;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::keys::{self, KeysArg};
use crate::output::Output;
use crate::words;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    keys: KeysArg,
    /// Evict them last, for a time [default: this, with the cluster's `soft_pin_ttl_ms`].
    #[arg(long, value_name = "TTL", num_args = 0..=1, require_equals = true, value_parser = words::parse_time)]
    #[arg(conflicts_with = "hard")]
    soft: Option<Option<Duration>>,
    /// Never evict them.
    #[arg(long)]
    hard: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct UnpinArgs {
    #[command(flatten)]
    keys: KeysArg,
}

pub(crate) async fn pin(connect: &Connect, args: &PinArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let keys = args.keys.bytes()?;
    let client = connect.client().await?;
    let pin = if args.hard { Pin::Hard } else { Pin::Soft };
    let answer = client.pin(&keys, pin, args.soft.flatten()).await?;
    keys::report(out, "pinned", &keys, &answer)
}

pub(crate) async fn unpin(connect: &Connect, args: &UnpinArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let keys = args.keys.bytes()?;
    let client = connect.client().await?;
    let answer = client.unpin(&keys).await?;
    keys::report(out, "unpinned", &keys, &answer)
}
