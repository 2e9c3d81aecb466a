//! A seq that only grows, and futures that wake when it reaches theirs.
//!
//! Invariants: `get`, a `wait` for a seq that is reached, and an `advance` that reaches no waiter
//! take no lock. An advance wakes exactly the waiters whose seq is reached, without holding the
//! lock. The number of waiters is bounded; a dropped future gives its place back. A reached seq is
//! a fact: its wait returns Ok even after the watch was closed.
//!
//! No wake is lost: a waiter first enters itself and publishes `lowest`, then reads `reached`; an
//! advance first moves `reached`, then reads `lowest`. All four are SeqCst, so at least one of the
//! two sees the other.
//!
//! Absent on purpose: who decides that the seq may grow, and time-outs.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::error::{Bound, Overloaded};

/// Waiters leave as fast as seqs advance: in about the time of a commit.
const RETRY_AFTER_MS: u32 = 10;
/// How many wakers are taken out in one hold of the lock.
const WAKE_BATCH: usize = 128;
/// `lowest` when there is no waiter.
const NO_WAITER: u64 = u64::MAX;

/// Why nothing more will be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseReason {
    #[error("this node is shutting down")]
    ShuttingDown,
    #[error("this node is no longer the primary: epoch {epoch} has begun")]
    Deposed { epoch: u64 },
    #[error("this node has heard too little of the others to know that it is still the primary")]
    NoTenure,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WaitError {
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    #[error("closed: {0}")]
    Closed(CloseReason),
}

pub struct SeqWatch {
    reached: AtomicU64,
    /// Never above the lowest seq in `waiters`. Changed under their lock.
    lowest: AtomicU64,
    waiters: Mutex<Waiters>,
    waiters_max: usize,
}

struct Waiters {
    /// By seq, then by a number that distinguishes futures of the same seq.
    wakers: BTreeMap<(u64, u64), Waker>,
    next_id: u64,
    closed: Option<CloseReason>,
    /// Waiters with an id below this have been released.
    released_below: u64,
    released_why: CloseReason,
}

/// What was found under the lock.
enum Entered {
    Reached,
    Waiting { id: u64 },
    Refused(WaitError),
}

impl SeqWatch {
    pub fn new(start: u64, waiters_max: usize) -> SeqWatch {
        SeqWatch {
            reached: AtomicU64::new(start),
            lowest: AtomicU64::new(NO_WAITER),
            waiters: Mutex::new(Waiters {
                wakers: BTreeMap::new(),
                next_id: 0,
                closed: None,
                released_below: 0,
                released_why: CloseReason::NoTenure,
            }),
            waiters_max,
        }
    }

    pub fn get(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }

    /// Does nothing if that seq has been reached already.
    pub fn advance(&self, to: u64) {
        let before = self.reached.fetch_max(to, Ordering::SeqCst);
        if before < to && self.lowest.load(Ordering::SeqCst) <= to {
            self.wake_reached(to);
        }
    }

    /// Ready when `seq` is reached, or refused. Takes no place before the first poll.
    pub fn wait(&self, seq: u64) -> Wait<'_> {
        Waiting { watch: self, seq, id: None }
    }

    /// Waits as `wait` does, for tasks that outlive the borrow.
    pub fn wait_owned(self: Arc<Self>, seq: u64) -> WaitOwned {
        Waiting { watch: self, seq, id: None }
    }

    /// All waiters for what is not reached, now or later, get `why`. The first reason stays.
    pub fn close(&self, why: CloseReason) {
        let mut waiters = self.waiters.lock();
        waiters.closed.get_or_insert(why);
        let wakers = std::mem::take(&mut waiters.wakers);
        self.lowest.store(NO_WAITER, Ordering::SeqCst);
        drop(waiters);
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    /// All present waiters for what is not reached get `why`. Later ones wait as before.
    pub fn release(&self, why: CloseReason) {
        let mut waiters = self.waiters.lock();
        waiters.released_below = waiters.next_id + 1;
        waiters.released_why = why;
        let wakers = std::mem::take(&mut waiters.wakers);
        self.lowest.store(NO_WAITER, Ordering::SeqCst);
        drop(waiters);
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    pub fn closed(&self) -> Option<CloseReason> {
        self.waiters.lock().closed
    }

    /// How many wait now, for a metric beside `waiters_max`.
    pub fn waiters(&self) -> usize {
        self.waiters.lock().wakers.len()
    }

    pub fn waiters_max(&self) -> usize {
        self.waiters_max
    }

    fn wake_reached(&self, upto: u64) {
        let mut batch = Vec::new();
        loop {
            let more = self.take_reached(upto, &mut batch);
            batch.drain(..).for_each(Waker::wake);
            if !more {
                return;
            }
        }
    }

    /// Moves at most `WAKE_BATCH` wakers into `batch`. True: some that are reached are left.
    fn take_reached(&self, upto: u64, batch: &mut Vec<Waker>) -> bool {
        let mut waiters = self.waiters.lock();
        while batch.len() < WAKE_BATCH {
            match waiters.wakers.first_entry() {
                Some(first) if first.key().0 <= upto => batch.push(first.remove()),
                _ => break,
            }
        }
        self.publish_lowest(&waiters) <= upto && !waiters.wakers.is_empty()
    }

    fn publish_lowest(&self, waiters: &Waiters) -> u64 {
        let lowest = waiters.wakers.first_key_value().map_or(NO_WAITER, |(key, _)| key.0);
        self.lowest.store(lowest, Ordering::SeqCst);
        lowest
    }

    /// Enters a waiter, or renews the waker of the one that was entered as `id`.
    fn enter(&self, seq: u64, id: Option<u64>, waker: Waker) -> Entered {
        let mut waiters = self.waiters.lock();
        if let Some(why) = waiters.closed {
            // An advance that came before the close counts.
            drop(waiters);
            return if self.get() >= seq { Entered::Reached } else { Entered::Refused(WaitError::Closed(why)) };
        }
        if id.is_some_and(|id| id < waiters.released_below) {
            let why = waiters.released_why;
            drop(waiters);
            return if self.get() >= seq { Entered::Reached } else { Entered::Refused(WaitError::Closed(why)) };
        }
        let entered = id.is_some_and(|id| waiters.wakers.contains_key(&(seq, id)));
        if !entered && waiters.wakers.len() >= self.waiters_max {
            let bound = Bound::Waiters { max: self.waiters_max };
            return Entered::Refused(Overloaded { retry_after_ms: RETRY_AFTER_MS, bound }.into());
        }
        let id = id.unwrap_or_else(|| waiters.new_id());
        let replaced = waiters.wakers.insert((seq, id), waker);
        if seq < self.lowest.load(Ordering::SeqCst) {
            self.lowest.store(seq, Ordering::SeqCst);
        }
        drop(waiters);
        // Dropping a waker runs foreign code, so not under the lock.
        drop(replaced);
        if self.get() >= seq {
            self.leave(seq, id);
            return Entered::Reached;
        }
        Entered::Waiting { id }
    }

    /// Gives a place back. Takes no lock if an advance has done so already.
    fn leave(&self, seq: u64, id: u64) {
        if self.lowest.load(Ordering::SeqCst) > seq {
            return;
        }
        let mut waiters = self.waiters.lock();
        let waker = waiters.wakers.remove(&(seq, id));
        self.publish_lowest(&waiters);
        drop(waiters);
        drop(waker);
    }
}

impl Waiters {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl fmt::Debug for SeqWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeqWatch(at {}, {} of {} waiters)", self.get(), self.waiters(), self.waiters_max)
    }
}

pub type Wait<'a> = Waiting<&'a SeqWatch>;
pub type WaitOwned = Waiting<Arc<SeqWatch>>;

/// One waiter. To drop it gives its place back.
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Waiting<W: Deref<Target = SeqWatch>> {
    watch: W,
    seq: u64,
    /// Set while a place is held, or may be.
    id: Option<u64>,
}

impl<W: Deref<Target = SeqWatch> + Unpin> Future for Waiting<W> {
    type Output = Result<(), WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.watch.get() >= self.seq {
            self.leave();
            return Poll::Ready(Ok(()));
        }
        match self.watch.enter(self.seq, self.id, cx.waker().clone()) {
            Entered::Waiting { id } => {
                self.id = Some(id);
                Poll::Pending
            }
            Entered::Reached => {
                self.id = None;
                Poll::Ready(Ok(()))
            }
            Entered::Refused(why) => {
                self.id = None;
                Poll::Ready(Err(why))
            }
        }
    }
}

impl<W: Deref<Target = SeqWatch>> Waiting<W> {
    fn leave(&mut self) {
        if let Some(id) = self.id.take() {
            self.watch.leave(self.seq, id);
        }
    }
}

impl<W: Deref<Target = SeqWatch>> Drop for Waiting<W> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
#[path = "watch_model_test.rs"]
mod model_tests;
#[cfg(test)]
#[path = "watch_test.rs"]
mod tests;
