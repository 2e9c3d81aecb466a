//! A transfer: the primary hands over to another member while both live. Nothing is lost, and no
//! client waits for a tenure.
//!
//! ```text
//!   drain (nothing new is accepted) ─► all that ran is committed ─► the heir has compared itself, and is the same
//!                     ▲                                                     │
//!                     └── something was logged since: another round ────────┤
//!                                                                           ▼
//!                              the heir takes over, the rest is redirected ◄── resign
//! ```
//!
//! Invariants: the heir is told only after this member has stopped answering, and only if it is the
//! same after the last change. If the heir does not take over, this member or another one of the
//! set does so after the usual wait. A member that is about to end never claims again after losing
//! the lead: a slow heir must find its set as it was.
//!
//! A transfer costs every client a pause. So a requested transfer is refused until this member has
//! led for `transfer_pause_ms`, and for as long after one that failed: this bounds what repeated
//! requests cost, whichever member leads. A member that is about to end does not wait.
//!
//! Deliberately absent: moving clients. They are redirected when they call. Names.

use election::{Event, Incarnation, Millis};

use crate::member::{Action, Member, Role};
use crate::settings::{COMPARED_WITHIN_MS, DRAIN_WITHIN_MS, TAKEN_WITHIN_MS, TRANSFER_ROUNDS_MAX};

/// Why the primary did not hand over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotTransferred {
    #[error("this member is not the primary")]
    NotPrimary,
    #[error("another transfer is under way")]
    Busy,
    #[error("the last transfer, or the start of this primary, was too recently: try again in {left_ms} ms")]
    TooSoon { left_ms: Millis },
    #[error("no other member is in sync: no member could take over without loss")]
    NobodyInSync,
    #[error("the heir may be leaving the in-sync set")]
    HeirLeaves,
    #[error("the calls that had run were not committed within {DRAIN_WITHIN_MS} ms")]
    NotDrained,
    #[error("the heir has not compared itself within {COMPARED_WITHIN_MS} ms with this member")]
    NotCompared,
    #[error("the heir is not the same as this member")]
    Differs,
    #[error("the heir has not taken over within {TAKEN_WITHIN_MS} ms")]
    NotTaken,
}

/// Why the primary hands over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occasion {
    /// An operator asks for it.
    Asked,
    /// This member is about to end.
    Ends,
}

/// The new primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transferred {
    pub to: Incarnation,
    pub epoch: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Drains {
        until_ms: Millis,
    },
    /// Waits for the digests to be logged after the last call that ran.
    Logs {
        until_ms: Millis,
    },
    /// The heir has received everything up to there, and compares itself.
    Compares {
        at: u64,
        until_ms: Millis,
    },
    /// This member does not lead any more.
    Resigned {
        until_ms: Millis,
    },
}

/// A transfer that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    heir: Incarnation,
    epoch: u64,
    rounds: u32,
    phase: Phase,
}

impl Member {
    /// Whether `who` could take over right now: it is in the set, has said nothing of a difference,
    /// and was heard from not long ago. A member that is about to end, or stands still, would not
    /// take over.
    pub fn is_heir(&self, who: Incarnation, now: Millis) -> bool {
        let fresh_ms = 4 * self.election.timing().beacon_ms;
        let is_heard = self.election.peer(who).is_some_and(|(_, echo_ms)| now < echo_ms.saturating_add(fresh_ms));
        let is_sound = self.peers.of(who).is_none_or(|peer| peer.sound);
        is_heard && is_sound && self.election.may_succeed(who)
    }

    /// Among the members that could take over, the one that holds most.
    pub fn best_heir(&self, now: Millis) -> Option<Incarnation> {
        let set = self.election.record().map(|known| &known.record.insync)?;
        let heirs = set.iter().copied().filter(|who| self.is_heir(*who, now));
        heirs.max_by_key(|who| self.election.peer(*who))
    }

    /// The end is reported by [`Action::Transferred`].
    pub fn transfer(&mut self, heir: Incarnation, occasion: Occasion, now: Millis) -> Result<(), NotTransferred> {
        if self.transfer.is_some() {
            return Err(NotTransferred::Busy);
        }
        let epoch = self.reign.as_ref().map(|reign| reign.epoch).ok_or(NotTransferred::NotPrimary)?;
        let left_ms = self.transfer_due_ms.saturating_sub(now);
        if occasion == Occasion::Asked && left_ms > 0 {
            return Err(NotTransferred::TooSoon { left_ms });
        }
        self.gate.drain();
        let phase = Phase::Drains { until_ms: now + DRAIN_WITHIN_MS };
        self.transfer = Some(Transfer { heir, epoch, rounds: 1, phase });
        self.go_on_with_transfer(now);
        Ok(())
    }

    /// A transfer is under way.
    pub fn gives(&self) -> bool {
        self.transfer.is_some()
    }

    /// The caller has stopped waiting. A resignation is not taken back.
    pub fn give_up_transfer(&mut self, now: Millis) {
        if self.transfer.is_some() {
            self.pause_transfers(now);
        }
        if self.transfer.take().is_some_and(|transfer| !matches!(transfer.phase, Phase::Resigned { .. })) {
            self.peers.awaited = 0;
            self.gate.undrain();
        }
    }

    pub(crate) fn pause_transfers(&mut self, now: Millis) {
        self.transfer_due_ms = now.saturating_add(self.settings.transfer_pause_ms);
    }

    /// The answer to [`Action::LogDigests`]: the seq of the digests; `None`: they could not be
    /// logged.
    pub fn on_digests_logged(&mut self, at: Option<u64>, now: Millis) {
        let Some(transfer) = &mut self.transfer else { return };
        if !matches!(transfer.phase, Phase::Logs { .. }) {
            return;
        }
        match at {
            Some(at) => {
                transfer.phase = Phase::Compares { at, until_ms: now + COMPARED_WITHIN_MS };
                self.peers.awaited = at;
                self.go_on_with_transfer(now);
            }
            None => self.end_transfer(Err(NotTransferred::NotCompared), now),
        }
    }

    /// Must be called after each event that may bring it further.
    pub(crate) fn go_on_with_transfer(&mut self, now: Millis) {
        let Some(transfer) = self.transfer else { return };
        let is_over = self.reign.as_ref().is_none_or(|reign| reign.epoch != transfer.epoch);
        match transfer.phase {
            Phase::Resigned { until_ms } => self.look_for_heir(transfer, until_ms, now),
            Phase::Drains { .. } | Phase::Logs { .. } | Phase::Compares { .. } if is_over => {
                self.end_transfer(Err(NotTransferred::NotPrimary), now);
            }
            Phase::Drains { until_ms } => self.on_draining(transfer, until_ms, now),
            Phase::Logs { until_ms } if now >= until_ms => self.end_transfer(Err(NotTransferred::NotCompared), now),
            Phase::Logs { .. } => {}
            Phase::Compares { at, until_ms } => self.on_comparing(transfer, (at, until_ms), now),
        }
    }

    fn on_draining(&mut self, transfer: Transfer, until_ms: Millis, now: Millis) {
        let Some(tail) = self.reign.as_ref().map(|reign| &reign.tail) else { return };
        if tail.committed().get() < tail.appended().get() {
            if now >= until_ms {
                self.end_transfer(Err(NotTransferred::NotDrained), now);
            }
            return;
        }
        let phase = Phase::Logs { until_ms: now + COMPARED_WITHIN_MS };
        self.transfer = Some(Transfer { phase, ..transfer });
        self.out.push(Action::LogDigests);
    }

    fn on_comparing(&mut self, transfer: Transfer, (at, until_ms): (u64, Millis), now: Millis) {
        let peer = self.peers.of(transfer.heir);
        // No earlier comparison can be at this seq: what was applied is committed, and is below the
        // new entry in this log.
        let is_same = peer.is_some_and(|peer| peer.sound && peer.verified >= at);
        if is_same {
            return self.on_same(transfer, at, now);
        }
        if now >= until_ms {
            let differs = peer.is_some_and(|peer| !peer.sound);
            self.end_transfer(Err(if differs { NotTransferred::Differs } else { NotTransferred::NotCompared }), now);
        }
    }

    /// The heir is the same as this member up to entry `at`.
    fn on_same(&mut self, transfer: Transfer, at: u64, now: Millis) {
        let Some(appended) = self.reign.as_ref().map(|reign| reign.tail.appended().get()) else { return };
        if appended != at {
            // The heir could take over without that entry. Then this member, which has applied it,
            // would need a full sync.
            if transfer.rounds >= TRANSFER_ROUNDS_MAX {
                return self.end_transfer(Err(NotTransferred::NotDrained), now);
            }
            let phase = Phase::Drains { until_ms: now + DRAIN_WITHIN_MS };
            self.transfer = Some(Transfer { phase, rounds: transfer.rounds + 1, ..transfer });
            return;
        }
        // No heir may claim on lost data.
        if !self.election.may_succeed(transfer.heir) || self.election.lost().is_some() {
            return self.end_transfer(Err(NotTransferred::HeirLeaves), now);
        }
        let phase = Phase::Resigned { until_ms: now + TAKEN_WITHIN_MS };
        self.transfer = Some(Transfer { phase, ..transfer });
        self.peers.awaited = 0;
        self.heir = Some(transfer.heir);
        self.on(Event::Resign, now);
    }

    fn look_for_heir(&mut self, transfer: Transfer, until_ms: Millis, now: Millis) {
        let moved = match self.role {
            Role::Follow { primary, epoch } if epoch > transfer.epoch => Some((primary, epoch)),
            Role::Lead { epoch } if epoch > transfer.epoch => Some((self.me, epoch)),
            Role::Starting | Role::Follow { .. } | Role::Lead { .. } | Role::Deposed { .. } => None,
        };
        match moved {
            Some((to, epoch)) if to == transfer.heir => self.end_transfer(Ok(Transferred { to, epoch }), now),
            Some(_) => self.end_transfer(Err(NotTransferred::NotTaken), now),
            None if now >= until_ms => self.end_transfer(Err(NotTransferred::NotTaken), now),
            None => {}
        }
    }

    fn end_transfer(&mut self, end: Result<Transferred, NotTransferred>, now: Millis) {
        self.transfer = None;
        // If an heir may be leaving, its caller tries again at once.
        if end != Err(NotTransferred::HeirLeaves) {
            self.pause_transfers(now);
        }
        self.peers.awaited = 0;
        self.gate.undrain();
        self.out.push(Action::Transferred(end));
    }
}
