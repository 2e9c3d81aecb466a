//! Numbers of bytes that all connections share: a connection reserves what it needs beforehand, or
//! is refused.
//!
//! Invariants: what is reserved exceeds neither the bound of its connection nor the bound of all,
//! and comes back when its holder is dropped. A connection that holds nothing may reserve as much
//! at once as it needs, within the bound of all. If all is reserved, the asking connection does not
//! lose, but those whose bytes do not move, or else the one that holds the most: it is cut off, and
//! its bytes do not count any more.
//!
//! Deliberately absent: waiting. A refusal is typed and retryable; a queue would need a bound of
//! its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use proto::status;
use proto::v1::CallError;

use crate::clock;
use crate::listen::{Link, Why};

/// When to come back after a bound was reached.
const RETRY_AFTER_MS: u32 = 50;
/// If all is reserved, bytes that have not moved for so long are taken back.
const MOVES_WITHIN_MS: u64 = 1000;

/// The settings that bound it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) name: &'static str,
    pub(crate) bytes_max: usize,
    pub(crate) connection_name: &'static str,
    pub(crate) connection_bytes_max: usize,
}

impl Bounds {
    fn connection_full(&self) -> Full {
        Full { setting: self.connection_name, bytes_max: self.connection_bytes_max }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<All>);

#[derive(Debug)]
struct All {
    bounds: Bounds,
    taken: AtomicUsize,
    shares: Mutex<BTreeMap<u64, Arc<Share>>>,
    next: AtomicU64,
}

/// What one connection holds.
#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<All>,
    number: u64,
    taken: AtomicUsize,
    /// `None`: there is no wire.
    link: Option<Arc<Link>>,
    is_cut: AtomicBool,
    watched: Mutex<Watched>,
}

/// Since when the watched parts of a share have not moved, on `clock::now_ms`.
#[derive(Debug, Default)]
struct Watched {
    moved_ms: BTreeMap<u64, u64>,
    next: u64,
}

/// The share of an open connection.
#[derive(Debug)]
pub(crate) struct OpenShare(Arc<Share>);

/// Bytes of a share, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    share: Arc<Share>,
    bytes: usize,
}

/// The setting whose bound was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full {
    pub(crate) setting: &'static str,
    pub(crate) bytes_max: usize,
}

impl Full {
    /// The error of a call that has not run.
    pub(crate) fn refusal(self) -> CallError {
        status::overloaded_at(self.setting, format_args!("{} bytes", self.bytes_max), RETRY_AFTER_MS)
    }

    /// The error of a call that has run.
    pub(crate) fn unknown(self) -> CallError {
        let Full { setting, bytes_max } = self;
        let what = format_args!("the call has run, but {setting}: the limit of {bytes_max} bytes is reached");
        CallError { retry_after_ms: RETRY_AFTER_MS, ..status::outcome_unknown(what) }
    }
}

impl Budget {
    pub(crate) fn new(bounds: Bounds) -> Budget {
        let (taken, next) = (AtomicUsize::new(0), AtomicU64::new(0));
        Budget(Arc::new(All { bounds, taken, shares: Mutex::default(), next }))
    }

    pub(crate) fn open(&self, link: Option<Arc<Link>>) -> OpenShare {
        let share = Arc::new(Share {
            all: Arc::clone(&self.0),
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            taken: AtomicUsize::new(0),
            link,
            is_cut: AtomicBool::new(false),
            watched: Mutex::default(),
        });
        self.0.shares.lock().insert(share.number, Arc::clone(&share));
        OpenShare(share)
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Acquire)
    }

    /// Cuts off each connection of which a watched part has not moved since `before_ms`.
    pub(crate) fn cut_unmoved(&self, before_ms: u64) {
        for share in self.0.shares.lock().values() {
            if share.is_unmoved(before_ms) {
                share.cut(Why::Unread);
            }
        }
    }
}

impl OpenShare {
    pub(crate) fn share(&self) -> &Arc<Share> {
        &self.0
    }
}

impl Drop for OpenShare {
    fn drop(&mut self) {
        self.0.all.shares.lock().remove(&self.0.number);
    }
}

impl Share {
    pub(crate) fn take(self: &Arc<Share>, bytes: usize) -> Result<Reservation, Full> {
        self.add(bytes)?;
        Ok(Reservation { share: Arc::clone(self), bytes })
    }

    /// Whether it has no room left: small things, and what has run already, may still be reserved.
    pub(crate) fn check_room(&self) -> Result<(), Full> {
        let bounds = &self.all.bounds;
        let is_full = self.taken.load(Ordering::Acquire) >= bounds.connection_bytes_max;
        if is_full { Err(bounds.connection_full()) } else { Ok(()) }
    }

    /// Ignores the bounds: for what is small, or was counted elsewhere a moment ago.
    pub(crate) fn take_anyway(self: &Arc<Share>, bytes: usize) -> Reservation {
        self.taken.fetch_add(bytes, Ordering::AcqRel);
        self.all.taken.fetch_add(bytes, Ordering::AcqRel);
        Reservation { share: Arc::clone(self), bytes }
    }

    fn add(&self, bytes: usize) -> Result<(), Full> {
        let All { bounds, taken, .. } = &*self.all;
        let fits = |own: usize| {
            let sum = own.checked_add(bytes)?;
            Some(sum).filter(|sum| own == 0 || *sum <= bounds.connection_bytes_max)
        };
        let own = self.taken.try_update(Ordering::AcqRel, Ordering::Acquire, fits);
        own.map_err(|_| bounds.connection_full())?;
        let fits = |all: usize| all.checked_add(bytes).filter(|sum| *sum <= bounds.bytes_max);
        if taken.try_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok() {
            return Ok(());
        }
        if bytes <= bounds.bytes_max && self.all.make_room(self) {
            taken.fetch_add(bytes, Ordering::AcqRel);
            return Ok(());
        }
        self.taken.fetch_sub(bytes, Ordering::AcqRel);
        Err(Full { setting: bounds.name, bytes_max: bounds.bytes_max })
    }

    fn is_unmoved(&self, before_ms: u64) -> bool {
        self.watched.lock().moved_ms.values().any(|moved_ms| *moved_ms < before_ms)
    }

    fn cut(&self, why: Why) {
        self.is_cut.store(true, Ordering::Release);
        if let Some(link) = &self.link {
            link.cut(why);
        }
    }

    /// From now on it must move, or the connection is cut off. Until [`Share::let_go`].
    pub(crate) fn watch(&self, now_ms: u64) -> u64 {
        let mut watched = self.watched.lock();
        watched.next += 1;
        let number = watched.next;
        watched.moved_ms.insert(number, now_ms);
        number
    }

    pub(crate) fn moved(&self, number: u64, now_ms: u64) {
        if let Some(moved_ms) = self.watched.lock().moved_ms.get_mut(&number) {
            *moved_ms = now_ms;
        }
    }

    pub(crate) fn let_go(&self, number: u64) {
        self.watched.lock().moved_ms.remove(&number);
    }
}

impl All {
    /// First, the bytes of connections that are cut off already are not counted any more. Then
    /// connections with a part that has not moved for a while are cut off, the largest first; then
    /// the one that holds the most, unless `asks` would hold more.
    fn make_room(&self, asks: &Share) -> bool {
        let shares = self.shares.lock();
        let held = |share: &Share| share.taken.load(Ordering::Acquire);
        if asks.is_cut.load(Ordering::Acquire) {
            return false;
        }
        let mut living: Vec<_> = shares.values().filter(|share| !share.is_cut.load(Ordering::Acquire)).collect();
        living.sort_unstable_by_key(|share| std::cmp::Reverse(held(share)));
        // What is asked for is already counted in `asks`.
        let mut sum: usize = living.iter().map(|share| held(share)).sum();
        let before_ms = clock::now_ms().saturating_sub(MOVES_WITHIN_MS);
        for share in living.iter().filter(|share| !std::ptr::eq(&****share, asks)) {
            if sum > self.bounds.bytes_max && share.is_unmoved(before_ms) {
                sum -= held(share);
                share.cut(Why::Unread);
            }
        }
        if sum <= self.bounds.bytes_max {
            return true;
        }
        let most = living.first().filter(|most| held(most) > held(asks));
        most.is_some_and(|most| {
            most.cut(Why::HeldMost);
            true
        })
    }
}

impl Reservation {
    /// Reserves more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        self.share.add(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Joins two reservations of the same share.
    pub(crate) fn join(&mut self, mut other: Reservation) {
        debug_assert!(Arc::ptr_eq(&self.share, &other.share));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.share.all.taken.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "budget_test.rs"]
mod tests;
