//! Which parts are sampled in which round: in turn, so that each had its turn after
//! `1 / sample_ratio` rounds. If a part has more records than one sample takes, each cycle begins
//! at another place in it.

use oplog::Part;

#[derive(Clone, Debug)]
pub struct Rounds {
    shards: u32,
    buckets: u32,
    next_shard: u32,
    cycle: u64,
}

impl Rounds {
    pub fn new(shards: u32, buckets: u32) -> Rounds {
        Rounds { shards, buckets: buckets.max(1), next_shard: 0, cycle: 0 }
    }

    /// How many complete cycles are over.
    pub fn cycles(&self) -> u64 {
        self.cycle
    }

    /// The parts of the next round, each with the hash around which to look.
    pub fn next_round(&mut self, sample_ratio: f64) -> Vec<(Part, u64)> {
        let count = ((f64::from(self.shards) * sample_ratio).ceil() as u32).clamp(1, self.shards.max(1));
        (0..count).map(|_| self.next_part()).collect()
    }

    fn next_part(&mut self) -> (Part, u64) {
        let shard = self.next_shard;
        // Each cycle takes another bucket of each shard, and then another place in it.
        let bucket = (self.cycle % u64::from(self.buckets)) as u32;
        let around = (self.cycle / u64::from(self.buckets)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.next_shard += 1;
        if self.next_shard >= self.shards {
            (self.next_shard, self.cycle) = (0, self.cycle + 1);
        }
        (Part { shard, bucket }, around)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_shard_has_its_turn_in_ten_rounds_of_a_tenth_and_every_bucket_after_that() {
        let mut rounds = Rounds::new(1024, 16);
        let cycle: BTreeSet<u32> = (0..10).flat_map(|_| rounds.next_round(0.1)).map(|(part, _)| part.shard).collect();
        assert_eq!((cycle.len(), rounds.cycles()), (1024, 1));
        let mut parts = BTreeSet::new();
        for _ in 0..160 {
            parts.extend(rounds.next_round(0.1).into_iter().map(|(part, _)| (part.shard, part.bucket)));
        }
        assert_eq!(parts.len(), 1024 * 16);
    }

    #[test]
    fn a_round_is_never_empty_and_never_more_than_all() {
        assert_eq!(Rounds::new(10, 4).next_round(0.0).len(), 1);
        assert_eq!(Rounds::new(10, 4).next_round(9.0).len(), 10);
    }
}
