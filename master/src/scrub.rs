//! The scrub: every member checks all of its own records once in a cycle, a few at a time, whatever
//! its role.
//!
//! Invariants: no lock is held for longer than a few hundred records take; between two steps other
//! tasks get their turn.
//!
//! Deliberately absent: what follows from a finding (`member`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metadata::Metadata;
use oplog::{ReplicatedState as _, ScrubCursor, ScrubStep, Verifiable as _};
use tokio::time::sleep;
use verification::Event;

use crate::background::Piecework;
use crate::node::Node;

/// Slots of a shard's table that are checked under one lock.
const STEP: usize = 512;

/// The result of one look at a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Looked {
    Sound,
    Busy,
    Rotten(String),
}

/// Runs until it is dropped.
pub(crate) async fn run(node: Arc<Node>) {
    let cycle = Duration::from_millis(node.config.verification.scrub_cycle_ms);
    if cycle.is_zero() {
        return std::future::pending().await;
    }
    loop {
        for shard in 0..node.state().shards() {
            sleep(cycle / node.state().shards()).await;
            look_and_tell(&node, shard).await;
        }
        node.findings.counts.scrub_cycles.fetch_add(1, Ordering::Relaxed);
    }
}

/// Checks one shard, and reports the result.
pub(crate) async fn look_and_tell(node: &Node, shard: u32) -> Looked {
    let state = node.state();
    let looked = look(node, &state, shard).await;
    if !Arc::ptr_eq(&state, &node.state()) {
        // A full sync has replaced the state.
        return Looked::Busy;
    }
    let counts = &node.findings.counts;
    match &looked {
        Looked::Sound => counts.scrubbed_shards.fetch_add(1, Ordering::Relaxed),
        Looked::Busy => counts.scrub_skipped.fetch_add(1, Ordering::Relaxed),
        Looked::Rotten(what) => {
            let leads = node.leads();
            node.findings.rotten(shard, what, leads);
            if !leads {
                node.doubt(Event::Rotten { shard });
            }
            0
        }
    };
    looked
}

async fn look(node: &Node, state: &Metadata, shard: u32) -> Looked {
    let mut at = ScrubCursor::of(shard);
    loop {
        let piece = Piecework::begin(node);
        let step = state.scrub(at, STEP);
        let rest = piece.end();
        match step {
            ScrubStep::More(next) => at = next,
            ScrubStep::Sound => return Looked::Sound,
            ScrubStep::Busy => return Looked::Busy,
            ScrubStep::Rotten(what) => return Looked::Rotten(what),
        }
        if rest.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(rest).await;
        }
    }
}
