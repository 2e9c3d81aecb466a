//! The task that has the member's log and state: it follows, and it leads, one after the other.
//!
//! ```text
//!   follow ──Lead──► apply what is received ─► begin the epoch in the log ─► lead ─► open the gate
//!     ▲                                                                               │
//!     └──────────────── take log and state back ◄── Deposed ──────────────────────────┘
//! ```
//!
//! Invariants: log and state belong to one of the two at any time; the gate opens only if the core still leads then; what was held
//! before this member began an epoch with nothing is dropped, whatever it is next.
//!
//! Deliberately absent: any cost that grows with the number of objects.

use std::sync::Arc;
use std::time::Duration;

use metadata::Metadata;
use oplog::Tail;
use standby::{Promotion, Standby};
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
    let mut emptied = 0;
    loop {
        let role = *roles.borrow_and_update();
        let mut standby = step_down(&pair, life);
        // Looked at whatever the role is: the one that began with nothing may be over already.
        let born = pair.seat.born();
        if born > emptied {
            (standby, emptied) = (empty(&pair), born);
        }
        pair.node.verify.on(verification::Event::EpochBegins);
        life = match role {
            Role::Lead { epoch } => lead(&pair, standby, epoch).await,
            Role::Follow { primary, epoch } => {
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

/// Nothing that was held counts any more.
fn empty(pair: &Pair) -> Standby<Metadata> {
    let (Held { state, tail }, log) = pair.node.empty();
    pair.node.hold(Held { state: Arc::clone(&state), tail: Arc::clone(&tail) });
    pair.node.verify.on(verification::Event::Synced);
    Standby::new(state, tail, log, pair.node.config.tail.to_oplog())
}

async fn lead(pair: &Pair, standby: Standby<Metadata>, epoch: u64) -> Life {
    let promotion = Promotion::new(standby);
    apply_all(pair, &promotion).await;
    let (state, tail, log) = promotion.begin(epoch, pair.node.clock.now().wall_ms);
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
async fn apply_all(pair: &Pair, promotion: &Promotion<Metadata>) {
    // A repair that is just being ended has it until then.
    let _turn = pair.node.verify.turn().await;
    loop {
        match promotion.apply(APPLY_ENTRIES) {
            Ok(applied) if applied.entries == 0 => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => follow::lost(&pair.node, &error),
        }
    }
}
