//! How fast another member's clock runs, compared with this member's own.
//!
//! ```text
//!   own clock     sent ──────────────────── answered          theirs was read between these two
//!                   └──► theirs is read ──────┘
//! ```
//!
//! Two such sights, a window apart, bound how long the window lasted on each of the two clocks. The
//! longer an answer takes, the wider the bounds: a stall or a slow link is never taken for a wrong
//! clock.
//!
//! Deliberately absent: any use but a warning. Safety assumes that the rates are within bounds, and
//! this would notice too late.

use election::Millis;

/// Long enough that an answer that takes 100 ms adds an uncertainty of no more than a third of a
/// per cent.
const WINDOW_MS: Millis = 30_000;
/// The difference that the waits of the protocol leave room for, between two clocks that are each
/// off by 25 per mille: 1.025 / 0.975, and the reverse.
const FASTER_PPM_MAX: i64 = 51_282;
const SLOWER_PPM_MAX: i64 = 48_780;

/// Another member's clock was read as `theirs_ms`, at some moment between these two on this
/// member's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    pub(crate) theirs_ms: Millis,
    pub(crate) sent_ms: Millis,
    pub(crate) answered_ms: Millis,
}

/// How much faster another clock has run than this member's own, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateError {
    pub ppm: i64,
    /// The true value is between these two.
    pub least_ppm: i64,
    pub most_ppm: i64,
}

impl RateError {
    fn between(before: Sight, after: Sight) -> RateError {
        let theirs_ms = after.theirs_ms.saturating_sub(before.theirs_ms);
        let least_ms = after.sent_ms.saturating_sub(before.answered_ms);
        let most_ms = after.answered_ms.saturating_sub(before.sent_ms);
        let ppm = |own_ms: Millis| {
            let rate = i128::from(theirs_ms) * 1_000_000 / i128::from(own_ms.max(1)) - 1_000_000;
            i64::try_from(rate).unwrap_or(i64::MAX)
        };
        RateError { ppm: ppm(least_ms.midpoint(most_ms)), least_ppm: ppm(most_ms), most_ppm: ppm(least_ms) }
    }

    /// It is certainly more than the protocol allows.
    pub fn is_beyond(&self) -> bool {
        self.least_ppm > FASTER_PPM_MAX || self.most_ppm < -SLOWER_PPM_MAX
    }
}

/// One for each stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockRate {
    first: Option<Sight>,
    last: Option<RateError>,
}

impl ClockRate {
    /// The result of the last complete window.
    pub(crate) fn last(&self) -> Option<RateError> {
        self.last
    }

    /// Returns an error that should be reported: it is beyond what is allowed, and was not in the
    /// window before.
    pub(crate) fn see(&mut self, sight: Sight) -> Option<RateError> {
        let first = *self.first.get_or_insert(sight);
        if sight.answered_ms < first.answered_ms.saturating_add(WINDOW_MS) {
            return None;
        }
        self.first = Some(sight);
        let error = RateError::between(first, sight);
        let before = self.last.replace(error);
        Some(error).filter(|error| error.is_beyond() && !before.is_some_and(|before| before.is_beyond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that take 20 ms each, to a clock that runs at `rate` per mille, and what is reported
    /// for each window.
    fn seen(rate: u64, windows: u64) -> (ClockRate, Vec<RateError>) {
        let mut clock = ClockRate::default();
        let sights = (0..=windows * WINDOW_MS).step_by(50);
        let sight = |ms| Sight { theirs_ms: 7_000_000 + ms * rate / 1000, sent_ms: ms, answered_ms: ms + 20 };
        let told = sights.filter_map(|ms| clock.see(sight(ms))).collect();
        (clock, told)
    }

    #[test]
    fn rate_is_known_once_a_window_is_over_and_never_better_than_the_answers_allow() {
        assert_eq!(seen(1000, 0).0.last(), None);
        let (clock, told) = seen(1010, 1);
        let error = clock.last().expect("a window is over");
        assert!((9_900..=10_100).contains(&error.ppm), "{error:?}");
        assert!(error.least_ppm < 9_500 && error.most_ppm > 10_500, "{error:?}");
        assert_eq!(told, []);
    }

    #[test]
    fn clock_beyond_what_is_allowed_is_told_once() {
        for (rate, beyond) in [(1050, 0), (1054, 1), (953, 0), (948, 1), (917, 1)] {
            assert_eq!(seen(rate, 3).1.len(), beyond, "{rate} per mille");
        }
    }

    #[test]
    fn slow_answer_is_no_wrong_clock_and_one_that_stood_still_is() {
        let mut clock = ClockRate::default();
        assert_eq!(clock.see(Sight { theirs_ms: 500, sent_ms: 0, answered_ms: 5 }), None);
        // It was read at 31 s, and the answer came 4 s late.
        assert_eq!(clock.see(Sight { theirs_ms: 31_500, sent_ms: 31_000, answered_ms: 35_000 }), None);
        let stood = clock.see(Sight { theirs_ms: 59_000, sent_ms: 66_000, answered_ms: 66_010 });
        assert!(stood.is_some_and(|error| error.most_ppm < 0), "{stood:?}");
    }
}
