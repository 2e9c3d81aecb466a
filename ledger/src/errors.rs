//! Why an op was not applied, and the small checks that everything else makes of what it is given
//! or keeps.

use oplog::{ApplyError, DecodeError};

#[derive(Debug, thiserror::Error)]
pub enum Inconsistent {
    #[error("{0}")]
    Other(String),
    /// Only of an item that was just decided here: what it counted on is not so any more. Nothing
    /// has changed, and the item is decided anew.
    #[error("what was counted on has changed since it was decided about")]
    DecideAnew,
}

pub type Applied = Result<(), Inconsistent>;

/// Why an op was not applied.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

impl OpError {
    pub fn at(self, seq: u64) -> ApplyError {
        match self {
            OpError::Decode(error) => ApplyError::Decode(error),
            OpError::Inconsistent(error) => ApplyError::Inconsistent { seq, what: error.to_string() },
        }
    }
}

pub fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), Inconsistent> {
    if holds { Ok(()) } else { Err(Inconsistent::Other(what())) }
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, counted: T, kept: T) -> Result<(), String> {
    if counted == kept { Ok(()) } else { Err(format!("{what}: {counted:?} counted, {kept:?} kept")) }
}
