//! One of the [`OBJECT_SHARDS`](crate::types::OBJECT_SHARDS) parts of the object table, with its digest.
//!
//! Invariant: `buckets` are the sums of the digests of the records here. Every change of a record therefore goes through
//! [`Shard::insert`] or [`Shard::edit`]; a lease is not a change.

use std::collections::BTreeSet;

use hashbrown::HashTable;
use ledger::TenantIx;
use oplog::{Digest, Secret};

use crate::hash::KeyHash;
use crate::object::Object;
use crate::types::SHARD_BUCKETS;

#[derive(Debug, Default)]
pub struct Shard {
    table: HashTable<Box<Object>>,
    /// Kept, each the sum over a part of the records.
    buckets: [Digest; SHARD_BUCKETS],
    /// Counts changes: whoever looks at the records in several steps sees whether they are still the same.
    changes: u64,
    /// Counts the times when records may have changed their slots.
    moves: u64,
    /// Of the last change, also of an object that is gone since: what a "not found" must wait for.
    last_seq: u64,
    /// While the state is being rebuilt: the shard holds everything up to here, whatever the log says again.
    captured_seq: u64,
}

impl Shard {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.buckets.iter().copied().sum()
    }

    pub(crate) fn buckets(&self) -> &[Digest; SHARD_BUCKETS] {
        &self.buckets
    }

    /// From the records themselves.
    pub(crate) fn counted_buckets(&self, secret: Secret) -> [Digest; SHARD_BUCKETS] {
        let mut counted = [Digest::default(); SHARD_BUCKETS];
        for object in self.iter() {
            counted[object.hash.bucket()] += object.counted_digest(secret);
        }
        counted
    }

    /// After a repair: from now on the bucket is what its records are.
    pub(crate) fn recount(&mut self, bucket: usize, secret: Secret) {
        let records = self.iter().filter(|object| object.hash.bucket() == bucket);
        let counted = records.map(|object| object.counted_digest(secret)).sum();
        self.buckets[bucket] = counted;
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// As long as it is the same, every record that was there keeps its slot.
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }

    /// Slots of the table; see [`Shard::moves`].
    pub(crate) fn slots(&self) -> usize {
        self.table.num_buckets()
    }

    pub(crate) fn slot(&self, at: usize) -> Option<&Object> {
        self.table.get_bucket(at).map(|object| &**object)
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(crate) fn holds(&self, seq: u64) -> bool {
        seq <= self.captured_seq
    }

    pub(crate) fn mark_captured(&mut self, seq: u64) {
        self.captured_seq = seq;
        self.last_seq = self.last_seq.max(seq);
    }

    pub(crate) fn find(&self, hash: KeyHash, tenant: TenantIx, key: &[u8]) -> Option<&Object> {
        self.table.find(hash.0, |object| object.tenant == tenant && *object.key == *key).map(|found| &**found)
    }

    /// For what is not replicated: leases and places in an index.
    pub(crate) fn find_volatile(&mut self, hash: KeyHash, tenant: TenantIx, key: &[u8]) -> Option<&mut Object> {
        self.table.find_mut(hash.0, |object| object.tenant == tenant && *object.key == *key).map(|found| &mut **found)
    }

    /// The object that a segment's index, or a client's list of unfinished work, means.
    pub(crate) fn find_by(&self, hash: KeyHash, is_it: impl Fn(&Object) -> bool) -> Option<&Object> {
        self.table.find(hash.0, |object| is_it(object)).map(|found| &**found)
    }

    pub(crate) fn find_volatile_by(&mut self, hash: KeyHash, is_it: impl Fn(&Object) -> bool) -> Option<&mut Object> {
        self.table.find_mut(hash.0, |object| is_it(object)).map(|found| &mut **found)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Object> {
        self.table.iter().map(|object| &**object)
    }

    pub(crate) fn iter_volatile(&mut self) -> impl Iterator<Item = &mut Object> {
        self.table.iter_mut().map(|object| &mut **object)
    }

    /// The caller has looked: there is none with this key.
    pub(crate) fn insert(&mut self, object: Object) {
        self.buckets[object.hash.bucket()] += object.digest();
        self.changes += 1;
        self.last_seq = self.last_seq.max(object.seq);
        self.moves += u64::from(self.table.len() == self.table.capacity());
        self.table.insert_unique(object.hash.0, Box::new(object), |object| object.hash.0);
    }

    /// Changes one record at `seq`; it goes when the change leaves it empty. `None`: there is no such object. A change
    /// that refuses must have changed nothing.
    pub(crate) fn edit<R, E>(
        &mut self,
        hash: KeyHash,
        tenant: TenantIx,
        key: &[u8],
        seq: u64,
        change: impl FnOnce(&mut Object) -> Result<R, E>,
    ) -> Option<Result<R, E>> {
        let found = self.table.find_entry(hash.0, |object| object.tenant == tenant && *object.key == *key);
        let mut found = found.ok()?;
        let object = found.get_mut();
        let before = object.digest();
        let result = match change(object) {
            Ok(result) => result,
            Err(refused) => return Some(Err(refused)),
        };
        let bucket = &mut self.buckets[hash.bucket()];
        *bucket -= before;
        self.changes += 1;
        object.seq = seq;
        self.last_seq = self.last_seq.max(seq);
        if object.is_empty() {
            found.remove();
            self.shrink();
        } else {
            *bucket += object.digest();
        }
        Some(Ok(result))
    }

    /// Without what hangs on them: for a repair, which builds that anew. The digest is recounted
    /// after it. They are looked for among all records, since what is wrong of one may be the hash
    /// by which it would be found. Tells how many there were.
    pub(crate) fn take_out(&mut self, wrong: &[Object]) -> usize {
        let wrong: BTreeSet<_> = wrong.iter().map(|object| (object.hash.0, object.tenant, &*object.key)).collect();
        let before = self.table.len();
        self.table.retain(|object| !wrong.contains(&(object.hash.0, object.tenant, &*object.key)));
        self.changes += 1;
        before - self.table.len()
    }

    /// A table that has lost most of what it held gives the memory back.
    fn shrink(&mut self) {
        if self.table.capacity() > 64 && self.table.len() * 4 < self.table.capacity() {
            let twice = self.table.len() * 2;
            self.moves += 1;
            self.table.shrink_to(twice, |object| object.hash.0);
        }
    }
}

pub(crate) fn in_bucket(shard: &Shard, bucket: u32) -> impl Iterator<Item = &Object> {
    shard.iter().filter(move |object| object.hash.bucket() == bucket as usize % SHARD_BUCKETS)
}

#[cfg(test)]
mod tests {
    use oplog::{ClientId, Rng};
    use smallvec::smallvec;

    use ledger::ItemId;

    use super::*;
    use crate::object::Replica;
    use crate::types::{Pin, Place};

    fn object(n: u64) -> Object {
        Object {
            key: n.to_le_bytes().into(),
            hash: KeyHash(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            size: 100,
            seq: 0,
            owner: ClientId::default(),
            put: ItemId::default(),
            checksum: None,
            replicas: smallvec![Replica { place: Place { segment: 3, address: 64 }, index: 0, complete: true }],
            extra: None,
            tenant: 0,
            pin: Pin::None,
            pinned_at_ms: 0,
            lease_until_ms: 0,
        }
    }

    fn slots(shard: &Shard) -> Vec<Option<Box<[u8]>>> {
        (0..shard.slots()).map(|at| shard.slot(at).map(|object| object.key.clone())).collect()
    }

    #[test]
    fn records_keep_their_slots_until_it_says_that_they_moved() {
        let mut shard = Shard::default();
        let mut random = Rng::new(5);
        let (mut there, mut moves_seen, mut kept_seen) = (Vec::new(), 0, 0);
        for n in 0..3000 {
            let (before, moves) = (slots(&shard), shard.moves());
            // Up to some thousand, and down again.
            if there.is_empty() || random.below(10) < if n < 2000 { 8 } else { 1 } {
                shard.insert(object(n));
                there.push(n);
            } else {
                let gone = object(there.swap_remove(random.below(there.len())));
                let done = shard.edit(gone.hash, gone.tenant, &gone.key, n, |object| {
                    object.replicas.clear();
                    Ok::<(), ()>(())
                });
                assert_eq!(done, Some(Ok(())));
            }
            if shard.moves() != moves {
                moves_seen += 1;
                continue;
            }
            kept_seen += 1;
            let after = slots(&shard);
            assert_eq!(after.len(), before.len());
            let moved = before
                .iter()
                .zip(&after)
                .find(|(before, after)| before.is_some() && after.is_some() && before != after);
            assert_eq!(moved, None);
            let occupied = after.iter().flatten().count();
            assert_eq!(occupied, there.len());
        }
        assert!(moves_seen > 8 && kept_seen > 2500, "{moves_seen} moves, {kept_seen} times without");
    }
}
