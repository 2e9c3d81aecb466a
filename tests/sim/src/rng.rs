//! The run's only source of chance: numbers from the seed.

#[derive(Clone, Debug)]
pub(crate) struct Rng(oplog::Rng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(oplog::Rng::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True in so many of a hundred thousand cases.
    pub(crate) fn per_100k(&mut self, chance: u64) -> bool {
        self.below(100_000) < chance
    }

    /// True in so many of a thousand cases.
    pub(crate) fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}
