//! Shows that this member is here, and keeps the list of the other members.
//!
//! Invariants: a presence that was lost is joined again, as the same incarnation, for as long as
//! the member lives; an earlier process of this member is called dead only on the kernel's word.

use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, Error, MemberInfo, Presence};
use election::{ConfigRecord, Event, Incarnation};
use member::{Role, incarnation, incarnation_to_wire};
use parking_lot::Mutex;
use proto::v1;
use tokio::time::{Instant, sleep, timeout};

use crate::pair::Pair;
use crate::process;

/// How often the announcement for clients is written again.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(200);
/// Hints may be missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(5);

/// A member that is not here, and that the record does not name, is forgotten after this. Longer
/// than leases need to be renewed after the coordinator was away.
const FORGET_AFTER_MS: u64 = 10_000;

/// The members that were last here.
#[derive(Debug)]
pub(crate) struct Roll(Mutex<replication::Roll<MemberInfo>>);

/// The name and the address for display: `b (10.0.0.8:7400)`.
pub fn named(info: &MemberInfo) -> String {
    format!("{} ({})", info.name, info.address)
}

impl Default for Roll {
    fn default() -> Roll {
        Roll(Mutex::new(replication::Roll::new(FORGET_AFTER_MS)))
    }
}

impl Roll {
    /// `members`: those that are here at `now_ms`. A member that is briefly missing, or that the
    /// record names, keeps its address and its secret.
    pub(crate) fn update(&self, members: Vec<MemberInfo>, record: Option<&ConfigRecord>, now_ms: u64) {
        let shown = members.into_iter().map(|info| (incarnation_to_wire(info.who), info));
        let is_named = |who: v1::Incarnation| record.is_some_and(|record| record.names(incarnation(&who)));
        self.0.lock().update(shown, is_named, now_ms);
    }

    pub(crate) fn find(&self, who: Incarnation) -> Option<MemberInfo> {
        self.0.lock().find(incarnation_to_wire(who)).cloned()
    }

    /// The name and the address for display: `b (10.0.0.8:7400)`.
    pub(crate) fn named(&self, who: Incarnation) -> String {
        match self.find(who) {
            Some(info) => named(&info),
            // Its next incarnation may be here by now, which an operator sees as the same member.
            None if let Some(info) = self.all().into_iter().find(|info| info.who.member == who.member) => named(&info),
            None => format!("a member that is not known here (number {:#x})", who.member.0),
        }
    }

    pub(crate) fn all(&self) -> Vec<MemberInfo> {
        self.0.lock().all().cloned().collect()
    }
}

/// The presence of a member that starts. An older presence under its name may be from its killed
/// predecessor: if that ran on this host, the kernel knows that it has ended; otherwise it goes
/// within a lease, and is waited for.
pub(crate) async fn first(
    coordinator: &dyn Coordinator,
    me: &MemberInfo,
    lease: Option<Duration>,
) -> Result<Box<dyn Presence>, Error> {
    let mut gone_by = None;
    let mut said = false;
    loop {
        let error = match coordinator.join(me.clone()).await {
            Ok(presence) => return Ok(presence),
            Err(error) => error,
        };
        match (&error, lease) {
            // The coordinator may start later than this member.
            (Error::Unavailable { .. }, _) => {}
            (Error::NameInUse { who, .. }, Some(_)) if bury(coordinator, *who).await => continue,
            (Error::NameInUse { .. }, Some(lease))
                if Instant::now() < *gone_by.get_or_insert_with(|| Instant::now() + lease * 2) => {}
            _ => return Err(error),
        }
        if !said {
            match (&error, lease) {
                (Error::NameInUse { address, .. }, Some(lease)) => tracing::info!(
                    address,
                    "what is left of this member's last process goes within {} s (with --guarded: at once)",
                    lease.as_secs()
                ),
                _ => tracing::warn!("waiting to join: {error}"),
            }
            said = true;
        }
        sleep(RETRY).await;
    }
}

/// True: `who` is proven dead, and the coordinator knows it.
async fn bury(coordinator: &dyn Coordinator, who: Incarnation) -> bool {
    let Ok(members) = coordinator.members().await else { return false };
    let left = members.into_iter().find(|info| info.who == who);
    let proven = left.is_some_and(|info| process::has_ended(&info.process));
    if proven {
        tracing::info!("this member's last process has ended: its place is free");
    }
    proven && coordinator.report_dead(who).await.is_ok()
}

/// Holds the presence, joins again when it is lost, and announces this member while it leads.
pub(crate) async fn keep(pair: Arc<Pair>, me: MemberInfo, mut presence: Box<dyn Presence>) {
    let mut standing = pair.node.gate().watch();
    let mut seen = pair.seat.seen();
    let mut me = me;
    loop {
        let knows = *seen.borrow_and_update();
        if me.seen != knows {
            match presence.tell(knows).await {
                Ok(()) => me.seen = knows,
                Err(error) => tracing::debug!("what this member knows could not be shown to others: {error}"),
            }
        }
        let epoch = pair.node.gate().epoch();
        let is_primary = pair.seat.look(|member, _| matches!(member.role(), Role::Lead { .. })) && epoch > 0;
        let mut again = ANNOUNCE_EVERY;
        if is_primary && let Err(error) = presence.announce(epoch).await {
            tracing::debug!(epoch, "the primary could not be announced: {error}");
            again = RETRY;
        }
        tokio::select! {
            () = presence.lost() => {}
            changed = standing.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            // What is known of the cluster rarely changes, and each change wakes every member.
            changed = seen.changed(), if me.seen == knows => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            // An operator may have deleted it.
            () = sleep(again), if is_primary => continue,
            () = sleep(RETRY), if me.seen != knows => continue,
        }
        tracing::warn!("the coordinator does not show this member any more; it joins again");
        if pair.settings.lease_outlives_process().is_none() {
            // From the drop on, other members may take it for dead.
            pair.seat.event(Event::Resign);
        }
        drop(presence);
        // From the first moment that it is shown again.
        me.seen = *seen.borrow_and_update();
        presence = loop {
            match pair.coordinator.join(me.clone()).await {
                Ok(presence) => break presence,
                Err(error) => tracing::debug!("cannot join again yet: {error}"),
            }
            sleep(RETRY).await;
        };
        tracing::info!("the coordinator shows this member again");
    }
}

pub(crate) async fn follow_members(pair: Arc<Pair>) {
    let mut changes = pair.coordinator.changes();
    // A standby that follows its primary asks the coordinator only here, so an answer also ends the
    // trouble that `ask` has seen.
    loop {
        changes.borrow_and_update();
        match pair.coordinator.members().await {
            Ok(members) => {
                pair.learn(members);
                *pair.seat.counts.coordinator_trouble.lock() = None;
            }
            Err(error) => {
                tracing::debug!("the members could not be read: {error}");
                *pair.seat.counts.coordinator_trouble.lock() = Some(error.to_string());
            }
        }
        match timeout(LOOK_AT_LEAST, changes.changed()).await {
            Ok(Ok(())) => pair.seat.event(Event::Hint),
            // No more hints come.
            Ok(Err(_)) => sleep(LOOK_AT_LEAST).await,
            Err(_) => {}
        }
    }
}
