//! How members find that they differ, and repair just that: the contract beside
//! [`ReplicatedState`].
//!
//! ```text
//!   digests of all shards ─► of a shard's buckets ─► the records of a bucket ─► what differs is replaced
//! ```
//!
//! Invariants that a state keeps:
//! - Digests that are *kept* cost O(1) per change; those that are *counted* come from the records
//!   themselves. Where the two differ, the memory behind them has changed without an entry.
//! - Whatever is compared between members stands at the same position on both.
//! - A repair replaces what differs from the image and nothing else, or changes nothing, or leaves
//!   a state that takes nothing more and says so.
//!
//! Absent on purpose: who compares with whom, and when.

use bytes::Bytes;

use crate::codec::{decode_payload, encode_payload};
use crate::entry::Position;
use crate::error::DecodeError;
use crate::state::{Digest, ReplicatedState, ShardImage};

/// The digests of a primary's state right before this entry: what every other member must have at
/// the same seq.
pub const OP_DIGEST: u8 = 2;

/// A whole state at one position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Digests {
    pub at: Position,
    /// Of each shard.
    pub shards: Vec<Digest>,
    /// Of what follows from the records and is decided by: free space, totals.
    pub implied: Digest,
}

impl Digests {
    /// As the payload of an [`OP_DIGEST`] entry. The position is the entry's.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = Vec::with_capacity((self.shards.len() + 1) * 16);
        bytes.extend(self.shards.iter().chain([&self.implied]).flat_map(|digest| digest.0.to_le_bytes()));
        encode_payload(&&bytes[..], out);
    }

    /// Of a state with as many shards: with another number of digests there is nothing to compare.
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

    /// What is not the same in the other one.
    pub fn difference(&self, other: &Digests) -> Difference {
        let shards = self.shards.len().max(other.shards.len());
        let differs = |shard: &usize| self.shards.get(*shard) != other.shards.get(*shard);
        Difference {
            shards: (0..shards).filter(differs).map(|shard| shard as u32).collect(),
            implied: self.implied != other.implied,
        }
    }
}

/// Where two states differ.
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
    /// Its memory is what entries have made of it.
    pub fn is_sound(&self) -> bool {
        self.kept == self.counted
    }
}

/// Some of the records of a shard: those that are repaired together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Part {
    pub shard: u32,
    pub bucket: u32,
}

/// The records of some parts at one position, with the digests of the whole state there.
#[derive(Clone, Debug)]
pub struct PartsImage {
    pub digests: Digests,
    pub parts: Vec<Part>,
    /// The implementation's own. One changed bit in it must be noticed.
    pub bytes: Bytes,
    /// Of the shard that has no parts, where it was asked for.
    pub whole: Option<ShardImage>,
}

/// A record that differs between two members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mismatch {
    pub part: Part,
    pub kind: MismatchKind,
    /// For people: the record's key.
    pub record: String,
    /// For people: each field that differs, as it is here and as it is there.
    pub fields: Vec<(String, String, String)>,
}

/// Seen from the member that is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MismatchKind {
    /// Both have it, and not the same.
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

/// Some records of a part as one member has them at a position. Within the part these are all
/// records of a range of hashes, so that one that is missing is noticed too.
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
    /// Of the whole key.
    pub hash: u64,
    /// Of its first bytes; see [`crate::prefix_hash`].
    pub prefix_hash: u64,
    /// CRC32 of the record's own bytes, counted now.
    pub checksum: u32,
}

/// Where a scrub goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubCursor {
    pub shard: u32,
    /// Within the shard; the implementation's own.
    pub next: u128,
    pub counted: Digest,
    /// Of the shard when its scrub began: one that has changed since is begun anew.
    pub version: u64,
    pub tries: u32,
}

impl ScrubCursor {
    pub fn of(shard: u32) -> ScrubCursor {
        ScrubCursor { shard, ..ScrubCursor::default() }
    }
}

/// What one step of a scrub came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScrubStep {
    /// There is more of this shard.
    More(ScrubCursor),
    /// Its records are those that its digest says.
    Sound,
    /// They are not; with what was found.
    Rotten(String),
    /// It changes too fast to be looked at in small steps.
    Busy,
}

/// A repair did not happen. Nothing has changed, unless it is [`RepairError::Broken`].
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
    /// What differs takes other space, or does not say which: the shard without parts is needed as
    /// well, and what the records imply is built anew.
    #[error("bucket {} of shard {} cannot be repaired alone: {why}", part.bucket, part.shard)]
    NeedsWhole { part: Part, why: &'static str },
    /// In the middle of it: what the records imply is not what was kept of it.
    #[error("the repair broke off: {what}")]
    Broken { what: String },
}

pub trait Verifiable: ReplicatedState {
    /// Of each shard, and of what they imply, as kept.
    fn digests(&self) -> Digests;

    /// Looks at every record of the shard; nothing of one that is not there.
    fn buckets(&self, shard: u32) -> Buckets;

    /// A shard that cannot be looked at in parts comes whole, whichever of its parts is asked for.
    fn capture_parts(&self, parts: &[Part]) -> PartsImage;

    /// At the position of the image, while nothing is applied: makes these parts, and what follows
    /// from them, what the image says. Tells what differed. `Broken`: the state takes nothing more.
    fn repair(&self, image: &PartsImage, records_max: usize) -> Result<Vec<Mismatch>, RepairError>;

    /// At most `records_max` of one part, around a hash.
    fn sample(&self, part: Part, around: u64, records_max: usize) -> Sample;

    /// What of another member's sample is not as it is here. What has changed since its position is
    /// left out.
    fn check_sample(&self, sample: &Sample) -> Vec<(MismatchKind, u64)>;

    /// Looks at some records; no lock is held for longer than that takes.
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
