//! Whether the coordinator shows what members have seen, or something older because it was emptied,
//! restored from a backup, or replaced.
//!
//! What a member knows of the cluster only grows: each swap raises the version of the record, and a
//! primary tells its peers the version under which it leads. The coordinator has lost data if the
//! record is gone, if it is older than what the member knew when it sent the read, if it was
//! written to another store than the one that shows it, or if it is older than what another present
//! member has seen. A member does not act on such a record: it claims nothing and founds nothing. A
//! primary that may answer at that moment writes its record again.
//!
//! Deliberately absent: a member that saw only what a backup of the same store shows, while no
//! member is present that saw more. It cannot know better.

use crate::record::{ConfigRecord, Seen, Versioned};

/// What one read of the coordinator has shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Look {
    pub record: Option<Versioned>,
    /// The store's own id. 0: it has none.
    pub store: u64,
    /// The newest that another member of the record's cluster says to have seen. That member was
    /// present right before the record was read. Without a record: of any cluster. `None`: each of
    /// them says that it holds nothing. A member that leads need not ask.
    pub others: Option<Seen>,
    /// This member itself was present at that time, and so was no member of another cluster. If it
    /// was not present, the store may have forgotten other members, too, so no epoch is begun with
    /// nothing.
    pub is_present: bool,
}

/// How a coordinator has lost data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// There is no record, but a member has seen one.
    Gone,
    /// The record is older than one that a member has seen.
    RolledBack,
    /// The record was written to another store.
    Copy,
    /// It is the record of another cluster.
    AnotherCluster,
}

/// What a read means to a member that knows something already.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and gone as soon as they are looked at")]
pub(crate) enum Shown {
    Current(Versioned),
    /// There is no record, and no present member has seen one.
    Nothing,
    /// The member heard of something newer after it sent the read: it must read again.
    Outrun,
    Lost(Lost),
}

/// The newest that a member knows. Epoch and version may come from different sources; each only
/// grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Known {
    pub(crate) cluster_id: Option<u128>,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
}

impl From<Seen> for Known {
    fn from(Seen { cluster_id, epoch, version }: Seen) -> Known {
        Known { cluster_id: Some(cluster_id), epoch, version }
    }
}

impl Known {
    pub(crate) fn learn(&mut self, record: &ConfigRecord) {
        self.cluster_id.get_or_insert(record.cluster_id);
        self.hear(record.epoch, record.version);
    }

    pub(crate) fn hear(&mut self, epoch: u64, version: u64) {
        self.epoch = self.epoch.max(epoch);
        self.version = self.version.max(version);
    }

    pub(crate) fn seen(self) -> Option<Seen> {
        self.cluster_id.map(|cluster_id| Seen { cluster_id, epoch: self.epoch, version: self.version })
    }

    fn is_newer_than(self, record: &ConfigRecord) -> bool {
        record.epoch < self.epoch || record.version < self.version
    }

    /// `then`: what was known when the read was sent.
    pub(crate) fn judge(self, look: &Look, then: Known) -> Shown {
        let Some(found) = &look.record else {
            return match (then.epoch > 0, self.epoch > 0, look.others.is_some()) {
                (true, _, _) => Shown::Lost(Lost::Gone),
                (false, true, _) => Shown::Outrun,
                (false, false, true) => Shown::Lost(Lost::Gone),
                (false, false, false) => Shown::Nothing,
            };
        };
        let others = look.others.map_or(Known::default(), Known::from);
        if self.cluster_id.is_some_and(|known| known != found.record.cluster_id) {
            return Shown::Lost(Lost::AnotherCluster);
        }
        if found.record.is_copy_in(look.store) {
            return Shown::Lost(Lost::Copy);
        }
        let is_older = then.is_newer_than(&found.record) || others.is_newer_than(&found.record);
        match (is_older, self.is_newer_than(&found.record)) {
            (true, _) => Shown::Lost(Lost::RolledBack),
            (false, true) => Shown::Outrun,
            (false, false) => Shown::Current(found.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Incarnation, MemberId};

    fn record(epoch: u64, version: u64) -> ConfigRecord {
        let me = Incarnation { member: MemberId(1), number: 1 };
        ConfigRecord { epoch, version, store: 5, ..ConfigRecord::first(7, me, 1) }
    }

    fn look(record: ConfigRecord) -> Look {
        Look { record: Some(Versioned { record, revision: 3 }), store: 5, others: None, is_present: true }
    }

    fn known(epoch: u64, version: u64) -> Known {
        Known { cluster_id: Some(7), epoch, version }
    }

    fn lost(shown: Shown) -> Option<Lost> {
        match shown {
            Shown::Lost(lost) => Some(lost),
            Shown::Current(_) | Shown::Nothing | Shown::Outrun => None,
        }
    }

    #[test]
    fn record_that_is_not_older_than_what_is_known_counts() {
        let now = known(2, 9);
        for (epoch, version) in [(2, 9), (2, 10), (3, 10)] {
            let look = look(record(epoch, version));
            assert_eq!(now.judge(&look, now), Shown::Current(look.record.clone().expect("it has one")));
        }
    }

    #[test]
    fn older_version_or_epoch_means_lost_data_unless_the_read_is_older_still() {
        let now = known(2, 9);
        for (epoch, version) in [(2, 8), (1, 8), (1, 12), (3, 8)] {
            let look = look(record(epoch, version));
            assert_eq!(lost(now.judge(&look, now)), Some(Lost::RolledBack), "{epoch} {version}");
        }
        assert_eq!(now.judge(&look(record(2, 8)), known(2, 8)), Shown::Outrun);
        assert_eq!(now.judge(&look(record(1, 8)), known(1, 8)), Shown::Outrun);
    }

    #[test]
    fn record_of_another_store_or_cluster_never_counts() {
        let (now, copy) = (known(2, 9), Look { store: 6, ..look(record(4, 40)) });
        assert_eq!(lost(now.judge(&copy, now)), Some(Lost::Copy));
        assert_eq!(lost(Known::default().judge(&copy, Known::default())), Some(Lost::Copy));
        let other = look(ConfigRecord { cluster_id: 8, ..record(4, 40) });
        assert_eq!(lost(now.judge(&other, now)), Some(Lost::AnotherCluster));
        let unnamed = Look { store: 0, ..look(record(4, 40)) };
        assert_eq!(lost(now.judge(&unnamed, now)), None);
    }

    #[test]
    fn missing_record_means_nothing_only_if_no_present_member_has_seen_one() {
        let (empty, fresh) = (Look { store: 5, ..Look::default() }, Known::default());
        assert_eq!(fresh.judge(&empty, fresh), Shown::Nothing);
        assert_eq!(known(1, 1).judge(&empty, fresh), Shown::Outrun);
        assert_eq!(lost(known(1, 1).judge(&empty, known(1, 1))), Some(Lost::Gone));
        let survived = Look { others: known(3, 7).seen(), ..empty };
        assert_eq!(lost(fresh.judge(&survived, fresh)), Some(Lost::Gone));
    }

    #[test]
    fn what_another_member_has_seen_counts_like_what_this_one_has_seen() {
        let fresh = Known::default();
        let beside = |others: Known| fresh.judge(&Look { others: others.seen(), ..look(record(2, 9)) }, fresh);
        assert_eq!(lost(beside(known(2, 9))), None);
        assert_eq!(lost(beside(known(2, 10))), Some(Lost::RolledBack));
        assert_eq!(lost(beside(known(3, 9))), Some(Lost::RolledBack));
    }
}
