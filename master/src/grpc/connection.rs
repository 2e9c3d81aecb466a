//! One connection as one task: it reads requests, and runs them where they come in.
//!
//! ```text
//!            ┌────────────── rung meanwhile ───────────────┐
//!   poll ──► hyper reads and writes, opens streams ──► streams that can go on do ──► pending
//! ```
//!
//! A stream is a call or a session. With a task for each, every request and every answer would wake one task after the
//! other, often on another thread, and each answer would be written by itself. Here all that came in together is
//! answered together. The price: one connection is served by one thread at a time.
//!
//! Every answer wakes the connection that writes it, mostly while it is being polled: then it goes round once more.
//!
//! Invariants: no wake is lost; after [`TURN_NS_MAX`] others get their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use parking_lot::Mutex;

use crate::clock::monotonic_ns;

/// How long a connection keeps its thread to itself, but for the call that it is at.
const TURN_NS_MAX: u64 = 2_000_000;

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

/// A connection of hyper's whose executor is `opened`.
pub(crate) struct Connection<C> {
    connection: Pin<Box<C>>,
    opened: Opened,
    streams: FuturesUnordered<Stream>,
    bell: Arc<Bell>,
    /// Rings `bell`.
    waker: Waker,
}

impl<C: Future> Connection<C> {
    pub(crate) fn new(opened: Opened, connection: C) -> Connection<C> {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        Connection { connection: Box::pin(connection), opened, streams: FuturesUnordered::new(), bell, waker }
    }

    pub(crate) fn inner(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }

    /// False: there was not enough time.
    fn run_streams(&mut self, until_ns: u64) -> bool {
        self.streams.extend(self.opened.streams.lock().drain(..));
        let mut cx = Context::from_waker(&self.waker);
        while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(&mut cx) {
            if monotonic_ns() >= until_ns {
                return false;
            }
        }
        true
    }
}

impl<C: Future> Future for Connection<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        let until_ns = monotonic_ns() + TURN_NS_MAX;
        this.bell.begin(cx.waker());
        loop {
            let polled = this.connection.as_mut().poll(&mut Context::from_waker(&this.waker));
            let in_time = this.run_streams(until_ns);
            if polled.is_ready() {
                return polled;
            }
            if !in_time || monotonic_ns() >= until_ns {
                // Before the bell is quiet: what rings in between is not lost.
                cx.waker().wake_by_ref();
                this.bell.end();
                return Poll::Pending;
            }
            if !this.bell.rang() {
                return Poll::Pending;
            }
        }
    }
}

const IDLE: u8 = 0;
const POLLING: u8 = 1;
const POLLING_RUNG: u8 = 2;

/// Wakes the task, but for while it is being polled: then it only tells it to go round once more.
#[derive(Default)]
struct Bell {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Bell {
    fn begin(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
        drop(task);
        self.state.store(POLLING, Ordering::SeqCst);
    }

    /// True: go round again. False: from now on the task is woken.
    fn rang(&self) -> bool {
        if self.state.compare_exchange(POLLING, IDLE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return false;
        }
        self.state.store(POLLING, Ordering::SeqCst);
        true
    }

    fn end(&self) {
        self.state.store(IDLE, Ordering::SeqCst);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let ring = self.state.compare_exchange(POLLING, POLLING_RUNG, Ordering::SeqCst, Ordering::SeqCst);
        if ring == Err(IDLE) {
            let task = self.task.lock().clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
