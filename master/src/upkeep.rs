//! The task behind everything that happens by itself: it ticks the TTL clock and steps the state.
//!
//! Invariant: the clock is ticked before each step, so a step after a stall, or after a time in
//! which this member could not answer, does not count that time.
//!
//! Deliberately absent: what is due. `metadata` decides that.

use std::sync::Arc;
use std::time::Duration;

use election::LeftOut;
use metadata::{CallRefused, InForce, Settings, Steps};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::background::Piecework;
use crate::cluster_settings;
use crate::node::Node;

/// A shorter time without answers is not logged: it comes from a late beacon, or a transfer.
const UNHEARD_TOLD_MS: u64 = 1000;

/// Runs until it is dropped.
pub(crate) async fn run(node: Arc<Node>) {
    let mut upkeep = Upkeep { node, unheard_ms: 0, settings: None };
    // What passed before this member began is no stall.
    upkeep.node.tick();
    let mut ticks = interval(Duration::from_millis(upkeep.node.config.upkeep.upkeep_interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while let Some(rest) = upkeep.round() {
            if rest.is_zero() {
                tokio::task::yield_now().await;
            } else {
                sleep(rest).await;
            }
        }
    }
}

struct Upkeep {
    node: Arc<Node>,
    /// For how long this primary has not been able to answer by now.
    unheard_ms: u64,
    /// The settings of the cluster that were last seen.
    settings: Option<Settings>,
}

impl Upkeep {
    /// There is more to do, after this much rest.
    fn round(&mut self) -> Option<Duration> {
        let left_out = self.node.tick();
        self.tell(left_out);
        self.tell_settings();
        let piece = Piecework::begin(&self.node);
        match self.node.step() {
            Ok(steps) => {
                report(&steps);
                let rest = piece.end();
                steps.more.then_some(if steps.urgent { Duration::ZERO } else { rest })
            }
            // Nothing is lost: the next round tries again.
            Err(CallRefused::NotPrimary | CallRefused::Overloaded { .. }) => None,
            Err(error) => {
                tracing::error!("upkeep was refused: {error}");
                None
            }
        }
    }

    /// Once a state has settings, they are the cluster's.
    fn tell_settings(&mut self) {
        let InForce { settings, changed_seq, .. } = self.node.state().settings();
        if changed_seq == 0 || self.settings == Some(settings) {
            return;
        }
        match self.settings.replace(settings) {
            Some(before) => {
                let changes = cluster_settings::told(&before.differences(&settings));
                tracing::info!("settings of the cluster have changed: {changes}");
            }
            None => {
                let differences = self.node.config.state.to_metadata().settings.differences(&settings);
                if !differences.is_empty() {
                    let differences = cluster_settings::told(&differences);
                    tracing::warn!("the cluster has other settings than this member was started with: {differences}");
                }
            }
        }
    }

    fn tell(&mut self, LeftOut { stalled_ms, unheard_ms }: LeftOut) {
        if stalled_ms > 0 {
            tracing::warn!(stalled_ms, "this process stood still; every time-out is extended by that");
        }
        if unheard_ms > 0 {
            // A standby hears no clients at any time, and no time-out runs on its clock.
            self.unheard_ms = if self.node.leads() { self.unheard_ms + unheard_ms } else { 0 };
            return;
        }
        let unheard_ms = std::mem::take(&mut self.unheard_ms);
        if unheard_ms >= UNHEARD_TOLD_MS {
            tracing::warn!(unheard_ms, "this primary could not answer its clients; every time-out is extended by that");
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
