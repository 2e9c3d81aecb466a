//! Calls that may take longer than a millisecond: on threads of their own, so many at a time.

use std::sync::Arc;

use proto::status;
use proto::v1::CallError;
use proto::v1::session_request::Call;

use crate::grpc::dispatch;
use crate::grpc::framing::Inbound;
use crate::grpc::reply::Reply;
use crate::metrics::Taken;
use crate::node::Node;

const RETRY_AFTER_MS: u32 = 100;

/// Takes a place now; the call runs when the result is called, and keeps place and memory until it is done.
pub(crate) fn job(
    node: &Arc<Node>,
    call: Call,
    taken: Taken,
    inbound: Inbound,
) -> Result<impl FnOnce() -> Result<Reply, CallError> + Send + 'static, CallError> {
    let place = Arc::clone(&node.long_calls).try_acquire_owned().map_err(|_| {
        let error = status::overloaded_at("long_calls_max", RETRY_AFTER_MS);
        node.requests.refused(taken, &error);
        error
    })?;
    let node = Arc::clone(node);
    Ok(move || {
        let _kept = (place, inbound);
        dispatch::run(&node, &call, taken)
    })
}
