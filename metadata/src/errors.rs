//! Why an op was not applied, and the small checks that everything else makes of what it is given or keeps.

use oplog::{ApplyError, DecodeError};

use crate::types::TenantIx;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Inconsistent {
    #[error("{what}: no object \"{}\" of tenant {tenant} in that state", key.escape_ascii())]
    Object { what: &'static str, tenant: TenantIx, key: Vec<u8> },
    #[error("{0}")]
    Other(String),
    /// Only of an op that was just decided here; nothing has changed.
    #[error("a reader was promised the object since it was decided about")]
    PromisedSince,
}

pub(crate) fn no_object(what: &'static str, tenant: TenantIx, key: &[u8]) -> Inconsistent {
    Inconsistent::Object { what, tenant, key: key.to_vec() }
}

pub(crate) type Applied = Result<(), Inconsistent>;

/// Why an op was not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

impl OpError {
    pub(crate) fn at(self, seq: u64) -> ApplyError {
        match self {
            OpError::Decode(error) => ApplyError::Decode(error),
            OpError::Inconsistent(error) => ApplyError::Inconsistent { seq, what: error.to_string() },
        }
    }
}

pub(crate) fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), Inconsistent> {
    if holds { Ok(()) } else { Err(Inconsistent::Other(what())) }
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, counted: T, kept: T) -> Result<(), String> {
    if counted == kept { Ok(()) } else { Err(format!("{what}: {counted:?} counted, {kept:?} kept")) }
}
