//! Request numbers: which are open, and below which number all are closed.
//!
//! A number is opened for a call that changes something, stays the same over all its attempts, and
//! is closed when the call has its answer or its caller has given up. A number may be closed at
//! once when it is given up: the primary refuses numbers below `answered_below`, so a late request
//! can't run after its caller has moved on.
//!
//! Invariants: numbers rise by one and are never used again; `answered_below` never passes an open
//! number and never goes back; all open numbers lie within one span.
//!
//! Deliberately absent: which call a number belongs to.

use parking_lot::Mutex;
use proto::limits::REQUEST_SPAN_MAX;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: usize = (REQUEST_SPAN_MAX / WORD_BITS) as usize;
const _: () = assert!(REQUEST_SPAN_MAX.is_multiple_of(WORD_BITS));

/// A ring with one bit for each number of the span: set when the number is closed.
#[derive(Debug)]
pub(crate) struct NumberWindow {
    /// The lowest open number, or the next one.
    below: u64,
    next: u64,
    closed: [u64; WORDS],
}

impl NumberWindow {
    pub(crate) fn new() -> NumberWindow {
        NumberWindow { below: 1, next: 1, closed: [0; WORDS] }
    }

    /// The next number. None: the lowest open one is a whole span behind.
    pub(crate) fn try_open(&mut self) -> Option<u64> {
        if self.next - self.below >= REQUEST_SPAN_MAX {
            return None;
        }
        let number = self.next;
        self.next += 1;
        Some(number)
    }

    /// True: `answered_below` has moved.
    pub(crate) fn close(&mut self, number: u64) -> bool {
        assert!(number >= self.below && number < self.next, "{number} is not in {}..{}", self.below, self.next);
        let (word, bit) = place(number);
        assert!(self.closed[word] & bit == 0, "{number} is closed twice");
        self.closed[word] |= bit;
        let before = self.below;
        self.advance();
        self.below > before
    }

    pub(crate) fn answered_below(&self) -> u64 {
        self.below
    }

    /// Clears the bits that it passes, for the numbers that will use them next.
    fn advance(&mut self) {
        while self.below < self.next {
            let (word, bit) = place(self.below);
            if self.closed[word] & bit == 0 {
                return;
            }
            self.closed[word] &= !bit;
            self.below += 1;
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % REQUEST_SPAN_MAX;
    ((at / WORD_BITS) as usize, 1 << (at % WORD_BITS))
}

/// The numbers of one client, shared by its calls.
#[derive(Debug)]
pub(crate) struct Numbers {
    window: Mutex<NumberWindow>,
    moved: Notify,
}

/// An open number; closed when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenNumber<'a> {
    numbers: &'a Numbers,
    pub(crate) number: u64,
    pub(crate) answered_below: u64,
}

impl Numbers {
    pub(crate) fn new() -> Numbers {
        Numbers { window: Mutex::new(NumberWindow::new()), moved: Notify::new() }
    }

    /// Waits while the span is used up. None: that lasts until the deadline.
    pub(crate) async fn open(&self, deadline: Instant) -> Option<OpenNumber<'_>> {
        loop {
            // Registered before the check, so that no move in between is missed.
            let mut moved = std::pin::pin!(self.moved.notified());
            if let Some(open) = self.try_open() {
                return Some(open);
            }
            moved.as_mut().enable();
            if let Some(open) = self.try_open() {
                return Some(open);
            }
            timeout_at(deadline, moved).await.ok()?;
        }
    }

    fn try_open(&self) -> Option<OpenNumber<'_>> {
        let mut window = self.window.lock();
        let number = window.try_open()?;
        Some(OpenNumber { numbers: self, number, answered_below: window.answered_below() })
    }

    pub(crate) fn answered_below(&self) -> u64 {
        self.window.lock().answered_below()
    }
}

impl Drop for OpenNumber<'_> {
    fn drop(&mut self) {
        let moved = self.numbers.window.lock().close(self.number);
        if moved {
            self.numbers.moved.notify_waiters();
        }
    }
}

#[cfg(test)]
#[path = "numbers_test.rs"]
mod numbers_test;
