//! The bytes on their way to a peer: sent, and not answered yet.
//!
//! ```text
//!   sent at:   5    5    6    9          answered: 6  ──►  the first three are there
//! ```
//!
//! A peer answers messages in their order, each with the send time of the message, and may answer
//! several at once. So an answer to one message is an answer to all that were sent before it, and
//! in the same millisecond.
//!
//! Invariant: `bytes` is the sum of what is on its way.
//!
//! Deliberately absent: the content of the messages. Entries, images and beacons count alike.

use std::collections::VecDeque;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// When each was sent, and its bytes.
    under_way: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Window {
    /// `at_ms`: never earlier than that of the message before.
    pub fn sent(&mut self, at_ms: u64, bytes: usize) {
        // A message without bytes need not be waited for.
        if bytes > 0 {
            self.under_way.push_back((at_ms, bytes));
            self.bytes += bytes;
        }
    }

    pub fn answered(&mut self, sent_ms: u64) {
        while let Some((_, bytes)) = self.under_way.pop_front_if(|(at_ms, _)| *at_ms <= sent_ms) {
            self.bytes -= bytes;
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_for_all_that_was_sent_by_then() {
        let mut window = Window::default();
        [(5, 10), (5, 20), (6, 40), (7, 0), (9, 80)].into_iter().for_each(|(at, bytes)| window.sent(at, bytes));
        assert_eq!(window.bytes(), 150);
        for (answered, left) in [(4, 150), (5, 120), (8, 80), (5, 80), (9, 0), (9, 0)] {
            window.answered(answered);
            assert_eq!(window.bytes(), left, "answered up to {answered}");
        }
        assert_eq!(window, Window::default());
    }
}
