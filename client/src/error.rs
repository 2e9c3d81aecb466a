//! Errors, by what the caller does next.
//!
//! Invariants: a time-out is never a failure: a call that may have changed something ends as
//! `OutcomeUnknown`, and only a call that certainly changed nothing ends as `Deadline`.

use std::time::Duration;

use proto::v1;
use proto::v1::Reason;

/// The definite refusal of an item or a call. `reason` is for programs, `message` for readers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .reason.as_str_name())]
pub struct Refused {
    /// Stable. docs/errors.md lists all reasons.
    pub reason: Reason,
    /// Says what was refused, with both values if two do not fit.
    pub message: String,
}

impl Refused {
    /// What a caller should do about it.
    pub fn what_to_do(&self) -> &'static str {
        proto::status::what_to_do(self.reason)
    }
}

impl From<v1::Refusal> for Refused {
    fn from(refusal: v1::Refusal) -> Refused {
        Refused { reason: refusal.reason(), message: refusal.message }
    }
}

impl From<v1::CallError> for Refused {
    fn from(error: v1::CallError) -> Refused {
        let reason = error.reason();
        match reason {
            // A reason of a later version, or a status that no member made: the code says more.
            Reason::Unspecified => {
                Refused { reason, message: format!("{} ({})", error.message, tonic::Code::from(error.code)) }
            }
            _ => Refused { reason, message: error.message },
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing was sent. Correct the call.
    #[error("{field}: {what}")]
    Invalid {
        /// The argument or the option.
        field: &'static str,
        /// Its value, and what it must be.
        what: String,
    },
    /// It was refused. See [`Refused::what_to_do`].
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The deadline has passed, and nothing was changed. Call again if it is still wanted.
    #[error("{call}: no answer within {} ms, nothing was changed ({last})", .waited.as_millis())]
    Deadline {
        /// The name of the call.
        call: &'static str,
        /// How long the client tried.
        waited: Duration,
        /// The last obstacle.
        last: String,
        /// Why a member refused the last attempt, if one did.
        reason: Reason,
    },
    /// The deadline has passed, and the call may have run or may still run. Look at the state
    /// before calling again.
    #[error("{call}: no answer within {} ms, it may have run ({last})", .waited.as_millis())]
    OutcomeUnknown {
        /// The name of the call.
        call: &'static str,
        /// How long the client tried.
        waited: Duration,
        /// The last obstacle.
        last: String,
    },
    /// No member could be reached. Check the addresses, or wait for a member.
    #[error("no member could be reached within {} ms: {}", .waited.as_millis(), .tried.join("; "))]
    Unreachable {
        /// Each address with its last error.
        tried: Vec<String>,
        /// How long the client tried.
        waited: Duration,
    },
    /// The answer does not belong to this call, so the outcome is unknown. Compare the versions of
    /// client and member.
    #[error("{call}: the answer makes no sense: {what}")]
    Protocol {
        /// The name of the call.
        call: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The runtime in which the client was connected has ended. Connect again.
    #[error("{call}: the client's runtime has ended")]
    Closed {
        /// The name of the call.
        call: &'static str,
    },
}

impl Error {
    pub(crate) fn invalid(field: &'static str, what: impl Into<String>) -> Error {
        Error::Invalid { field, what: what.into() }
    }

    pub(crate) fn protocol(call: &'static str, what: impl Into<String>) -> Error {
        Error::Protocol { call, what: what.into() }
    }

    /// The reason, if it was refused.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Error::Refused(refused) => Some(refused.reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_says_its_reason_by_name() {
        let refused = Refused::from(proto::status::refusal(Reason::NoSpace, "100 bytes asked, 7 free"));
        assert_eq!(refused.to_string(), "NO_SPACE: 100 bytes asked, 7 free");
        assert_eq!(Error::from(refused).reason(), Some(Reason::NoSpace));
    }

    #[test]
    fn unknown_reason_shows_the_grpc_code() {
        let error = v1::CallError {
            code: tonic::Code::Unimplemented as i32,
            reason: 999,
            message: "x".into(),
            ..Default::default()
        };
        let refused = Refused::from(error);
        assert_eq!(refused.reason, Reason::Unspecified);
        assert!(refused.message.starts_with("x (") && refused.message.contains("not implemented"), "{refused}");
    }
}
