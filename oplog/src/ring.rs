//! The frames that the tail keeps: one unbroken run of seqs, their cost, and which of them may go.
//!
//! Invariants (asserted, also in release): seqs follow each other without a gap and epochs never go
//! back; nothing at or above the floor is dropped; once `make_room` has returned true, the next
//! frame keeps both bounds.
//!
//! Absent on purpose: the lock around this, waiting, encoding. Dropped frames are returned, so that
//! their memory is freed after the lock.

use std::collections::VecDeque;

use crate::entry::Position;
use crate::error::{Bound, Overloaded};
use crate::frame::Frame;
use crate::tail::{FRAME_OVERHEAD_BYTES, TailConfig, TailError};

/// About how long peers take to confirm enough for the floor to rise.
const RETRY_AFTER_MS: u32 = 20;

/// The memory for this many frames is always kept.
const KEPT_CAPACITY: usize = 1024;

pub(crate) struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The position of the entry before the oldest one that is held.
    base: Position,
    last: Position,
    /// The lowest seq that some peer still needs.
    floor: Option<u64>,
}

impl Ring {
    pub(crate) fn new(last: Position) -> Ring {
        Ring { frames: VecDeque::new(), bytes: 0, base: last, last, floor: None }
    }

    pub(crate) fn entries(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn first_seq(&self) -> u64 {
        self.base.seq + 1
    }

    /// The last position of each epoch that is held, beginning with the entry before the oldest
    /// frame. Costs a few steps for each epoch.
    pub(crate) fn history(&self) -> Vec<Position> {
        let mut history = vec![self.base];
        let mut at = 0;
        while at < self.frames.len() {
            let epoch = self.frames[at].position().epoch;
            at = self.end_of_epoch(at, epoch);
            let last = self.frames[at - 1].position();
            match history.last_mut() {
                Some(before) if before.epoch == epoch => *before = last,
                _ => history.push(last),
            }
        }
        history
    }

    pub(crate) fn last(&self) -> Position {
        self.last
    }

    pub(crate) fn set_floor(&mut self, seq: Option<u64>) {
        self.floor = seq;
    }

    /// The entry after `seq` is held, or comes next.
    pub(crate) fn check_held_after(&self, seq: u64) -> Result<(), TailError> {
        if seq > self.last.seq {
            return Err(TailError::Ahead { last: self.last, asked: seq });
        }
        if seq + 1 < self.first_seq() {
            return Err(TailError::Purged { first: self.first_seq(), asked: seq });
        }
        Ok(())
    }

    /// Frames from `seq` on, which must be held or be the next one.
    pub(crate) fn range_from(&self, seq: u64) -> impl Iterator<Item = &Frame> {
        self.frames.range((seq - self.first_seq()) as usize..)
    }

    /// The first index from `at` on that holds a later epoch.
    fn end_of_epoch(&self, at: usize, epoch: u64) -> usize {
        let (mut start, mut end) = (at, self.frames.len());
        while start < end {
            let middle = start + (end - start) / 2;
            if self.frames[middle].position().epoch > epoch {
                end = middle;
            } else {
                start = middle + 1;
            }
        }
        start
    }

    /// Drops the oldest frames, at most `count` of them, until `frames` more, with `needed` bytes
    /// in all including overhead, keep both bounds. True: there is room. False: call again.
    pub(crate) fn make_room(
        &mut self,
        frames: usize,
        needed: usize,
        config: &TailConfig,
        count: usize,
        dropped: &mut Vec<Frame>,
    ) -> Result<bool, Overloaded> {
        if needed > config.bytes_max {
            return Err(overloaded(Bound::EntryBytes { needed, max: config.bytes_max }));
        }
        for _ in 0..count {
            let Some(bound) = self.bound_met(frames, needed, config) else {
                return Ok(true);
            };
            dropped.push(self.pop_below(u64::MAX).ok_or_else(|| overloaded(bound))?);
        }
        Ok(false)
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        let at = frame.position();
        assert_eq!(at.seq, self.last.seq + 1, "a frame that is not the next one after {}", self.last);
        assert!(at.epoch >= self.last.epoch, "epoch goes back: {} held, {} offered", self.last.epoch, at.epoch);
        self.last = at;
        self.bytes += cost_of(frame.len());
        self.frames.push_back(frame);
    }

    /// Up to `seq`, which is held or is the one before the oldest: its position, and handles to the
    /// frames up to it.
    pub(crate) fn upto(&self, seq: u64) -> (Position, Vec<Frame>) {
        let count = (seq - self.base.seq) as usize;
        (self.base, self.frames.range(..count).cloned().collect())
    }

    /// Drops at most `count` frames below both `seq` and the floor. If fewer came out, there are no
    /// more.
    pub(crate) fn drop_below(&mut self, seq: u64, count: usize, dropped: &mut Vec<Frame>) {
        dropped.extend(std::iter::from_fn(|| self.pop_below(seq)).take(count));
        self.give_memory_back();
    }

    /// A ring that has lost most of its frames gives their memory back.
    fn give_memory_back(&mut self) {
        let (length, capacity) = (self.frames.len(), self.frames.capacity());
        if capacity > KEPT_CAPACITY && length * 4 < capacity {
            self.frames.shrink_to((length * 2).max(KEPT_CAPACITY));
        }
    }

    fn pop_below(&mut self, seq: u64) -> Option<Frame> {
        if self.first_seq() >= seq.min(self.floor.unwrap_or(u64::MAX)) {
            return None;
        }
        let frame = self.frames.pop_front()?;
        self.base = frame.position();
        self.bytes -= cost_of(frame.len());
        Some(frame)
    }

    fn bound_met(&self, frames: usize, needed: usize, config: &TailConfig) -> Option<Bound> {
        let (entries, bytes) = (self.frames.len(), self.bytes);
        let floor = self.floor.unwrap_or(self.first_seq());
        if entries + frames > config.entries_max {
            return Some(Bound::TailEntries { entries, max: config.entries_max, floor });
        }
        if bytes + needed > config.bytes_max {
            return Some(Bound::TailBytes { bytes, needed, max: config.bytes_max, floor });
        }
        None
    }
}

fn overloaded(bound: Bound) -> Overloaded {
    Overloaded { retry_after_ms: RETRY_AFTER_MS, bound }
}

/// The memory that a frame really takes.
pub(crate) fn cost_of(frame_bytes: usize) -> usize {
    frame_bytes + FRAME_OVERHEAD_BYTES
}
