//! The parts of a log entry, and its place in history.
//!
//! Invariants: positions are ordered by epoch, then seq; within one log seq grows by one per entry
//! and epoch never goes back. An entry is a result, never a request: to apply it decides nothing.
//!
//! Absent on purpose: what the ops of a domain mean (the replicated state knows), and bytes
//! (`frame`, `codec`).

use std::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// No op ever has this number, in any domain. Every state must refuse it, now and after any
/// upgrade.
pub const OP_TYPE_NEVER: u8 = u8::MAX;

/// How much of a key `prefix_hash` covers.
const PREFIX_BYTES: usize = 8;

/// A point in the history of the log. The derived order is the right one: by epoch first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    pub epoch: u64,
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.seq)
    }
}

/// Drawn once by a client. No other client uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientId(pub [u8; 16]);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The request whose result an entry is, so that a retry of it gets its answer and does not run
/// again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestStamp {
    pub client: ClientId,
    pub number: u64,
    /// Distinguishes a retry from another request with the same number.
    pub body_hash: u64,
    /// The client has the answers to all smaller numbers: every member may forget them at this
    /// entry.
    pub forget_below: u64,
}

/// The domain that an entry's op belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomainId(pub u8);

impl DomainId {
    /// The engine's own ops: starts of epochs, digests.
    pub const ENGINE: DomainId = DomainId(0);
    pub const METADATA: DomainId = DomainId(1);
    /// Never assigned. Every state must refuse it, now and after any upgrade.
    pub const NEVER: DomainId = DomainId(u8::MAX);
}

/// A primary has begun its epoch: the first entry of each epoch. The first one of a log has the
/// [`Secret`](crate::Secret); nothing else in a state follows from it.
pub const OP_EPOCH_START: u8 = 1;

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a writer passes in. The append assigns seq and epoch.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub domain: DomainId,
    pub op_type: u8,
    pub timestamp_ms: u64,
    pub request: Option<RequestStamp>,
    pub key: &'a [u8],
    pub payload: &'a [u8],
}

/// One change to the state, as a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub epoch: u64,
    pub timestamp_ms: u64,
    pub domain: DomainId,
    pub op_type: u8,
    pub request: Option<RequestStamp>,
    pub key: Bytes,
    pub payload: Bytes,
}

impl Entry {
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.seq }
    }

    pub fn prefix_hash(&self) -> u64 {
        prefix_hash(&self.key)
    }

    /// All but the position: `Frame::encode(entry.position(), &entry.draft())` makes the frame
    /// again.
    pub fn draft(&self) -> Draft<'_> {
        Draft {
            domain: self.domain,
            op_type: self.op_type,
            timestamp_ms: self.timestamp_ms,
            request: self.request,
            key: &self.key,
            payload: &self.payload,
        }
    }
}

/// Hash of the first 8 bytes of a key, or of the whole key if it is shorter. 0 for an empty key.
pub fn prefix_hash(key: &[u8]) -> u64 {
    if key.is_empty() {
        return 0;
    }
    xxh3_64(&key[..key.len().min(PREFIX_BYTES)])
}

#[cfg(test)]
#[path = "entry_test.rs"]
mod tests;
