//! What each reason means to a client: its gRPC code, whether to try again, and what to do.
//! docs/errors.md is generated from it.
//!
//! Invariant: every [`Reason`] has its row in [`REASONS`]. The one match over reasons has no `_`,
//! so a new reason does not compile without a row.

use std::fmt::Write as _;

use tonic::Code;

use crate::v1::Reason;

/// Whether a client should send a refused request again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// No: it would be refused again.
    No,
    /// Send the same request, with the same request number. It has not run, or the primary finds
    /// its answer by the number.
    SameNumber,
    /// Send it later, as a new request with a new number: the refusal was the answer to this one.
    NewNumber,
}

impl Retry {
    /// The class as docs/errors.md prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Retry::No => "no",
            Retry::SameNumber => "same number",
            Retry::NewNumber => "new number",
        }
    }
}

/// Every reason with its gRPC code, whether to retry, and what the client should do. In the order
/// of their numbers.
pub const REASONS: &[(Reason, Code, Retry, &str)] = &[
    row(Reason::Unspecified),
    row(Reason::InvalidArgument),
    row(Reason::NotFound),
    row(Reason::AlreadyExists),
    row(Reason::NoSpace),
    row(Reason::Leased),
    row(Reason::NotOwner),
    row(Reason::SegmentNotFound),
    row(Reason::SegmentConflict),
    row(Reason::SegmentBusy),
    row(Reason::Overloaded),
    row(Reason::NotPrimary),
    row(Reason::ShuttingDown),
    row(Reason::WriteInProgress),
    row(Reason::NotWriting),
    row(Reason::Pinned),
    row(Reason::QuotaExceeded),
    row(Reason::RequestReused),
    row(Reason::RequestExpired),
    row(Reason::TaskNotFound),
    row(Reason::ReplicaNotFound),
    row(Reason::ReplicaExists),
    row(Reason::StalePut),
    row(Reason::Internal),
    row(Reason::OutcomeUnknown),
    row(Reason::NotInSync),
    row(Reason::StaleRead),
    row(Reason::TenantNotFound),
    row(Reason::TenantNotEmpty),
];

/// The gRPC code of a call that fails for this reason.
pub const fn code(reason: Reason) -> Code {
    row(reason).1
}

/// Whether a client should send a request again that was refused for this reason.
pub const fn retry(reason: Reason) -> Retry {
    row(reason).2
}

/// What a client should do about this reason.
pub const fn what_to_do(reason: Reason) -> &'static str {
    row(reason).3
}

const fn row(reason: Reason) -> (Reason, Code, Retry, &'static str) {
    use Retry::{NewNumber, No, SameNumber};
    let (code, retry, what) = match reason {
        Reason::Unspecified => (
            Code::Unknown,
            No,
            "Nothing ran. Decide by the gRPC code: the reason is one that this version does not know.",
        ),
        Reason::InvalidArgument => {
            (Code::InvalidArgument, No, "Correct the request. The message names the field and the limit.")
        }
        Reason::NotFound => (Code::NotFound, No, "No complete object has this key. Write it, or do without."),
        Reason::AlreadyExists => {
            (Code::AlreadyExists, No, "Use what is there, or put with `if_exists = REPLACE`, or remove it first.")
        }
        Reason::NoSpace => (
            Code::ResourceExhausted,
            NewNumber,
            "Ask for less, for fewer replicas or `best_effort`, remove something, or mount more segments. Where segments are large \
             enough for it, an eviction makes room in a moment.",
        ),
        Reason::Leased => (
            Code::FailedPrecondition,
            NewNumber,
            "A reader holds a lease. Try again once it has run out, or remove with `force`.",
        ),
        Reason::NotOwner => {
            (Code::PermissionDenied, No, "Another client began this. Only that client can end or revoke it.")
        }
        Reason::SegmentNotFound => {
            (Code::NotFound, No, "Mount the segment, or ask `ListSegments` for the names and ids that are mounted.")
        }
        Reason::SegmentConflict => (
            Code::AlreadyExists,
            No,
            "Another segment has this id, or one of this client's shares a part of its range. Choose others, or unmount that \
             one.",
        ),
        Reason::SegmentBusy => (
            Code::FailedPrecondition,
            NewNumber,
            "The segment is draining or being unmounted. Wait until it is gone, or use another one.",
        ),
        Reason::Overloaded => {
            let what = "It did not run: a bound was reached. Try again after `retry_after_ms`. As the refusal of one item it is the \
                        answer to this number: try that item again with a new one.";
            (Code::Unavailable, SameNumber, what)
        }
        Reason::NotPrimary => (
            Code::Unavailable,
            SameNumber,
            "It did not run here. Go to `primary_address`, unless `epoch` is lower than one seen before; without an \
             address, try the other members.",
        ),
        Reason::ShuttingDown => (
            Code::Unavailable,
            SameNumber,
            "It did not run: this member is stopping. Try another member, or this one when it is back.",
        ),
        Reason::WriteInProgress => (
            Code::Aborted,
            NewNumber,
            "A client is writing this key. Try again when that put has ended, was revoked or has timed out.",
        ),
        Reason::NotWriting => (
            Code::FailedPrecondition,
            No,
            "No put or transfer of this key is under way. It has ended, was revoked or has timed out: look at the \
             object, then start anew.",
        ),
        Reason::Pinned => {
            (Code::FailedPrecondition, No, "The object is pinned so that it stays. Unpin it, or remove with `force`.")
        }
        Reason::QuotaExceeded => {
            (Code::ResourceExhausted, NewNumber, "The tenant is at its quota. Remove something, or raise the quota.")
        }
        Reason::RequestReused => (
            Code::InvalidArgument,
            No,
            "This request number was used for another request. Two users share a client id, or numbers were started \
             anew: take a new client id.",
        ),
        Reason::RequestExpired => (
            Code::FailedPrecondition,
            No,
            "It did not run now, but its first attempt may have: the answer is forgotten. Look at the object, then \
             send a new request if it is still needed.",
        ),
        Reason::TaskNotFound => {
            (Code::NotFound, No, "The task is done and forgotten, or was given to another client. Drop it.")
        }
        Reason::ReplicaNotFound => {
            (Code::NotFound, No, "The object has no complete replica there. Look up where it has one.")
        }
        Reason::ReplicaExists => (
            Code::AlreadyExists,
            No,
            "The object has a replica on that segment already. Use it, or choose another one.",
        ),
        Reason::StalePut => (
            Code::Aborted,
            No,
            "A later put has taken this one's place. What was written is dropped; start anew if needed.",
        ),
        Reason::Internal => (
            Code::Internal,
            No,
            "A fault of the master, which has logged it. Look at the state before the request is sent again.",
        ),
        Reason::OutcomeUnknown => (
            Code::Unknown,
            SameNumber,
            "It may have run, in whole or in part. Send it again with the same request number to get its answer, or to \
             have the rest done; after the deadline, look at the state.",
        ),
        Reason::NotInSync => (
            Code::FailedPrecondition,
            NewNumber,
            "No other member could take over without loss: none is in sync, or not the one that was named. `understudy \
             members` shows why; try again when one is.",
        ),
        Reason::StaleRead => (
            Code::FailedPrecondition,
            NewNumber,
            "This standby is not as fresh as the read asks, or cannot prove it. Read at the primary, or at another \
             standby, or ask for less.",
        ),
        Reason::TenantNotFound => (
            Code::NotFound,
            No,
            "No tenant has this name, so there is nothing to delete. `ListTenants` shows them all.",
        ),
        Reason::TenantNotEmpty => (
            Code::FailedPrecondition,
            NewNumber,
            "The tenant still holds something, and the message says how much. `understudy kv rm --all --force --tenant \
             NAME`, or `RemoveAll` with `force`, empties it; tasks end when their clients complete them, or are gone.",
        ),
    };
    (reason, code, retry, what)
}

/// The whole page docs/errors.md.
pub fn reasons_markdown() -> String {
    let mut page = String::from(PAGE_HEAD);
    for &(reason, code, retry, what) in REASONS {
        writeln!(page, "| `{}` | {} | `{code:?}` | {} | {what} |", reason.as_str_name(), reason as i32, retry.as_str())
            .expect("a string takes what is written");
    }
    page
}

const PAGE_HEAD: &str = "\
<!-- Generated from proto/src/reasons.rs. Change it there, then: UPDATE_DOCS=1 cargo test -p understudy-proto -->

# Errors

Every refusal has a *reason*: stable, for programs. The message beside it is for people.

- A **refusal** stands in the result of one item; the other items of the call are not affected.
- A **failed call** has not run, or its outcome is unknown. On a session it is a `CallError` in place of the \
answer. Elsewhere it is a gRPC status with the code below, and the whole `CallError` is in the binary trailer \
`understudy-error-bin`. The trailer that gRPC has for this, `grpc-status-details-bin`, says the same for libraries that \
know nothing of Understudy: a `google.rpc.Status` with a `google.rpc.ErrorInfo` (the reason's name, the domain `understudy`, \
`primary_address` and `epoch` where they are known), a `google.rpc.RetryInfo` where there is a time to wait, and the \
`CallError`.

*Retry* says what may be sent again. **no**: it would be refused again. **same number**: the same request with the same \
`request_number`; it did not run, or the master finds its answer by the number. **new number**: later, as a new request, \
since the refusal was the answer to this one. The Rust client does the retries of *same number* by itself.

A gRPC status with neither trailer comes from the transport or from something before the master. It counts as \
`OUTCOME_UNKNOWN`, unless it proves that nothing ran (no connection was found, or the code is `InvalidArgument`, \
`Unimplemented`, `Unauthenticated` or `PermissionDenied`). [clients.md](clients.md) is the page for those who write a client.

| reason | number | gRPC code | retry | what to do |
|---|---|---|---|---|
";
