//! A member's time, from two clocks of its host.
//!
//! ```text
//!   CLOCK_BOOTTIME       counts suspend; NTP may slew it ┐     now      own rights: tenure, silence
//!                                                        ├─►
//!   CLOCK_MONOTONIC_RAW  is not slewed; does not count   ┘     now -    waits for the end of another
//!                        suspend                               behind   member's rights; TTLs
//! ```
//!
//! Invariants: between two readings, `now` counts at least what either clock counts, and
//! `now - behind` at most that, except for [`APART_NS_MAX`] at each end. `now` and `behind` never
//! go back.
//!
//! The distance between the two clocks is followed. If the second one gets ahead, the first one may
//! be slow, and `now` is moved on by the difference. If the second one falls back, the first one
//! may be fast. Moves below [`APART_NS_MAX`] are ignored until they add up, since the two clocks
//! are not read at the same moment.
//!
//! Deliberately absent: the clocks themselves. A rate error that both clocks share cannot be seen;
//! the waits leave room for it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::timing::Millis;

/// The distance of the clocks is followed with this accuracy: a tenth of what waits leave for
/// rounding.
const APART_NS_MAX: u64 = 500_000;
const NS_PER_MS: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The member's time.
    pub now: Millis,
    /// How much of the time that `now` has counted may not have passed.
    pub behind_ms: Millis,
}

impl Moment {
    /// The least time that can have passed.
    pub fn slow(&self) -> Millis {
        self.now.saturating_sub(self.behind_ms)
    }
}

#[derive(Debug)]
pub struct TwoClocks {
    /// How far the second clock was ahead of the first one when the distance was last followed.
    ahead_ns: AtomicI64,
    /// All moves of that distance, forwards,
    gained_ns: AtomicU64,
    /// and backwards.
    lost_ns: AtomicU64,
}

impl TwoClocks {
    pub fn new(first_ns: u64, second_ns: u64) -> TwoClocks {
        TwoClocks {
            ahead_ns: AtomicI64::new(ahead(first_ns, second_ns)),
            gained_ns: AtomicU64::new(0),
            lost_ns: AtomicU64::new(0),
        }
    }

    /// `None`: the distance has moved, and [`TwoClocks::follow`] must be called first.
    pub fn now(&self, first_ns: u64, second_ns: u64) -> Option<Millis> {
        // A reader that sees the new distance also sees what was gained with it.
        let moved = ahead(first_ns, second_ns).wrapping_sub(self.ahead_ns.load(Ordering::Acquire));
        (moved.unsigned_abs() < APART_NS_MAX)
            .then(|| first_ns.saturating_add(self.gained_ns.load(Ordering::Relaxed)) / NS_PER_MS)
    }

    pub fn moment(&self, first_ns: u64, second_ns: u64) -> Option<Moment> {
        let now = self.now(first_ns, second_ns)?;
        let behind_ns = self.gained_ns.load(Ordering::Relaxed).saturating_add(self.lost_ns.load(Ordering::Relaxed));
        Some(Moment { now, behind_ms: behind_ns.div_ceil(NS_PER_MS) })
    }

    /// Must not be called concurrently.
    pub fn follow(&self, first_ns: u64, second_ns: u64) {
        let ahead = ahead(first_ns, second_ns);
        let moved = ahead.wrapping_sub(self.ahead_ns.load(Ordering::Relaxed));
        let moves = if moved > 0 { &self.gained_ns } else { &self.lost_ns };
        moves.fetch_add(moved.unsigned_abs(), Ordering::Relaxed);
        self.ahead_ns.store(ahead, Ordering::Release);
    }
}

fn ahead(first_ns: u64, second_ns: u64) -> i64 {
    second_ns.wrapping_sub(first_ns).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NS_PER_MS;

    fn read(clocks: &TwoClocks, first_ns: u64, second_ns: u64) -> Moment {
        clocks.moment(first_ns, second_ns).unwrap_or_else(|| {
            clocks.follow(first_ns, second_ns);
            clocks.moment(first_ns, second_ns).expect("it was just followed")
        })
    }

    #[test]
    fn clocks_that_agree_are_one_whatever_lies_between_two_readings() {
        let clocks = TwoClocks::new(9_000 * MS, 4_000 * MS);
        for ms in 0..10_000 {
            let noise = ms * 7919 % (APART_NS_MAX / 2);
            let moment = clocks.moment((9_000 + ms) * MS, (4_000 + ms) * MS + noise);
            assert_eq!(moment, Some(Moment { now: 9_000 + ms, behind_ms: 0 }));
        }
    }

    #[test]
    fn slow_first_clock_is_moved_on_and_a_fast_one_is_behind() {
        let clocks = TwoClocks::new(0, 0);
        assert_eq!(clocks.now(917 * MS, 1_000 * MS), None, "they have moved apart");
        assert_eq!(read(&clocks, 917 * MS, 1_000 * MS), Moment { now: 1_000, behind_ms: 83 });
        assert_eq!(read(&clocks, 1_917 * MS, 2_000 * MS), Moment { now: 2_000, behind_ms: 83 });
        // Slewed back: `now` does not go back.
        let moment = read(&clocks, 3_000 * MS, 3_000 * MS);
        assert_eq!((moment, moment.slow()), (Moment { now: 3_083, behind_ms: 166 }, 2_917));
    }

    #[test]
    fn suspend_counts_against_the_own_right_and_not_for_a_wait() {
        let clocks = TwoClocks::new(100 * MS, 100 * MS);
        let before = read(&clocks, 150 * MS, 150 * MS);
        let after = read(&clocks, 60_150 * MS, 151 * MS);
        assert_eq!((after.now - before.now, after.slow() - before.slow()), (60_000, 1));
    }

    #[test]
    fn between_any_two_readings_now_counts_the_larger_and_slow_the_smaller() {
        let mut random = 5_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let (mut first, mut second) = (1_000 * MS, 77 * MS);
        let clocks = TwoClocks::new(first, second);
        let mut readings = vec![(first, second, read(&clocks, first, second))];
        for _ in 0..600 {
            // One clock stands still now and then, and each runs faster for a while.
            first += draw(4) * draw(3 * MS);
            second += draw(3) * draw(4 * MS);
            readings.push((first, second, read(&clocks, first, second)));
        }
        // The accuracy at both ends, and the rounding to whole milliseconds.
        const SLACK_MS: u64 = 2 + 2 * APART_NS_MAX / MS;
        for (at, before) in readings.iter().enumerate() {
            for after in &readings[at..] {
                let (first_ms, second_ms) = ((after.0 - before.0) / MS, (after.1 - before.1) / MS);
                let fast_ms = after.2.now.checked_sub(before.2.now).expect("now never goes back");
                let slow_ms = after.2.slow().saturating_sub(before.2.slow());
                assert!(after.2.behind_ms >= before.2.behind_ms);
                assert!(fast_ms + SLACK_MS >= first_ms.max(second_ms), "{before:?} {after:?}");
                assert!(slow_ms <= first_ms.min(second_ms) + SLACK_MS, "{before:?} {after:?}");
            }
        }
    }
}
