//! One call, one answer.
//!
//! Invariant: every error is answered with a `CallError` in the trailers, even one that tonic would
//! only call OUT_OF_RANGE: a message over the limit is an invalid argument that names the limit.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use proto::status;
use proto::v1::CallError;
use proto::v1::session_request::Call;
use tokio::time::timeout;
use tonic::Status;

use crate::grpc::body::{Body, respond_error, respond_message};
use crate::grpc::dispatch::{self, Weight};
use crate::grpc::framing::{Framing, Inbound};
use crate::grpc::long::{Waited, Waiting};
use crate::grpc::outgoing::{self, Chunk, Shares};
use crate::grpc::reply::Reply;
use crate::grpc::router::cut;
use crate::grpc::{commit, long, standby_read};
use crate::metrics::{CallTimer, Method};
use crate::node::Node;

pub(crate) async fn answer(
    node: &Arc<Node>,
    shares: &Arc<Shares>,
    method: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let inbound = match receive_in_time(node, shares, request.into_body()).await {
        Ok(inbound) => inbound,
        Err(error) => return refuse(node, Method::named(method), error),
    };
    match begin(node, shares, method, inbound) {
        Begun::Answered(response) => response,
        Begun::Waits(rest) => rest.await,
    }
}

/// A call after its first step. A call that need not wait leaves nothing behind for its future to
/// hold.
enum Begun {
    Answered(Response<Body>),
    Waits(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

fn begin(node: &Arc<Node>, shares: &Arc<Shares>, method: &str, inbound: Inbound) -> Begun {
    let call = match dispatch::decode(method, inbound.bytes.clone()) {
        Some(Ok(call)) => call,
        Some(Err(error)) => {
            return Begun::Answered(refuse(node, Method::named(method), error));
        }
        None => {
            node.requests.refused(Method::Unknown, &CallError::default());
            return Begun::Answered(Status::unimplemented(format!("there is no method {}", cut(method))).into_http());
        }
    };
    let taken = node.requests.take(&call);
    match standby_read::wait(node, &call) {
        None => begin_call(node, shares, call, taken, inbound),
        Some(wait) => {
            let (node, shares) = (Arc::clone(node), Arc::clone(shares));
            Begun::Waits(Box::pin(async move {
                wait.await;
                match begin_call(&node, &shares, call, taken, inbound) {
                    Begun::Answered(response) => response,
                    Begun::Waits(rest) => rest.await,
                }
            }))
        }
    }
}

fn begin_call(node: &Arc<Node>, shares: &Arc<Shares>, call: Call, taken: CallTimer, inbound: Inbound) -> Begun {
    if let Err(full) = shares.answers.share().check_room() {
        return Begun::Answered(refuse(node, taken, full.refusal()));
    }
    let both = || (Arc::clone(node), Arc::clone(shares));
    match dispatch::weight(&call) {
        Weight::Long => Begun::Waits(Box::pin(run_long(both(), call, taken, inbound))),
        Weight::Inline => match dispatch::run(node, shares.from, &call, taken, &Waited::SURELY) {
            Ok(reply) if commit::is_committed(node, &reply) => Begun::Answered(respond(node, shares, &reply)),
            Ok(reply) => Begun::Waits(Box::pin(respond_committed(both(), reply))),
            Err(error) => Begun::Answered(respond_error(error)),
        },
    }
}

fn refuse(node: &Node, call: impl Into<CallTimer>, error: CallError) -> Response<Body> {
    node.requests.refused(call, &error);
    respond_error(error)
}

fn respond(node: &Node, shares: &Shares, reply: &Reply) -> Response<Body> {
    let framed = dispatch::encode(reply).and_then(|framed| {
        let taken = outgoing::take(shares.answers.share(), framed.len(), reply.kind)?;
        Ok(Chunk::new(framed, taken))
    });
    // The last step before the transport has the bytes.
    let framed = framed.and_then(|chunk| node.gate.check_answer(reply.kind, reply.epoch).map(|()| chunk));
    node.requests.count(reply.taken, framed).map_or_else(respond_error, respond_message)
}

async fn respond_committed((node, shares): (Arc<Node>, Arc<Shares>), reply: Reply) -> Response<Body> {
    match commit::committed(&node, &reply).await {
        Ok(()) => respond(&node, &shares, &reply),
        Err(error) => refuse(&node, reply.taken, error),
    }
}

/// If it is dropped because its caller has gone, the call ends.
async fn run_long(both: (Arc<Node>, Arc<Shares>), call: Call, taken: CallTimer, inbound: Inbound) -> Response<Body> {
    let waiting = Waiting::default();
    let job = match long::job(&both.0, &both.1, call, taken, inbound, waiting.waited()) {
        Ok(job) => job,
        Err(error) => return respond_error(error),
    };
    match tokio::task::spawn_blocking(job).await.unwrap_or_else(|fault| Err(status::internal(fault))) {
        Ok(reply) => respond_committed(both, reply).await,
        Err(error) => respond_error(error),
    }
}

async fn receive_in_time(node: &Node, shares: &Shares, body: Incoming) -> Result<Inbound, CallError> {
    let within_ms = node.config.serving.request_ms_max;
    let received = timeout(Duration::from_millis(within_ms), receive(shares, body)).await;
    received.unwrap_or_else(|_| Err(late(within_ms)))
}

/// A request of which only a part has come.
pub(crate) fn late(within_ms: u64) -> CallError {
    status::invalid("request", format_args!("it was not complete within request_ms_max, {within_ms} ms"))
}

/// The one message of the request, and its end.
async fn receive(shares: &Shares, mut body: Incoming) -> Result<Inbound, CallError> {
    let mut framing = Framing::new(Arc::clone(shares.requests.share()));
    loop {
        if let Some(inbound) = framing.next()? {
            return end_of(&mut body, framing).await.map(|()| inbound);
        }
        match data(&mut body).await? {
            Some(chunk) => framing.push(chunk),
            None => return Err(status::invalid("request", "it ended before its message was complete")),
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
