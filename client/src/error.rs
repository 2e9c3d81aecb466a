//! What can go wrong, by what the caller does next.
//!
//! Invariants: a timeout never counts as failed: a call that may have changed something ends as
//! `OutcomeUnknown`, and only one that certainly changed nothing ends as `Deadline`.

use std::time::Duration;

use proto::v1;
use proto::v1::Reason;

/// The master's definite answer: no. `reason` is for programs, `message` for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .reason.as_str_name())]
pub struct Refused {
    /// Stable; docs/errors.md lists them all.
    pub reason: Reason,
    /// Names what was refused, and both sides of what does not fit.
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
            // A reason of a later version, or a status that no master made: the code says more.
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
        /// What is wrong, in the words of the call or of the options.
        field: &'static str,
        /// How it is, and how it must be.
        what: String,
    },
    /// The master refused it. See [`Refused::what_to_do`].
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Time is up and nothing was changed. Call again if it is still wanted.
    #[error("{call}: no answer within {} ms, nothing was changed ({last})", .waited.as_millis())]
    Deadline {
        /// The name of the call.
        call: &'static str,
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        last: String,
        /// Why a member has refused it, where one did.
        reason: Reason,
    },
    /// Time is up and the call may have run, or may still be on its way. Look at the state before
    /// calling again.
    #[error("{call}: no answer within {} ms, it may have run ({last})", .waited.as_millis())]
    OutcomeUnknown {
        /// The name of the call.
        call: &'static str,
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        last: String,
    },
    /// No member could be reached. Check the addresses, or wait for a master.
    #[error("no master could be reached within {} ms: {}", .waited.as_millis(), .tried.join("; "))]
    Unreachable {
        /// Each address with what it said last.
        tried: Vec<String>,
        /// How long it was tried.
        waited: Duration,
    },
    /// The answer is not one to this call, so what it did is unknown. Look at the versions of
    /// client and master.
    #[error("{call}: the master's answer makes no sense: {what}")]
    Protocol {
        /// The name of the call.
        call: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The runtime that the client was connected in is gone. Connect anew.
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

    /// The reason, if the master refused it.
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
