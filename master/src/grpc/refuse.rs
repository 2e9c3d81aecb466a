//! Converts the state's refusals to those of the contract.

use metadata::{CallRefused, Outcome, Refusal};
use proto::status;
use proto::v1::{self, CallError, Reason};

use crate::node::Node;

/// The refusal of a whole call.
pub(crate) fn call(node: &Node, refused: CallRefused) -> CallError {
    match refused {
        CallRefused::Invalid { field, what } => status::invalid(field, what),
        CallRefused::Overloaded { what, retry_after_ms, .. } => {
            CallError { retry_after_ms, ..status::call_error(Reason::Overloaded, what) }
        }
        CallRefused::InPart { done, why } => {
            let error = call(node, *why);
            let what = format_args!("the first {done} items have run, and then: {}", error.message);
            CallError { retry_after_ms: error.retry_after_ms, ..status::outcome_unknown(what) }
        }
        // The gate was open a moment ago, and which member is the primary now is not known yet.
        CallRefused::NotPrimary => status::not_primary("", node.gate.epoch()),
        CallRefused::Slow => {
            let limit_ms = node.config.serving.pattern_ms_max;
            let what = format_args!("matching it with the keys takes more than pattern_ms_max, {limit_ms} ms");
            status::invalid("regex", what)
        }
        CallRefused::RequestReused { number } => status::request_reused(number),
        CallRefused::RequestExpired { number, kept_from } => status::request_expired(number, kept_from),
    }
}

/// The refusal of one item.
pub(crate) fn item(refusal: Refusal) -> v1::Refusal {
    status::refusal(reason(refusal), refusal)
}

/// The refusal of one item that has no other result.
pub(crate) fn refusal_of(outcome: Outcome<()>) -> Option<v1::Refusal> {
    outcome.err().map(item)
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::NotFound => Reason::NotFound,
        Refusal::AlreadyExists => Reason::AlreadyExists,
        Refusal::NoSpace => Reason::NoSpace,
        Refusal::Leased => Reason::Leased,
        Refusal::NotOwner => Reason::NotOwner,
        Refusal::SegmentNotFound => Reason::SegmentNotFound,
        Refusal::SegmentConflict => Reason::SegmentConflict,
        Refusal::SegmentBusy => Reason::SegmentBusy,
        Refusal::WriteInProgress => Reason::WriteInProgress,
        Refusal::NotWriting => Reason::NotWriting,
        Refusal::Pinned => Reason::Pinned,
        Refusal::QuotaExceeded => Reason::QuotaExceeded,
        Refusal::TaskNotFound => Reason::TaskNotFound,
        Refusal::ReplicaNotFound => Reason::ReplicaNotFound,
        Refusal::ReplicaExists => Reason::ReplicaExists,
        Refusal::StalePut => Reason::StalePut,
        Refusal::Overloaded(_) => Reason::Overloaded,
        Refusal::TenantNotEmpty { .. } => Reason::TenantNotEmpty,
        Refusal::TenantNotFound => Reason::TenantNotFound,
    }
}
