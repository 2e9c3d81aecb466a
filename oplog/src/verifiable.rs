//! How members find a difference between their states, and repair it: the contract beside
//! [`ReplicatedState`].
//!
//! ```text
//!   digests of all shards ─► of a shard's buckets ─► records of a bucket ─► what differs is replaced
//! ```
//!
//! Invariants that a state keeps:
//! - *Kept* digests are updated with each change, at O(1). *Counted* digests are recomputed from
//!   the records. If the two differ, memory has changed without an entry.
//! - Members compare their states at the same position only.
//! - A repair replaces exactly what differs from the image, or changes nothing, or leaves a state
//!   that accepts nothing more and says so.
//!
//! Absent on purpose: which members compare, and when.

use bytes::Bytes;

use crate::codec::{decode_payload, encode_payload};
use crate::entry::Position;
use crate::error::DecodeError;
use crate::state::{Digest, ReplicatedState, ShardImage};

/// The digests of a primary's state right before this entry: every other member must have the same
/// ones at the same seq.
pub const OP_DIGEST: u8 = 2;

/// The digests of a whole state at one position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Digests {
    pub at: Position,
    /// One for each shard.
    pub shards: Vec<Digest>,
    /// The digest of what follows from the records and is used in decisions: free space, totals.
    pub implied: Digest,
}

impl Digests {
    /// As the payload of an [`OP_DIGEST`] entry. The entry has the position.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = Vec::with_capacity((self.shards.len() + 1) * 16);
        bytes.extend(self.shards.iter().chain([&self.implied]).flat_map(|digest| digest.0.to_le_bytes()));
        encode_payload(&&bytes[..], out);
    }

    /// For a state with as many shards: another number of digests cannot be compared.
    pub fn decode(at: Position, payload: &[u8], shards_expected: usize) -> Result<Digests, DecodeError> {
        let bytes: &[u8] = decode_payload(payload)?;
        let (digests, rest) = bytes.as_chunks::<16>();
        let mut shards: Vec<Digest> = digests.iter().map(|bytes| Digest(u128::from_le_bytes(*bytes))).collect();
        match (rest, shards.pop()) {
            ([], Some(implied)) if shards.len() == shards_expected => Ok(Digests { at, shards, implied }),
            ([], Some(_)) => {
                let reason = format!("digests of {} shards, this state has {shards_expected}", shards.len());
                Err(DecodeError::Payload { reason })
            }
            _ => Err(DecodeError::Payload { reason: format!("{} bytes are no list of digests", bytes.len()) }),
        }
    }

    /// What differs from the other one.
    pub fn difference(&self, other: &Digests) -> Difference {
        let shards = self.shards.len().max(other.shards.len());
        let differs = |shard: &usize| self.shards.get(*shard) != other.shards.get(*shard);
        Difference {
            shards: (0..shards).filter(differs).map(|shard| shard as u32).collect(),
            implied: self.implied != other.implied,
        }
    }
}

/// The shards in which two states differ, and whether what follows from the records differs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    pub shards: Vec<u32>,
    pub implied: bool,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty() && !self.implied
    }
}

/// The buckets of one shard at one position, as kept and as counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buckets {
    pub at: Position,
    pub shard: u32,
    pub kept: Vec<Digest>,
    pub counted: Vec<Digest>,
}

impl Buckets {
    /// Kept and counted digests are equal: the memory has not changed without an entry.
    pub fn is_sound(&self) -> bool {
        self.kept == self.counted
    }
}

/// Some records of a shard that are repaired together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Part {
    pub shard: u32,
    pub bucket: u32,
}

/// The records of some parts at one position, with the digests of the whole state at that position.
#[derive(Clone, Debug)]
pub struct PartsImage {
    pub digests: Digests,
    pub parts: Vec<Part>,
    /// The implementation's own format. Every changed bit must be noticed.
    pub bytes: Bytes,
    /// The image of the shard that has no parts, if it was asked for.
    pub whole: Option<ShardImage>,
}

/// A record that differs between two members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mismatch {
    pub part: Part,
    pub kind: MismatchKind,
    /// The record's key, for display.
    pub record: String,
    /// Each field that differs, with its value here and there, for display.
    pub fields: Vec<(String, String, String)>,
}

/// A difference as seen from the member that is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MismatchKind {
    /// Both have it, and its content differs.
    Checksum,
    KeyNotFound,
    ExtraKey,
}

impl MismatchKind {
    pub fn name(self) -> &'static str {
        match self {
            MismatchKind::Checksum => "CHECKSUM_MISMATCH",
            MismatchKind::KeyNotFound => "KEY_NOT_FOUND",
            MismatchKind::ExtraKey => "EXTRA_KEY",
        }
    }
}

/// Some records of a part, as one member has them at a position. They are all records of the part
/// within a range of hashes, so that a missing one is noticed, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    pub at: Position,
    pub part: Part,
    /// Inclusive.
    pub hash_first: u64,
    pub hash_last: u64,
    /// Sorted by hash.
    pub records: Vec<SampleRecord>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SampleRecord {
    /// Hash of the whole key.
    pub hash: u64,
    /// Hash of its first bytes; see [`crate::prefix_hash`].
    pub prefix_hash: u64,
    /// CRC32 of the record's own bytes, computed now.
    pub checksum: u32,
}

/// Where a scrub continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubCursor {
    pub shard: u32,
    /// The place within the shard, in the implementation's own format.
    pub next: u128,
    pub counted: Digest,
    /// The version of the shard when its scrub began. If the shard has changed since, its scrub
    /// begins again.
    pub version: u64,
    pub tries: u32,
}

impl ScrubCursor {
    pub fn of(shard: u32) -> ScrubCursor {
        ScrubCursor { shard, ..ScrubCursor::default() }
    }
}

/// The result of one step of a scrub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScrubStep {
    /// There is more of this shard.
    More(ScrubCursor),
    /// The records match the digest.
    Sound,
    /// They do not. Says what was found.
    Rotten(String),
    /// It changes too fast to be checked in small steps.
    Busy,
}

/// A repair failed. Nothing has changed, unless it is [`RepairError::Broken`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RepairError {
    #[error("the image is of {image}, the state stands at {state}")]
    Position { image: Position, state: Position },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the image does not fit: {what}")]
    Inconsistent { what: String },
    #[error("{found} records differ, at most {max} are repaired one by one")]
    TooMany { found: usize, max: usize },
    /// What differs needs other space, or does not say which: the shard without parts is needed,
    /// too, and all that follows from the records is built anew.
    #[error("bucket {} of shard {} cannot be repaired alone: {why}", part.bucket, part.shard)]
    NeedsWhole { part: Part, why: &'static str },
    /// The repair stopped half-way: what follows from the records does not match what was kept.
    #[error("the repair broke off: {what}")]
    Broken { what: String },
}

pub trait Verifiable: ReplicatedState {
    /// The kept digests of each shard, and of what follows from them.
    fn digests(&self) -> Digests;

    /// Reads every record of the shard. Empty for a shard that does not exist.
    fn buckets(&self, shard: u32) -> Buckets;

    /// A shard without parts is captured as a whole, whichever of its parts is asked for.
    fn capture_parts(&self, parts: &[Part]) -> PartsImage;

    /// Called at the position of the image, while nothing is applied. Makes these parts, and what
    /// follows from them, equal to the image. Returns what differed. `Broken`: the state accepts
    /// nothing more.
    fn repair(&self, image: &PartsImage, records_max: usize) -> Result<Vec<Mismatch>, RepairError>;

    /// At most `records_max` records of one part, around a hash.
    fn sample(&self, part: Part, around: u64, records_max: usize) -> Sample;

    /// Which records of another member's sample differ from those here. Records that have changed
    /// since the sample's position are left out.
    fn check_sample(&self, sample: &Sample) -> Vec<(MismatchKind, u64)>;

    /// Checks some records. No lock is held for longer than that takes.
    fn scrub(&self, at: ScrubCursor, records_max: usize) -> ScrubStep;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(shards: &[u128], implied: u128) -> Digests {
        let shards = shards.iter().copied().map(Digest).collect();
        Digests { at: Position { epoch: 2, seq: 7 }, shards, implied: Digest(implied) }
    }

    #[test]
    fn digests_come_back_from_their_payload_and_nothing_else_does() {
        let some = digests(&[1, u128::MAX, 3], 4);
        let mut bytes = Vec::new();
        some.encode(&mut bytes);
        assert_eq!(Digests::decode(some.at, &bytes, 3), Ok(some.clone()));
        for cut in 0..bytes.len() {
            assert!(Digests::decode(some.at, &bytes[..cut], 3).is_err(), "cut at {cut}");
        }
        for shards in [0, 2, 4, usize::MAX] {
            assert!(Digests::decode(some.at, &bytes, shards).is_err(), "digests of 3 shards for {shards}");
        }
        let mut uneven = Vec::new();
        encode_payload(&&[0_u8; 17][..], &mut uneven);
        assert!(Digests::decode(some.at, &uneven, 3).is_err());
        let mut none = Vec::new();
        encode_payload(&&[0_u8; 0][..], &mut none);
        assert!(Digests::decode(some.at, &none, 3).is_err());
    }

    #[test]
    fn a_difference_names_the_shards_and_what_is_implied() {
        let one = digests(&[1, 2, 3], 4);
        assert!(one.difference(&one).is_empty());
        let other = one.difference(&digests(&[1, 9, 3, 5], 6));
        assert_eq!(other, Difference { shards: vec![1, 3], implied: true });
    }
}
