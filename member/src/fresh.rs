//! How fresh a state is that has applied up to some seq: the moment such that it holds all that any
//! member had committed by then. Pure.
//!
//! The primary answers the time in each receipt with what is committed since (`as_of_ms`), as long
//! as it has its tenure: no other member can have committed anything by then. Both times are this
//! member's own, so no clocks are compared, and a delayed message never makes a state look fresher
//! than it is.
//!
//! Invariants: a moment counts only once everything committed by then is applied; it never goes
//! back.

use std::collections::VecDeque;

/// Moments that wait for their entries to be applied. If there are more, a later one replaces an
/// earlier one.
const WAITING_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Fresh {
    /// 0: unknown.
    as_of_ms: u64,
    /// `(committed, as_of_ms)`, both rising.
    waiting: VecDeque<(u64, u64)>,
}

impl Fresh {
    /// The primary's statement. With `as_of_ms` 0 it cannot tell the moment.
    pub(crate) fn committed(&mut self, committed: u64, as_of_ms: u64) {
        if as_of_ms <= self.waiting.back().map_or(self.as_of_ms, |(_, newest)| *newest) {
            return;
        }
        // A statement that needs less than an earlier one belongs to another history. `forget` is
        // called between the two.
        let committed = self.waiting.back().map_or(committed, |(before, _)| committed.max(*before));
        let full = self.waiting.len() == WAITING_MAX;
        match self.waiting.back_mut() {
            Some(last) if full || last.0 == committed => *last = (committed, as_of_ms),
            _ => self.waiting.push_back((committed, as_of_ms)),
        }
    }

    pub(crate) fn as_of_ms(&mut self, applied: u64) -> Option<u64> {
        while let Some((_, as_of_ms)) = self.waiting.pop_front_if(|(committed, _)| *committed <= applied) {
            self.as_of_ms = as_of_ms;
        }
        Some(self.as_of_ms).filter(|&ms| ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_counts_once_its_entries_are_applied() {
        let mut fresh = Fresh::default();
        assert_eq!(fresh.as_of_ms(u64::MAX), None, "unknown is not 0");
        fresh.committed(10, 100);
        fresh.committed(12, 150);
        assert_eq!(fresh.as_of_ms(9), None);
        assert_eq!(fresh.as_of_ms(11), Some(100));
        assert_eq!(fresh.as_of_ms(12), Some(150));
        assert_eq!(fresh.as_of_ms(5), Some(150), "what was applied stays so");
    }

    #[test]
    fn a_primary_that_cannot_say_of_when_makes_nothing_fresher() {
        let mut fresh = Fresh::default();
        fresh.committed(10, 100);
        fresh.committed(11, 0);
        fresh.committed(11, 90);
        assert_eq!(fresh.as_of_ms(11), Some(100));
    }

    #[test]
    fn an_idle_primary_takes_one_place() {
        let mut fresh = Fresh::default();
        (1..1000).for_each(|ms| fresh.committed(10, ms));
        assert_eq!(fresh.waiting.len(), 1);
        assert_eq!(fresh.as_of_ms(10), Some(999));
    }

    #[test]
    fn a_state_that_lags_far_behind_takes_a_bounded_place_and_claims_no_more_than_it_has() {
        let mut fresh = Fresh::default();
        (1..1000).for_each(|n| fresh.committed(n, 10 * n));
        assert_eq!(fresh.waiting.len(), WAITING_MAX);
        assert_eq!(fresh.as_of_ms(20), Some(200));
        assert_eq!(fresh.as_of_ms(998), Some(63 * 10), "the last one waits for all");
        assert_eq!(fresh.as_of_ms(999), Some(9990));
    }
}
