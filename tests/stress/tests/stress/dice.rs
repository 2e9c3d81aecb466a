//! Numbers from a seed: the same throws for the same seed, everywhere.
//!
//! Deliberately absent: promises about a whole run. The scheduler decides which client comes first;
//! only what each one does, in which order, is fixed.

use oplog::Rng;

#[derive(Debug)]
pub(crate) struct Dice(Rng);

impl Dice {
    /// Separate dice for each of many.
    pub(crate) fn fork(seed: u64, which: usize) -> Dice {
        Dice(Rng::new(Rng::new(seed ^ (which as u64) << 32).next()))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in this many throws.
    pub(crate) fn once_in(&mut self, throws: u64) -> bool {
        self.below(throws) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
