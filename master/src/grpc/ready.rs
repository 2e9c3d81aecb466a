//! The answers of one session that are ready, until the transport takes them.
//!
//! ```text
//!   encoded ──► Ready: small ones in one piece, each large one by itself ──► gate ──► transport
//! ```
//!
//! Between the encoding of an answer and this point, other calls of the session run, for some
//! milliseconds. So the gate is asked here for the last time: nothing else happens before the
//! transport has the bytes. An answer that may not go out any more is replaced by its refusal.
//!
//! Invariant: all bytes are counted in the connection's share.
//!
//! Deliberately absent: the bytes after that. A process that is stopped right here sends them when
//! it goes on.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, SessionResponse};

use crate::budget;
use crate::gate::CallKind;
use crate::grpc::framing::put_message;
use crate::grpc::outgoing::{Chunk, Shares};
use crate::metrics::CallTimer;
use crate::node::Node;

/// An answer that goes out by itself has at least this size. Together, small ones have at most this
/// size, except for the last.
pub(crate) const FRAME_BYTES: usize = 64 << 10;

/// What an answer rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rests {
    pub(crate) id: u64,
    pub(crate) kind: CallKind,
    pub(crate) epoch: u64,
    /// Counted when the end of the call is known.
    pub(crate) taken: CallTimer,
}

/// A part of what goes out together.
#[derive(Debug)]
struct Piece {
    end: usize,
    /// `None`: a refusal.
    rests: Option<Rests>,
}

#[derive(Debug, Default)]
pub(crate) struct Ready {
    small: BytesMut,
    pieces: Vec<Piece>,
    /// The reservation of `small`.
    held: Option<budget::Reservation>,
    large: VecDeque<(Rests, Bytes, budget::Reservation)>,
}

impl Ready {
    pub(crate) fn has_room(&self) -> bool {
        self.small.len() < FRAME_BYTES && self.large.is_empty()
    }

    pub(crate) fn put(&mut self, rests: Rests, response: &SessionResponse, held: budget::Reservation) {
        put_message(&mut self.small, response.encoded_len(), response);
        self.end_piece(Some(rests), held);
    }

    pub(crate) fn put_framed(&mut self, rests: Rests, framed: Bytes, held: budget::Reservation) {
        if framed.len() >= FRAME_BYTES {
            return self.large.push_back((rests, framed, held));
        }
        self.small.extend_from_slice(&framed);
        self.end_piece(Some(rests), held);
    }

    pub(crate) fn put_error(&mut self, id: u64, error: CallError, shares: &Shares) {
        let before = self.small.len();
        put_error(&mut self.small, id, error);
        let held = shares.answers.share().take_anyway(self.small.len() - before);
        self.end_piece(None, held);
    }

    fn end_piece(&mut self, rests: Option<Rests>, held: budget::Reservation) {
        self.pieces.push(Piece { end: self.small.len(), rests });
        match &mut self.held {
            Some(small_held) => small_held.join(held),
            None => self.held = Some(held),
        }
    }

    /// For the transport, right before it gets the bytes.
    pub(crate) fn next_chunk(&mut self, node: &Node, shares: &Shares) -> Option<Chunk> {
        let check = |rests: &Rests| {
            let may_go = node.gate.check_answer(rests.kind, rests.epoch);
            node.requests.count(rests.taken, may_go)
        };
        if self.held.is_none()
            && let Some((rests, framed, held)) = self.large.pop_front()
        {
            match check(&rests) {
                Ok(()) => return Some(Chunk::new(framed, held)),
                Err(error) => self.put_error(rests.id, error, shares),
            }
        }
        let mut held = self.held.take()?;
        let before = self.small.len();
        settle(&mut self.small, &mut self.pieces, check);
        if self.small.len() > before {
            held.join(shares.answers.share().take_anyway(self.small.len() - before));
        }
        Some(Chunk::new(self.small.split().freeze(), held))
    }
}

/// Replaces answers that may not go out any more by their refusals.
fn settle(bytes: &mut BytesMut, pieces: &mut Vec<Piece>, check: impl Fn(&Rests) -> Result<(), CallError>) {
    let (mut start, mut anew) = (0, None);
    for Piece { end, rests } in pieces.drain(..) {
        let refused = rests.and_then(|rests| Some((rests.id, check(&rests).err()?)));
        match (refused, &mut anew) {
            (None, None) => {}
            (None, Some(anew)) => BytesMut::extend_from_slice(anew, &bytes[start..end]),
            (Some((id, error)), anew) => {
                put_error(anew.get_or_insert_with(|| BytesMut::from(&bytes[..start])), id, error);
            }
        }
        start = end;
    }
    if let Some(anew) = anew {
        *bytes = anew;
    }
}

fn put_error(bytes: &mut BytesMut, id: u64, error: CallError) {
    let response = SessionResponse { id, answer: Some(Answer::Error(error)) };
    put_message(bytes, response.encoded_len(), &response);
}

#[cfg(test)]
mod tests {
    use proto::status;
    use proto::v1::ExistsResponse;

    use super::*;
    use crate::grpc::framing::PREFIX_BYTES;

    fn rests(id: u64, epoch: u64) -> Rests {
        Rests { id, kind: CallKind::Read, epoch, taken: CallTimer::default() }
    }

    fn answer(id: u64) -> SessionResponse {
        SessionResponse {
            id,
            answer: Some(Answer::Exists(ExistsResponse { lease_ms: 7, ..ExistsResponse::default() })),
        }
    }

    fn piece(bytes: &mut BytesMut, response: &SessionResponse, rests: Option<Rests>) -> Piece {
        put_message(bytes, response.encoded_len(), response);
        Piece { end: bytes.len(), rests }
    }

    fn told(mut bytes: &[u8]) -> Vec<SessionResponse> {
        let mut told = Vec::new();
        while let Some((prefix, rest)) = bytes.split_at_checked(PREFIX_BYTES) {
            let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
            told.push(SessionResponse::decode(&rest[..length]).expect("it was encoded here"));
            bytes = &rest[length..];
        }
        told
    }

    #[test]
    fn what_may_not_go_out_any_more_is_refused_in_its_place_and_the_rest_goes_out() {
        let mut bytes = BytesMut::new();
        let refusal = SessionResponse { id: 3, answer: Some(Answer::Error(status::shutting_down())) };
        let mut pieces = vec![
            piece(&mut bytes, &answer(1), Some(rests(1, 8))),
            piece(&mut bytes, &answer(2), Some(rests(2, 7))),
            piece(&mut bytes, &refusal, None),
            piece(&mut bytes, &answer(4), Some(rests(4, 8))),
        ];
        let deposed = || status::not_primary("", 8);
        settle(&mut bytes, &mut pieces, |rests| if rests.epoch == 8 { Ok(()) } else { Err(deposed()) });
        let refused = SessionResponse { id: 2, answer: Some(Answer::Error(deposed())) };
        assert_eq!(told(&bytes), [answer(1), refused, refusal, answer(4)]);
        assert!(pieces.is_empty());
    }

    #[test]
    fn where_all_may_go_out_nothing_is_copied() {
        let mut bytes = BytesMut::new();
        let mut pieces = vec![piece(&mut bytes, &answer(1), Some(rests(1, 8)))];
        let before = bytes.as_ptr();
        settle(&mut bytes, &mut pieces, |_| Ok(()));
        assert_eq!((bytes.as_ptr(), told(&bytes)), (before, vec![answer(1)]));
    }
}
