//! One connection as one task: it reads requests, and runs them on the same thread.
//!
//! ```text
//!            ┌────────────── rung meanwhile ───────────────┐
//!   poll ──► hyper reads and writes, opens streams ──► streams that can go on do ──► pending
//! ```
//!
//! A stream is a call or a session. With a task for each, every request and every answer would wake
//! one task after the other, often on another thread, and each answer would be written by itself.
//! Here requests that arrive together are answered together. The price is that one thread at a time
//! serves a connection.
//!
//! Every answer wakes the connection that writes it, mostly while that is being polled. Then it is
//! polled once more.
//!
//! Invariants: no wake is lost; when a connection's turn is over, others get theirs (`line`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::monotonic_ns;
use crate::grpc::line::{Bell, Line, Turn};

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where hyper leaves the streams that it has opened.
#[derive(Clone, Default)]
pub(crate) struct Opened {
    streams: Arc<Mutex<Vec<Stream>>>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Opened {
    fn execute(&self, stream: F) {
        self.streams.lock().push(Box::pin(stream));
    }
}

/// When the turn of a connection is over, for code that runs in it.
#[derive(Debug, Default)]
pub(crate) struct TurnEnd {
    at_ns: AtomicU64,
}

impl TurnEnd {
    pub(crate) fn is_over(&self) -> bool {
        monotonic_ns() >= self.at_ns.load(Ordering::Relaxed)
    }
}

/// A socket that has nothing more to read once its connection's turn is over. Frames that open no
/// stream (PING, SETTINGS, PRIORITY, WINDOW_UPDATE) are work, too, and hyper continues as long as
/// there are any.
pub(crate) struct Paced<S> {
    stream: S,
    turn_end: Arc<TurnEnd>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, turn_end: Arc<TurnEnd>) -> Paced<S> {
        Paced { stream, turn_end }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.turn_end.is_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A hyper connection whose executor is `opened`.
pub(crate) struct Connection<C> {
    connection: Pin<Box<C>>,
    opened: Opened,
    streams: FuturesUnordered<Stream>,
    bell: Arc<Bell>,
    /// Rings `bell`.
    waker: Waker,
    /// Set while it is being polled.
    turn: Option<Turn>,
    turn_end: Arc<TurnEnd>,
}

impl<C: Future> Connection<C> {
    pub(crate) fn new(opened: Opened, connection: C, line: &Arc<Line>, turn_end: Arc<TurnEnd>) -> Connection<C> {
        let bell = Bell::new(line);
        let waker = Waker::from(Arc::clone(&bell));
        let (connection, streams) = (Box::pin(connection), FuturesUnordered::new());
        Connection { connection, opened, streams, bell, waker, turn: None, turn_end }
    }

    pub(crate) fn inner(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }

    /// False: there was not enough time.
    fn run_streams(&mut self) -> bool {
        self.streams.extend(self.opened.streams.lock().drain(..));
        let mut cx = Context::from_waker(&self.waker);
        while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(&mut cx) {
            if self.turn_end.is_over() {
                return false;
            }
        }
        true
    }

    /// `None`: there is more to do.
    fn poll_in_turn(&mut self) -> Option<Poll<C::Output>> {
        loop {
            let polled = self.connection.as_mut().poll(&mut Context::from_waker(&self.waker));
            let in_time = self.run_streams();
            if polled.is_ready() {
                return Some(polled);
            }
            if !in_time || self.turn_end.is_over() {
                return None;
            }
            if !self.bell.rang() {
                return Some(Poll::Pending);
            }
        }
    }
}

impl<C: Future> Future for Connection<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        let (turn, end_ns) = this.bell.begin(cx.waker());
        this.turn_end.at_ns.store(end_ns, Ordering::Relaxed);
        this.turn = Some(turn);
        let polled = this.poll_in_turn();
        match (&polled, this.turn.take()) {
            (Some(Poll::Pending), Some(turn)) => this.bell.end(&turn),
            (None, Some(turn)) => this.bell.end_with_more(&turn),
            // It is dropped now.
            (_, turn) => this.turn = turn,
        }
        polled.unwrap_or(Poll::Pending)
    }
}

impl<C> Drop for Connection<C> {
    fn drop(&mut self) {
        self.bell.close(self.turn.as_ref());
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
