//! The task that has the member's log and state: it follows, and it leads, one after the other.
//!
//! ```text
//!   follow ──Lead──► apply what is received ─► begin the epoch in the log ─► lead ─► open the gate
//!     ▲                                                                               │
//!     └──────────────── take log and state back ◄── Deposed ──────────────────────────┘
//! ```
//!
//! Invariants: log and state belong to one of the two at any time; the gate opens only if the core still leads then.
//!
//! Deliberately absent: any cost that grows with the number of objects.

use std::sync::Arc;
use std::time::Duration;

use metadata::Metadata;
use oplog::{Appender, Domain, Draft, OP_EPOCH_START, ReplicatedState as _, Tail};
use standby::{Standby, apply_committed};
use tokio::sync::watch;

use crate::node::Held;
use crate::pair::Pair;
use crate::pair::follow::{self, Applying};
use crate::pair::seat::Role;

/// Entries that are applied before others get their turn.
const APPLY_ENTRIES: usize = 256;

/// What the member has, as what it is.
enum Life {
    Follows(Box<Standby<Metadata>>),
    Leads(Arc<Metadata>, Arc<Tail>),
}

/// Runs until it is dropped.
pub(crate) async fn run(pair: Arc<Pair>, standby: Standby<Metadata>) {
    let mut roles = pair.seat.roles();
    let mut life = Life::Follows(Box::new(standby));
    loop {
        let role = *roles.borrow_and_update();
        let standby = step_down(&pair, life);
        pair.node.verify.on(verification::Event::EpochBegins);
        life = match role {
            Role::Lead { epoch } => lead(&pair, standby, epoch).await,
            Role::LeadReborn { epoch } => {
                pair.node.verify.on(verification::Event::Synced);
                lead(&pair, empty(&pair), epoch).await
            }
            Role::Follow { primary, epoch } => {
                let mut standby = standby;
                let mut applying = Applying::start(&pair, &standby);
                tokio::select! {
                    biased;
                    _ = changed(&mut roles) => {}
                    () = follow::follow(&pair, &mut standby, &mut applying, primary, epoch) => {}
                }
                // Whoever leads next applies the rest, and nobody beside it.
                applying.stop().await;
                pair.notes.forget();
                life = Life::Follows(Box::new(standby));
                continue;
            }
            Role::Starting | Role::Deposed { .. } => Life::Follows(Box::new(standby)),
        };
        changed(&mut roles).await;
    }
}

/// If the seat is gone, so is the member, and this task with it.
async fn changed(roles: &mut watch::Receiver<Role>) {
    if roles.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn step_down(pair: &Pair, life: Life) -> Standby<Metadata> {
    match life {
        Life::Follows(standby) => *standby,
        Life::Leads(state, tail) => {
            let log = state.follow().expect("it led with a log");
            tracing::info!(at = %tail.last(), committed = tail.committed().get(), "no longer the primary");
            Standby::new(state, tail, log, pair.node.config.tail.to_oplog())
        }
    }
}

fn empty(pair: &Pair) -> Standby<Metadata> {
    let (Held { state, tail }, log) = pair.node.empty();
    Standby::new(state, tail, log, pair.node.config.tail.to_oplog())
}

async fn lead(pair: &Pair, standby: Standby<Metadata>, epoch: u64) -> Life {
    let (state, mut tail, mut log) = standby.into_parts();
    let held = tail.last().seq;
    if tail.committed().closed().is_some() {
        // It led with this log before.
        (tail, log) = tail.forked(held, held).expect("the log holds its own end");
    }
    tail.committed().advance(held);
    apply_all(pair, &state, &tail).await;
    tail.set_floor(None);
    begin_epoch(pair, &state, &mut log, epoch);
    state.lead(log, pair.node.clock.now());
    pair.node.hold(Held { state: Arc::clone(&state), tail: Arc::clone(&tail) });
    // For operators who want the classic rule: nothing rests on it here.
    tokio::time::sleep(Duration::from_millis(pair.settings.safety_window_ms)).await;
    if !pair.node.verify.is_sound() {
        // Its claim was under way when it was found; it cannot be taken back any more.
        tracing::error!(epoch, "this member leads with a state that differed from its last primary's");
    }
    if pair.seat.open(epoch, Arc::clone(&tail)) {
        tracing::info!(epoch, at = %tail.last(), "this member is the primary");
    }
    Life::Leads(state, tail)
}

/// What was received and is committed by the promotion itself.
async fn apply_all(pair: &Pair, state: &Metadata, tail: &Tail) {
    // A repair that is just being ended has it until then.
    let _turn = pair.node.verify.turn().await;
    loop {
        match apply_committed(state, tail, APPLY_ENTRIES, u64::MAX, |_| {}) {
            Ok(applied) if applied.entries == 0 => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => follow::lost(&pair.node, &error),
        }
    }
}

fn begin_epoch(pair: &Pair, state: &Metadata, log: &mut Appender, epoch: u64) {
    log.begin_epoch(epoch);
    let draft = Draft {
        domain: Domain::ENGINE,
        op_type: OP_EPOCH_START,
        timestamp_ms: pair.node.clock.now().wall_ms,
        request: None,
        key: b"",
        payload: b"",
    };
    // Nothing keeps old entries from making room.
    let frame = log.reserve(0).expect("the log has room for an entry").append(&draft);
    let entry = frame.decode().expect("it was encoded here");
    state.apply(&entry).expect("the start of an epoch fits any state");
}
