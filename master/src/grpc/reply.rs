//! An answer on its way out: what it rests on, and whether it fits into a message.

use oplog::Position;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::status;
use proto::v1::session_response::Answer;
use proto::v1::{self, CallError};

use crate::gate::Effect;
use crate::metrics::Taken;

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// Must be committed before the answer may go out.
    pub(crate) wait_seq: u64,
    pub(crate) effect: Effect,
    /// The one in which it ran: in no other may it be answered.
    pub(crate) epoch: u64,
    /// To be counted when it is answered.
    pub(crate) taken: Taken,
}

impl Reply {
    pub(crate) fn mutates(answer: Answer, position: Position) -> Reply {
        Reply {
            answer,
            wait_seq: position.seq,
            effect: Effect::Mutates,
            epoch: position.epoch,
            taken: Taken::default(),
        }
    }

    pub(crate) fn reads(answer: Answer, position: Position) -> Reply {
        Reply { answer, wait_seq: position.seq, effect: Effect::Reads, epoch: position.epoch, taken: Taken::default() }
    }
}

pub(crate) fn position(position: Position) -> Option<v1::Position> {
    Some(v1::Position { epoch: position.epoch, seq: position.seq })
}

/// Of an answer that takes this much. What changes something is bounded before it runs, so that
/// this is for reads.
pub(crate) fn check_size(bytes: usize, effect: Effect) -> Result<(), CallError> {
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let what = format_args!("it would take {bytes} bytes, the limit is {MESSAGE_BYTES_MAX}: ask for less at a time");
    Err(match effect {
        Effect::Reads | Effect::ReadsStandby => status::invalid("answer", what),
        Effect::Mutates => {
            status::outcome_unknown(format_args!("the call has run, but its answer is too large: {what}"))
        }
    })
}
