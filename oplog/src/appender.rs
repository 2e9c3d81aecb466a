//! The one writer of a log: it reserves a place before the state changes, so that an append cannot
//! fail.
//!
//! Invariants: one appender per tail, one slot at a time (the borrow checker ensures both); seqs
//! have no gap; epochs only grow; a draft never exceeds its reservation (asserted, also in
//! release).
//!
//! Absent on purpose: the order of writers (the appender's owner decides it) and commits.

use std::fmt;
use std::sync::Arc;

use crate::entry::{Draft, Position};
use crate::error::Overloaded;
use crate::frame::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES_MAX, Frame};
use crate::ring::cost_of;
use crate::tail::{LOCKED_FRAMES_MAX, Tail};

pub struct Appender {
    tail: Arc<Tail>,
    epoch: u64,
    next_seq: u64,
    /// Reused, so that making room allocates nothing.
    dropped: Vec<Frame>,
}

impl Appender {
    pub(crate) fn new(tail: Arc<Tail>, last: Position) -> Appender {
        Appender { tail, epoch: last.epoch, next_seq: last.seq + 1, dropped: Vec::new() }
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Entries carry `epoch` from now on. Panics if it does not grow: two primaries must never use
    /// the same epoch.
    pub fn begin_epoch(&mut self, epoch: u64) {
        assert!(epoch > self.epoch, "an epoch must grow: {} held, {epoch} offered", self.epoch);
        self.epoch = epoch;
    }

    /// Reserves a place for one entry with at most `bytes` of key and payload. The oldest entries
    /// below the floor make room for it. Panics if no frame can be so large: limits of requests are
    /// checked long before.
    pub fn reserve(&mut self, bytes: usize) -> Result<Slot<'_>, Overloaded> {
        let frame_bytes = bytes.saturating_add(FRAME_HEADER_BYTES_MAX);
        assert!(frame_bytes <= FRAME_BYTES_MAX, "{frame_bytes} bytes asked for one frame, at most {FRAME_BYTES_MAX}");
        while !self.try_make_room(1, cost_of(frame_bytes))? {}
        Ok(Slot { appender: self, bytes })
    }

    /// Ensures that the next entries, with at most these sizes (key and payload), will fit, if no
    /// other entry comes before them.
    pub fn make_room(&mut self, sizes: &[usize]) -> Result<(), Overloaded> {
        let cost = |bytes: &usize| cost_of(bytes.saturating_add(FRAME_HEADER_BYTES_MAX));
        let needed = sizes.iter().map(cost).fold(0, usize::saturating_add);
        while !self.try_make_room(sizes.len(), needed)? {}
        Ok(())
    }

    /// As a standby: appends the primary's next entry as it is.
    pub fn append_frame(&mut self, frame: Frame) -> Result<(), AppendFrameError> {
        let (at, last) = (frame.position(), Position { epoch: self.epoch, seq: self.next_seq - 1 });
        if at.seq != self.next_seq || at.epoch < self.epoch {
            return Err(AppendFrameError::NotNext { last, offered: at });
        }
        while !self.try_make_room(1, cost_of(frame.len()))? {}
        self.tail.ring.lock().push(frame);
        self.epoch = at.epoch;
        self.tail.appended.advance(at.seq);
        self.next_seq += 1;
        Ok(())
    }

    /// Takes the lock once. Dropped frames are freed after it.
    fn try_make_room(&mut self, frames: usize, needed: usize) -> Result<bool, Overloaded> {
        let Tail { ring, config, .. } = &*self.tail;
        let made = ring.lock().make_room(frames, needed, config, LOCKED_FRAMES_MAX, &mut self.dropped);
        self.dropped.clear();
        made
    }

    pub fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Appender(next {}/{})", self.epoch, self.next_seq)
    }
}

/// A primary's entry was not accepted. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendFrameError {
    #[error("entry {offered} does not follow {last}")]
    NotNext { last: Position, offered: Position },
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
}

/// A reserved place. To drop it gives it back.
#[must_use = "a dropped slot is given back"]
#[derive(Debug)]
pub struct Slot<'a> {
    appender: &'a mut Appender,
    bytes: usize,
}

impl Slot<'_> {
    pub fn seq(&self) -> u64 {
        self.appender.next_seq
    }

    pub fn position(&self) -> Position {
        Position { epoch: self.appender.epoch, seq: self.appender.next_seq }
    }

    /// Cannot fail. Panics if the draft is larger than what was reserved.
    pub fn append(self, draft: &Draft<'_>) -> Frame {
        let bytes = draft.key.len() + draft.payload.len();
        assert!(bytes <= self.bytes, "a draft of {bytes} bytes in a slot of {}", self.bytes);
        let frame = Frame::encode(self.position(), draft);
        let Slot { appender, .. } = self;
        appender.tail.ring.lock().push(frame.clone());
        appender.tail.appended.advance(appender.next_seq);
        appender.next_seq += 1;
        frame
    }
}

#[cfg(test)]
#[path = "appender_test.rs"]
mod tests;
