//! What goes back to a client: nothing, one message, a session, or what a service of tonic makes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use proto::status::to_status;
use proto::v1::CallError;
use tonic::Status;

use crate::grpc::session::Session;

#[derive(Default)]
pub(crate) enum Body {
    /// All is said in the headers.
    #[default]
    Empty,
    Unary {
        message: Option<Bytes>,
        ended: bool,
    },
    Session(Box<Session>),
    Tonic(tonic::body::Body),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Unary { message, ended } => Poll::Ready(match message.take() {
                Some(message) => Some(Ok(Frame::data(message))),
                None if std::mem::replace(ended, true) => None,
                None => Some(Ok(Frame::trailers(ok_trailers()))),
            }),
            Body::Session(session) => session.poll_frame(cx).map(|frame| frame.map(Ok)),
            Body::Tonic(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Unary { ended, .. } => *ended,
            Body::Session(_) => false,
            Body::Tonic(body) => body.is_end_stream(),
        }
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// What ends a stream: OK, or the error.
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
pub(crate) fn respond_message(message: Bytes) -> Response<Body> {
    respond(Body::Unary { message: Some(message), ended: false })
}

pub(crate) fn respond_error(error: CallError) -> Response<Body> {
    to_status(error).into_http()
}
