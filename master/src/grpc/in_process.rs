//! A node without a wire: messages of a session, as bytes, and their answers. For callers that have
//! a node but no sockets, such as fuzzers.
//!
//! Invariant: a message goes the same way as on a session, from its bytes to its answer.
//!
//! Deliberately absent: waiting. A long call runs on the spot, and an answer is returned before its
//! commit, since a node without peers has none.

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

/// The answer to one message. An error: it is no request.
pub fn answer(node: &Node, message: Bytes) -> Result<SessionResponse, CallError> {
    let request = dispatch::decode_session(message)?;
    let ran = match &request.call {
        Some(call) => dispatch::run(node, None, call, node.requests.take(call), &Waited::SURELY),
        None => Err(status::invalid("call", "none that this version knows")),
    };
    let answered = ran.and_then(|Reply { answer, kind, .. }| {
        let response = SessionResponse { id: request.id, answer: Some(answer) };
        check_size(response.encoded_len(), kind).map(|()| response)
    });
    Ok(answered.unwrap_or_else(|error| SessionResponse { id: request.id, answer: Some(Answer::Error(error)) }))
}

/// The messages in a connection's chunks. An error: the stream would end there.
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
