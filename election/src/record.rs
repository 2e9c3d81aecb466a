//! The config record: the only truth about roles. It lives in the coordinator, outlives every lease, and is changed
//! only by compare-and-swap on its revision.
//!
//! Invariants of any two records that follow each other: the epoch never falls; a change of the primary raises it by
//! one; the primary is in the in-sync set; a new primary was in the set before, or begins with nothing, and says so.

use std::collections::BTreeSet;
use std::fmt;

use crate::timing::{Millis, outlasts_ms};

/// A member's number, for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberId(pub u64);

/// A member with one continuous memory. Whoever lost its state comes back as another incarnation: it is no longer the
/// one in the set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    pub member: MemberId,
    pub number: u64,
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.member.0, self.number)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigRecord {
    pub cluster_id: u128,
    pub epoch: u64,
    pub primary: Incarnation,
    /// Those that hold every acknowledged write. Only they may be promoted.
    pub insync: BTreeSet<Incarnation>,
    /// Lowest feature level among the members; a writer uses nothing above it.
    pub level: u32,
    /// The epoch that began with nothing: 1, or a later one where every member of the set before was lost.
    pub born: u64,
    /// The primary of this epoch answers nobody for longer than this after it has asked for the record and was shown that it
    /// still leads. `None`: the coordinator does not bound it, so nobody can tell from time alone that it has ended.
    pub confirm_within_ms: Option<Millis>,
}

/// A record as the coordinator has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    pub record: ConfigRecord,
    pub revision: u64,
}

impl ConfigRecord {
    pub fn first(cluster_id: u128, primary: Incarnation, level: u32) -> ConfigRecord {
        let insync = BTreeSet::from([primary]);
        ConfigRecord { cluster_id, epoch: 1, primary, insync, level, born: 1, confirm_within_ms: None }
    }

    /// `who` takes over, alone.
    pub fn promoted(&self, who: Incarnation) -> ConfigRecord {
        ConfigRecord { epoch: self.epoch + 1, primary: who, insync: BTreeSet::from([who]), ..self.clone() }
    }

    /// All who held anything are lost: `who` begins with nothing.
    pub fn reborn(&self, who: Incarnation) -> ConfigRecord {
        ConfigRecord { born: self.epoch + 1, ..self.promoted(who) }
    }

    pub fn with(&self, who: Incarnation) -> ConfigRecord {
        let mut record = self.clone();
        record.insync.insert(who);
        record
    }

    pub fn without(&self, who: Incarnation) -> ConfigRecord {
        let mut record = self.clone();
        record.insync.remove(&who);
        record
    }

    /// Its epoch begins with nothing, after others: everybody before was lost.
    pub fn begins_anew(&self) -> bool {
        self.born == self.epoch && self.epoch > 1
    }

    /// For how long the primary of the epoch before may go on to answer, for all that this says. Whoever begins anew waits for
    /// that, and may have ended before it was over; nobody else is in the set until it leads.
    pub(crate) fn outlasts_last_ms(&self) -> Millis {
        let may_wait = self.begins_anew() && self.insync.len() == 1;
        self.confirm_within_ms.filter(|_| may_wait).map_or(0, outlasts_ms)
    }

    /// Of an epoch that begins: how its primary is bound.
    pub fn confirmed_within(self, ms: Option<Millis>) -> ConfigRecord {
        ConfigRecord { confirm_within_ms: ms, ..self }
    }

    /// Whether `next` may follow. Checked by whoever proposes it, and by the simulator for every swap.
    pub fn check_next(&self, next: &ConfigRecord) -> Result<(), RecordError> {
        let wrong = |rule| Err(RecordError { rule, from: Box::new(self.clone()), to: Box::new(next.clone()) });
        if next.cluster_id != self.cluster_id {
            return wrong("the cluster is another one");
        }
        if !next.insync.contains(&next.primary) {
            return wrong("the primary is not in the in-sync set");
        }
        let same_primary = next.primary == self.primary;
        let same_birth = next.born == self.born;
        match next.epoch.checked_sub(self.epoch) {
            Some(0) if !same_birth => wrong("another birth in the same epoch"),
            Some(0) if next.confirm_within_ms != self.confirm_within_ms => {
                wrong("another bound of the primary in the same epoch")
            }
            Some(0) if same_primary => Ok(()),
            Some(0) => wrong("another primary in the same epoch"),
            Some(1) if same_birth && self.insync.contains(&next.primary) => Ok(()),
            Some(1) if same_birth => wrong("the new primary was not in sync"),
            Some(1) if next.born == next.epoch && next.insync.len() == 1 => Ok(()),
            Some(1) => wrong("a birth in an epoch that is not this one's"),
            _ => wrong("the epoch does not follow"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{rule}: {from:?} to {to:?}")]
pub struct RecordError {
    pub rule: &'static str,
    pub from: Box<ConfigRecord>,
    pub to: Box<ConfigRecord>,
}
