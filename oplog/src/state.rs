//! The contract between the engine and a replicated state: all that replication and verification
//! may know of what they replicate. `conformance::run` checks an implementation against it.
//!
//! Invariants that a state keeps:
//! - Determinism: equal entries applied to equal states give equal digests, in every process on
//!   every machine.
//! - All or nothing: a refused entry or image has changed nothing.
//! - A digest covers everything that the result of an entry depends on. It is additive over
//!   records, so that it costs O(1) per change, and over shards, so that a difference can be
//!   narrowed down.
//! - While nothing is being applied, every position that the state gives out is `applied()`.
//!
//! Absent on purpose: how a state is built and locked, what its ops mean, and any way to change it
//! but by an entry.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::entry::{DomainId, Entry, Position};
use crate::error::DecodeError;

/// Hash of a multiset of records: the wrapping sum of their hashes. The order does not matter, and
/// what was added can be subtracted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// The hash of one record, from bytes that differ whenever the records do.
    pub fn of_record(bytes: &[u8]) -> Digest {
        Digest(xxh3_128(bytes))
    }
}

impl Add for Digest {
    type Output = Digest;
    fn add(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_add(other.0))
    }
}

impl Sub for Digest {
    type Output = Digest;
    fn sub(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_sub(other.0))
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Digest) {
        *self = *self + other;
    }
}

impl SubAssign for Digest {
    fn sub_assign(&mut self, other: Digest) {
        *self = *self - other;
    }
}

impl Sum for Digest {
    fn sum<I: Iterator<Item = Digest>>(digests: I) -> Digest {
        digests.fold(Digest::default(), Digest::add)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One shard at one moment, for another member.
#[derive(Clone, Debug)]
pub struct ShardImage {
    pub shard: u32,
    /// The image has all changes of the shard up to here, and none after.
    pub at: Position,
    pub records: u64,
    /// The number of records.
    pub digest: Digest,
    /// The implementation's own format. Every changed bit must be noticed, also in what the digest
    /// leaves out.
    pub bytes: Bytes,
}

pub trait ReplicatedState {
    type Rebuild: Rebuild<State = Self>;

    /// Shards are numbered from 0. Their number never changes for a state.
    fn shards(&self) -> u32;

    /// The position of the last entry that was applied.
    fn applied(&self) -> Position;

    /// Refuses an entry that is not the next one, goes back in epoch, or is not understood. Nothing
    /// has changed then.
    fn apply(&self, entry: &Entry) -> Result<(), ApplyError>;

    /// The image of one shard at one moment. Shards are captured in rising order: a later shard's
    /// image may be newer, never older. The last shards depend on the others.
    fn capture(&self, shard: u32) -> ShardImage;

    /// The digest of a shard, with the position at which it holds.
    fn shard_digest(&self, shard: u32) -> (Position, Digest);

    /// The sum over the shards, with the position at which it holds.
    fn digest(&self) -> (Position, Digest);

    /// Begins an empty state beside this one. It is filled from images of another member and
    /// replaces this one as a whole.
    fn rebuild(&self) -> Self::Rebuild;
}

/// A state that is being built. A refusal changes nothing: the right image or entry can still
/// follow.
pub trait Rebuild: Sized {
    type State;

    /// Checks the image against its own digest. Called in rising order of shards, once for each.
    fn install(&mut self, image: &ShardImage) -> Result<(), InstallError>;

    /// After all shards: entries after the oldest image's position, in order. What an image already
    /// has is skipped.
    fn apply(&mut self, entry: &Entry) -> Result<(), ApplyError>;

    /// Builds all that is derived. Refuses an incomplete set of shards, and a log that ends before
    /// the newest image, since the shards would be at different moments.
    fn finish(self) -> Result<Self::State, InstallError>;
}

/// An entry was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("entry is not the next one: seq {expected} expected, {got} offered")]
    NotNext { expected: u64, got: u64 },
    #[error("epoch goes back: {have} held, {got} offered")]
    EpochBack { have: u64, got: u64 },
    #[error("the entry's domain is not known to this build")]
    UnknownDomain,
    #[error("op {op_type} of domain {domain} is not known to this build")]
    UnknownOp { domain: DomainId, op_type: u8 },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// For example, an object that must exist does not: the entry was made from another state.
    #[error("entry {seq} does not fit the state: {what}")]
    Inconsistent { seq: u64, what: String },
}

/// A shard's image was not accepted, or a rebuild is not complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    #[error("image of shard {shard} does not have its digest: {said} said, {found} found")]
    DigestMismatch { shard: u32, said: Digest, found: Digest },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// `missing` is the first missing shard.
    #[error("shard {missing} has not been installed")]
    Incomplete { missing: u32 },
    #[error("shard {shard} has been installed already")]
    ShardTwice { shard: u32 },
    #[error("the images do not fit together: {what}")]
    Inconsistent { what: String },
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
