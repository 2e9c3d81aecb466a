//! The task that has the member's log and state: it follows, and it leads, one after the other.
//!
//! Rules of the shell: calls find the log and the state that the member leads with before the gate
//! opens, and others once a full sync, or an epoch that began with nothing, has put them in place;
//! entries are applied a few at a time; nothing else applies while this member is promoted.
//!
//! Deliberately absent: when this member leads, and what becomes of what it held (`member::Life`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use member::{APPLY_ENTRIES, Life, Role, Stock};
use metadata::Metadata;
use oplog::{Appender, Tail, TailConfig};
use standby::{Promotion, Standby, StandbyError};
use tokio::sync::watch;

use crate::node::{Held, Node};
use crate::pair::Pair;
use crate::pair::follow::{self, Applying};
use crate::process;

impl Stock<Metadata> for Node {
    fn empty(&self) -> (Arc<Metadata>, Arc<Tail>, Appender) {
        let (Held { state, tail }, log) = self.with_nothing();
        (state, tail, log)
    }

    fn lead(&self, state: &Metadata, log: Appender) {
        state.lead(log, self.clock.now());
    }

    fn follow(&self, state: &Metadata) -> Appender {
        state.follow().expect("it led with a log")
    }

    fn tail_config(&self) -> TailConfig {
        self.config.tail.to_oplog()
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(pair: Arc<Pair>, standby: Standby<Metadata>) {
    let mut roles = pair.seat.roles();
    let mut life = Life::Follows(Box::new(standby));
    loop {
        let role = *roles.borrow_and_update();
        let mut standby = step_down(&pair, life);
        life = match role {
            Role::Lead { epoch } => lead(&pair, standby, epoch).await,
            Role::Follow { .. } => {
                let mut applying = Applying::start(&pair, &standby);
                tokio::select! {
                    biased;
                    _ = changed(&mut roles) => {}
                    () = follow::follow(&pair, &mut standby, &mut applying) => {}
                }
                // The promotion applies the rest, and nothing does beside it.
                applying.stop().await;
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

fn step_down(pair: &Pair, life: Life<Metadata>) -> Standby<Metadata> {
    if let Life::Leads(_, tail) = &life {
        tracing::info!(at = %tail.last(), committed = tail.committed().get(), "no longer the primary");
    }
    // May wait for a call that is under way.
    let life = Life::Follows(Box::new(life.take_back(&*pair.node)));
    let (standby, is_emptied) = pair.seat.with(|member, now| life.step_down(member, &*pair.node, now));
    if is_emptied {
        pair.node.hold(Held { state: Arc::clone(standby.state()), tail: Arc::clone(standby.tail()) });
    }
    standby
}

async fn lead(pair: &Pair, standby: Standby<Metadata>, epoch: u64) -> Life<Metadata> {
    let promotion = Promotion::new(standby);
    apply_all(pair, &promotion).await;
    let begun = promotion.begin(epoch, pair.node.clock.now().wall_ms, process::draw_secret());
    let life = Life::leads(&*pair.node, begun.unwrap_or_else(|error| lost(&pair.node, &error)));
    let tail = Arc::clone(life.tail());
    pair.node.hold(Held { state: Arc::clone(life.state()), tail: Arc::clone(&tail) });
    // For operators who want the classic rule: nothing rests on it here.
    tokio::time::sleep(Duration::from_millis(pair.settings.safety_window_ms)).await;
    if !pair.seat.look(|member, _| member.is_sound()) {
        // Its claim was under way when it was found; it cannot be taken back any more.
        tracing::error!(epoch, "this member leads with a state that differed from its last primary's");
    }
    if pair.seat.with(|member, now| member.open(epoch, Arc::clone(&tail), now)) {
        pair.seat.counts.takeovers.fetch_add(1, Ordering::Relaxed);
        tracing::info!(epoch, at = %tail.last(), "this member is the primary");
        tell_of_being_alone(pair, epoch);
    }
    life
}

/// The first member of a cluster has lost nobody.
fn tell_of_being_alone(pair: &Pair, epoch: u64) {
    let is_alone = pair.seat.known().is_some_and(|known| known.record.insync.len() == 1);
    if is_alone && epoch > 1 {
        tracing::warn!(
            epoch,
            "no standby is in sync with this member yet: it alone holds what is acknowledged from now on, until another one joins. Where \
             none does: start the one that is down, or look at its log"
        );
    }
}

/// What was received and is committed by the promotion itself.
async fn apply_all(pair: &Pair, promotion: &Promotion<Metadata>) {
    // A repair that is just being ended has it until then.
    let _turn = pair.node.verify.turn().await;
    loop {
        match promotion.apply(APPLY_ENTRIES) {
            Ok(applied) if applied.entries == 0 => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => lost(&pair.node, &error),
        }
    }
}

/// The state is not the one that the log was made from. What this member is in a set for, it no
/// longer has: it must not come back under the same name.
fn lost(node: &Node, error: &StandbyError) -> ! {
    tracing::error!(
        node = node.name,
        "this member's state is lost, it ends and begins anew when it is restarted: {error}"
    );
    crate::logging::finish();
    std::process::exit(3)
}
