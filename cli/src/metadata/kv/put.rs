//! `kv put-start`, `put-end`, `revoke`.
//!
//! A put that one command starts is ended by another one, so both act as the same client. Commands send no signs of
//! life: the put is gone when the client's time to live is over, which is the shorter time and the one that is printed.

use std::time::Duration;

use client::{Client, IfExists, Pin, PutEndItem, PutOptions, PutRevokeItem, PutStartItem, Replica, ReplicaScope};
use serde_json::json;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::keys::{self, KeyArg};
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::{json, words};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    key: KeyArg,
    /// Bytes of the object, e.g. 4096, 4KiB, 1.5GiB, 3M.
    #[arg(long, value_parser = words::parse_size)]
    size: u64,
    /// Replicas in memory, each on another segment [default: 1, or 0 with --disk-replicas]
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// Replicas on disk, each on another segment.
    #[arg(long, value_name = "N", default_value_t = 0)]
    disk_replicas: u32,
    /// Segments to try first.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    preferred: Vec<String>,
    /// Try the segments of this machine before others.
    #[arg(long)]
    same_host: bool,
    /// As many replicas as there is room for, at least one.
    #[arg(long)]
    best_effort: bool,
    /// Take the place of an object that is there.
    #[arg(long)]
    replace: bool,
    /// Evict it last, for a time [default: the cluster's `soft_pin_ttl_ms`].
    #[arg(long, value_name = "TTL", num_args = 0..=1, require_equals = true, value_parser = words::parse_time)]
    #[arg(conflicts_with = "hard_pin")]
    soft_pin: Option<Option<Duration>>,
    /// Never evict it.
    #[arg(long)]
    hard_pin: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EndArgs {
    #[command(flatten)]
    key: KeyArg,
    /// From put-start; without it, this client's current put of the key.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    put_id: u64,
    /// Kept with the object and handed to readers: a number of 64 bits, decimal or with 0x.
    #[arg(long, value_parser = words::parse_number)]
    checksum: Option<u64>,
    /// Replicas that are written: the others stay open.
    #[arg(long, value_enum, default_value_t = Scope::All)]
    scope: Scope,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    key: KeyArg,
    /// From put-start; without it, this client's current put of the key.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    put_id: u64,
    /// Replicas that are given up.
    #[arg(long, value_enum, default_value_t = Scope::All)]
    scope: Scope,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Scope {
    All,
    Memory,
    Disk,
}

impl From<Scope> for ReplicaScope {
    fn from(scope: Scope) -> ReplicaScope {
        match scope {
            Scope::All => ReplicaScope::All,
            Scope::Memory => ReplicaScope::OnlyMemory,
            Scope::Disk => ReplicaScope::OnlyDisk,
        }
    }
}

impl StartArgs {
    fn options(&self) -> PutOptions {
        let (pin, soft_pin_ttl) = match (self.hard_pin, self.soft_pin) {
            (true, _) => (Pin::Hard, None),
            (false, Some(ttl)) => (Pin::Soft, ttl),
            (false, None) => (Pin::None, None),
        };
        PutOptions {
            // On the wire 0 stands for what the help says.
            replicas: self.replicas.unwrap_or(0),
            disk_replicas: self.disk_replicas,
            preferred_segments: self.preferred.clone(),
            same_host: self.same_host,
            best_effort: self.best_effort,
            if_exists: if self.replace { IfExists::Replace } else { IfExists::Fail },
            pin,
            soft_pin_ttl,
        }
    }
}

pub(crate) async fn start(connect: &Connect, args: &StartArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let client = connect.client().await?;
    if args.same_host {
        introduce(connect, &client).await?;
    }
    let mut answer = client.put_start(&[PutStartItem::new(&key, args.size)], args.options()).await?;
    let started = answer.results.remove(0)?;
    // The put stands, also if this has no answer.
    let client_ttl = client.heartbeat().await.map_or(Duration::MAX, |heard| heard.client_ttl);
    let end_within = Duration::from_millis(json::millis_until(answer.finish_by)).min(client_ttl);
    let end = format!("{} --put-id {}", connect.command("kv put-end"), started.put_id);
    let end = format!("{end} {}", args.key.word());
    if out.is_json() {
        out.document(&json!({
            "position": json::position(answer.position),
            "key": json::key(&key),
            "put_id": started.put_id,
            "size": args.size,
            "replicas": json::replicas(&started.replicas),
            "end_within_ms": end_within.as_millis() as u64,
            "end_with": end,
        }))?;
        return Ok(Verdict::Yes);
    }
    let (size, key) = (words::size(args.size), words::key(&key));
    out.line(&format!("put {} of {key} is started: write {size} to each of", started.put_id))?;
    out.table(&mut replica_table(started.replicas.iter()))?;
    out.line(&format!("then, within {}:", words::time(end_within)))?;
    out.line(&format!("  {end}"))?;
    Ok(Verdict::Yes)
}

/// The master knows the machine of a client from its signs of life, and only of clients that it knows.
async fn introduce(connect: &Connect, client: &Client) -> Result<(), Fault> {
    let heard = client.heartbeat().await?;
    // A storage client's own remount would not happen any more if we did it in its name.
    if heard.needs_remount && !connect.names_client() {
        client.remount_segments(&[]).await?;
        client.heartbeat().await?;
    }
    Ok(())
}

/// Where bytes are or go.
pub(crate) fn replica_table<'a>(replicas: impl Iterator<Item = &'a Replica>) -> Table {
    let mut table = Table::new([left("  SEGMENT"), left("KIND"), left("HOST"), left("ENDPOINT"), right("AT")]);
    for replica in replicas {
        table.row([
            format!("  {}", replica.segment.name),
            json::kind(replica.segment.kind).to_owned(),
            replica.segment.host.clone(),
            replica.segment.endpoint.clone(),
            place(replica),
        ]);
    }
    table
}

/// An address or a file.
pub(crate) fn place(replica: &Replica) -> String {
    match &replica.location {
        client::Location::Memory { address } => format!("{address:#x}"),
        client::Location::Disk { path } => path.clone(),
    }
}

pub(crate) async fn end(connect: &Connect, args: &EndArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let client = connect.client().await?;
    let item = PutEndItem::new(&key, args.put_id, args.checksum);
    let answer = client.put_end(&[item], args.scope.into()).await?;
    keys::report(out, "ended", &[key], &answer)
}

pub(crate) async fn revoke(connect: &Connect, args: &RevokeArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let client = connect.client().await?;
    let answer = client.put_revoke(&[PutRevokeItem::new(&key, args.put_id)], args.scope.into()).await?;
    keys::report(out, "revoked", &[key], &answer)
}
