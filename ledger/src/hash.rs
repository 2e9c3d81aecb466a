//! Hashes of requests and of records: what tells a retry from another request, and the digest that
//! members compare.
//!
//! What a client chooses is hashed with SipHash-1-3 under the cluster's secret: without it no
//! client can find two requests with the same hash, not even from hashes that it has seen.
//!
//! A digest is additive: a set's digest is the wrapping sum of its records' hashes, so that a
//! change costs the hash of one record. A record's hash covers everything about it that is
//! replicated, in a fixed encoding with a version; leases, deadlines and places in an index are
//! left out, since members need not agree on them.

use std::hash::Hasher as _;

use oplog::{Digest, DomainId, Secret};
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher13 as SipHasher13Wide};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::call::Op;

/// Version of the encoding below; a part of every record's hash.
const DIGEST_VERSION: u64 = 4;

/// Which table a record stands in, so that equal bytes in two tables differ.
#[derive(Clone, Copy, Debug)]
pub struct Table(u16);

impl Table {
    /// The number is the domain's own.
    pub const fn of(domain: DomainId, number: u8) -> Table {
        Table(((domain.0 as u16) << 8) | number as u16)
    }
}

/// Those of the ledger itself.
pub(crate) mod table {
    use oplog::DomainId;

    use super::Table;

    pub(crate) const TENANTS: Table = Table::of(DomainId::ENGINE, 1);
    pub(crate) const CLIENTS: Table = Table::of(DomainId::ENGINE, 2);
    pub(crate) const TOMBSTONES: Table = Table::of(DomainId::ENGINE, 3);
    pub(crate) const ANSWERS: Table = Table::of(DomainId::ENGINE, 4);
    pub(crate) const COUNTERS: Table = Table::of(DomainId::ENGINE, 5);
    pub(crate) const USAGE: Table = Table::of(DomainId::ENGINE, 6);
    pub(crate) const SETTINGS: Table = Table::of(DomainId::ENGINE, 7);
}

/// The secret's part of a digest: tells two of them apart, and neither of them to a reader of the
/// sum.
pub fn digest_of_secret(secret: Secret) -> Digest {
    let mut hasher = SipHasher13Wide::new_with_key(&secret.0);
    hasher.write(b"the secret of a cluster");
    Digest(hasher.finish128().as_u128())
}

/// Names a history to clients: the same for all that has the secret, and tells nothing of it.
pub fn history_of(secret: Secret) -> u128 {
    let mut hasher = SipHasher13Wide::new_with_key(&secret.0);
    hasher.write(b"the history of a log");
    hasher.finish128().as_u128()
}

/// Under this secret all requests have the same hash, as if a client had found ones that do.
#[cfg(feature = "faults")]
pub const COLLIDING: Secret = Secret([0xff; 16]);

/// The body of a request as one number, which tells a retry from another request under the same
/// number.
pub struct Fingerprint {
    hasher: SipHasher13,
    op: Op,
    secret: Secret,
}

/// What of a request's body is compared with that of the request whose answer is kept.
#[derive(Clone, Copy, Debug)]
pub struct RequestBody {
    pub op: Op,
    pub hash: u64,
    /// How many an answer can tell of.
    pub items: u64,
    /// Under which it was hashed.
    pub secret: Secret,
}

impl std::fmt::Debug for Fingerprint {
    /// Without what it is keyed with.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprint").field("op", &self.op).finish_non_exhaustive()
    }
}

impl Fingerprint {
    pub fn new(secret: Secret, op: Op, tenant: &str) -> Fingerprint {
        let mut print = Fingerprint { hasher: SipHasher13::new_with_key(&secret.0), op, secret };
        print.number(op.as_number());
        print.text(tenant.as_bytes());
        print
    }

    pub fn number(&mut self, value: u64) {
        self.hasher.write(&value.to_le_bytes());
    }

    pub fn text(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.hasher.write(value);
    }

    pub fn finish(&self, items: usize) -> RequestBody {
        let hash = self.hasher.finish();
        #[cfg(feature = "faults")]
        let hash = if self.secret == COLLIDING { 0 } else { hash };
        RequestBody { op: self.op, hash, items: items as u64, secret: self.secret }
    }
}

/// Of the hashes of a table's records.
pub fn seed(table: Table) -> u64 {
    (DIGEST_VERSION << 16) | u64::from(table.0)
}

/// Of a record that is nothing but a few numbers.
pub fn digest_of_numbers<const N: usize>(table: Table, numbers: [u64; N]) -> Digest {
    Digest(xxh3_128_with_seed(numbers.map(u64::to_le_bytes).as_flattened(), seed(table)))
}

/// Most records are shorter, and then stand on the stack.
const STACK_BYTES: usize = 256;

/// A record's canonical bytes.
#[derive(Debug)]
pub struct RecordHash {
    table: Table,
    length: usize,
    stack: [u8; STACK_BYTES],
    /// All of it, once it is longer than the stack's part.
    heap: Vec<u8>,
}

impl RecordHash {
    pub fn new(table: Table) -> RecordHash {
        RecordHash { table, length: 0, stack: [0; STACK_BYTES], heap: Vec::new() }
    }

    pub fn number(&mut self, value: u64) -> &mut RecordHash {
        self.push(&value.to_le_bytes());
        self
    }

    /// Bytes with their length, so that two neighbouring fields cannot trade bytes.
    pub fn text(&mut self, value: &[u8]) -> &mut RecordHash {
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

    pub fn finish(&self) -> Digest {
        Digest(xxh3_128_with_seed(self.bytes(), seed(self.table)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret([9; 16]);

    #[test]
    fn a_field_boundary_counts() {
        let one = RecordHash::new(table::CLIENTS).text(b"ab").text(b"c").finish();
        let other = RecordHash::new(table::CLIENTS).text(b"a").text(b"bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn tables_count() {
        assert_ne!(RecordHash::new(table::CLIENTS).finish(), RecordHash::new(table::TENANTS).finish());
    }

    #[test]
    fn a_secret_tells_its_hashes_from_those_of_another_one() {
        let other = Secret([8; 16]);
        assert_ne!(digest_of_secret(SECRET), digest_of_secret(other));
        let print =
            |secret| Fingerprint::new(secret, Op { domain: DomainId::METADATA, number: 4 }, "tenant").finish(1).hash;
        assert_ne!(print(SECRET), print(other));
    }

    /// The digest is compared between members of different builds: it must not move by accident.
    #[test]
    fn the_encoding_is_pinned() {
        let digest = RecordHash::new(table::CLIENTS).number(7).text(b"key").finish();
        assert_eq!(digest.0, 153_210_175_999_128_554_595_713_178_565_975_417_000);
        let digest = digest_of_numbers(table::USAGE, [1, 2, 3]);
        assert_eq!(digest.0, 288_242_463_244_992_549_822_782_330_447_021_662_876);
    }

    #[test]
    fn numbers_are_hashed_as_in_longer_records() {
        let long = RecordHash::new(table::USAGE).number(1).number(u64::MAX).finish();
        assert_eq!(digest_of_numbers(table::USAGE, [1, u64::MAX]), long);
    }
}
