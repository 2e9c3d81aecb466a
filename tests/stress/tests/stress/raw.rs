//! gRPC with arbitrary messages: the channel is valid, the messages need not be.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use proto::status::from_status;
use proto::v1::CallError;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Answers may be as large as the contract allows, and requests beyond that are sent as well.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

pub(crate) struct RawClient(Grpc<Channel>);

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/understudy.v1.Metadata/{method}")).expect("methods are plain words")
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> RawClient {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is an address");
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await.expect("the node listens");
        let grpc = Grpc::new(channel);
        RawClient(grpc.max_encoding_message_size(MESSAGE_BYTES_MAX).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    pub(crate) async fn unary(&mut self, method: &str, message: Bytes) -> Result<Bytes, CallError> {
        self.0.ready().await.unwrap_or_else(|why| panic!("the connection is gone: {why}"));
        let answer = self.0.unary(Request::new(message), path(method), Raw).await;
        answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
    }

    pub(crate) async fn session(
        &mut self,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Bytes>, CallError> {
        self.0.ready().await.unwrap_or_else(|why| panic!("the connection is gone: {why}"));
        let answers = self.0.streaming(Request::new(messages), path("Session"), Raw).await;
        answers.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
    }
}
