//! The free space of one memory segment: which ranges are nobody's.
//!
//! Free ranges never touch (two that would are one), so the set is a function of what is taken and of nothing else:
//! two members that hold the same objects hold the same free ranges, in whatever order these came and went. Choosing is
//! best fit, lowest address first, a pure function of the set.
//!
//! Deliberately absent: who holds a taken range. Objects and retired extents know their own.

use std::collections::{BTreeMap, BTreeSet};

use ledger::digest_of_numbers;
use oplog::Digest;

use crate::hash::table;
use crate::types::SegmentIx;

#[derive(Debug)]
pub(crate) struct Space {
    base: u64,
    size: u64,
    free_bytes: u64,
    /// Start to length.
    by_start: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
    /// The segment's number: equal ranges of two segments are not the same.
    segment: SegmentIx,
    /// Kept, of all free ranges.
    digest: Digest,
    /// A scrub that is under way: up to which start the ranges are counted, and what they make by now.
    counted: Option<(u64, Digest)>,
}

/// A range that cannot be taken or given back as asked: the log and this state disagree.
#[derive(Debug, thiserror::Error)]
#[error("range [{start}, {end}) is not {wanted} in segment space [{base}, {limit})")]
pub(crate) struct RangeError {
    start: u64,
    end: u64,
    wanted: &'static str,
    base: u64,
    limit: u64,
}

impl Space {
    /// All of `[base, base + size)`, free.
    pub(crate) fn new(segment: SegmentIx, base: u64, size: u64) -> Space {
        let mut space = Space {
            base,
            size,
            free_bytes: 0,
            by_start: BTreeMap::new(),
            by_length: BTreeSet::new(),
            segment,
            digest: Digest::default(),
            counted: None,
        };
        space.insert(base, size);
        space
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.free_bytes == self.size && self.by_start.len() <= 1
    }

    /// The longest free range.
    pub(crate) fn longest(&self) -> u64 {
        self.by_length.last().map_or(0, |&(length, _)| length)
    }

    /// Where `length` bytes would go.
    pub(crate) fn choose(&self, length: u64) -> Option<u64> {
        self.by_length.range((length, 0)..).next().map(|&(_, start)| start)
    }

    pub(crate) fn take(&mut self, start: u64, length: u64) -> Result<(), RangeError> {
        let end = start.checked_add(length).ok_or_else(|| self.error(start, length, "free"))?;
        let (&free_start, &free_length) =
            self.by_start.range(..=start).next_back().ok_or_else(|| self.error(start, length, "free"))?;
        let free_end = free_start + free_length;
        if length == 0 || end > free_end {
            return Err(self.error(start, length, "free"));
        }
        if start == free_start {
            // As a rule. What is left comes in first: a set that becomes empty in between gives its memory back.
            self.insert(end, free_end - end);
            self.remove(free_start, free_length);
        } else {
            self.remove(free_start, free_length);
            self.insert(free_start, start - free_start);
            self.insert(end, free_end - end);
        }
        Ok(())
    }

    pub(crate) fn give_back(&mut self, start: u64, length: u64) -> Result<(), RangeError> {
        let end = start.checked_add(length).ok_or_else(|| self.error(start, length, "taken"))?;
        let before = self.by_start.range(..=start).next_back().map(|(&s, &l)| (s, l));
        let after = self.by_start.range(start..).next().map(|(&s, &l)| (s, l));
        let inside = start >= self.base && end <= self.base + self.size && length > 0;
        if !inside || before.is_some_and(|(s, l)| s + l > start) || after.is_some_and(|(s, _)| s < end) {
            return Err(self.error(start, length, "taken"));
        }
        let (mut new_start, mut new_end) = (start, end);
        if let Some((s, l)) = before.filter(|(s, l)| s + l == start) {
            self.remove(s, l);
            new_start = s;
        }
        if let Some((s, l)) = after.filter(|(s, _)| *s == end) {
            self.remove(s, l);
            new_end = s + l;
        }
        self.insert(new_start, new_end - new_start);
        Ok(())
    }

    fn insert(&mut self, start: u64, length: u64) {
        if length > 0 {
            self.by_start.insert(start, length);
            self.by_length.insert((length, start));
            self.free_bytes += length;
            let digest = self.range_digest(start, length);
            self.digest += digest;
            if let Some((_, counted)) = self.counted.as_mut().filter(|(upto, _)| start < *upto) {
                *counted += digest;
            }
        }
    }

    fn remove(&mut self, start: u64, length: u64) {
        self.by_start.remove(&start);
        self.by_length.remove(&(length, start));
        self.free_bytes -= length;
        let digest = self.range_digest(start, length);
        self.digest -= digest;
        if let Some((_, counted)) = self.counted.as_mut().filter(|(upto, _)| start < *upto) {
            *counted -= digest;
        }
    }

    fn range_digest(&self, start: u64, length: u64) -> Digest {
        digest_of_numbers(table::FREE, [u64::from(self.segment), start, length])
    }

    /// Of all free ranges, as kept.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Counts the next `max` ranges; ranges may come and go between two calls. `Ok(false)`: all are counted, and make what is
    /// kept of them.
    pub(crate) fn check_next(&mut self, max: usize) -> Result<bool, String> {
        let (from, mut counted) = self.counted.take().unwrap_or_default();
        let mut next = None;
        for (at, (&start, &length)) in self.by_start.range(from..).take(max + 1).enumerate() {
            if at == max {
                next = Some(start);
                break;
            }
            if !self.by_length.contains(&(length, start)) {
                return Err(format!("the free range of {length} bytes at {start:#x} is not listed by its length"));
            }
            counted += self.range_digest(start, length);
        }
        match next {
            Some(next) => self.counted = Some((next, counted)),
            None if counted != self.digest => {
                return Err(format!("the digest of the free ranges is {}, they make {counted}", self.digest));
            }
            None if self.by_length.len() != self.by_start.len() => {
                let (by_start, by_length) = (self.by_start.len(), self.by_length.len());
                return Err(format!("{by_start} free ranges by their start, {by_length} by their length"));
            }
            None => {}
        }
        Ok(next.is_some())
    }

    #[cfg(feature = "faults")]
    pub(crate) fn flip_a_bit(&mut self) -> Option<String> {
        let (start, length) = self.by_start.iter_mut().next()?;
        *length ^= 64;
        Some(format!("the free range at {start:#x} of segment {}", self.segment))
    }

    #[cold]
    fn error(&self, start: u64, length: u64, wanted: &'static str) -> RangeError {
        let end = start.saturating_add(length);
        RangeError { start, end, wanted, base: self.base, limit: self.base + self.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fresh_space_is_one_free_range() {
        let space = Space::new(1, 4096, 1024);
        assert!(space.is_whole());
        assert_eq!(space.choose(1024), Some(4096));
        assert_eq!(space.choose(1025), None);
    }

    #[test]
    fn taking_twice_and_giving_back_twice_are_refused() {
        let mut space = Space::new(1, 0, 1024);
        space.take(64, 64).unwrap();
        assert!(space.take(64, 64).is_err());
        assert!(space.take(0, 65).is_err());
        assert!(space.give_back(64, 65).is_err());
        space.give_back(64, 64).unwrap();
        assert!(space.give_back(64, 64).is_err());
        assert!(space.give_back(1024, 64).is_err());
        assert!(space.take(u64::MAX, 2).is_err());
        assert!(space.is_whole());
    }

    proptest! {
        /// Against a bitmap: what is free is what nobody holds, and the ranges never touch.
        #[test]
        fn agrees_with_a_bitmap(steps in prop::collection::vec((any::<bool>(), 1_u64..12, any::<prop::sample::Index>()), 1..300)) {
            const SIZE: u64 = 96;
            let mut space = Space::new(1, 1000, SIZE);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (take, length, pick) in steps {
                if take {
                    if let Some(start) = space.choose(length) {
                        space.take(start, length).unwrap();
                        taken.push((start, length));
                    }
                } else if !taken.is_empty() {
                    let (start, length) = taken.swap_remove(pick.index(taken.len()));
                    space.give_back(start, length).unwrap();
                }
                let mut map = [false; SIZE as usize];
                for &(start, length) in &taken {
                    for at in start..start + length {
                        prop_assert!(!std::mem::replace(&mut map[(at - 1000) as usize], true), "overlap at {at}");
                    }
                }
                prop_assert_eq!(space.free_bytes(), map.iter().filter(|held| !**held).count() as u64);
                let mut previous_end = None;
                for (&start, &length) in &space.by_start {
                    prop_assert!(previous_end.is_none_or(|end| end < start), "touching ranges at {}", start);
                    prop_assert!((start..start + length).all(|at| !map[(at - 1000) as usize]));
                    prop_assert!(space.by_length.contains(&(length, start)));
                    previous_end = Some(start + length);
                }
                prop_assert_eq!(space.by_start.len(), space.by_length.len());
                // A scrub that goes on beside all this, two ranges at a time.
                prop_assert!(space.check_next(2).is_ok());
            }
        }
    }
}
