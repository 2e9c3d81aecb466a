//! The hash of a key: which shard, which bucket.
//!
//! What a client chooses is hashed with SipHash-1-3 under the cluster's secret: without it no
//! client can find many keys for one shard or bucket, not even from hashes that it has seen.
//!
//! An object's key counts with its hash, which stands in the record, and seeds that of the fields:
//! so a change does not hash the key again. Whoever looks whether a record is still what it was
//! begins at the key.

use std::hash::Hasher as _;

use ledger::{TenantIx, seed};
use oplog::{Digest, Secret};
use siphasher::sip::SipHasher13;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::types::{OBJECT_SHARDS, SHARD_BUCKETS};

/// The tables of this domain whose records are hashed.
pub(crate) mod table {
    use ledger::Table;
    use oplog::DomainId;

    pub(crate) const OBJECTS: Table = Table::of(DomainId::METADATA, 1);
    pub(crate) const SEGMENTS: Table = Table::of(DomainId::METADATA, 2);
    pub(crate) const TASKS: Table = Table::of(DomainId::METADATA, 3);
    pub(crate) const RETIRED: Table = Table::of(DomainId::METADATA, 4);
    pub(crate) const COUNTERS: Table = Table::of(DomainId::METADATA, 5);
    pub(crate) const FREE: Table = Table::of(DomainId::METADATA, 6);
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
        Digest(xxh3_128_with_seed(fields, self.0 ^ seed(table::OBJECTS)))
    }

    /// Bits that the hash table within a shard does not use (it takes the lowest and the top
    /// seven).
    pub(crate) fn shard(self) -> usize {
        (self.0 >> 40) as usize & (OBJECT_SHARDS - 1)
    }

    /// Those of a shard that are compared and repaired together.
    pub(crate) fn bucket(self) -> usize {
        (self.0 >> 50) as usize & (SHARD_BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret([9; 16]);

    #[test]
    fn tenants_and_secrets_count() {
        assert_ne!(KeyHash::of(SECRET, 0, b"key"), KeyHash::of(SECRET, 1, b"key"));
        assert_ne!(KeyHash::of(SECRET, 0, b"key"), KeyHash::of(Secret([8; 16]), 0, b"key"));
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
