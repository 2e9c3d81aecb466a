//! One call, one answer.
//!
//! Invariant: whatever goes wrong is answered with a `CallError` in the trailers, also what tonic would only call
//! OUT_OF_RANGE: a message over the limit is an invalid argument that names the limit.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use proto::status;
use proto::v1::CallError;
use proto::v1::session_request::Call;
use tonic::Status;

use crate::budget::{self, Budget};
use crate::gate::Effect;
use crate::grpc::body::{Body, respond_error, respond_message};
use crate::grpc::dispatch::{self, Weight};
use crate::grpc::framing::{Framing, Inbound};
use crate::grpc::reply::Reply;
use crate::grpc::{commit, long, standby_read};
use crate::metrics::{Method, Taken};
use crate::node::Node;

pub(crate) async fn answer(node: &Arc<Node>, method: &str, request: Request<Incoming>) -> Response<Body> {
    let inbound = match receive(node, request.into_body()).await {
        Ok(inbound) => inbound,
        Err(error) => return refuse(node, Method::named(method), error),
    };
    match begin(node, method, inbound) {
        Begun::Answered(response) => response,
        Begun::Waits(rest) => rest.await,
    }
}

/// A call after its first step. What does not wait leaves nothing behind that the future of a call would have to hold.
enum Begun {
    Answered(Response<Body>),
    Waits(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

fn begin(node: &Arc<Node>, method: &str, inbound: Inbound) -> Begun {
    let call = match dispatch::decode(method, inbound.bytes.clone()) {
        Some(Ok(call)) => call,
        Some(Err(error)) => {
            return Begun::Answered(refuse(node, Method::named(method), error));
        }
        None => {
            node.requests.refused(Method::Unknown, &CallError::default());
            return Begun::Answered(Status::unimplemented(format!("there is no method {method}")).into_http());
        }
    };
    let taken = node.requests.take(&call);
    match standby_read::wait(node, &call) {
        None => begin_call(node, call, taken, inbound),
        Some(wait) => {
            let node = Arc::clone(node);
            Begun::Waits(Box::pin(async move {
                wait.await;
                match begin_call(&node, call, taken, inbound) {
                    Begun::Answered(response) => response,
                    Begun::Waits(rest) => rest.await,
                }
            }))
        }
    }
}

fn begin_call(node: &Arc<Node>, call: Call, taken: Taken, inbound: Inbound) -> Begun {
    match dispatch::weight(&call) {
        Weight::Long => Begun::Waits(Box::pin(run_long(Arc::clone(node), call, taken, inbound))),
        Weight::Inline(_) => match dispatch::run(node, &call, taken) {
            Ok(reply) if commit::is_committed(node, &reply) => Begun::Answered(respond(node, &reply)),
            Ok(reply) => Begun::Waits(Box::pin(respond_committed(Arc::clone(node), reply))),
            Err(error) => Begun::Answered(respond_error(error)),
        },
    }
}

fn refuse(node: &Node, call: impl Into<Taken>, error: CallError) -> Response<Body> {
    node.requests.refused(call, &error);
    respond_error(error)
}

fn respond(node: &Node, reply: &Reply) -> Response<Body> {
    let framed = node.gate.check_answer(reply.effect, reply.epoch).and_then(|()| dispatch::encode(reply));
    let framed = framed.and_then(|framed| hold(&node.unary_answer_bytes, framed, reply.effect));
    node.requests.count(reply.taken, framed).map_or_else(respond_error, respond_message)
}

/// When to come back after the memory for answers was at its limit.
const RETRY_AFTER_MS: u32 = 50;

/// An answer whose bytes count until the transport has sent them: a client that does not read does not take them.
fn hold(budget: &Budget, framed: Bytes, effect: Effect) -> Result<Bytes, CallError> {
    let bound = "memory for answers that are not read";
    let taken = budget.take(framed.len()).ok_or_else(|| match effect {
        Effect::Reads | Effect::ReadsStandby => status::overloaded_at(bound, RETRY_AFTER_MS),
        Effect::Mutates => CallError {
            retry_after_ms: RETRY_AFTER_MS,
            ..status::outcome_unknown(format_args!("the call has run, but {bound} is at its limit"))
        },
    })?;
    Ok(Bytes::from_owner(Held { framed, _taken: taken }))
}

struct Held {
    framed: Bytes,
    _taken: budget::Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.framed
    }
}

async fn respond_committed(node: Arc<Node>, reply: Reply) -> Response<Body> {
    match commit::committed(&node, &reply).await {
        Ok(()) => respond(&node, &reply),
        Err(error) => refuse(&node, reply.taken, error),
    }
}

async fn run_long(node: Arc<Node>, call: Call, taken: Taken, inbound: Inbound) -> Response<Body> {
    let job = match long::job(&node, call, taken, inbound) {
        Ok(job) => job,
        Err(error) => return respond_error(error),
    };
    match tokio::task::spawn_blocking(job).await.unwrap_or_else(|fault| Err(status::internal(fault))) {
        Ok(reply) => respond_committed(node, reply).await,
        Err(error) => respond_error(error),
    }
}

/// The one message of the request, and its end.
async fn receive(node: &Node, mut body: Incoming) -> Result<Inbound, CallError> {
    let mut framing = Framing::new(node.request_bytes.clone());
    loop {
        if let Some(inbound) = framing.next()? {
            return end_of(&mut body, framing).await.map(|()| inbound);
        }
        match data(&mut body).await? {
            Some(chunk) => framing.push(chunk),
            None => return Err(status::invalid("request", "it ended before its message was whole")),
        }
    }
}

/// A response before the end of the request would make some clients think that it was cut off.
async fn end_of(body: &mut Incoming, framing: Framing) -> Result<(), CallError> {
    let more = || status::invalid("request", "a unary call has one message");
    if !framing.is_between_messages() {
        return Err(more());
    }
    while !body.is_end_stream() {
        match data(body).await? {
            Some(chunk) if !chunk.is_empty() => return Err(more()),
            Some(_) => {}
            None => return Ok(()),
        }
    }
    Ok(())
}

async fn data(body: &mut Incoming) -> Result<Option<Bytes>, CallError> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
    match frame {
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(error)) => Err(status::invalid("request", format_args!("it was cut off: {error}"))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::Reason;

    use super::*;

    #[test]
    fn an_answer_counts_until_it_is_dropped() {
        let budget = Budget::new(10);
        let held = hold(&budget, Bytes::from_static(b"12345678"), Effect::Reads).expect("there is room");
        let part = held.slice(2..4);
        drop(held);
        assert_eq!(budget.taken(), 8, "the transport has a part of it");
        let refused = |effect| hold(&budget, Bytes::from_static(b"123"), effect).expect_err("there is none").reason();
        assert_eq!((refused(Effect::Reads), refused(Effect::Mutates)), (Reason::Overloaded, Reason::OutcomeUnknown));
        drop(part);
        assert_eq!(budget.taken(), 0);
    }
}
