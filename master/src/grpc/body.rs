//! The body of a response: empty, one message, a session, or the body of a tonic service.
//!
//! Invariant: all bytes that the transport gets are counted in the connection's share of answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use proto::status::to_status;
use proto::v1::CallError;
use tonic::Status;

use crate::budget::{Reservation, Share};
use crate::gate::CallKind;
use crate::grpc::outgoing::Chunk;
use crate::grpc::session::Session;
use crate::node::Node;

#[derive(Default)]
pub(crate) enum Body {
    /// Everything is in the headers.
    #[default]
    Empty,
    Unary {
        message: Option<Chunk>,
        ended: bool,
    },
    Session(Box<Session>),
    Tonic(Foreign),
}

/// A body that a tonic service made.
pub(crate) struct Foreign {
    body: tonic::body::Body,
    answers: Arc<Share>,
    /// The reservation of a large answer until it is encoded.
    reserved: Option<Reserved>,
    rests: Option<Rests>,
    is_refused: bool,
}

/// What an answer rests on. A tonic service puts it beside the answer, and the gate is asked once
/// the answer is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Rests {
    node: Arc<Node>,
    kind: CallKind,
    epoch: u64,
}

impl Rests {
    pub(crate) fn new(node: &Arc<Node>, kind: CallKind, epoch: u64) -> Rests {
        Rests { node: Arc::clone(node), kind, epoch }
    }
}

/// Memory for an answer. A tonic service puts it beside the answer.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    _taken: Arc<Reservation>,
}

impl Reserved {
    pub(crate) fn new(taken: Reservation) -> Reserved {
        Reserved { _taken: Arc::new(taken) }
    }
}

impl Foreign {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, Status>>> {
        if self.reserved.is_none()
            && let Err(full) = self.answers.check_room()
        {
            return Poll::Ready(Some(Err(to_status(full.refusal()))));
        }
        let Foreign { body, answers, reserved, rests, is_refused } = self;
        if *is_refused {
            return Poll::Ready(None);
        }
        let frame = Pin::new(body).poll_frame(cx).map_ok(|frame| {
            frame.map_data(|bytes: Bytes| {
                *reserved = None;
                let taken = answers.take_anyway(bytes.len());
                Chunk::new(bytes, taken)
            })
        });
        // The last step before the transport has the bytes.
        match (&frame, rests) {
            (Poll::Ready(Some(Ok(ready))), Some(Rests { node, kind, epoch })) if ready.is_data() => {
                match node.gate.check_answer(*kind, *epoch) {
                    Ok(()) => frame,
                    Err(error) => {
                        *is_refused = true;
                        Poll::Ready(Some(Ok(Frame::trailers(trailers(Err(error))))))
                    }
                }
            }
            _ => frame,
        }
    }
}

impl HttpBody for Body {
    type Data = Chunk;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, Status>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Unary { message, ended } => Poll::Ready(match message.take() {
                Some(message) => Some(Ok(Frame::data(message))),
                None if std::mem::replace(ended, true) => None,
                None => Some(Ok(Frame::trailers(ok_trailers()))),
            }),
            Body::Session(session) => session.poll_frame(cx).map(|frame| frame.map(Ok)),
            Body::Tonic(foreign) => foreign.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Unary { ended, .. } => *ended,
            Body::Session(_) => false,
            Body::Tonic(foreign) => foreign.is_refused || foreign.body.is_end_stream(),
        }
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// The end of a stream: OK, or the error.
pub(crate) fn trailers(end: Result<(), CallError>) -> HeaderMap {
    match end {
        Ok(()) => ok_trailers(),
        Err(error) => {
            let mut headers = to_status(error).into_http::<()>().into_parts().0.headers;
            headers.remove(CONTENT_TYPE);
            headers
        }
    }
}

pub(crate) fn respond(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// One message, framed already.
pub(crate) fn respond_message(message: Chunk) -> Response<Body> {
    respond(Body::Unary { message: Some(message), ended: false })
}

pub(crate) fn respond_foreign(response: Response<tonic::body::Body>, answers: &Arc<Share>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let (reserved, rests) = (parts.extensions.remove::<Reserved>(), parts.extensions.remove::<Rests>());
    Response::from_parts(
        parts,
        Body::Tonic(Foreign { body, answers: Arc::clone(answers), reserved, rests, is_refused: false }),
    )
}

pub(crate) fn respond_error(error: CallError) -> Response<Body> {
    to_status(error).into_http()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::Full;

    use super::*;
    use crate::config::Config;
    use crate::gate::Standing;
    use crate::grpc::outgoing::Shares;

    async fn frames(mut body: Body) -> Vec<Frame<Chunk>> {
        let mut frames = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frames.push(frame.expect("nothing breaks here"));
        }
        frames
    }

    #[tokio::test]
    async fn answer_of_an_operators_call_that_may_not_go_out_any_more_is_refused_where_it_is_encoded() {
        let node = Node::alone(Config::default());
        let shares = Shares::open(&node, None);
        let answer = || {
            let body = tonic::body::Body::new(Full::new(Bytes::from_static(b"answer")));
            let mut response = Response::new(body);
            response.extensions_mut().insert(Rests::new(&node, CallKind::Read, node.gate().epoch()));
            respond_foreign(response, shares.answers.share()).into_body()
        };
        let told = frames(answer()).await;
        assert_eq!(told[0].data_ref().map(|data| bytes::Buf::chunk(data).len()), Some(6));
        node.gate().set(Standing::NotPrimary { hint: String::new(), epoch: 2 });
        let told = frames(answer()).await;
        let refused = told[0].trailers_ref().expect("nothing of it goes out");
        assert_eq!(told.len(), 1);
        assert_eq!(refused[Status::GRPC_STATUS], "14", "{refused:?}");
    }
}
