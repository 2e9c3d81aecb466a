//! The standard trailer `grpc-status-details-bin` of a failed call. A gRPC library that does not
//! know Understudy shows its content.
//!
//! It holds a `google.rpc.Status` with the code, the message and these details, in this order:
//! - `google.rpc.ErrorInfo`: the reason's name under [`DOMAIN`], with `primary_address` and `epoch`
//!   if they are known;
//! - `google.rpc.RetryInfo`, if the error says when to try again;
//! - the whole [`CallError`], under [`CALL_ERROR_TYPE`].
//!
//! Google's few messages are written out by hand. Their field numbers are fixed, and a crate for
//! them would add many more.
//!
//! Deliberately absent: other details. A client that knows the contract finds all fields in the
//! `CallError`.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;

use crate::v1::CallError;

/// The domain of each `ErrorInfo`: it says who defines the reasons.
const DOMAIN: &str = "understudy";
/// Names the [`CallError`] among the details.
const CALL_ERROR_TYPE: &str = "type.googleapis.com/understudy.v1.CallError";
const ERROR_INFO_TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The bytes of the trailer.
pub(crate) fn encode(error: &CallError) -> Vec<u8> {
    let mut details = vec![any(ERROR_INFO_TYPE, &error_info(error))];
    if error.retry_after_ms > 0 {
        details.push(any(RETRY_INFO_TYPE, &retry_info(error.retry_after_ms)));
    }
    details.push(any(CALL_ERROR_TYPE, error));
    RpcStatus { code: error.code, message: error.message.clone(), details }.encode_to_vec()
}

/// The error in the bytes of the trailer. `None`: the trailer has no `CallError`, or is damaged.
pub(crate) fn decode(bytes: &[u8]) -> Option<CallError> {
    let status = RpcStatus::decode(bytes).ok()?;
    let error = status.details.iter().find(|detail| detail.type_url == CALL_ERROR_TYPE)?;
    CallError::decode(error.value.as_slice()).ok()
}

fn error_info(error: &CallError) -> ErrorInfo {
    let mut metadata = BTreeMap::new();
    if !error.primary_address.is_empty() {
        metadata.insert("primary_address".to_owned(), error.primary_address.clone());
    }
    if error.epoch > 0 {
        metadata.insert("epoch".to_owned(), error.epoch.to_string());
    }
    ErrorInfo { reason: error.reason().as_str_name().to_owned(), domain: DOMAIN.to_owned(), metadata }
}

fn retry_info(retry_after_ms: u32) -> RetryInfo {
    let delay = Duration::from_millis(u64::from(retry_after_ms));
    // Below 10^9, so below 2^31, too.
    let nanos = delay.subsec_nanos().cast_signed();
    RetryInfo { retry_delay: Some(RetryDelay { seconds: delay.as_secs().cast_signed(), nanos }) }
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

#[cfg(test)]
#[path = "details_test.rs"]
mod details_test;
