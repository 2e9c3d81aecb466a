//! A state as the verification sees it: [`oplog::Verifiable`].
//!
//! A domain's shard is compared and repaired bucket by bucket; the last one, whose records hang
//! together, as a whole.
//!
//! Deliberately absent: the way of parts (`parts`), of a repair (`repair`) and of a scrub (`scrub`).

use std::collections::BTreeMap;

use oplog::{
    Buckets, Digests, Mismatch, MismatchKind, Part, PartsImage, RepairError, Sample, SampleRecord, ScrubCursor,
    ScrubStep, Verifiable,
};

use crate::domain::Domain;
use crate::last;
use crate::parts::For;
use crate::shards::{LockedShard, Shards};
use crate::state::State;
use crate::{repair, scrub};

impl<D: Domain> Verifiable for State<D> {
    fn digests(&self) -> Digests {
        self.digests_of(&self.ledger().write())
    }

    fn buckets(&self, shard: u32) -> Buckets {
        let writer = self.ledger().write();
        let (at, last) = (writer.applied(), self.last_shard());
        if shard == last {
            let kept = vec![last::digest::<D>(&writer.accounts, &writer.own)];
            let counted = vec![last::counted_digest::<D>(&writer.accounts, &writer.own)];
            return Buckets { at, shard, kept, counted };
        }
        if shard > last {
            return Buckets { at, shard, kept: Vec::new(), counted: Vec::new() };
        }
        // As in a capture: with the shard's lock the writers are free to go on elsewhere.
        let secret = writer.accounts.secret;
        let locked = (**self).shards().lock(shard);
        drop(writer);
        Buckets { at, shard, kept: locked.kept().to_vec(), counted: locked.counted(secret) }
    }

    fn capture_parts(&self, parts: &[Part]) -> PartsImage {
        self.capture_for(For::Members, parts)
    }

    fn repair(&self, image: &PartsImage, records_max: usize) -> Result<Vec<Mismatch>, RepairError> {
        repair::repair(self, image, records_max)
    }

    fn sample(&self, part: Part, around: u64, records_max: usize) -> Sample {
        let writer = self.ledger().write();
        let at = writer.applied();
        let shard = (part.shard < self.last_shard()).then(|| (**self).shards().lock(part.shard));
        drop(writer);
        let Some(shard) = shard else {
            return Sample { at, part, hash_first: 0, hash_last: u64::MAX, records: Vec::new() };
        };
        let mut hashes = shard.hashes(part.bucket);
        hashes.sort_unstable();
        let (hash_first, hash_last) = range_around(&hashes, around, records_max);
        let records = samples(&shard, part.bucket, hash_first, hash_last);
        Sample { at, part, hash_first, hash_last, records: records.into_iter().map(|(record, _)| record).collect() }
    }

    fn check_sample(&self, sample: &Sample) -> Vec<(MismatchKind, u64)> {
        let Sample { at, part, hash_first, hash_last, records } = sample;
        if part.shard >= self.last_shard() {
            return Vec::new();
        }
        let writer = self.ledger().write();
        let shard = (**self).shards().lock(part.shard);
        drop(writer);
        let mine: BTreeMap<(u64, u64), (SampleRecord, u64)> = samples(&shard, part.bucket, *hash_first, *hash_last)
            .into_iter()
            .map(|(record, seq)| ((record.hash, record.prefix_hash), (record, seq)))
            .collect();
        let theirs: BTreeMap<(u64, u64), &SampleRecord> =
            records.iter().map(|record| ((record.hash, record.prefix_hash), record)).collect();
        let mut found = Vec::new();
        for (key, (record, seq)) in &mine {
            match theirs.get(key) {
                // It has changed since, so nothing can be said of it.
                _ if *seq > at.seq => {}
                None => found.push((MismatchKind::KeyNotFound, record.hash)),
                Some(theirs) if theirs.checksum != record.checksum => {
                    found.push((MismatchKind::Checksum, record.hash));
                }
                Some(_) => {}
            }
        }
        // It may have been removed since, if the shard has changed at all.
        if shard.last_seq() <= at.seq {
            let extra = theirs.keys().filter(|key| !mine.contains_key(*key));
            found.extend(extra.map(|(hash, _)| (MismatchKind::ExtraKey, *hash)));
        }
        found
    }

    fn scrub(&self, at: ScrubCursor, records_max: usize) -> ScrubStep {
        scrub::step(self, at, records_max)
    }
}

/// Of the sorted hashes, the range that begins at or after `around` and holds at most `max` of
/// them. It goes on up to the next one that is not in it, so that gaps are looked at too.
fn range_around(hashes: &[u64], around: u64, max: usize) -> (u64, u64) {
    if hashes.len() <= max {
        return (0, u64::MAX);
    }
    let start = hashes.partition_point(|hash| *hash < around).min(hashes.len() - max);
    let first = if start == 0 { 0 } else { hashes[start - 1].saturating_add(1) };
    let last = hashes.get(start + max).map_or(u64::MAX, |next| next.saturating_sub(1));
    (first, last)
}

/// Sorted.
fn samples(shard: &impl LockedShard, bucket: u32, first: u64, last: u64) -> Vec<(SampleRecord, u64)> {
    let mut records = shard.samples(bucket, first, last);
    records.sort_unstable();
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_holds_all_of_its_range_and_the_gaps_beside_it() {
        let hashes = [10, 20, 30, 40, 50];
        assert_eq!(range_around(&hashes, 0, 5), (0, u64::MAX));
        assert_eq!(range_around(&hashes, 0, 2), (0, 29));
        assert_eq!(range_around(&hashes, 25, 2), (21, 49));
        assert_eq!(range_around(&hashes, 60, 2), (31, u64::MAX));
        assert_eq!(range_around(&[], 60, 2), (0, u64::MAX));
        // Equal hashes stay together: they are all within the range, whatever `max` says.
        assert_eq!(range_around(&[7, 7, 7, 9], 7, 3), (0, 8));
    }
}
