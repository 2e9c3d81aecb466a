//! The small values of a state: a member's life, a set of lives, a log.
//!
//! A state is hashed a hundred million times, so each of these is a number.

use std::fmt;

/// Slots for members. An instance with fewer members leaves the last ones empty.
pub(crate) const SLOTS: usize = 3;
/// Lives of one member: the first, and one more for each loss of its memory.
pub(crate) const LIVES: usize = 3;

/// A member with one continuous memory: what the core calls an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who(u8);

impl Who {
    pub(crate) fn new(slot: usize, life: u8) -> Who {
        assert!(slot < SLOTS && (life as usize) < LIVES, "member {slot} has no life {life}");
        Who((slot * LIVES) as u8 + life)
    }

    pub(crate) fn slot(self) -> usize {
        self.0 as usize / LIVES
    }

    pub(crate) fn life(self) -> u8 {
        self.0 % LIVES as u8
    }

    /// Its index in an array over all lives.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The same life, if `to[slot]` is the new slot of each member.
    pub(crate) fn moved(self, to: [usize; SLOTS]) -> Who {
        Who::new(to[self.slot()], self.life())
    }
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", ["a", "b", "c"][self.slot()], self.life() + 1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Set(u16);

impl Set {
    pub(crate) fn of(who: Who) -> Set {
        Set(1 << who.0)
    }

    pub(crate) fn with(self, who: Who) -> Set {
        Set(self.0 | 1 << who.0)
    }

    pub(crate) fn without(self, who: Who) -> Set {
        Set(self.0 & !(1 << who.0))
    }

    pub(crate) fn union(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    pub(crate) fn contains(self, who: Who) -> bool {
        self.0 & 1 << who.0 != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Who> {
        (0..(SLOTS * LIVES) as u8).map(Who).filter(move |who| self.contains(*who))
    }

    pub(crate) fn moved(self, to: [usize; SLOTS]) -> Set {
        self.iter().fold(Set::default(), |set, who| set.with(who.moved(to)))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Four bits for each entry: the epoch in which it was appended. One primary appends in an epoch,
/// so an index in the log and an epoch identify the entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Log(u16);

impl Log {
    pub(crate) fn len(self) -> u8 {
        (4 - self.0.leading_zeros() / 4) as u8
    }

    pub(crate) fn append(&mut self, epoch: u8) {
        assert!(self.len() < 4 && 0 < epoch && epoch < 16, "no room for epoch {epoch} behind {self:?}");
        self.0 |= u16::from(epoch) << (4 * self.len());
    }

    /// The first `len` entries.
    pub(crate) fn prefix(self, len: u8) -> Log {
        Log(self.0 & ((1_u32 << (4 * len)) - 1) as u16)
    }

    pub(crate) fn starts_with(self, other: Log) -> bool {
        self.prefix(other.len()) == other
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len()).map(|at| self.0 >> (4 * at) & 15)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, Set, Who};

    #[test]
    fn a_log_is_its_entries_in_their_order() {
        let mut log = Log::default();
        for (len, epoch) in [1, 1, 3, 2].into_iter().enumerate() {
            assert_eq!(log.len() as usize, len);
            log.append(epoch);
        }
        assert_eq!(format!("{log:?}"), "[1, 1, 3, 2]");
        assert_eq!(format!("{:?}", log.prefix(3)), "[1, 1, 3]");
        assert_eq!(log.prefix(4), log);
        assert!(log.starts_with(log.prefix(2)) && !log.prefix(2).starts_with(log));
    }

    #[test]
    fn lives_of_one_member_are_different_ones() {
        let (first, second) = (Who::new(1, 0), Who::new(1, 1));
        let set = Set::of(first).with(second).without(first);
        assert!(set.contains(second) && !set.contains(first));
        assert_eq!(format!("{:?}", set.moved([0, 2, 1])), "{c.2}");
    }
}
