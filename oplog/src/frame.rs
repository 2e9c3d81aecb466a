//! An entry as bytes, the same in memory, on the wire and on disk. Numbers are little-endian.
//!
//! ```text
//!  0  crc32         u32   over all the rest
//!  4  length        u32   of the whole frame
//!  8  version       u8    up to here the layout is the same in every version, for good
//!  9  flags         u8    bit 0: the request stamp is there
//! 10  domain        u8
//! 11  op_type       u8
//! 12  key length    u32
//! 16  seq           u64
//! 24  epoch         u64
//! 32  timestamp_ms  u64
//! 40  prefix_hash   u64
//! 48  request stamp      client [16], number u64, body_hash u64, forget_below u64; if flag bit 0
//!     key, then payload up to the end
//! ```
//!
//! Invariants: a `Frame` has been encoded here or has passed every check, so its header can be read
//! without further checks; one entry has exactly one encoding. The CRC is checked before anything
//! that it covers is believed.
//!
//! Absent on purpose: what a payload means, where a frame is kept, and repair of a damaged one.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::entry::{ClientId, DomainId, Draft, Entry, Position, RequestStamp, prefix_hash};
use crate::error::DecodeError;

/// The layout above.
pub const FRAME_VERSION: u8 = 1;
/// Twice the largest message that a client may send: an entry holds no more than one request's
/// worth.
pub const FRAME_BYTES_MAX: usize = 32 << 20;
/// The most bytes of a frame without key and payload.
pub const FRAME_HEADER_BYTES_MAX: usize = FIXED_BYTES + STAMP_BYTES;

const WHAT: &str = "frame";
const FIXED_BYTES: usize = 48;
const STAMP_BYTES: usize = 40;
const FLAG_REQUEST: u8 = 1;

/// One encoded entry. A clone is a handle to the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

#[allow(clippy::len_without_is_empty, reason = "a frame is never empty: it has a header")]
impl Frame {
    /// Panics if key and payload do not fit into `FRAME_BYTES_MAX`: the reservation has checked
    /// that.
    pub fn encode(at: Position, draft: &Draft<'_>) -> Frame {
        let stamp_bytes = if draft.request.is_some() { STAMP_BYTES } else { 0 };
        let length = FIXED_BYTES + stamp_bytes + draft.key.len() + draft.payload.len();
        assert!(length <= FRAME_BYTES_MAX, "frame of {length} bytes, at most {FRAME_BYTES_MAX} allowed");

        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&fixed_part(at, draft, length));
        if let Some(stamp) = &draft.request {
            out.extend_from_slice(&stamp_part(stamp));
        }
        out.extend_from_slice(draft.key);
        out.extend_from_slice(draft.payload);
        let crc = crc32fast::hash(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        Frame(Bytes::from(out))
    }

    /// From bytes of a disk or a peer, which must be exactly one whole frame.
    pub fn from_bytes(bytes: Bytes) -> Result<Frame, DecodeError> {
        check(&bytes)?;
        Ok(Frame(bytes))
    }

    /// Takes the first of several frames that follow each other. `None`: there are no more. After
    /// an error the rest means nothing.
    pub fn split_first(bytes: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let have = bytes.len();
        if have < FIXED_BYTES {
            return Err(DecodeError::Truncated { what: WHAT, need: FIXED_BYTES, have });
        }
        let length = u32_at(bytes, 4) as usize;
        if length > have {
            return Err(DecodeError::Truncated { what: WHAT, need: length, have });
        }
        Frame::from_bytes(bytes.split_to(length)).map(Some)
    }

    /// Checks everything again, including the checksum, since memory may change, too.
    pub fn verify(&self) -> Result<(), DecodeError> {
        check(&self.0)
    }

    /// Key and payload of the entry are slices of this frame. Does not check the checksum again;
    /// see `verify`.
    pub fn decode(&self) -> Result<Entry, DecodeError> {
        let parts = Parts::of(&self.0)?;
        let Position { epoch, seq } = self.position();
        Ok(Entry {
            seq,
            epoch,
            timestamp_ms: u64_at(&self.0, 32),
            domain: DomainId(self.0[10]),
            op_type: self.0[11],
            request: parts.stamped.then(|| stamp_at(&self.0, FIXED_BYTES)),
            key: self.0.slice(parts.key.clone()),
            payload: self.0.slice(parts.key.end..),
        })
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn position(&self) -> Position {
        Position { epoch: u64_at(&self.0, 24), seq: u64_at(&self.0, 16) }
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// From the header, for a caller that routes by it and needs no entry.
    pub fn prefix_hash(&self) -> u64 {
        u64_at(&self.0, 40)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (domain, op_type) = (self.0[10], self.0[11]);
        write!(f, "Frame({}, domain {domain}, op {op_type}, {} bytes)", self.position(), self.len())
    }
}

/// Where the variable parts are.
struct Parts {
    stamped: bool,
    key: Range<usize>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Result<Parts, DecodeError> {
        let flags = bytes[9];
        if flags & !FLAG_REQUEST != 0 {
            return Err(DecodeError::UnknownFlags { what: WHAT, found: flags, known: FLAG_REQUEST });
        }
        let stamped = flags & FLAG_REQUEST != 0;
        let key_start = FIXED_BYTES + if stamped { STAMP_BYTES } else { 0 };
        // This cannot overflow on 64 bits: a u32 and less than 100.
        let key_end = key_start + u32_at(bytes, 12) as usize;
        if key_end > bytes.len() {
            return Err(DecodeError::Truncated { what: "key of the frame", need: key_end, have: bytes.len() });
        }
        Ok(Parts { stamped, key: key_start..key_end })
    }
}

fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    check_length(bytes)?;
    let (said, found) = (u32_at(bytes, 0), crc32fast::hash(&bytes[4..]));
    if said != found {
        return Err(DecodeError::Checksum { what: WHAT, said, found });
    }
    if bytes[8] != FRAME_VERSION {
        return Err(DecodeError::UnknownVersion { what: WHAT, found: bytes[8], known: FRAME_VERSION });
    }
    let parts = Parts::of(bytes)?;
    let (said, found) = (u64_at(bytes, 40), prefix_hash(&bytes[parts.key]));
    if said != found {
        return Err(DecodeError::PrefixHash { said, found });
    }
    Ok(())
}

/// Before the checksum, since the length says what it covers.
fn check_length(bytes: &[u8]) -> Result<(), DecodeError> {
    let have = bytes.len();
    if have < FIXED_BYTES {
        return Err(DecodeError::Truncated { what: WHAT, need: FIXED_BYTES, have });
    }
    let said = u32_at(bytes, 4) as usize;
    if said > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLarge { what: WHAT, bytes: said, max: FRAME_BYTES_MAX });
    }
    if said > have {
        return Err(DecodeError::Truncated { what: WHAT, need: said, have });
    }
    if said < have {
        return Err(DecodeError::Trailing { what: WHAT, used: said, have });
    }
    Ok(())
}

fn fixed_part(at: Position, draft: &Draft<'_>, length: usize) -> [u8; FIXED_BYTES] {
    let mut out = [0; FIXED_BYTES];
    out[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    out[8] = FRAME_VERSION;
    out[9] = if draft.request.is_some() { FLAG_REQUEST } else { 0 };
    out[10] = draft.domain.0;
    out[11] = draft.op_type;
    out[12..16].copy_from_slice(&(draft.key.len() as u32).to_le_bytes());
    out[16..24].copy_from_slice(&at.seq.to_le_bytes());
    out[24..32].copy_from_slice(&at.epoch.to_le_bytes());
    out[32..40].copy_from_slice(&draft.timestamp_ms.to_le_bytes());
    out[40..48].copy_from_slice(&prefix_hash(draft.key).to_le_bytes());
    out
}

fn stamp_part(stamp: &RequestStamp) -> [u8; STAMP_BYTES] {
    let mut out = [0; STAMP_BYTES];
    out[..16].copy_from_slice(&stamp.client.0);
    out[16..24].copy_from_slice(&stamp.number.to_le_bytes());
    out[24..32].copy_from_slice(&stamp.body_hash.to_le_bytes());
    out[32..40].copy_from_slice(&stamp.forget_below.to_le_bytes());
    out
}

fn stamp_at(bytes: &[u8], at: usize) -> RequestStamp {
    let mut client = [0; 16];
    client.copy_from_slice(&bytes[at..at + 16]);
    RequestStamp {
        client: ClientId(client),
        number: u64_at(bytes, at + 16),
        body_hash: u64_at(bytes, at + 24),
        forget_below: u64_at(bytes, at + 32),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
