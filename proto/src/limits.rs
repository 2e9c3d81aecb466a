//! The bounds of the wire: what both sides refuse before they look at a message any further.
//!
//! Invariants: each bound is defined once, here, and the refusal names it. To raise a bound changes
//! the wire contract, since an older peer would still refuse the larger message.
//!
//! The bounds of lists stand in the contract, beside the field (`items_max` in `options.proto`).
//!
//! Deliberately absent: bounds that a node may configure for itself (queues, quotas, memory), and
//! what the state refuses by itself (how long a key is, how many replicas it keeps).

use crate::calls::items_max;

/// A client id.
pub const CLIENT_ID_BYTES: usize = 16;
/// A segment id.
pub const SEGMENT_ID_BYTES: usize = 16;
/// The digest of a state.
pub const DIGEST_BYTES: usize = 16;

/// Items of one call: keys, segments, tasks.
pub const BATCH_ITEMS_MAX: usize = items_max("", "");
/// One encoded message, in either direction. A longer answer is cut after a page if the call has
/// pages; otherwise the call is refused.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A tenant's name. "" is the default tenant.
pub const TENANT_BYTES_MAX: usize = 256;
/// A segment's name, endpoint, protocol or host.
pub const NAME_BYTES_MAX: usize = 256;
/// A path on disk.
pub const PATH_BYTES_MAX: usize = 1024;
/// A regular expression, as written.
pub const REGEX_BYTES_MAX: usize = 1024;
/// The message with which a client fails a task.
pub const TASK_MESSAGE_BYTES_MAX: usize = 1024;

/// Keys of one page if the request has no limit. The most is [`BATCH_ITEMS_MAX`].
pub const LIST_KEYS_DEFAULT: usize = 1000;
/// Tasks handed out at once if the request has no limit. The most is [`BATCH_ITEMS_MAX`].
pub const FETCH_TASKS_DEFAULT: usize = 100;

/// The most that a standby asks its primary to compare in one question: whole shards,
pub const VERIFY_SHARDS_MAX: usize = items_max("ShardList", "shards");
/// parts of shards,
pub const VERIFY_PARTS_MAX: usize = items_max("PartList", "parts");
/// records of a sample.
pub const VERIFY_RECORDS_MAX: usize = items_max("Sample", "records");

/// The distance from a client's lowest unanswered request number to its highest: so many answers
/// does the primary keep for one client. A client waits before it would exceed this.
pub const REQUEST_SPAN_MAX: u64 = 4096;

/// The text of a failed call. A longer one is cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 1024;
/// The same text as escaped in `grpc-message`, where a blank and each byte that is not ASCII take
/// three bytes.
pub const ERROR_TEXT_ESCAPED_BYTES_MAX: usize = 1600;
/// All trailers of a failed call, counted as in HTTP/2: names and values as they are sent, plus 32
/// bytes each. They contain the text three times. hyper accepts 16 KiB; the gRPC libraries for
/// Java, C, C++ and Python accept 8 KiB.
pub const TRAILERS_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::status::{call_error, from_status, to_status};
    use crate::v1::{CallError, Reason};

    fn trailers_bytes(status: Status) -> usize {
        let response = status.into_http::<()>();
        response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    #[test]
    fn longest_error_fits_the_trailers() {
        let texts = ["x", " ", "ü", "a b", "{", "…", "%", "\u{1F600}"];
        for text in texts {
            let error = CallError {
                retry_after_ms: u32::MAX,
                primary_address: "p".repeat(5000),
                epoch: u64::MAX,
                ..call_error(Reason::SegmentNotFound, text.repeat(5000))
            };
            let status = to_status(error);
            let kept = from_status(&status).message;
            assert!(
                kept.ends_with(" …") && kept.len() > ERROR_TEXT_ESCAPED_BYTES_MAX / 3 - 24,
                "{text:?}: {}",
                kept.len()
            );
            let bytes = trailers_bytes(status);
            assert!(bytes <= TRAILERS_BYTES_MAX - 256, "{text:?}: {bytes} bytes, and a proxy may add some");
        }
    }
}
