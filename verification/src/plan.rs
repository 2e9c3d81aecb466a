//! From two members' digests of the same shards, at the same seq, to the parts that are to be
//! repaired.
//!
//! The primary's *kept* digests are compared with digests *recomputed* from the standby's records,
//! so that changed memory under the standby's digest is found, too. If the primary's own records do
//! not match its kept digests, the primary is the suspect, and nothing is taken from it.

use oplog::{Buckets, Part};

/// The result of a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Planned {
    /// Parts that differ and for which the primary is sound.
    pub parts: Vec<Part>,
    /// The primary's records do not match its digests. In the shards that are `agreed`, this member
    /// has what the primary's digests say: two against one.
    pub primary_rotten: Vec<u32>,
    pub agreed: Vec<u32>,
}

/// Both lists have the same shards in the same order, at the same position.
pub fn plan(theirs: &[Buckets], ours: &[Buckets]) -> Planned {
    let mut planned = Planned::default();
    for (theirs, ours) in theirs.iter().zip(ours) {
        assert_eq!((theirs.shard, theirs.at), (ours.shard, ours.at), "only the same shard at the same seq is compared");
        if !theirs.is_sound() {
            planned.primary_rotten.push(theirs.shard);
            if theirs.kept == ours.counted {
                planned.agreed.push(theirs.shard);
            }
            continue;
        }
        let count = theirs.kept.len().max(ours.counted.len());
        let differs = |bucket: &usize| {
            theirs.kept.get(*bucket) != ours.counted.get(*bucket) || theirs.kept.get(*bucket) != ours.kept.get(*bucket)
        };
        let parts = (0..count).filter(differs).map(|bucket| Part { shard: theirs.shard, bucket: bucket as u32 });
        planned.parts.extend(parts);
    }
    planned
}

#[cfg(test)]
mod tests {
    use oplog::{Digest, Position};

    use super::*;

    fn buckets(shard: u32, kept: &[u128], counted: &[u128]) -> Buckets {
        let digests = |numbers: &[u128]| numbers.iter().copied().map(Digest).collect();
        Buckets { at: Position { epoch: 1, seq: 9 }, shard, kept: digests(kept), counted: digests(counted) }
    }

    fn sound(shard: u32, digests: &[u128]) -> Buckets {
        buckets(shard, digests, digests)
    }

    #[test]
    fn only_the_buckets_that_differ_are_repaired() {
        let planned = plan(&[sound(3, &[1, 2, 3]), sound(4, &[5, 6])], &[sound(3, &[1, 9, 3]), sound(4, &[5, 6])]);
        assert_eq!(planned, Planned { parts: vec![Part { shard: 3, bucket: 1 }], ..Planned::default() });
    }

    #[test]
    fn rot_under_the_standbys_own_digest_is_repaired_too() {
        let planned = plan(&[sound(3, &[1, 2])], &[buckets(3, &[1, 2], &[1, 7])]);
        assert_eq!(planned.parts, [Part { shard: 3, bucket: 1 }]);
        let planned = plan(&[sound(3, &[1, 2])], &[buckets(3, &[1, 7], &[1, 2])]);
        assert_eq!(
            planned.parts,
            [Part { shard: 3, bucket: 1 }],
            "what is kept is wrong, which is a difference as well"
        );
    }

    #[test]
    fn nothing_is_taken_from_a_primary_that_is_rotten_itself() {
        let rotten = buckets(3, &[1, 2], &[1, 8]);
        let planned = plan(std::slice::from_ref(&rotten), &[sound(3, &[1, 2])]);
        assert_eq!(planned, Planned { parts: vec![], primary_rotten: vec![3], agreed: vec![3] });
        let planned = plan(&[rotten], &[sound(3, &[1, 5])]);
        assert_eq!(planned, Planned { parts: vec![], primary_rotten: vec![3], agreed: vec![] });
    }
}
