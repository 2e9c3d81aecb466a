//! The place of the primary goes to another member, while both live: nothing is lost and nobody waits for a tenure.
//!
//! ```text
//!   drain (nothing new is taken) ─► all that was taken is committed ─► the heir has compared itself, and is the same
//!                                                                                    │
//!                                    the heir takes over, the rest is redirected ◄── resign
//! ```
//!
//! Invariants: the heir is told only after this member has stopped answering, and only if it is the same behind the last change;
//! if the heir does not take over, this member, or another one of the set, does after the usual wait; unless this member is about to
//! end: then it claims nothing from the moment on at which it leads no more, however that came about: an heir that is slow must find
//! its set as it was.
//!
//! Deliberately absent: moving clients. They are redirected when they call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coordinator::MemberInfo;
use election::{Event, Incarnation};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::boot_ms;
use crate::pair::Pair;
use crate::pair::peers::Peer;
use crate::pair::seat::{Resigned, Role};

/// Between two looks at who could take over.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// For somebody to be in sync.
const SYNC_WITHIN: Duration = Duration::from_secs(2);
/// For what was taken to be committed.
const DRAIN_WITHIN: Duration = Duration::from_millis(1000);
/// For the heir to compare itself, and to be repaired if it differs in little.
const COMPARED_WITHIN: Duration = Duration::from_millis(500);
/// Of both. In the first one something may still have been under way; nothing new is begun.
const ROUNDS_MAX: usize = 3;
/// For the heir to take over.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// Who leads now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transferred {
    pub(crate) to: String,
    pub(crate) address: String,
    pub(crate) epoch: u64,
    /// From the first call that was not taken until the heir was seen to lead.
    pub(crate) took: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotTransferred {
    #[error("this member is not the primary")]
    NotPrimary,
    #[error("{name:?} is the primary already")]
    Already { name: String },
    #[error("there is no member {name:?}; in sync are: {insync}")]
    Unknown { name: String, insync: String },
    #[error("no other member is in sync: nobody could take over without loss")]
    NobodyInSync,
    #[error("{to:?} may be leaving the in-sync set; this member goes on as the primary")]
    HeirLeaves { to: String },
    #[error("what was taken was not committed within {0:?}; this member goes on as the primary")]
    NotDrained(Duration),
    #[error("{to:?} has not compared itself within {waited:?} with this member, which goes on as the primary")]
    NotCompared { to: String, waited: Duration },
    #[error("{to:?} is not the same as this member, which goes on as the primary: see `understudy verify`")]
    Differs { to: String },
    #[error("{to:?} has not taken over within {waited:?}; the members of the set elect a primary in the usual way")]
    NotTaken { to: String, waited: Duration },
}

impl NotTransferred {
    /// Right after a takeover, or a repair, nobody is in sync for a moment.
    fn may_pass(&self) -> bool {
        use NotTransferred::{HeirLeaves, NobodyInSync, Unknown};
        matches!(self, NobodyInSync | Unknown { .. } | HeirLeaves { .. })
    }
}

impl Pair {
    /// To the member of this name, or to any, as soon as it is in sync.
    pub(crate) async fn transfer(&self, to: Option<&str>) -> Result<Transferred, NotTransferred> {
        let began = Instant::now();
        loop {
            let given = match self.heir(to) {
                Ok((heir, info)) => self.give_to(heir, info).await,
                Err(why) => Err(why),
            };
            match given {
                Err(why) if why.may_pass() && began.elapsed() < SYNC_WITHIN => sleep(Duration::from_millis(10)).await,
                given => return given,
            }
        }
    }

    async fn give_to(&self, heir: Incarnation, info: MemberInfo) -> Result<Transferred, NotTransferred> {
        let epoch = self.seat.leads().ok_or(NotTransferred::NotPrimary)?;
        let began = Instant::now();
        let gate = self.node.gate();
        let draining = gate.drain();
        let mut rounds = 1;
        while !self.settled(heir, &info.name).await? {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return Err(NotTransferred::NotDrained(DRAIN_WITHIN));
            }
        }
        let mut roles = self.seat.roles();
        match self.seat.resign(epoch, heir) {
            Resigned::Done => {}
            Resigned::ReignIsOver => return Err(NotTransferred::NotPrimary),
            Resigned::HeirLeaves => return Err(NotTransferred::HeirLeaves { to: info.name }),
        }
        drop(draining);
        gate.hint(&info.address, epoch);
        tracing::info!(to = info.name, epoch, "the place of the primary is given to another member");
        let moved = roles.wait_for(|role| match *role {
            Role::Follow { epoch: now, .. } | Role::Lead { epoch: now } => now > epoch,
            Role::Starting | Role::Deposed { .. } => false,
        });
        let not_taken = || NotTransferred::NotTaken { to: info.name.clone(), waited: TAKEN_WITHIN };
        match timeout(TAKEN_WITHIN, moved).await {
            Ok(Ok(role)) if matches!(*role, Role::Follow { primary, .. } if primary == heir) => {}
            _ => return Err(not_taken()),
        }
        let now = self.seat.known().map_or(epoch, |known| known.record.epoch);
        Ok(Transferred { to: info.name, address: info.address, epoch: now, took: began.elapsed() })
    }

    /// The heir is the same as this member, behind the last entry. False: something was logged since it has compared itself. It could
    /// take over without that, and then this member, which has applied it, would need a full sync.
    async fn settled(&self, heir: Incarnation, name: &str) -> Result<bool, NotTransferred> {
        let drained = timeout(DRAIN_WITHIN, self.drained()).await;
        drained.map_err(|_| NotTransferred::NotDrained(DRAIN_WITHIN))?;
        let at = self.compared(heir, name).await?;
        Ok(self.node.tail().appended().get() == at)
    }

    /// The heir has applied everything up to there, and is the same as this member; where it was not, it has been repaired.
    async fn compared(&self, heir: Incarnation, name: &str) -> Result<u64, NotTransferred> {
        let not_compared = || NotTransferred::NotCompared { to: name.to_owned(), waited: COMPARED_WITHIN };
        let at = self.node.log_digests().map_err(|_| not_compared())?.seq;
        self.node.tail().awaited().advance(at);
        self.peers.await_comparison(at);
        // No comparison of before can be that far: what was applied is committed, and stands in this log below the new entry.
        let is_same = |peer: &Peer| peer.is_sound() && peer.verified.load(Ordering::Relaxed) >= at;
        let compared = async {
            while !self.peers.of(heir).is_some_and(|peer| is_same(&peer)) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let compared = timeout(COMPARED_WITHIN, compared).await;
        self.peers.await_comparison(0);
        compared.map(|()| at).map_err(|_| match self.peers.of(heir) {
            Some(peer) if !peer.is_sound() => NotTransferred::Differs { to: name.to_owned() },
            _ => not_compared(),
        })
    }

    /// Before this process ends: so that nobody has to wait, and nothing is lost that another member could have held. Best
    /// effort; whoever calls it bounds its time.
    pub(crate) async fn hand_over(&self) {
        loop {
            self.seat.event(Event::Retire);
            if self.seat.claims() {
                // Whether it comes to be is not known yet.
                sleep(LOOK_AGAIN).await;
                continue;
            }
            if self.seat.leads().is_none() {
                return;
            }
            let given = match self.heir(None) {
                Ok((heir, info)) => self.give_to(heir, info).await,
                Err(why) => Err(why),
            };
            match given {
                Ok(Transferred { to, epoch, .. }) => tracing::info!(to, epoch, "handed over before the stop"),
                // It needs a moment, and is all there will be.
                Err(why) if why.may_pass() && self.somebody_comes() => {
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
                Err(NotTransferred::NobodyInSync) => {
                    tracing::info!("there is no other member: nobody takes over before the stop");
                }
                Err(error) => tracing::warn!("not handed over before the stop: {error}"),
            }
            return;
        }
    }

    /// Some other member is connected to this one, and will be in sync.
    fn somebody_comes(&self) -> bool {
        !self.peers.list().is_empty()
    }

    fn heir(&self, to: Option<&str>) -> Result<(Incarnation, MemberInfo), NotTransferred> {
        if self.seat.leads().is_none() {
            return Err(NotTransferred::NotPrimary);
        }
        if to == Some(self.node.name.as_str()) {
            return Err(NotTransferred::Already { name: self.node.name.clone() });
        }
        let members = self.members();
        let fresh_ms = 4 * self.settings.beacon_ms;
        let may_lead = |info: &&MemberInfo| {
            // One that is about to end, or stands still, would not take over.
            let is_heard = self.seat.peer(info.who).is_some_and(|(_, echo_ms)| boot_ms() < echo_ms + fresh_ms);
            // One that differs from this member is about to leave the set.
            let is_sound = self.peers.of(info.who).is_none_or(|peer| peer.is_sound());
            is_heard && is_sound && self.seat.may_succeed(info.who)
        };
        let insync: Vec<&MemberInfo> = members.iter().filter(may_lead).collect();
        let found = match to {
            Some(name) => insync.iter().find(|info| info.name == name),
            None => insync.iter().max_by_key(|info| self.seat.peer(info.who)),
        };
        match (found, to) {
            (Some(info), _) => Ok((info.who, (*info).clone())),
            (None, Some(name)) => {
                let names: Vec<&str> = insync.iter().map(|info| info.name.as_str()).collect();
                Err(NotTransferred::Unknown { name: name.to_owned(), insync: names.join(", ") })
            }
            (None, None) => Err(NotTransferred::NobodyInSync),
        }
    }

    /// Everything that was taken is committed. A call that was just being taken may still come; it waits for its answer
    /// elsewhere then.
    async fn drained(&self) {
        let tail = Arc::clone(&self.node.tail());
        loop {
            let appended = tail.appended().get();
            tail.awaited().advance(appended);
            if tail.committed().wait(appended).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
            if tail.appended().get() == appended {
                return;
            }
        }
    }
}
