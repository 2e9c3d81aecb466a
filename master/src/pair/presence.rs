//! Saying that this member is here, and knowing who else is.
//!
//! Invariants: a presence that was lost is joined again, as the same incarnation, for as long as the member lives; an earlier
//! process of this member is called dead only on the kernel's word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, Error, MemberInfo, Presence};
use election::{ConfigRecord, Event, Incarnation, MemberId};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::pair::Pair;
use crate::pair::peers::leads;
use crate::process;

/// What clients find at the coordinator is put there again this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(200);
/// Hints may fail to come.
const LOOK_AT_LEAST: Duration = Duration::from_secs(5);

/// A member that is not here, and that the record does not name, is forgotten after this. Longer than its leases need to be
/// renewed after the coordinator was away.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// The members that were here last.
#[derive(Debug, Default)]
pub(crate) struct Roll(Mutex<BTreeMap<MemberId, Seen>>);

#[derive(Debug)]
struct Seen {
    info: MemberInfo,
    /// The first look that did not find it any more. Time in which nobody could look does not count.
    missing_since: Option<Instant>,
}

impl Roll {
    /// `members`: who is here at `now`. Whoever cannot be seen for a moment, or is named in the record, keeps its address.
    pub(crate) fn update(&self, members: Vec<MemberInfo>, record: Option<&ConfigRecord>, now: Instant) {
        let mut roll = self.0.lock();
        for (id, seen) in roll.iter_mut() {
            if !members.iter().any(|info| info.who.member == *id) {
                seen.missing_since.get_or_insert(now);
            }
        }
        roll.extend(members.into_iter().map(|info| (info.who.member, Seen { info, missing_since: None })));
        let is_named = |who| record.is_some_and(|record| record.primary == who || record.insync.contains(&who));
        let is_gone = |since: Instant| now >= since + FORGET_AFTER;
        roll.retain(|_, seen| is_named(seen.info.who) || !seen.missing_since.is_some_and(is_gone));
    }

    pub(crate) fn find(&self, who: Incarnation) -> Option<MemberInfo> {
        self.0.lock().get(&who.member).map(|seen| &seen.info).filter(|info| info.who == who).cloned()
    }

    pub(crate) fn all(&self) -> Vec<MemberInfo> {
        self.0.lock().values().map(|seen| seen.info.clone()).collect()
    }
}

/// The presence of a member that starts. What stands under its name may be what its killed predecessor left: if that ran on
/// this host, the kernel knows that it has ended; else it goes within a lease, and is waited for.
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
            (Error::Taken { who, .. }, Some(_)) if bury(coordinator, *who).await => continue,
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

/// True: `who` is proven dead, and the coordinator knows.
async fn bury(coordinator: &dyn Coordinator, who: Incarnation) -> bool {
    let Ok(members) = coordinator.members().await else { return false };
    let left = members.into_iter().find(|info| info.who == who);
    let proven = left.is_some_and(|info| process::has_ended(&info.process));
    if proven {
        tracing::info!(?who, "this member's last process has ended: its place is free");
    }
    proven && coordinator.report_dead(who).await.is_ok()
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
            Ok(members) => pair.learn(members),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn info(member: u64, number: u64) -> MemberInfo {
        MemberInfo {
            who: Incarnation { member: MemberId(member), number },
            name: format!("m{member}"),
            address: format!("h{number}:1"),
            peer_address: format!("h{number}:2"),
            process: String::new(),
        }
    }

    fn ids(roll: &Roll) -> Vec<u64> {
        roll.all().into_iter().map(|info| info.who.member.0).collect()
    }

    #[test]
    fn member_that_left_is_forgotten_after_a_while_unless_the_record_names_it() {
        let (roll, began) = (Roll::default(), Instant::now());
        let record = ConfigRecord::first(1, info(1, 1).who, 1).with(info(2, 1).who);
        roll.update(vec![info(1, 1), info(2, 1), info(3, 1)], Some(&record), began);
        // Nobody could look for long: that says nothing of anybody.
        let late = began + FORGET_AFTER * 5;
        roll.update(vec![info(1, 1)], Some(&record), late);
        assert_eq!(ids(&roll), [1, 2, 3]);
        roll.update(vec![info(1, 1)], Some(&record), late + FORGET_AFTER / 2);
        assert_eq!(ids(&roll), [1, 2, 3]);
        roll.update(vec![info(1, 1)], Some(&record), late + FORGET_AFTER);
        assert_eq!(ids(&roll), [1, 2], "2 may be promoted");
        roll.update(vec![info(1, 1)], Some(&record.without(info(2, 1).who)), late + FORGET_AFTER);
        assert_eq!(ids(&roll), [1]);
    }

    #[test]
    fn member_that_comes_back_is_found_by_its_new_incarnation_alone() {
        let (roll, began) = (Roll::default(), Instant::now());
        roll.update(vec![info(1, 1)], None, began);
        roll.update(vec![], None, began);
        roll.update(vec![info(1, 2)], None, began + FORGET_AFTER);
        assert_eq!(roll.find(info(1, 2).who), Some(info(1, 2)));
        assert_eq!(roll.find(info(1, 1).who), None);
        roll.update(vec![], None, began + FORGET_AFTER * 2);
        assert_eq!(ids(&roll), [1], "missing since now only");
    }
}
