//! The config record: the only truth about roles. It lives in the coordinator, bound to no lease,
//! and is changed only by compare-and-swap on its revision.
//!
//! Invariants of two records that follow each other: the version rises; the epoch never falls; a
//! change of the primary raises the epoch by one; the primary is in the in-sync set; a new primary
//! was in the set before, or begins with nothing, and says so. A coordinator that was rolled back
//! breaks the first of these, which is how members notice it.

use std::collections::BTreeSet;
use std::fmt;

use crate::timing::{Millis, Timing, outlasts_ms};

/// A member's number. It never changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberId(pub u64);

/// A member with one continuous memory. A member that lost its state comes back as another
/// incarnation, which is not the one in the set.
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
    /// Rises with each swap. The store's own revision cannot replace it: a store that was restored
    /// from a backup continues with the backup's revision, or with any other.
    pub version: u64,
    /// The id of the store that this was written to. In another store this is a copy. 0: unknown.
    pub store: u64,
    pub epoch: u64,
    pub primary: Incarnation,
    /// The members that hold every acknowledged write. Only they may be promoted.
    pub insync: BTreeSet<Incarnation>,
    /// The lowest feature level among the members. A primary uses nothing above it.
    pub level: u32,
    /// The last epoch that began with nothing: 1, or a later one if every member of the set before
    /// was lost.
    pub born: u64,
    /// The primary of this epoch stops answering when this time has passed since it sent the last
    /// read which showed that it still leads. `None`: the coordinator does not bound it, so time
    /// alone cannot prove that it has ended.
    pub confirm_within_ms: Option<Millis>,
    /// The timing of the cluster. `None`: the writer of this record could not know it, and the
    /// primary adds the timing that it goes by.
    pub timing: Option<Timing>,
}

/// A record as the coordinator stores it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    pub record: ConfigRecord,
    pub revision: u64,
}

/// The newest that a member knows of its cluster. The coordinator must not show anything older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seen {
    pub cluster_id: u128,
    pub epoch: u64,
    pub version: u64,
}

impl ConfigRecord {
    /// Whether `who` is the primary or in the set.
    pub fn names(&self, who: Incarnation) -> bool {
        self.primary == who || self.insync.contains(&who)
    }

    /// Epochs and versions stay below this, so that they never overflow. A higher number in the
    /// coordinator is damage.
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

    /// The same record with the next version. This settles the outcome of swaps without an answer.
    pub fn renewed(&self) -> ConfigRecord {
        ConfigRecord { version: self.version + 1, ..self.clone() }
    }

    /// The record of the same cluster and primary that replaces what a coordinator with lost data
    /// shows.
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

    /// `who` takes over, alone in the set.
    pub fn promoted(&self, who: Incarnation) -> ConfigRecord {
        ConfigRecord { epoch: self.epoch + 1, primary: who, insync: BTreeSet::from([who]), ..self.renewed() }
    }

    /// All members that held anything are lost: `who` begins with nothing.
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

    /// The same record with this timing for the cluster.
    pub fn timed(self, timing: Timing) -> ConfigRecord {
        ConfigRecord { timing: Some(timing), ..self }
    }

    /// Its epoch begins with nothing, because all members of an earlier epoch were lost.
    pub fn begins_anew(&self) -> bool {
        self.born == self.epoch && self.epoch > 1
    }

    /// For how long the primary of the epoch before may go on to answer, by this record alone. A
    /// member that begins anew waits for that long, and may end before the time is over. No other
    /// member is in the set until it leads.
    pub(crate) fn outlasts_last_ms(&self) -> Millis {
        let may_wait = self.begins_anew() && self.insync.len() == 1;
        self.confirm_within_ms.filter(|_| may_wait).map_or(0, outlasts_ms)
    }

    /// For an epoch that begins: how its primary is bound.
    pub fn confirmed_within(self, ms: Option<Millis>) -> ConfigRecord {
        ConfigRecord { confirm_within_ms: ms, ..self }
    }
}
