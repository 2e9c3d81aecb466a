//! A payload as bytes. This is the only caller of bincode, so that a new format version can replace
//! it.
//!
//! Invariants: the first byte is the format version; what is encoded here decodes to an equal
//! value; left-over bytes after a value, an unknown version, and a claim beyond the limit are
//! refused.
//!
//! Absent on purpose: checksums (the frame has one over the payload), and knowledge of what is
//! encoded.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;

use crate::error::DecodeError;
use crate::frame::FRAME_BYTES_MAX;

/// First byte of every payload.
pub const PAYLOAD_VERSION: u8 = 1;

const WHAT: &str = "payload";

/// The most memory that a decoder may claim, so that a few hostile bytes can't ask for endless
/// memory. It counts memory, which is more than the encoded bytes: four times what a frame can
/// hold.
const CLAIM_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

type Config = Configuration<LittleEndian, Varint, Limit<CLAIM_BYTES_MAX>>;

const fn config() -> Config {
    bincode::config::standard().with_limit::<CLAIM_BYTES_MAX>()
}

/// Appends to `out`.
pub fn encode_payload<T: bincode::Encode>(value: &T, out: &mut Vec<u8>) {
    out.push(PAYLOAD_VERSION);
    bincode::encode_into_writer(value, Appending(out), config())
        .expect("writing to a Vec cannot fail, and no type of a payload refuses to be encoded");
}

/// The value may borrow from `bytes`.
pub fn decode_payload<'a, T: bincode::BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let Some((&version, body)) = bytes.split_first() else {
        return Err(DecodeError::Truncated { what: WHAT, need: 1, have: 0 });
    };
    if version != PAYLOAD_VERSION {
        return Err(DecodeError::UnknownVersion { what: WHAT, found: version, known: PAYLOAD_VERSION });
    }
    let (value, used) = bincode::borrow_decode_from_slice(body, config())
        .map_err(|e| DecodeError::Payload { reason: format!("{e} (in {} bytes)", body.len()) })?;
    if used != body.len() {
        return Err(DecodeError::Trailing { what: WHAT, used: used + 1, have: bytes.len() });
    }
    Ok(value)
}

/// Without the detour through `io::Write` and its error.
struct Appending<'a>(&'a mut Vec<u8>);

impl Writer for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
#[path = "codec_test.rs"]
mod tests;
