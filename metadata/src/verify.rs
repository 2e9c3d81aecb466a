//! This state as the verification sees it: [`oplog::Verifiable`].
//!
//! An object shard is compared and repaired bucket by bucket; the directory, whose records hang together, as a whole.
//!
//! Deliberately absent: the way of a repair (`repair`) and of a scrub (`scrub`).

use std::collections::{BTreeMap, BTreeSet};

use oplog::{
    Buckets, Digest, Digests, Mismatch, MismatchKind, Part, PartsImage, RepairError, ReplicatedState as _, Sample,
    SampleRecord, ScrubCursor, ScrubStep, Verifiable,
};

use crate::image::{DIRECTORY_SHARD, directory_image, join_parts, part_records};
use crate::shard::{Shard, in_bucket};
use crate::state::{Metadata, Writer, directory_digest, implied_digest};

/// How often parts are captured one by one, until none has changed before the last one was. After that the writers wait.
const CAPTURE_ROUNDS: usize = 16;

impl Metadata {
    /// Of every shard and of what they imply. Every shard's lock is taken for a moment.
    pub(crate) fn digests_of(&self, writer: &Writer) -> Digests {
        let mut shards: Vec<Digest> = self.shards.iter().map(|shard| shard.lock().digest()).collect();
        shards.push(directory_digest(writer));
        Digests { at: writer.applied(), shards, implied: implied_digest(writer) }
    }
}

/// Who is to see records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Members,
    /// Operators: neither the cluster's secret nor the directory, which has it.
    Operators,
}

/// The records of one part, as they are for as long as its shard does not change.
struct PartRecords {
    changes: u64,
    bytes: Vec<u8>,
}

impl PartRecords {
    fn is_of(&self, state: &Metadata, part: Part) -> bool {
        state.shards[part.shard as usize].lock().changes() == self.changes
    }
}

impl Metadata {
    /// To be looked at, and compared with others like them by [`compare_parts`](crate::compare_parts); no member can be
    /// repaired with them.
    pub fn capture_records(&self, parts: &[Part]) -> PartsImage {
        self.capture_for(For::Operators, parts)
    }

    fn capture_stale(&self, parts: &[Part], captured: &mut BTreeMap<Part, PartRecords>) {
        for part in parts {
            if !captured.get(part).is_some_and(|one| one.is_of(self, *part)) {
                let shard = self.scan(part.shard as usize);
                let (changes, bytes) = (shard.changes(), part_records(&shard, part.bucket as usize));
                captured.insert(*part, PartRecords { changes, bytes });
            }
        }
    }

    fn capture_for(&self, whom: For, parts: &[Part]) -> PartsImage {
        let parts: BTreeSet<Part> = parts.iter().copied().filter(|part| part.shard < self.shards()).collect();
        let (directory, of_objects): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| part.shard == DIRECTORY_SHARD);
        let asks_whole = whom == For::Members && !directory.is_empty();
        let mut captured = BTreeMap::new();
        // One part after the other, each under its own short lock; again what has changed meanwhile.
        let mut rounds_left = CAPTURE_ROUNDS;
        loop {
            self.capture_stale(&of_objects, &mut captured);
            let writer = self.write();
            // Whoever changes an object has the writer lock.
            if rounds_left == 0 {
                self.capture_stale(&of_objects, &mut captured);
            }
            if rounds_left == 0 || captured.iter().all(|(part, one): (_, &PartRecords)| one.is_of(self, *part)) {
                let whole = asks_whole.then(|| directory_image(&writer));
                let digests = self.digests_of(&writer);
                let secret = (whom == For::Members).then_some(writer.accounts.secret);
                drop(writer);
                let bytes = join_parts(secret, captured.values().map(|one| &one.bytes));
                return PartsImage { digests, parts: of_objects, bytes, whole };
            }
            rounds_left -= 1;
        }
    }
}

impl Verifiable for Metadata {
    fn digests(&self) -> Digests {
        self.digests_of(&self.write())
    }

    fn buckets(&self, shard: u32) -> Buckets {
        let writer = self.write();
        let at = writer.applied();
        if shard == DIRECTORY_SHARD {
            let (kept, counted) = (
                vec![directory_digest(&writer)],
                vec![writer.accounts.counted_digest() + writer.own.dir.counted_digest()],
            );
            return Buckets { at, shard, kept, counted };
        }
        if shard > DIRECTORY_SHARD {
            return Buckets { at, shard, kept: Vec::new(), counted: Vec::new() };
        }
        // As in a capture: with the shard's lock the writers are free to go on elsewhere.
        let secret = writer.accounts.secret;
        let objects = self.scan(shard as usize);
        drop(writer);
        Buckets { at, shard, kept: objects.buckets().to_vec(), counted: objects.counted_buckets(secret).to_vec() }
    }

    fn capture_parts(&self, parts: &[Part]) -> PartsImage {
        self.capture_for(For::Members, parts)
    }

    fn repair(&self, image: &PartsImage, records_max: usize) -> Result<Vec<Mismatch>, RepairError> {
        crate::repair::repair(self, image, records_max)
    }

    fn sample(&self, part: Part, around: u64, records_max: usize) -> Sample {
        let writer = self.write();
        let at = writer.applied();
        let shard = (part.shard < DIRECTORY_SHARD).then(|| self.scan(part.shard as usize));
        drop(writer);
        let Some(shard) = shard else {
            return Sample { at, part, hash_first: 0, hash_last: u64::MAX, records: Vec::new() };
        };
        let mut hashes: Vec<u64> = in_bucket(&shard, part.bucket).map(|object| object.hash.0).collect();
        hashes.sort_unstable();
        let (hash_first, hash_last) = range_around(&hashes, around, records_max);
        let records = sample_records(&shard, part.bucket, hash_first, hash_last);
        Sample { at, part, hash_first, hash_last, records: records.into_iter().map(|(record, _)| record).collect() }
    }

    fn check_sample(&self, sample: &Sample) -> Vec<(MismatchKind, u64)> {
        let Sample { at, part, hash_first, hash_last, records } = sample;
        if part.shard >= DIRECTORY_SHARD {
            return Vec::new();
        }
        let writer = self.write();
        let shard = self.scan(part.shard as usize);
        drop(writer);
        let mine: BTreeMap<(u64, u64), (SampleRecord, u64)> =
            sample_records(&shard, part.bucket, *hash_first, *hash_last)
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
        crate::scrub::step(self, at, records_max)
    }
}

/// Of the sorted hashes, the range that begins at or after `around` and holds at most `max` of them. It goes on up to the next one
/// that is not in it, so that gaps are looked at too.
fn range_around(hashes: &[u64], around: u64, max: usize) -> (u64, u64) {
    if hashes.len() <= max {
        return (0, u64::MAX);
    }
    let start = hashes.partition_point(|hash| *hash < around).min(hashes.len() - max);
    let first = if start == 0 { 0 } else { hashes[start - 1].saturating_add(1) };
    let last = hashes.get(start + max).map_or(u64::MAX, |next| next.saturating_sub(1));
    (first, last)
}

/// Sorted, each with the seq of its last change.
fn sample_records(shard: &Shard, bucket: u32, first: u64, last: u64) -> Vec<(SampleRecord, u64)> {
    let within = in_bucket(shard, bucket).filter(|object| (first..=last).contains(&object.hash.0));
    let mut records: Vec<(SampleRecord, u64)> = within
        .map(|object| {
            let prefix_hash = oplog::prefix_hash(&object.key);
            let record = SampleRecord { hash: object.hash.0, prefix_hash, checksum: object.checksum_of_record() };
            (record, object.seq)
        })
        .collect();
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
