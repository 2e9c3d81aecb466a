//! `segments mount`: a storage client that offers space and has no bytes, for trying things out.
//!
//! It is a client of its own, since the master forgets all segments of a client at once: two that share an id would not
//! both be asked to mount theirs again.
//!
//! Invariant: the segment is unmounted when the command ends by Ctrl-C or SIGTERM; if it is killed, the master does it
//! when the client's time to live is over.

use client::{Client, ClientState, Liveness, Mount, Reason, Segment, SegmentKind};
use master::node_name;
use master::serve::StopSignals;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::output::Output;
use crate::{json, words};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// What placements call it.
    #[arg(long, default_value = "hand")]
    name: String,
    /// Bytes that may be handed out, e.g. 512MiB, 1GiB.
    #[arg(long, value_parser = words::parse_size)]
    size: u64,
    /// Memory: address of the first byte.
    #[arg(long, value_name = "ADDRESS", default_value = "0x100000000000", value_parser = words::parse_number)]
    base: u64,
    /// Where a transfer engine would reach it.
    #[arg(long, value_name = "HOST:PORT", default_value = "", hide_default_value = true)]
    endpoint: String,
    /// How.
    #[arg(long, default_value = "tcp")]
    protocol: String,
    /// The machine that holds it, for placement on the same host [default: this one].
    #[arg(long)]
    host: Option<String>,
    /// What it is.
    #[arg(long, value_enum, default_value_t = Kind::Memory)]
    kind: Kind,
    /// Disk: the directory.
    #[arg(long, value_name = "DIR", required_if_eq("kind", "disk"))]
    path: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Memory,
    Disk,
}

impl Args {
    fn segment(&self) -> Segment {
        let segment = match self.kind {
            Kind::Memory => Segment::memory(&self.name, self.base, self.size, &self.endpoint),
            Kind::Disk => {
                Segment::disk(&self.name, self.path.as_deref().unwrap_or_default(), self.size, &self.endpoint)
            }
        };
        let host = self.host.clone().unwrap_or_else(|| node_name(""));
        Segment { host, protocol: self.protocol.clone(), ..segment }
    }
}

pub(super) async fn mount(connect: &Connect, args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    let signals = StopSignals::catch().map_err(|error| Fault::new("SIGNALS", error.to_string(), "Try again."))?;
    let client = connect.lasting_client().await?;
    let segment = args.segment();
    client.mount_segment(&segment).await?;
    if out.is_json() {
        let mut value = described(&segment);
        value["client_id"] = client.id().to_string().into();
        out.document(&value)?;
    } else {
        let size = words::size(segment.size);
        out.line(&format!("mounted {} of {size}, id {}, as client {}", args.name, segment.id, client.id()))?;
        out.line("it stays until Ctrl-C, which unmounts it")?;
    }
    out.flush()?;
    tokio::select! {
        biased;
        _ = signals.stop() => {}
        fault = watch_over(&client, out) => return Err(fault),
    }
    unmount(&client, &segment, out).await
}

pub(super) fn described(segment: &Segment) -> Value {
    let mut value = json!({
        "id": segment.id.to_string(),
        "name": segment.name,
        "kind": json::kind(segment.kind),
        "size": segment.size,
        "endpoint": segment.endpoint,
        "protocol": segment.protocol,
        "host": segment.host,
    });
    match segment.kind {
        SegmentKind::Memory => value["base"] = json::wide(segment.base),
        SegmentKind::Disk => value["path"] = segment.path.as_str().into(),
    }
    value
}

/// Says how it goes, until the segment is lost.
async fn watch_over(client: &Client, out: &mut Output) -> Fault {
    let mut states = client.state();
    let mut before = *states.borrow_and_update();
    loop {
        match next(client, &mut states, before, out).await {
            Ok(now) => before = now,
            Err(fault) => return fault,
        }
    }
}

async fn next(
    client: &Client,
    states: &mut watch::Receiver<ClientState>,
    before: ClientState,
    out: &mut Output,
) -> Result<ClientState, Fault> {
    let ended = |_| Fault::new("CLIENT", "signs of life have ended", "Mount it again.");
    states.changed().await.map_err(ended)?;
    let now = *states.borrow_and_update();
    if now.segments_refused > before.segments_refused {
        return Err(given_up(client));
    }
    if now.segments_waiting > before.segments_waiting {
        out.hint("the master had forgotten the segment and cannot take it yet; asking again")?;
    }
    if now.segments_emptied > before.segments_emptied {
        out.hint("the master had forgotten the segment: it is mounted again, and empty")?;
    }
    if now.liveness == Liveness::Silent && before.liveness != Liveness::Silent {
        out.hint("the master has been silent for so long that it may have given the segment up; trying on")?;
    }
    if before.liveness == Liveness::Silent && now.liveness == Liveness::Alive {
        out.hint("the master is back")?;
    }
    Ok(now)
}

/// Why the segment is lost.
fn given_up(client: &Client) -> Fault {
    let reason = client.segments().into_iter().find_map(|own| match own.mount {
        Mount::GivenUp(refused) => Some(refused),
        Mount::Mounted | Mount::Waiting(_) => None,
    });
    match reason {
        Some(refused) => refused.into(),
        None => Fault::new("SEGMENT_NOT_FOUND", "the segment is not mounted any more", "Mount it again."),
    }
}

async fn unmount(client: &Client, segment: &Segment, out: &mut Output) -> Result<Verdict, Fault> {
    let result = client.unmount_segments(&[segment.id], std::time::Duration::ZERO).await?.results.remove(0);
    match result {
        Ok(()) => out.hint("unmounted")?,
        Err(refused) if matches!(refused.reason, Reason::SegmentNotFound | Reason::SegmentBusy) => {
            out.hint("it has been unmounted already")?;
        }
        Err(refused) => return Err(refused.into()),
    }
    Ok(Verdict::Yes)
}
