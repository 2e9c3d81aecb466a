//! The config record: the only truth about roles. It lives in the coordinator, outlives every
//! lease, and is changed only by compare-and-swap on its revision.
//!
//! Invariants of any two records that follow each other: the version rises; the epoch never falls;
//! a change of the primary raises the epoch by one; the primary is in the in-sync set; a new
//! primary was in the set before, or begins with nothing, and says so. A coordinator that was
//! rolled back breaks the first of these, which is how its members notice.

use std::collections::BTreeSet;
use std::fmt;

use crate::timing::{Millis, Timing, outlasts_ms};

/// A member's number, for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberId(pub u64);

/// A member with one continuous memory. Whoever lost its state comes back as another incarnation:
/// it is no longer the one in the set.
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
    /// Rises with each swap. The store's own revision cannot stand for it: a store that was
    /// restored from a backup counts on from the backup's revision, or from any other.
    pub version: u64,
    /// The store that this was written to, as the store calls itself. In another store it is a
    /// copy. 0: unknown.
    pub store: u64,
    pub epoch: u64,
    pub primary: Incarnation,
    /// Those that hold every acknowledged write. Only they may be promoted.
    pub insync: BTreeSet<Incarnation>,
    /// Lowest feature level among the members; a writer uses nothing above it.
    pub level: u32,
    /// The epoch that began with nothing: 1, or a later one where every member of the set before
    /// was lost.
    pub born: u64,
    /// The primary of this epoch answers nobody for longer than this after it has asked for the
    /// record and was shown that it still leads. `None`: the coordinator does not bound it, so
    /// nobody can tell from time alone that it has ended.
    pub confirm_within_ms: Option<Millis>,
    /// What all members go by. `None`: whoever wrote it could not know, and the primary adds what
    /// it goes by.
    pub timing: Option<Timing>,
}

/// A record as the coordinator has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    pub record: ConfigRecord,
    pub revision: u64,
}

/// The newest that a member knows of its cluster. What a coordinator shows must not be older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seen {
    pub cluster_id: u128,
    pub epoch: u64,
    pub version: u64,
}

impl ConfigRecord {
    /// As the primary, or in the set.
    pub fn names(&self, who: Incarnation) -> bool {
        self.primary == who || self.insync.contains(&who)
    }

    /// Epochs and versions stay below this, so that counting on never overflows. What a coordinator
    /// shows beyond it is damage.
    pub const NUMBER_MAX: u64 = 1 << 62;

    pub fn first(cluster_id: u128, primary: Incarnation, level: u32) -> ConfigRecord {
        let insync = BTreeSet::from([primary]);
        ConfigRecord {
            cluster_id,
            version: 1,
            store: 0,
            epoch: 1,
            primary,
            insync,
            level,
            born: 1,
            confirm_within_ms: None,
            timing: None,
        }
    }

    pub fn seen(&self) -> Seen {
        Seen { cluster_id: self.cluster_id, epoch: self.epoch, version: self.version }
    }

    /// The same once more: it settles what has become of swaps without an answer.
    pub fn renewed(&self) -> ConfigRecord {
        ConfigRecord { version: self.version + 1, ..self.clone() }
    }

    /// The same cluster goes on under its primary, in place of what a coordinator that has lost
    /// data shows.
    pub(crate) fn restored(&self, found: Option<&ConfigRecord>) -> ConfigRecord {
        let behind = |of: fn(&ConfigRecord) -> u64| of(self).max(found.map_or(0, of)) + 1;
        let (epoch, version) = (behind(|record| record.epoch), behind(|record| record.version));
        ConfigRecord { epoch, version, insync: BTreeSet::from([self.primary]), ..self.clone() }
    }

    pub(crate) fn in_store(self, store: u64) -> ConfigRecord {
        ConfigRecord { store, ..self }
    }

    /// It was written to another store than the one that shows it.
    pub fn is_copy_in(&self, store: u64) -> bool {
        self.store != store && self.store != 0 && store != 0
    }

    /// `who` takes over, alone.
    pub fn promoted(&self, who: Incarnation) -> ConfigRecord {
        ConfigRecord { epoch: self.epoch + 1, primary: who, insync: BTreeSet::from([who]), ..self.renewed() }
    }

    /// All who held anything are lost: `who` begins with nothing.
    pub fn reborn(&self, who: Incarnation) -> ConfigRecord {
        ConfigRecord { born: self.epoch + 1, ..self.promoted(who) }
    }

    pub fn with(&self, who: Incarnation) -> ConfigRecord {
        let mut record = self.renewed();
        record.insync.insert(who);
        record
    }

    pub fn without(&self, who: Incarnation) -> ConfigRecord {
        let mut record = self.renewed();
        record.insync.remove(&who);
        record
    }

    /// What all members are to go by from here on.
    pub fn timed(self, timing: Timing) -> ConfigRecord {
        ConfigRecord { timing: Some(timing), ..self }
    }

    /// Its epoch begins with nothing, after others: everybody before was lost.
    pub fn begins_anew(&self) -> bool {
        self.born == self.epoch && self.epoch > 1
    }

    /// For how long the primary of the epoch before may go on to answer, for all that this says.
    /// Whoever begins anew waits for that, and may have ended before it was over; nobody else is in
    /// the set until it leads.
    pub(crate) fn outlasts_last_ms(&self) -> Millis {
        let may_wait = self.begins_anew() && self.insync.len() == 1;
        self.confirm_within_ms.filter(|_| may_wait).map_or(0, outlasts_ms)
    }

    /// Of an epoch that begins: how its primary is bound.
    pub fn confirmed_within(self, ms: Option<Millis>) -> ConfigRecord {
        ConfigRecord { confirm_within_ms: ms, ..self }
    }
}
