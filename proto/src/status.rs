//! The one map between a failed call and its gRPC status.
//!
//! A failed call is a [`CallError`]. A session carries it as it is. Elsewhere it becomes a
//! [`Status`] whose code follows from the reason. The status carries the whole error twice: in the
//! binary trailer [`TRAILER`], from which a client restores it, and in gRPC's own
//! `grpc-status-details-bin` (`details`), which common libraries display.
//!
//! Invariants:
//! - the code of a reason is defined once, in [`REASONS`];
//! - `from_status(&to_status(error)) == error`, except for a text over its limit and a code that
//!   does not fit its reason;
//! - the trailers of a status are at most
//!   [`TRAILERS_BYTES_MAX`](crate::limits::TRAILERS_BYTES_MAX);
//! - a status with neither trailer counts as [`Reason::OutcomeUnknown`], unless it proves that
//!   nothing ran: the request did not leave, or was refused before a member looked at it. Then it
//!   is [`Reason::Unspecified`] and the code decides.
//!
//! Deliberately absent: retries, which are up to the client.

use std::fmt::Display;

use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, ConnectError, Status};

use crate::details;
use crate::limits::{ERROR_TEXT_BYTES_MAX, ERROR_TEXT_ESCAPED_BYTES_MAX, NAME_BYTES_MAX};
use crate::v1::{CallError, Reason, Refusal};

pub use crate::reasons::{REASONS, Retry, code, reasons_markdown, retry, what_to_do};

/// The binary trailer with the whole [`CallError`].
pub const TRAILER: &str = "understudy-error-bin";

/// The error of a whole call, with the code that belongs to the reason.
pub fn call_error(reason: Reason, message: impl Display) -> CallError {
    CallError {
        code: code(reason) as i32,
        reason: reason as i32,
        message: message.to_string(),
        retry_after_ms: 0,
        primary_address: String::new(),
        epoch: 0,
    }
}

/// The request is invalid: `field` is not as it must be.
pub fn invalid(field: impl Display, what: impl Display) -> CallError {
    call_error(Reason::InvalidArgument, format_args!("{field}: {what}"))
}

/// `field` holds more than the contract allows.
pub fn over_limit(field: impl Display, have: usize, limit: usize, unit: &str) -> CallError {
    invalid(field, format_args!("{have} {unit}, the limit is {limit}"))
}

/// A bound was reached. Nothing ran.
pub fn overloaded(retry_after_ms: u32) -> CallError {
    overloaded_by("the master is at its limit", retry_after_ms)
}

/// The bound of that setting was reached. Nothing ran.
pub fn overloaded_at(setting: impl Display, limit: impl Display, retry_after_ms: u32) -> CallError {
    overloaded_by(format_args!("{setting}: the limit of {limit} is met"), retry_after_ms)
}

/// The call cannot run at this moment, and did not.
pub fn overloaded_by(what: impl Display, retry_after_ms: u32) -> CallError {
    let message = format_args!("{what}, try again in {retry_after_ms} ms");
    CallError { retry_after_ms, ..call_error(Reason::Overloaded, message) }
}

/// This member is not the primary. With an empty address: it does not know which member is.
pub fn not_primary(primary_address: impl Into<String>, epoch: u64) -> CallError {
    let primary_address = primary_address.into();
    let message = match primary_address.as_str() {
        "" => format!("this member is not the primary of epoch {epoch} and does not know which member is"),
        address => format!("this member is not the primary of epoch {epoch}, which is thought to be at {address}"),
    };
    CallError { primary_address, epoch, ..call_error(Reason::NotPrimary, message) }
}

/// This member is stopping. Nothing ran.
pub fn shutting_down() -> CallError {
    call_error(Reason::ShuttingDown, "this member is shutting down")
}

/// The request number was used for another request.
pub fn request_reused(number: u64) -> CallError {
    call_error(Reason::RequestReused, format_args!("request number {number} was used for another request"))
}

/// The answer to this request number is forgotten.
pub fn request_expired(number: u64, forgotten_below: u64) -> CallError {
    let message = format_args!("request number {number} is forgotten, as all below {forgotten_below} are");
    call_error(Reason::RequestExpired, message)
}

/// No other member could take over without loss.
pub fn not_in_sync(what: impl Display) -> CallError {
    call_error(Reason::NotInSync, what)
}

/// This standby is not as fresh as the read asks for.
pub fn stale_read(what: impl Display) -> CallError {
    call_error(Reason::StaleRead, what)
}

/// It is unknown whether it ran.
pub fn outcome_unknown(what: impl Display) -> CallError {
    call_error(Reason::OutcomeUnknown, what)
}

/// A fault of this member.
pub fn internal(what: impl Display) -> CallError {
    call_error(Reason::Internal, what)
}

/// The refusal of one item.
pub fn refusal(reason: Reason, message: impl Display) -> Refusal {
    Refusal { reason: reason as i32, message: message.to_string() }
}

/// A failed call as a gRPC status. The code follows from the reason. An error without a known
/// reason keeps its own code.
pub fn to_status(mut error: CallError) -> Status {
    let code = match Reason::try_from(error.reason) {
        Ok(Reason::Unspecified) | Err(_) => code_or_unknown(error.code),
        Ok(reason) => code(reason),
    };
    error.code = code as i32;
    let fitting = fitting_bytes(&error.message, ERROR_TEXT_ESCAPED_BYTES_MAX);
    cut(&mut error.message, ERROR_TEXT_BYTES_MAX.min(fitting));
    cut(&mut error.primary_address, NAME_BYTES_MAX);
    let details = details::encode(&error).into();
    let mut metadata = MetadataMap::with_capacity(1);
    metadata.insert_bin(TRAILER, MetadataValue::from_bytes(&error.encode_to_vec()));
    Status::with_details_and_metadata(code, error.message, details, metadata)
}

/// What a gRPC status says about the call: the error that it carries, or else what follows from the
/// code and from where the status was made.
pub fn from_status(status: &Status) -> CallError {
    if let Some(error) = trailer(status) {
        return error;
    }
    let reason = match nothing_ran(status) {
        true => Reason::Unspecified,
        false => Reason::OutcomeUnknown,
    };
    CallError { code: code_or_unknown(status.code() as i32) as i32, ..call_error(reason, status.message()) }
}

fn trailer(status: &Status) -> Option<CallError> {
    let own = || CallError::decode(status.metadata().get_bin(TRAILER)?.to_bytes().ok()?).ok();
    let mut error = own().or_else(|| details::decode(status.details()))?;
    if error.code == Code::Ok as i32 {
        error.code = code_or_unknown(status.code() as i32) as i32;
    }
    Some(error)
}

/// Whether this status, which no member made, proves that the request did not run: it found no
/// connection, or it was turned away before it reached the service.
fn nothing_ran(status: &Status) -> bool {
    match status.code() {
        Code::InvalidArgument | Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied => true,
        Code::Unavailable => found_no_connection(status),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => false,
    }
}

fn found_no_connection(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A failed call never has the code OK, whatever the peer sent.
fn code_or_unknown(code: i32) -> Code {
    match Code::from_i32(code) {
        Code::Ok => Code::Unknown,
        code => code,
    }
}

/// How many bytes of a text fit into `bytes_max` once it is escaped as in `grpc-message`. If the
/// text is cut, room for the mark is left.
fn fitting_bytes(text: &str, bytes_max: usize) -> usize {
    let mut escaped = 0;
    let over = text.bytes().position(|byte| {
        escaped += if byte.is_ascii_graphic() && !b"\"#%<>`?{}".contains(&byte) { 1 } else { 3 };
        escaped > bytes_max
    });
    // The mark is escaped to three times its length, and replaces bytes that may not be escaped.
    over.map_or(text.len(), |at| at.saturating_sub(2 * MARK.len()))
}

/// Appended to a text that was cut.
const MARK: &str = " …";

fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - MARK.len()));
        text.push_str(MARK);
    }
}

#[cfg(test)]
#[path = "status_test.rs"]
mod status_test;
