//! What a standby knows of how far it is behind its primary. Nothing is known before the primary
//! said so.
//!
//! Invariant: as long as anything was heard, this member's state follows the log of the primary
//! that said it, or a full sync is under way. Both are forgotten together with the primary.
//!
//! Deliberately absent: anything that a decision about roles rests on.

use election::Millis;
use standby::SyncProgress;

use crate::fresh::Fresh;

#[derive(Debug, Default)]
pub(crate) struct News {
    /// The primary's committed seq, as it last said.
    committed: u64,
    /// When it said so. `None`: it has not said anything yet.
    heard_ms: Option<Millis>,
    in_sync: bool,
    sync: Option<SyncProgress>,
    fresh: Fresh,
}

impl News {
    /// Must be called before anything is applied that this allows to apply.
    pub(crate) fn committed(&mut self, committed: u64, as_of_ms: Millis) {
        self.committed = self.committed.max(committed);
        self.fresh.committed(committed, as_of_ms);
    }

    /// The message is accepted, with all its content.
    pub(crate) fn heard(&mut self, in_sync: bool, sync: Option<SyncProgress>, now: Millis) {
        (self.in_sync, self.sync, self.heard_ms) = (in_sync, sync, Some(now));
    }

    /// What the primary last said is committed, and how long ago.
    pub(crate) fn last(&self, now: Millis) -> Option<(u64, Millis)> {
        self.heard_ms.map(|heard_ms| (self.committed, now.saturating_sub(heard_ms)))
    }

    /// The moment such that a state which has applied this much holds all that was committed by
    /// then. `None`: not known.
    pub(crate) fn fresh_as_of_ms(&mut self, applied: u64) -> Option<Millis> {
        self.fresh.as_of_ms(applied)
    }

    /// Whether it is in sync, as the primary last said.
    pub(crate) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    pub(crate) fn sync(&self) -> Option<SyncProgress> {
        self.sync
    }

    /// What this member holds is a part of that primary's history.
    pub(crate) fn is_comparable(&self) -> bool {
        self.heard_ms.is_some() && self.sync.is_none()
    }
}
