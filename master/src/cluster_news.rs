//! Log lines about changes of the cluster: which members hold what is acknowledged, the cluster's
//! settings, data that the coordinator has lost.
//!
//! Deliberately absent: consequences. All this has happened already.

use std::collections::BTreeSet;

use election::{ConfigRecord, Incarnation, Timing};
use member::{Action, Member};

use crate::clock::now_ms;
use crate::cluster_settings;
use crate::pair::Roll;

/// Logs the member's actions that are for the log only.
pub(crate) fn tell(action: &Action, member: &Member, roll: &Roll) {
    match action {
        Action::SetChanged { before, now } => tell_set((member, roll), &before.record, &now.record),
        Action::Retimed { from, to, is_first } => tell_timing(from, to, *is_first),
        Action::Unconfirmed { epoch } => tracing::warn!(
            epoch,
            "the coordinator has not confirmed for too long that this member leads: it resigns, so that another member of the set can take over"
        ),
        Action::WrongClock { who, error } => tracing::warn!(
            peer = roll.named(*who),
            ppm = error.ppm,
            "the clocks of this host and of another member's run at rates that differ by more than the protocol allows (25 per \
             mille each way). Look at NTP (slewing) on both hosts, and for a virtual machine that was stopped or moved; see \
             Clocks in ARCHITECTURE.md for what is covered"
        ),
        // Once for each way of losing it.
        Action::LostData { data, is_new: true } => tracing::error!(
            "LOST DATA: {data}. No member claims or founds anything on that; a primary that may answer writes its record \
             again, else see `understudy recover`"
        ),
        Action::Restores { epoch } => {
            tracing::warn!(epoch, "this primary writes its record again, in place of what the coordinator shows");
        }
        Action::LostData { is_new: false, .. }
        | Action::Read
        | Action::Swap { .. }
        | Action::Be(_)
        | Action::Standing
        | Action::LogDigests
        | Action::Transferred(_)
        | Action::Doubt(_) => {}
    }
}

/// The primary warns if one more failure may lose what is acknowledged. Its standbys log the same
/// at INFO.
fn tell_set((member, roll): (&Member, &Roll), before: &ConfigRecord, now: &ConfigRecord) {
    let left = &before.insync - &now.insync;
    let holders = format!("held by {}", names(roll, &now.insync));
    let gone = names(roll, &left);
    let come = names(roll, &(&now.insync - &before.insync));
    if !come.is_empty() {
        tracing::info!(epoch = now.epoch, "{come}: in the in-sync set now. Acknowledged writes are {holders}");
    }
    if gone.is_empty() {
        return;
    }
    let whys = left.iter().map(|who| why_gone(member, *who));
    let whys = whys.collect::<Vec<_>>().join("; ");
    let leads = now.primary == member.me();
    match (leads, now.insync.len()) {
        (true, 1) => tracing::warn!(
            epoch = now.epoch,
            "{gone}: no longer in the in-sync set ({whys}). This member alone holds what is acknowledged from now on, until \
             another one joins: start the one that is down, or look at its log"
        ),
        (true, _) => tracing::warn!(
            epoch = now.epoch,
            "{gone}: no longer in the in-sync set ({whys}). Acknowledged writes are {holders}. It joins again by itself: \
             start it if it is down, or look at its log"
        ),
        (false, _) => {
            tracing::info!(
                epoch = now.epoch,
                "{gone}: no longer in the in-sync set. Acknowledged writes are {holders}"
            );
        }
    }
}

fn names(roll: &Roll, set: &BTreeSet<Incarnation>) -> String {
    let mut names: Vec<String> = set.iter().map(|who| roll.named(*who)).collect();
    names.sort();
    names.join(", ")
}

/// The reason, as far as this member knows it as the primary.
fn why_gone(member: &Member, who: Incarnation) -> String {
    let Some(peer) = member.peers().find(|peer| peer.who == who) else { return "it is not connected".to_owned() };
    let behind = peer.sent.saturating_sub(peer.received);
    match peer.heard_ms.map(|at| now_ms().saturating_sub(at)) {
        _ if !peer.sound => "it differs from this member, and is repaired".to_owned(),
        None => "it has answered nothing yet".to_owned(),
        Some(silent_ms) if silent_ms >= member.election().timing().drop_after_ms => {
            format!("it has answered nothing for {silent_ms} ms")
        }
        Some(_) => format!("it was too slow: {behind} entries are on their way to it"),
    }
}

fn tell_timing(from: &Timing, to: &Timing, is_first: bool) {
    let pairs = from.named().into_iter().zip(to.named()).filter(|(from, to)| from != to);
    let changes: Vec<_> = pairs.map(|((name, from), (_, to))| (name, from.to_string(), to.to_string())).collect();
    let changes = cluster_settings::told(&changes);
    match is_first {
        true => tracing::warn!("the cluster has other settings than this member was started with: {changes}"),
        false => tracing::info!("settings of the cluster have changed: {changes}"),
    }
}
