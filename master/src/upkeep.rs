//! The task behind everything that happens by itself: it ticks the TTL clock and steps the state.
//!
//! Invariant: the clock is ticked before each step, so a step after a stall sees a time without it.
//!
//! Deliberately absent: what is due. `metadata` decides that.

use std::sync::Arc;
use std::time::Duration;

use metadata::{CallRefused, Steps};
use tokio::time::{MissedTickBehavior, interval};

use crate::node::Node;

/// Runs until it is dropped.
pub(crate) async fn run(node: Arc<Node>) {
    // What went by before this member began is no stall.
    node.clock.tick();
    let mut ticks = interval(Duration::from_millis(node.config.upkeep.upkeep_interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while round(&node) {
            tokio::task::yield_now().await;
        }
    }
}

/// True: there is more to do now.
fn round(node: &Node) -> bool {
    let stalled_ms = node.clock.tick();
    if stalled_ms > 0 {
        tracing::warn!(stalled_ms, "this process stood still; every time-out is extended by that");
    }
    match node.step() {
        Ok(steps) => {
            report(&steps);
            steps.more
        }
        // Nothing is lost: the next round tries again.
        Err(CallRefused::NotPrimary | CallRefused::Overloaded { .. }) => false,
        Err(error) => {
            tracing::error!("upkeep was refused: {error}");
            false
        }
    }
}

fn report(steps: &Steps) {
    if steps.clients_expired > 0 {
        tracing::info!(clients = steps.clients_expired, "clients were silent for too long and have expired");
    }
    if steps.segments_gone > 0 {
        tracing::info!(segments = steps.segments_gone, "segments are gone");
    }
    if *steps != Steps::default() {
        tracing::debug!(?steps, "upkeep");
    }
}
