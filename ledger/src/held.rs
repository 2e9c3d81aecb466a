//! How long locks are held: the longest time so far, and where that lock was taken.
//!
//! Deliberately absent: a clock. The owner of the ledger brings one, or none, and then everything
//! takes no time.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

#[derive(Debug)]
pub struct LockTimes {
    /// Nanoseconds on a monotonic clock.
    clock_ns: fn() -> u64,
    longest_ns: AtomicU64,
    /// Where it was taken.
    taken_at: Mutex<Option<&'static Location<'static>>>,
}

impl LockTimes {
    pub(crate) fn new(clock_ns: fn() -> u64) -> LockTimes {
        LockTimes { clock_ns, longest_ns: AtomicU64::new(0), taken_at: Mutex::new(None) }
    }

    /// 0 without a clock.
    pub fn longest_ns(&self) -> u64 {
        self.longest_ns.load(Ordering::Relaxed)
    }

    /// Where the lock was taken that was held longest.
    pub fn taken_at(&self) -> Option<&'static Location<'static>> {
        *self.taken_at.lock()
    }

    /// Of a lock that has just been taken.
    #[track_caller]
    pub fn begin(&self) -> Held<'_> {
        Held { times: self, since_ns: (self.clock_ns)(), at: Location::caller() }
    }
}

/// Measures how long a lock is held, until it is dropped: right before the lock is given back.
#[derive(Debug)]
pub struct Held<'a> {
    times: &'a LockTimes,
    since_ns: u64,
    at: &'static Location<'static>,
}

impl Held<'_> {
    /// The lock is given back, and will be taken again.
    pub(crate) fn pause(&mut self) {
        let (times, at) = (self.times, self.at);
        drop(std::mem::replace(self, Held { times, since_ns: u64::MAX, at }));
    }

    pub(crate) fn go_on(&mut self) {
        self.since_ns = (self.times.clock_ns)();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held_ns = (self.times.clock_ns)().saturating_sub(self.since_ns);
        if held_ns > self.times.longest_ns.load(Ordering::Relaxed)
            && held_ns > self.times.longest_ns.fetch_max(held_ns, Ordering::Relaxed)
        {
            *self.times.taken_at.lock() = Some(self.at);
        }
    }
}
