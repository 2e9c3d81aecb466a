//! Hashes: of a key (which shard, which bucket), of a request, and of a record (the digest that
//! members compare).
//!
//! What a client chooses, its keys and its requests, is hashed with SipHash-1-3 under the cluster's
//! secret: without it no client can find many keys for one shard or bucket, or two requests with
//! the same hash, not even from hashes that it has seen.
//!
//! A digest is additive: a set's digest is the wrapping sum of its records' hashes, so that a change costs the hash of
//! one record. A record's hash covers everything about it that is replicated, in a fixed encoding with a version;
//! leases, deadlines and places in an index are left out, since members need not agree on them.
//!
//! An object's key counts with its hash, which stands in the record, and seeds that of the fields: so a change does not hash the
//! key again. Whoever looks whether a record is still what it was begins at the key.

use std::hash::Hasher as _;

use oplog::{Digest, Secret};
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher13 as SipHasher13Wide};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::op::OpType;

use crate::types::{OBJECT_SHARDS, SHARD_BUCKETS, TenantIx};

/// Version of the encoding below; a part of every record's hash.
const DIGEST_VERSION: u64 = 3;

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
    Settings = 12,
}

/// The hash of a key in its tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyHash(pub(crate) u64);

impl KeyHash {
    pub(crate) fn of(secret: Secret, tenant: TenantIx, key: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&secret.0);
        hasher.write(&tenant.to_le_bytes());
        hasher.write(key);
        KeyHash(hasher.finish())
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

/// The secret's part of a digest: tells two of them apart, and neither of them to a reader of the
/// sum.
pub(crate) fn digest_of_secret(secret: Secret) -> Digest {
    let mut hasher = SipHasher13Wide::new_with_key(&secret.0);
    hasher.write(b"the secret of a cluster");
    Digest(hasher.finish128().as_u128())
}

/// Under this secret all requests have the same hash, as if a client had found ones that do.
#[cfg(feature = "faults")]
pub const COLLIDING: Secret = Secret([0xff; 16]);

/// Names a history to clients: the same for all that has the secret, and tells nothing of it.
pub(crate) fn history_of(secret: Secret) -> u128 {
    let mut hasher = SipHasher13Wide::new_with_key(&secret.0);
    hasher.write(b"the history of a log");
    hasher.finish128().as_u128()
}

/// The body of a request as one number, which tells a retry from another request under the same
/// number.
pub(crate) struct Fingerprint {
    hasher: SipHasher13,
    op: OpType,
    secret: Secret,
}

/// What of a request's body is compared with that of the request whose answer is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestBody {
    pub(crate) op: OpType,
    pub(crate) hash: u64,
    /// How many an answer can tell of.
    pub(crate) items: u64,
    /// Under which it was hashed.
    pub(crate) secret: Secret,
}

impl Fingerprint {
    pub(crate) fn new(secret: Secret, op: OpType, tenant: &str) -> Fingerprint {
        let mut print = Fingerprint { hasher: SipHasher13::new_with_key(&secret.0), op, secret };
        print.number(op as u64);
        print.text(tenant.as_bytes());
        print
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.hasher.write(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.hasher.write(value);
    }

    pub(crate) fn finish(&self, items: usize) -> RequestBody {
        let hash = self.hasher.finish();
        #[cfg(feature = "faults")]
        let hash = if self.secret == COLLIDING { 0 } else { hash };
        RequestBody { op: self.op, hash, items: items as u64, secret: self.secret }
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

    const SECRET: Secret = Secret([9; 16]);

    #[test]
    fn a_field_boundary_counts() {
        let one = RecordHash::new(Table::Tasks).text(b"ab").text(b"c").finish();
        let other = RecordHash::new(Table::Tasks).text(b"a").text(b"bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn tables_and_tenants_count() {
        assert_ne!(RecordHash::new(Table::Tasks).finish(), RecordHash::new(Table::Retired).finish());
        assert_ne!(KeyHash::of(SECRET, 0, b"key"), KeyHash::of(SECRET, 1, b"key"));
    }

    #[test]
    fn a_secret_tells_its_hashes_from_those_of_another_one() {
        let other = Secret([8; 16]);
        assert_ne!(KeyHash::of(SECRET, 0, b"key"), KeyHash::of(other, 0, b"key"));
        assert_ne!(digest_of_secret(SECRET), digest_of_secret(other));
        let print = |secret| Fingerprint::new(secret, OpType::Remove, "tenant").finish(1).hash;
        assert_ne!(print(SECRET), print(other));
    }

    /// The digest is compared between members of different builds: it must not move by accident.
    #[test]
    fn the_encoding_is_pinned() {
        let digest = RecordHash::new(Table::Clients).number(7).text(b"key").finish();
        assert_eq!(digest.0, 266_358_873_582_236_870_427_438_459_695_825_338_223);
        let digest = digest_of_numbers(Table::Free, [1, 2, 3]);
        assert_eq!(digest.0, 72_271_372_509_802_171_670_982_260_493_749_451_760);
    }

    #[test]
    fn numbers_are_hashed_as_in_longer_records() {
        let long = RecordHash::new(Table::Free).number(1).number(u64::MAX).finish();
        assert_eq!(digest_of_numbers(Table::Free, [1, u64::MAX]), long);
    }

    /// The digest of a set is a sum: two objects that trade their fields must show.
    #[test]
    fn fields_belong_to_their_key() {
        let (one, other) = (KeyHash::of(SECRET, 0, b"one"), KeyHash::of(SECRET, 0, b"other"));
        let as_they_are = one.digest_of_fields(&[1; 80]) + other.digest_of_fields(&[2; 80]);
        let traded = one.digest_of_fields(&[2; 80]) + other.digest_of_fields(&[1; 80]);
        assert_ne!(as_they_are, traded);
    }
}
