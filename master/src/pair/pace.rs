//! How fast a full sync may go.
//!
//! Deliberately absent: bursts saved up. It counts from its own beginning.

use std::time::Duration;

use tokio::time::Instant;

/// Keeps a full sync within its rate.
pub(super) struct Pace {
    bytes_per_s: u64,
    began: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(bytes_per_s: u64) -> Pace {
        Pace { bytes_per_s, began: Instant::now(), bytes: 0 }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// How much too early it is for more.
    pub(super) fn ahead(&self) -> Option<Duration> {
        let due_ms = (self.bytes * 1000).checked_div(self.bytes_per_s)?;
        Duration::from_millis(due_ms).checked_sub(self.began.elapsed()).filter(|rest| !rest.is_zero())
    }
}
