//! A connection by hand: requests are sent as the caller says, and nothing is read unless it asks.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::SendStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::Request;
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub struct Raw {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    /// Answers that are not read, and requests that are not ended.
    pub kept: Vec<(ResponseFuture, SendStream<Bytes>)>,
}

impl Raw {
    /// `None`: it was not accepted.
    pub async fn open(address: SocketAddr, window_bytes: u32) -> Option<Raw> {
        let stream = TcpStream::connect(address).await.ok()?;
        let opened = Builder::new().initial_window_size(window_bytes).handshake(stream).await;
        let (requests, connection) = opened.ok()?;
        Some(Raw { requests, connection: tokio::spawn(connection), kept: Vec::new() })
    }

    /// False: the connection is over.
    pub async fn send(&mut self, path: &str, body: Bytes, ended: bool) -> bool {
        let Ok(mut requests) = self.requests.clone().ready().await else { return false };
        let request =
            Request::post(format!("http://a/understudy.v1.{path}")).header("content-type", "application/grpc");
        let request = request.body(()).expect("it is a request");
        let Ok((response, mut stream)) = requests.send_request(request, false) else { return false };
        let sent = stream.send_data(body, ended).is_ok();
        self.kept.push((response, stream));
        sent
    }

    pub fn is_over(&self) -> bool {
        self.connection.is_finished()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The message in the frame of gRPC.
pub fn framed(message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.encoded_len()).expect("it is small"));
    message.encode(&mut out).expect("there is room");
    out.freeze()
}

/// The first `come` bytes of a message of `length` bytes.
pub fn beginning(length: u32, come: usize) -> Bytes {
    let mut out = BytesMut::from(&[0][..]);
    out.put_u32(length);
    out.put_bytes(7, come);
    out.freeze()
}
