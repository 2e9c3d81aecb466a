//! The task that has the member's log and state: it follows and leads, one after the other.
//!
//! Rules of the shell: entries are applied a few at a time; nothing else applies while this member
//! is promoted.
//!
//! Deliberately absent: when this member leads, what becomes of what it held, and when calls begin
//! to use what it leads with (`member::Life`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use member::{Life, Rise, Role, Stock};
use metadata::Metadata;
use oplog::{Appender, Secret, Tail, TailConfig};
use standby::{Standby, StandbyError};
use tokio::sync::watch;

use crate::node::{Node, StateAndTail};
use crate::pair::Pair;
use crate::pair::follow::{self, Applying};
use crate::process;

impl Stock<Metadata> for Node {
    fn empty(&self) -> (Arc<Metadata>, Arc<Tail>, Appender) {
        let (StateAndTail { state, tail }, log) = self.with_nothing();
        (state, tail, log)
    }

    fn lead(&self, state: &Metadata, log: Appender, born: u64) {
        state.lead(log, self.clock.now(), born);
    }

    fn follow(&self, state: &Metadata) -> Appender {
        state.follow().expect("it led with a log")
    }

    fn tail_config(&self) -> TailConfig {
        self.config.tail.to_oplog()
    }

    fn hold(&self, state: &Arc<Metadata>, tail: &Arc<Tail>) {
        #[cfg(feature = "faults")]
        if !Arc::ptr_eq(state, &self.state()) {
            self.pending_fault.linger();
        }
        Node::hold(self, StateAndTail { state: Arc::clone(state), tail: Arc::clone(tail) });
    }

    fn begins(&self, _: u64) -> (u64, Secret) {
        (self.clock.now().wall_ms, process::draw_secret())
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(pair: Arc<Pair>, standby: Standby<Metadata>) {
    let mut roles = pair.seat.roles();
    let mut life = Life::Follows(Box::new(standby));
    loop {
        let role = *roles.borrow_and_update();
        if let Life::Leads(_, tail) = &life {
            tracing::info!(at = %tail.last(), committed = tail.committed().get(), "no longer the primary");
        }
        let (mut standby, _) = life.step_down(&*pair.seat, &*pair.node);
        life = match role {
            Role::Lead { epoch } => lead(&pair, standby, epoch).await,
            Role::Follow { .. } => {
                let mut applying = Applying::start(&pair, &standby);
                tokio::select! {
                    biased;
                    _ = changed(&mut roles) => {}
                    () = follow::follow(&pair, &mut standby, &mut applying) => {}
                }
                // The promotion applies the rest, and nothing else applies meanwhile.
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

async fn lead(pair: &Pair, standby: Standby<Metadata>, epoch: u64) -> Life<Metadata> {
    let rise = Rise::new(standby, epoch, pair.seat.look(|member, _| member.born()));
    apply_all(pair, &rise).await;
    let life = rise.begin(&*pair.node).unwrap_or_else(|error| lost(&pair.node, &error));
    // For operators who want the classic rule. No promise rests on it.
    tokio::time::sleep(Duration::from_millis(pair.settings.safety_window_ms)).await;
    if !pair.seat.look(|member, _| member.is_sound()) {
        // Its claim was pending when the difference was found, and could not be withdrawn any more.
        tracing::error!(epoch, "this member leads with a state that differed from its last primary's");
    }
    if life.open(&*pair.seat, epoch) {
        pair.seat.counts.takeovers.fetch_add(1, Ordering::Relaxed);
        tracing::info!(epoch, at = %life.tail().last(), "this member is the primary");
        tell_of_being_alone(pair, epoch);
    }
    life
}

/// The first member of a cluster has lost no other.
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

/// The promotion itself commits what was received.
async fn apply_all(pair: &Pair, rise: &Rise<Metadata>) {
    // A repair that is just ending has the turn until then.
    let _turn = pair.node.findings.turn().await;
    loop {
        match rise.apply() {
            Ok(false) => return,
            Ok(true) => tokio::task::yield_now().await,
            Err(error) => lost(&pair.node, &error),
        }
    }
}

/// The state is not the one that the log was made from. So this member no longer has what it is in
/// a set for, and must not come back under the same name.
fn lost(node: &Node, error: &StandbyError) -> ! {
    tracing::error!(
        node = node.name,
        "this member's state is lost: it ends, and begins with nothing when it is restarted: {error}"
    );
    crate::logging::finish();
    std::process::exit(3)
}
