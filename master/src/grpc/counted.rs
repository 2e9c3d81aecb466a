//! The memory of an open stream, whatever is sent on it: hyper keeps some kilobytes for each, and
//! its headers.
//!
//! Invariant: a stream is counted in its connection's share of requests from its headers to the
//! last byte of its answer. A stream for which there is no room is refused before any of it is
//! read.
//!
//! Deliberately absent: the bytes of requests and answers. They are counted as they come
//! (`framing`) and go (`outgoing`).

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use tonic::Status;

use crate::budget::Reservation;
use crate::grpc::body::Body;
use crate::grpc::outgoing::{Chunk, Shares};
use crate::grpc::router::Router;

/// Measured: 3.2 KiB with the shortest headers.
const STREAM_BYTES: usize = 4 << 10;

/// An answer, with the reservation of its stream.
pub(crate) struct Counted {
    body: Body,
    _stream: Option<Reservation>,
}

impl From<Body> for Counted {
    fn from(body: Body) -> Counted {
        Counted { body, _stream: None }
    }
}

pub(crate) async fn answer(
    router: &Router,
    request: Request<Incoming>,
    shares: &std::sync::Arc<Shares>,
) -> Response<Counted> {
    match shares.requests.share().take(STREAM_BYTES + bytes_of(request.headers())) {
        Ok(stream) => router.answer(request, shares).await.map(|body| Counted { body, _stream: Some(stream) }),
        Err(full) => router.refuse(full.refusal()).map(Counted::from),
    }
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

impl HttpBody for Counted {
    type Data = Chunk;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
