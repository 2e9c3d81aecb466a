//! Why a message of the primary was not accepted. The stream then ends, and a new one continues
//! from what this member holds.

use oplog::{AppendFrameError, ApplyError, DecodeError, InstallError, Position, TailError};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandbyError {
    #[error("a frame is damaged: {0}")]
    Frame(#[from] DecodeError),
    #[error(transparent)]
    Append(#[from] AppendFrameError),
    #[error("the log cannot go on from seq {seq}: {why}")]
    Fork { seq: u64, why: TailError },
    #[error("the primary's log goes on from seq {fork_seq}, but {applied} is already applied here")]
    ForkBelowApplied { fork_seq: u64, applied: Position },
    #[error("an image was not accepted: {0}")]
    Install(#[from] InstallError),
    /// The state is not the one for which the entry was made, or this version does not know the op.
    #[error("entry {at} cannot be applied: {why}")]
    Apply { at: Position, why: ApplyError },
    #[error("more than {bytes_max} bytes of the log came beside the images of a full sync")]
    TooMuchLog { bytes_max: usize },
    #[error("the primary sent {what}, which must not come at this point")]
    Unexpected { what: &'static str },
}
