//! gRPC's length-prefixed messages, there and back.
//!
//! ```text
//!   0 (not compressed) | length, 4 bytes | message        and the next one, in chunks of any size
//! ```
//!
//! Invariants: a message that lies in one chunk is a slice of it, not a copy. One that lies in several takes its memory
//! from the node's budget before it is put together, and gives it back when it is dropped. Nothing over the limit is
//! taken in.
//!
//! Deliberately absent: compression. Keys and ids are random to a compressor.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::status;
use proto::v1::CallError;

use crate::budget::{Budget, Taken};

/// What stands in front of a message.
const PREFIX_BYTES: usize = 5;
/// When to come back after the memory for requests was at its limit.
const RETRY_AFTER_MS: u32 = 50;

/// One message as it came in.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) bytes: Bytes,
    _taken: Option<Taken>,
}

/// Cuts a stream of chunks into messages.
#[derive(Debug)]
pub(crate) struct Framing {
    budget: Budget,
    /// Not looked at yet.
    chunk: Bytes,
    /// A message that began in an earlier chunk.
    partial: BytesMut,
    taken: Option<Taken>,
}

impl Framing {
    pub(crate) fn new(budget: Budget) -> Framing {
        Framing { budget, chunk: Bytes::new(), partial: BytesMut::new(), taken: None }
    }

    /// The chunk before must have been used up: `next` has given `None`.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// No message has begun that is not whole.
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
        if self.taken.is_none() {
            let taken = self.budget.take(length);
            self.taken = Some(taken.ok_or_else(|| status::overloaded_at("memory for requests", RETRY_AFTER_MS))?);
        }
        self.fill(PREFIX_BYTES + length);
        if self.partial.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        let mut bytes = self.partial.split().freeze();
        bytes.advance(PREFIX_BYTES);
        Ok(Some(Inbound { bytes, _taken: self.taken.take() }))
    }

    /// Up to `length`, from the chunk.
    fn fill(&mut self, length: usize) {
        let missing = length.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }
}

fn length_of(prefix: &[u8]) -> Result<usize, CallError> {
    if prefix[0] != 0 {
        return Err(status::invalid("request", "it is compressed, which this service does not take"));
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
