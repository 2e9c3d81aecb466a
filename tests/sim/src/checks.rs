//! What must hold in every run: each promise that this simulator can see, checked when it could first be broken.

use std::collections::BTreeMap;

use crate::member::Entry;

#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Seq to entry: what clients were told has succeeded.
    acknowledged: BTreeMap<u64, Entry>,
    /// Epoch to the member that acknowledged or read in it.
    acted: BTreeMap<u64, usize>,
    pub(crate) acknowledgements: u64,
    pub(crate) reads: u64,
    pub(crate) takeovers: u64,
    pub(crate) rebirths: u64,
}

impl Checks {
    /// One primary per epoch acknowledges, and none after a later epoch has.
    fn acts(&mut self, member: usize, epoch: u64) {
        let first = *self.acted.entry(epoch).or_insert(member);
        assert_eq!(first, member, "two members acted as the primary of epoch {epoch}");
        let latest = self.acted.last_key_value().map(|(latest, _)| *latest);
        assert_eq!(latest, Some(epoch), "member {member} acted in epoch {epoch} after a later one had begun to");
    }

    pub(crate) fn acknowledge(&mut self, member: usize, epoch: u64, seq: u64, entry: Entry) {
        self.acts(member, epoch);
        self.acknowledgements += 1;
        let before = self.acknowledged.insert(seq, entry);
        assert!(
            before.is_none_or(|before| before == entry),
            "seq {seq} was acknowledged as {before:?} and as {entry:?}"
        );
    }

    /// A read tells of nothing that can be taken back, and misses nothing that was acknowledged.
    pub(crate) fn read(&mut self, member: usize, epoch: u64, log: &[Entry], committed: u64) {
        self.acts(member, epoch);
        self.reads += 1;
        let newest = self.acknowledged.last_key_value().map_or(0, |(seq, _)| *seq);
        assert!(newest <= committed, "member {member} reads at {committed}, {newest} was acknowledged");
        self.holds_all(member, log);
    }

    /// Acknowledged is a part of the state of every later primary.
    pub(crate) fn leads(&mut self, member: usize, log: &[Entry]) {
        self.takeovers += 1;
        self.holds_all(member, log);
    }

    /// Everybody who held what was acknowledged is gone: from here on that counts no more.
    pub(crate) fn reborn(&mut self) {
        self.rebirths += 1;
        self.acknowledged.clear();
    }

    fn holds_all(&self, member: usize, log: &[Entry]) {
        for (seq, entry) in &self.acknowledged {
            let held = log.get(*seq as usize - 1);
            assert_eq!(held, Some(entry), "member {member} leads without the acknowledged entry {seq}");
        }
    }
}
