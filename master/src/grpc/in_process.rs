//! A node without a wire: what would come over a session, as bytes, and its answers. For whoever
//! has a node but no sockets, as fuzzers do.
//!
//! Invariant: a message goes the same way as on a session, from its bytes to its answer.
//!
//! Deliberately absent: waiting. A long call runs right here, and an answer is given before its
//! commit, which a node without peers does not know.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use proto::status;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, SessionResponse};

use crate::grpc::dispatch;
use crate::grpc::framing::Framing;
use crate::grpc::long::Waited;
use crate::grpc::reply::{Reply, check_size};
use crate::node::Node;

/// The answer to one message. An error: it is no request at all.
pub fn answer(node: &Node, message: Bytes) -> Result<SessionResponse, CallError> {
    let request = dispatch::decode_session(message)?;
    let ran = match &request.call {
        Some(call) => dispatch::run(node, None, call, node.requests.take(call), &Waited::SURELY),
        None => Err(status::invalid("call", "none that this version knows")),
    };
    let answered = ran.and_then(|Reply { answer, effect, .. }| {
        let response = SessionResponse { id: request.id, answer: Some(answer) };
        check_size(response.encoded_len(), effect).map(|()| response)
    });
    Ok(answered.unwrap_or_else(|error| SessionResponse { id: request.id, answer: Some(Answer::Error(error)) }))
}

/// The messages that a connection's chunks hold. An error: the stream would end there.
pub fn messages(node: &Node, chunks: impl IntoIterator<Item = Bytes>) -> Result<Vec<Bytes>, CallError> {
    let open = node.request_bytes.open(None);
    let mut framing = Framing::new(Arc::clone(open.share()));
    let mut messages = Vec::new();
    for chunk in chunks {
        framing.push(chunk);
        while let Some(inbound) = framing.next()? {
            messages.push(inbound.bytes);
        }
    }
    Ok(messages)
}
