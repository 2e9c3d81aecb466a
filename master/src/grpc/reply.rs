//! An answer on its way out: what it rests on, and whether it fits into a message.

use oplog::Position;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::status;
use proto::v1::session_response::Answer;
use proto::v1::{self, CallError};

use crate::gate::CallKind;
use crate::metrics::CallTimer;

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// Must be committed before the answer may go out.
    pub(crate) wait_seq: u64,
    pub(crate) kind: CallKind,
    /// The epoch in which it ran. It may be answered in no other.
    pub(crate) epoch: u64,
    /// Counted when it is answered.
    pub(crate) taken: CallTimer,
}

impl Reply {
    pub(crate) fn mutates(answer: Answer, position: Position) -> Reply {
        Reply {
            answer,
            wait_seq: position.seq,
            kind: CallKind::Mutation,
            epoch: position.epoch,
            taken: CallTimer::default(),
        }
    }

    pub(crate) fn reads(answer: Answer, position: Position) -> Reply {
        Reply {
            answer,
            wait_seq: position.seq,
            kind: CallKind::Read,
            epoch: position.epoch,
            taken: CallTimer::default(),
        }
    }
}

pub(crate) fn position(position: Position) -> Option<v1::Position> {
    Some(v1::Position { epoch: position.epoch, seq: position.seq })
}

/// Checks an answer of this size. Calls that change something are bounded before they run, so this
/// is for reads.
pub(crate) fn check_size(bytes: usize, kind: CallKind) -> Result<(), CallError> {
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let what = format_args!("it would take {bytes} bytes, the limit is {MESSAGE_BYTES_MAX}: ask for less at a time");
    Err(match kind {
        CallKind::Read | CallKind::StandbyRead => status::invalid("answer", what),
        CallKind::Mutation => {
            status::outcome_unknown(format_args!("the call has run, but its answer is too large: {what}"))
        }
    })
}
