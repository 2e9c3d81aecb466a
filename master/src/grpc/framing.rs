//! gRPC's length-prefixed messages, in both directions.
//!
//! ```text
//!   0 (not compressed) | length, 4 bytes | message        and the next one, in chunks of any size
//! ```
//!
//! Invariants: a message within one chunk is a slice of it, not a copy. A message in several chunks
//! takes memory from its connection's share as its bytes come, never for what is only announced: at
//! most twice what has come, and no more than its length. It gives it back when it is dropped.
//! Nothing over the limit is accepted.
//!
//! Deliberately absent: compression. Keys and ids do not compress.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::status;
use proto::v1::CallError;

use crate::budget::{Full, Reservation, Share};

/// The bytes before each message.
pub(crate) const PREFIX_BYTES: usize = 5;

/// One message as it came in.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) bytes: Bytes,
    _taken: Option<Reservation>,
}

/// Cuts a stream of chunks into messages.
#[derive(Debug)]
pub(crate) struct Framing {
    share: Arc<Share>,
    /// The bytes that are not read yet.
    chunk: Bytes,
    /// A message that began in an earlier chunk.
    partial: BytesMut,
    taken: Option<Reservation>,
}

impl Framing {
    pub(crate) fn new(share: Arc<Share>) -> Framing {
        Framing { share, chunk: Bytes::new(), partial: BytesMut::new(), taken: None }
    }

    /// The previous chunk must be used up: `next` has returned `None`.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// No message has begun that is not complete.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.chunk.is_empty() && self.partial.is_empty()
    }

    /// `None`: another chunk is needed. After an error the stream cannot be read any further.
    pub(crate) fn next(&mut self) -> Result<Option<Inbound>, CallError> {
        if !self.partial.is_empty() {
            return self.go_on();
        }
        if self.chunk.len() < PREFIX_BYTES {
            self.partial.extend_from_slice(&self.chunk);
            self.chunk.clear();
            return Ok(None);
        }
        let length = length_of(&self.chunk)?;
        if self.chunk.len() < PREFIX_BYTES + length {
            return self.go_on();
        }
        self.chunk.advance(PREFIX_BYTES);
        Ok(Some(Inbound { bytes: self.chunk.split_to(length), _taken: None }))
    }

    fn go_on(&mut self) -> Result<Option<Inbound>, CallError> {
        self.fill(PREFIX_BYTES);
        if self.partial.len() < PREFIX_BYTES {
            return Ok(None);
        }
        let length = length_of(&self.partial)?;
        self.make_room(PREFIX_BYTES + length).map_err(Full::refusal)?;
        self.fill(PREFIX_BYTES + length);
        if self.partial.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        let mut bytes = self.partial.split().freeze();
        bytes.advance(PREFIX_BYTES);
        Ok(Some(Inbound { bytes, _taken: self.taken.take() }))
    }

    /// For the part of a message of this length that the chunk has, including the prefix.
    fn make_room(&mut self, length: usize) -> Result<(), Full> {
        let needed = length.min(self.partial.len() + self.chunk.len());
        let have = self.taken.as_ref().map_or(0, Reservation::bytes);
        if needed <= have {
            return Ok(());
        }
        let room = length.min(needed * 2);
        match &mut self.taken {
            Some(taken) => taken.grow(room - have)?,
            None => self.taken = Some(self.share.take(room)?),
        }
        // Not more than that: by itself it would grow by its own rule.
        let mut roomy = BytesMut::with_capacity(room);
        roomy.extend_from_slice(&self.partial);
        self.partial = roomy;
        Ok(())
    }

    /// Up to `length`, from the chunk.
    fn fill(&mut self, length: usize) {
        let missing = length.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }
}

fn length_of(prefix: &[u8]) -> Result<usize, CallError> {
    if prefix[0] != 0 {
        return Err(status::invalid("request", "it is compressed, which this service does not accept"));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(status::over_limit("request", length, MESSAGE_BYTES_MAX, "bytes"));
    }
    Ok(length)
}

/// Writes one message whose encoded length is known.
pub(crate) fn put_message(out: &mut BytesMut, length: usize, message: &impl Message) {
    out.reserve(PREFIX_BYTES + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("answers are far below 4 GiB"));
    message.encode_raw(out);
}

#[cfg(test)]
#[path = "framing_test.rs"]
mod tests;
