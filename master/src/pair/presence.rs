//! Saying that this member is here, and knowing who else is.
//!
//! Invariant: a presence that was lost is joined again, as the same incarnation, for as long as the member lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, Error, MemberInfo, Presence};
use election::{Event, Incarnation, MemberId};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::pair::Pair;
use crate::pair::peers::leads;

/// What clients find at the coordinator is put there again this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(200);
/// Hints may fail to come.
const LOOK_AT_LEAST: Duration = Duration::from_secs(5);

/// The members that were here last.
#[derive(Debug)]
pub(crate) struct Roll(Mutex<BTreeMap<MemberId, MemberInfo>>);

impl Roll {
    pub(crate) fn new() -> Roll {
        Roll(Mutex::new(BTreeMap::new()))
    }

    pub(crate) fn update(&self, members: Vec<MemberInfo>) {
        // Whoever cannot be seen for a moment keeps its address.
        self.0.lock().extend(members.into_iter().map(|info| (info.who.member, info)));
    }

    pub(crate) fn find(&self, who: Incarnation) -> Option<MemberInfo> {
        self.0.lock().get(&who.member).filter(|info| info.who == who).cloned()
    }

    pub(crate) fn all(&self) -> Vec<MemberInfo> {
        self.0.lock().values().cloned().collect()
    }
}

/// The presence of a member that starts. What stands under its name may be what its killed predecessor left: that goes within
/// a lease, and is waited for.
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
            // It may come up later than this member.
            (Error::Unavailable { .. }, _) => {}
            (Error::Taken { .. }, Some(lease))
                if Instant::now() < *gone_by.get_or_insert_with(|| Instant::now() + lease * 2) => {}
            _ => return Err(error),
        }
        if !said {
            match (&error, lease) {
                (Error::Taken { address, .. }, Some(lease)) => tracing::info!(
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

/// Holds the presence, joins again when it is lost, and announces this member while it leads.
pub(crate) async fn keep(pair: Arc<Pair>, me: MemberInfo, mut presence: Box<dyn Presence>) {
    let mut standing = pair.node.gate().watch();
    loop {
        let epoch = pair.node.gate().epoch();
        let is_primary = leads(*pair.seat.roles().borrow()) && epoch > 0;
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
            // Somebody may have taken it away.
            () = sleep(again), if is_primary => continue,
        }
        tracing::warn!("the coordinator does not see this member any more; it joins again");
        if pair.settings.lease_outlives_process().is_none() {
            // From the drop on, others may take it for dead.
            pair.seat.event(Event::Resign);
        }
        drop(presence);
        presence = loop {
            match pair.coordinator.join(me.clone()).await {
                Ok(presence) => break presence,
                Err(error) => tracing::debug!("cannot join again yet: {error}"),
            }
            sleep(RETRY).await;
        };
        tracing::info!("the coordinator sees this member again");
    }
}

pub(crate) async fn follow_members(pair: Arc<Pair>) {
    let mut changes = pair.coordinator.changes();
    loop {
        changes.borrow_and_update();
        match pair.coordinator.members().await {
            Ok(members) => pair.roll.update(members),
            Err(error) => tracing::debug!("members are not known anew: {error}"),
        }
        match timeout(LOOK_AT_LEAST, changes.changed()).await {
            Ok(Ok(())) => pair.seat.event(Event::Hint),
            // No more hints come.
            Ok(Err(_)) => sleep(LOOK_AT_LEAST).await,
            Err(_) => {}
        }
    }
}
