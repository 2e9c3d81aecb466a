//! One connection: a socket that another task can cut off, whatever its own task waits for.
//!
//! Invariant: its place is given back when this is dropped.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

use crate::listen::{Link, Links, Why};

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) peer: SocketAddr,
    link: Arc<Link>,
    links: Arc<Links>,
    /// Bytes that the client must still send for the connection to be proven.
    unproven_bytes: Option<usize>,
    /// Bytes that the client may still send on an unproven connection.
    unproven_bytes_left: usize,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, link: Arc<Link>, links: Arc<Links>) -> Connection {
        let unproven_bytes = links.proven_by_bytes();
        let unproven_bytes_left = links.unproven_bytes_max();
        Connection { stream, peer, link, links, unproven_bytes, unproven_bytes_left }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.link.register(cx.waker());
        if self.link.is_cut() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn on_read(&mut self, bytes: usize) {
        if !self.link.is_proven() {
            match self.unproven_bytes_left.checked_sub(bytes) {
                Some(left) => self.unproven_bytes_left = left,
                None => self.link.cut(Why::UnprovenBytes),
            }
        }
        let Some(left) = self.unproven_bytes else { return };
        self.unproven_bytes = left.checked_sub(bytes).filter(|left| *left > 0);
        if self.unproven_bytes.is_none() {
            self.link.prove_for_good();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.links.close(&self.link);
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Link>;

    fn connect_info(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.on_read(into.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
