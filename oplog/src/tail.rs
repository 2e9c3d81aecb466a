//! The newest part of the log, in memory: one writer (`Appender`), many readers.
//!
//! Invariants: entries and bytes are bounded, including the overhead of handles. What peers still
//! need, from the floor on, is never dropped: the floor is in force when `set_floor` returns,
//! before anything else is dropped. An entry can be read before `appended` reaches its seq, never
//! the other way round. No lock is held for longer than one batch of frames takes.
//!
//! Absent on purpose: which entries are committed (the caller moves `committed`), files, peers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::appender::Appender;
use crate::entry::Position;
use crate::frame::{FRAME_BYTES_MAX, Frame};
use crate::ring::{Ring, cost_of};
use crate::watch::SeqWatch;

/// Beside its bytes a frame takes a place in the ring (32 bytes, or twice that while the ring has
/// doubled and is half full), a reference count, and the allocator's overhead.
pub const FRAME_OVERHEAD_BYTES: usize = 112;

/// How many frames are copied or dropped in one hold of the lock.
pub(crate) const LOCKED_FRAMES_MAX: usize = 512;
/// After so many bytes were copied, the lock is given back.
const LOCKED_BYTES_MAX: usize = 16 << 10;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TailConfig {
    /// The most entries that are kept. With more, peers that were away are less likely to need a
    /// full sync. Default 1,000,000.
    pub entries_max: usize,
    /// The most bytes that are kept, including `FRAME_OVERHEAD_BYTES` for each entry. Default 256
    /// MiB.
    pub bytes_max: usize,
    /// The most futures that may wait on `appended`, and on `committed`, at once. Default
    /// 1,000,000.
    pub waiters_max: usize,
}

impl Default for TailConfig {
    fn default() -> TailConfig {
        TailConfig { entries_max: 1_000_000, bytes_max: 256 << 20, waiters_max: 1_000_000 }
    }
}

impl TailConfig {
    /// For the configuration of an operator. `Tail::new` accepts smaller tails, too, in which large
    /// entries never fit.
    pub fn validate(&self) -> Result<(), TailConfigError> {
        let bytes_min = cost_of(FRAME_BYTES_MAX);
        if self.bytes_max < bytes_min {
            return Err(TailConfigError::BytesBelowOneEntry { bytes_max: self.bytes_max, bytes_min });
        }
        if self.entries_max == 0 {
            return Err(TailConfigError::NoEntries);
        }
        if self.waiters_max == 0 {
            return Err(TailConfigError::NoWaiters);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TailConfigError {
    #[error("tail_bytes ({bytes_max}) must hold the largest entry ({bytes_min})")]
    BytesBelowOneEntry { bytes_max: usize, bytes_min: usize },
    #[error("tail_entries must be at least 1")]
    NoEntries,
    #[error("tail_waiters must be at least 1")]
    NoWaiters,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TailStats {
    pub entries: usize,
    /// Including the overhead.
    pub bytes: usize,
    /// The seq of the oldest entry that is held, or of the next entry if none is.
    pub first_seq: u64,
    pub last: Position,
}

/// The entries that were asked for are not here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TailError {
    /// Older than the tail: only a full sync helps.
    #[error("entries after seq {asked} were asked for, the tail begins at seq {first}")]
    Purged { first: u64, asked: u64 },
    /// Newer than the log: the caller has another history.
    #[error("entries after seq {asked} were asked for, the log ends at {last}")]
    Ahead { last: Position, asked: u64 },
}

pub struct Tail {
    pub(crate) config: TailConfig,
    pub(crate) ring: Mutex<Ring>,
    pub(crate) appended: Arc<SeqWatch>,
    committed: Arc<SeqWatch>,
}

impl Tail {
    /// An empty tail of a log that ends at `last` (`Position::default()`: a new log), which counts
    /// as committed. The appender is the only one there will be.
    pub fn new(config: TailConfig, last: Position) -> (Arc<Tail>, Appender) {
        let waiters_max = config.waiters_max;
        let tail = Arc::new(Tail {
            config,
            ring: Mutex::new(Ring::new(last)),
            appended: Arc::new(SeqWatch::new(last.seq, waiters_max)),
            committed: Arc::new(SeqWatch::new(last.seq, waiters_max)),
        });
        let appender = Appender::new(Arc::clone(&tail), last);
        (tail, appender)
    }

    /// The position of the newest entry.
    pub fn last(&self) -> Position {
        self.ring.lock().last()
    }

    /// The seq of the oldest entry that is held, or of the next entry if none is.
    pub fn first_seq(&self) -> u64 {
        self.ring.lock().first_seq()
    }

    pub fn stats(&self) -> TailStats {
        let ring = self.ring.lock();
        TailStats { entries: ring.entries(), bytes: ring.bytes(), first_seq: ring.first_seq(), last: ring.last() }
    }

    /// Frames after `after`, oldest first, at most `limit_entries` and (except for the first one)
    /// `limit_bytes`. Only an empty result means that `after` is the last one: a short one may have
    /// met entries that were just being dropped.
    pub fn entries_since(&self, after: u64, limit_entries: usize, limit_bytes: usize) -> Result<Vec<Frame>, TailError> {
        let mut out = Vec::new();
        self.each_since(after, limit_entries, limit_bytes, |frame| out.push(frame.clone()))?;
        Ok(out)
    }

    /// The same frames, one after the other, and the seq of the last one. `None`: there are none.
    pub fn joined_since(
        &self,
        after: u64,
        limit_entries: usize,
        limit_bytes: usize,
    ) -> Result<Option<(Bytes, u64)>, TailError> {
        let (mut first, mut bytes) = (None, 0);
        let count = self.each_since(after, limit_entries, limit_bytes, |frame| {
            first.get_or_insert_with(|| frame.clone());
            bytes += frame.len();
        })?;
        // A single frame may be larger than all limits. It is returned as it is.
        if let (Some(only), 1) = (&first, count) {
            return Ok(Some((only.as_bytes().clone(), after + 1)));
        }
        // The allocator is not called while the log is locked.
        let mut joined = Vec::with_capacity(bytes);
        let count = self.each_since(after, count, bytes, |frame| joined.extend_from_slice(frame.as_bytes()))?;
        Ok((count > 0).then(|| (joined.into(), after + count as u64)))
    }

    /// Returns how many there were.
    fn each_since(
        &self,
        after: u64,
        limit_entries: usize,
        limit_bytes: usize,
        mut each: impl FnMut(&Frame),
    ) -> Result<usize, TailError> {
        let (mut count, mut bytes) = (0, 0_usize);
        loop {
            let ring = self.ring.lock();
            match ring.check_held_after(after + count as u64) {
                Ok(()) => {}
                Err(refused) if count == 0 => return Err(refused),
                // Dropped since the lock was given back. The frames before are complete.
                Err(_) => return Ok(count),
            }
            let (count_max, bytes_max) = (count + LOCKED_FRAMES_MAX, bytes.saturating_add(LOCKED_BYTES_MAX));
            let mut frames = ring.range_from(after + count as u64 + 1);
            while count < count_max && bytes < bytes_max {
                let Some(frame) = frames.next() else { return Ok(count) };
                bytes = bytes.saturating_add(frame.len());
                if count == limit_entries || (bytes > limit_bytes && count > 0) {
                    return Ok(count);
                }
                each(frame);
                count += 1;
            }
        }
    }

    /// The last position of each epoch, beginning with the entry before the oldest one. If two logs
    /// both name an epoch, they hold the same entries up to where the shorter one ends in it.
    pub fn history(&self) -> Vec<Position> {
        self.ring.lock().history()
    }

    /// Another tail with the same entries up to `seq`, for a log that continues differently from
    /// there. Entries up to `committed` count as committed. This tail is not changed, and nothing
    /// is appended to it any more.
    pub fn forked(&self, seq: u64, committed: u64) -> Result<(Arc<Tail>, Appender), TailError> {
        let ring = self.ring.lock();
        ring.check_held_after(seq)?;
        let (base, frames) = ring.upto(seq);
        drop(ring);
        let mut fork = Ring::new(base);
        frames.into_iter().for_each(|frame| fork.push(frame));
        let last = fork.last();
        let tail = Arc::new(Tail {
            config: self.config.clone(),
            ring: Mutex::new(fork),
            appended: Arc::new(SeqWatch::new(last.seq, self.config.waiters_max)),
            committed: Arc::new(SeqWatch::new(committed.min(last.seq), self.config.waiters_max)),
        });
        let appender = Appender::new(Arc::clone(&tail), last);
        Ok((tail, appender))
    }

    /// Drops entries older than `seq`, except those that the floor keeps.
    pub fn truncate_before(&self, seq: u64) {
        let mut dropped = Vec::new();
        loop {
            self.ring.lock().drop_below(seq, LOCKED_FRAMES_MAX, &mut dropped);
            if dropped.len() < LOCKED_FRAMES_MAX {
                return;
            }
            dropped.clear();
        }
    }

    /// The lowest seq that peers still need. None: no peer needs anything. The entry that a new
    /// peer needs may already be gone: set the floor first, then compare it with `first_seq`.
    pub fn set_floor(&self, seq: Option<u64>) {
        self.ring.lock().set_floor(seq);
    }

    /// Grows with each append.
    pub fn appended(&self) -> &SeqWatch {
        &self.appended
    }

    /// The caller that decides commits moves it. The tail does not.
    pub fn committed(&self) -> &SeqWatch {
        &self.committed
    }

    /// The watch for tasks that outlive the borrow.
    pub fn appended_shared(&self) -> Arc<SeqWatch> {
        Arc::clone(&self.appended)
    }

    /// The watch for tasks that outlive the borrow.
    pub fn committed_shared(&self) -> Arc<SeqWatch> {
        Arc::clone(&self.committed)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TailStats { entries, bytes, first_seq, last } = self.stats();
        write!(f, "Tail({entries} entries, {bytes} bytes, seq {first_seq} to {last})")
    }
}

#[cfg(test)]
#[path = "tail_test.rs"]
mod tests;
