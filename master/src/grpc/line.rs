//! Which connection has its turn next, if there are more of them than threads: the one that has
//! used the least.
//!
//! ```text
//!             ┌────────────── more to do, and the turn is over ─────────────┐
//!             ▼                                                             │
//!   rung ──► waiting, by the CPU time that its turns took ──► called ──► polled ──► quiet
//!                           as many at a time as there are threads ─┘
//! ```
//!
//! The runtime alone polls connections in the order in which they were woken. So a client with one
//! call would wait for one turn of each other connection, and with 64 clients whose windows are
//! full such a round takes tens of milliseconds; shorter turns only spend more time on sockets.
//! Here a connection waits on its bell, and is woken once there is a thread for it. What its turns
//! took counts against it while others wait. A connection that comes back starts with as much as
//! the one that was called last, so silence earns nothing. A new connection starts with one turn
//! more, so reconnecting earns nothing, either. (This is start-time fair queueing; the scheduler of
//! Linux did the same with threads.)
//!
//! Invariants: a bell that was rung is called, or its connection is being polled; no more are
//! called than there are places; a place is given back when the poll ends, or its connection goes.
//!
//! Deliberately absent: more than one share for a client by its connections
//! (`connections_per_address_max` bounds them); calls that run on threads of their own (`long`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

use crate::clock::{monotonic_ns, thread_cpu_ns};

/// The length of a turn if no other connection waits, and if others do.
const TURN_NS_MAX: u64 = 2_000_000;
const TURN_NS_SHARED: u64 = 500_000;

#[derive(Debug)]
pub(crate) struct Line {
    queue: Mutex<Queue>,
    /// The length of the queue.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Queue {
    /// Free places. If there are any, no connection waits.
    free: usize,
    waiting: BinaryHeap<Reverse<Waiting>>,
    arrivals: u64,
    /// What the connection that was called last had taken.
    taken_ns: u64,
}

/// By what it has taken, then by arrival.
#[derive(Debug)]
struct Waiting {
    taken_ns: u64,
    arrival: u64,
    bell: Arc<Bell>,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        (self.taken_ns, self.arrival).cmp(&(other.taken_ns, other.arrival))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl Line {
    /// `places`: the threads that poll connections.
    pub(crate) fn new(places: usize) -> Arc<Line> {
        assert!(places > 0, "somebody must poll");
        let queue = Queue { free: places, waiting: BinaryHeap::new(), arrivals: 0, taken_ns: 0 };
        Arc::new(Line { queue: Mutex::new(queue), waiting: AtomicUsize::new(0) })
    }

    fn is_shared(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// It has been rung.
    fn enter(&self, bell: &Arc<Bell>) {
        let mut queue = self.queue.lock();
        self.push(&mut queue, bell);
        if queue.free == 0 {
            return;
        }
        let called = self.pop(&mut queue);
        queue.free -= usize::from(called.is_some());
        drop(queue);
        // Outside the lock, since the runtime may do anything.
        wake(called);
    }

    /// A place is free again. `more`: its connection continues later.
    fn leave(&self, more: Option<&Arc<Bell>>) {
        let mut queue = self.queue.lock();
        if let Some(bell) = more {
            self.push(&mut queue, bell);
        }
        let called = self.pop(&mut queue);
        queue.free += usize::from(called.is_none());
        drop(queue);
        wake(called);
    }

    fn push(&self, queue: &mut Queue, bell: &Arc<Bell>) {
        // Another thread may be counting: what it adds is not lost.
        let least_ns = queue.taken_ns + if bell.is_new.swap(false, Ordering::Relaxed) { TURN_NS_SHARED } else { 0 };
        let taken_ns = bell.taken_ns.fetch_max(least_ns, Ordering::Relaxed).max(least_ns);
        queue.arrivals += 1;
        queue.waiting.push(Reverse(Waiting { taken_ns, arrival: queue.arrivals, bell: Arc::clone(bell) }));
        self.waiting.store(queue.waiting.len(), Ordering::Relaxed);
    }

    /// The next one, called.
    fn pop(&self, queue: &mut Queue) -> Option<Arc<Bell>> {
        let called = std::iter::from_fn(|| queue.waiting.pop()).find(|Reverse(next)| next.bell.try_call());
        self.waiting.store(queue.waiting.len(), Ordering::Relaxed);
        called.map(|Reverse(Waiting { taken_ns, bell, .. })| {
            queue.taken_ns = taken_ns;
            bell
        })
    }
}

fn wake(called: Option<Arc<Bell>>) {
    let task = called.and_then(|bell| bell.task.lock().clone());
    if let Some(task) = task {
        task.wake();
    }
}

const QUIET: u8 = 0;
const WAITING: u8 = 1;
/// It has a place, and its task has been woken.
const CALLED: u8 = 2;
const POLLED: u8 = 3;
const POLLED_RUNG: u8 = 4;
/// Its connection has gone.
const CLOSED: u8 = 5;

/// Queues a connection, unless it is being polled: then it is only told to go round once more.
#[derive(Debug)]
pub(crate) struct Bell {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
    line: Arc<Line>,
    /// CPU time of the turns that others waited for.
    taken_ns: AtomicU64,
    /// It has never been in the queue.
    is_new: AtomicBool,
}

/// A poll of a connection, from its start to its end.
#[derive(Debug)]
pub(crate) struct Turn {
    /// It may be polled without a place, for another reason than its bell.
    has_place: bool,
    /// Set if others wait.
    began_cpu_ns: Option<u64>,
}

impl Bell {
    pub(crate) fn new(line: &Arc<Line>) -> Arc<Bell> {
        Arc::new(Bell {
            state: AtomicU8::new(QUIET),
            task: Mutex::default(),
            line: Arc::clone(line),
            taken_ns: AtomicU64::new(0),
            is_new: AtomicBool::new(true),
        })
    }

    /// Returns when the turn is over, too.
    pub(crate) fn begin(&self, task: &Waker) -> (Turn, u64) {
        let mut known = self.task.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
        drop(known);
        let has_place = self.state.swap(POLLED, Ordering::SeqCst) == CALLED;
        let is_shared = self.line.is_shared();
        let turn = Turn { has_place, began_cpu_ns: is_shared.then(thread_cpu_ns) };
        (turn, monotonic_ns() + if is_shared { TURN_NS_SHARED } else { TURN_NS_MAX })
    }

    /// True: go round again. False: from now on a ring queues the connection.
    pub(crate) fn rang(&self) -> bool {
        if self.state.compare_exchange(POLLED, QUIET, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return false;
        }
        self.state.store(POLLED, Ordering::SeqCst);
        true
    }

    /// After `rang` has said that there is no more to do.
    pub(crate) fn end(&self, turn: &Turn) {
        self.count(turn);
        if turn.has_place {
            self.line.leave(None);
        }
    }

    /// There is more to do.
    pub(crate) fn end_with_more(self: &Arc<Bell>, turn: &Turn) {
        self.count(turn);
        self.state.store(WAITING, Ordering::SeqCst);
        match turn.has_place {
            true => self.line.leave(Some(self)),
            false => self.line.enter(self),
        }
    }

    /// The connection has gone, maybe in the middle of its turn.
    pub(crate) fn close(&self, turn: Option<&Turn>) {
        let was_called = self.state.swap(CLOSED, Ordering::SeqCst) == CALLED;
        if was_called || turn.is_some_and(|turn| turn.has_place) {
            self.line.leave(None);
        }
    }

    fn count(&self, turn: &Turn) {
        if let Some(began_ns) = turn.began_cpu_ns {
            self.taken_ns.fetch_add(thread_cpu_ns().saturating_sub(began_ns), Ordering::Relaxed);
        }
    }

    /// False: it has been polled meanwhile, or is gone.
    fn try_call(&self) -> bool {
        self.state.compare_exchange(WAITING, CALLED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        while self.state.compare_exchange(POLLED, POLLED_RUNG, Ordering::SeqCst, Ordering::SeqCst) == Err(QUIET) {
            if self.state.compare_exchange(QUIET, WAITING, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return self.line.enter(self);
            }
        }
    }
}

#[cfg(test)]
#[path = "line_test.rs"]
mod tests;
