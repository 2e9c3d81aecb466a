//! Hashes: of a key (which shard, which bucket) and of a record (the digest that members compare).
//!
//! A digest is additive: a set's digest is the wrapping sum of its records' hashes, so that a change costs the hash of
//! one record. A record's hash covers everything about it that is replicated, in a fixed encoding with a version;
//! leases, deadlines and places in an index are left out, since members need not agree on them.
//!
//! An object's key counts with its hash, which stands in the record, and seeds that of the fields: so a change does not hash the
//! key again. Whoever looks whether a record is still what it was begins at the key.

use oplog::Digest;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::types::{OBJECT_SHARDS, SHARD_BUCKETS, TenantIx};

/// Version of the encoding below; a part of every record's hash.
const DIGEST_VERSION: u64 = 2;

/// Which table a record stands in, so that equal bytes in two tables differ.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    Objects = 1,
    Tenants = 2,
    Segments = 3,
    Clients = 4,
    Tombstones = 5,
    Answers = 6,
    Tasks = 7,
    Retired = 8,
    Counters = 9,
    Free = 10,
    Usage = 11,
}

/// The hash of a key in its tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyHash(pub(crate) u64);

impl KeyHash {
    pub(crate) fn of(tenant: TenantIx, key: &[u8]) -> KeyHash {
        KeyHash(xxh3_64_with_seed(key, u64::from(tenant)))
    }

    /// Of the object with this key.
    pub(crate) fn digest_of_fields(self, fields: &[u8]) -> Digest {
        Digest(xxh3_128_with_seed(fields, self.0 ^ seed(Table::Objects)))
    }

    /// Bits that the hash table within a shard does not use (it takes the lowest and the top seven).
    pub(crate) fn shard(self) -> usize {
        (self.0 >> 40) as usize & (OBJECT_SHARDS - 1)
    }

    /// Those of a shard that are compared and repaired together.
    pub(crate) fn bucket(self) -> usize {
        (self.0 >> 50) as usize & (SHARD_BUCKETS - 1)
    }
}

fn seed(table: Table) -> u64 {
    (DIGEST_VERSION << 8) | table as u64
}

/// Of a record that is nothing but a few numbers.
pub(crate) fn digest_of_numbers<const N: usize>(table: Table, numbers: [u64; N]) -> Digest {
    Digest(xxh3_128_with_seed(numbers.map(u64::to_le_bytes).as_flattened(), seed(table)))
}

/// Most records are shorter, and then stand on the stack.
const STACK_BYTES: usize = 256;

/// A record's canonical bytes.
pub(crate) struct RecordHash {
    table: Table,
    length: usize,
    stack: [u8; STACK_BYTES],
    /// All of it, once it is longer than the stack's part.
    heap: Vec<u8>,
}

impl RecordHash {
    pub(crate) fn new(table: Table) -> RecordHash {
        RecordHash { table, length: 0, stack: [0; STACK_BYTES], heap: Vec::new() }
    }

    pub(crate) fn number(&mut self, value: u64) -> &mut RecordHash {
        self.push(&value.to_le_bytes());
        self
    }

    /// Bytes with their length, so that two neighbouring fields cannot trade bytes.
    pub(crate) fn text(&mut self, value: &[u8]) -> &mut RecordHash {
        self.number(value.len() as u64);
        self.push(value);
        self
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if end <= STACK_BYTES {
            self.stack[self.length..end].copy_from_slice(bytes);
        } else {
            self.push_long(bytes);
        }
        self.length = end;
    }

    #[cold]
    fn push_long(&mut self, bytes: &[u8]) {
        if self.heap.is_empty() {
            self.heap.extend_from_slice(&self.stack[..self.length]);
        }
        self.heap.extend_from_slice(bytes);
    }

    fn bytes(&self) -> &[u8] {
        if self.length <= STACK_BYTES { &self.stack[..self.length] } else { &self.heap }
    }

    pub(crate) fn finish(&self) -> Digest {
        Digest(xxh3_128_with_seed(self.bytes(), seed(self.table)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_boundary_counts() {
        let one = RecordHash::new(Table::Tasks).text(b"ab").text(b"c").finish();
        let other = RecordHash::new(Table::Tasks).text(b"a").text(b"bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn tables_and_tenants_count() {
        assert_ne!(RecordHash::new(Table::Tasks).finish(), RecordHash::new(Table::Retired).finish());
        assert_ne!(KeyHash::of(0, b"key"), KeyHash::of(1, b"key"));
    }

    /// The digest is compared between members of different builds: it must not move by accident.
    #[test]
    fn the_encoding_is_pinned() {
        let digest = RecordHash::new(Table::Clients).number(7).text(b"key").finish();
        assert_eq!(digest.0, 42_016_848_614_123_291_986_583_741_126_957_898_544);
        let digest = digest_of_numbers(Table::Free, [1, 2, 3]);
        assert_eq!(digest.0, 326_186_298_853_887_927_570_556_922_072_554_155_777);
    }

    #[test]
    fn numbers_are_hashed_as_in_longer_records() {
        let long = RecordHash::new(Table::Free).number(1).number(u64::MAX).finish();
        assert_eq!(digest_of_numbers(Table::Free, [1, u64::MAX]), long);
    }

    /// The digest of a set is a sum: two objects that trade their fields must show.
    #[test]
    fn fields_belong_to_their_key() {
        let (one, other) = (KeyHash::of(0, b"one"), KeyHash::of(0, b"other"));
        let as_they_are = one.digest_of_fields(&[1; 80]) + other.digest_of_fields(&[2; 80]);
        let traded = one.digest_of_fields(&[2; 80]) + other.digest_of_fields(&[1; 80]);
        assert_ne!(as_they_are, traded);
    }
}
