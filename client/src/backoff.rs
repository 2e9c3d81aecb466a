//! How long to wait before the next attempt. Pure: randomness is an argument.
//!
//! Invariants: a pause is between half of its step and all of it; steps double from the first up to
//! the longest. The jitter spreads clients that lost the same primary at the same moment.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    step_min: Duration,
    step_max: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(step_min: Duration, step_max: Duration) -> Backoff {
        Backoff { step_min, step_max, attempts: 0 }
    }

    /// The pause before the next attempt. It is at least as long as the member asked for.
    pub(crate) fn pause(&mut self, at_least: Duration, random: u64) -> Duration {
        let pause = jittered(self.step(), random);
        self.attempts = self.attempts.saturating_add(1);
        if pause >= at_least {
            return pause;
        }
        // All clients were told the same time, so spread beyond it, never before it.
        at_least + jittered(at_least.min(self.step_max), random) / 4
    }

    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    fn step(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.step_min.saturating_mul(factor).min(self.step_max)
    }
}

/// Between half of it and all of it.
fn jittered(step: Duration, random: u64) -> Duration {
    let fraction = (random >> 32) as f64 / f64::from(u32::MAX);
    step.mul_f64(0.5 + fraction / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn steps_double_up_to_the_longest() {
        let mut backoff = Backoff::new(5 * MS, 100 * MS);
        let steps: Vec<_> = (0..7).map(|_| backoff.pause(Duration::ZERO, u64::MAX)).collect();
        assert_eq!(steps, [5 * MS, 10 * MS, 20 * MS, 40 * MS, 80 * MS, 100 * MS, 100 * MS]);
        backoff.reset();
        assert_eq!(backoff.pause(Duration::ZERO, u64::MAX), 5 * MS);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        let mut backoff = Backoff::new(8 * MS, 8 * MS);
        assert_eq!(backoff.pause(Duration::ZERO, 0), 4 * MS);
        assert_eq!(backoff.pause(Duration::ZERO, u64::MAX), 8 * MS);
    }

    #[test]
    fn asked_for_time_is_kept() {
        let mut backoff = Backoff::new(5 * MS, 100 * MS);
        for random in [0, u64::MAX / 2, u64::MAX] {
            let pause = backoff.pause(50 * MS, random);
            assert!(pause >= 50 * MS && pause <= 63 * MS, "{pause:?}");
        }
    }

    #[test]
    fn many_attempts_do_not_overflow() {
        let mut backoff = Backoff::new(5 * MS, 100 * MS);
        for _ in 0..100 {
            assert!(backoff.pause(Duration::ZERO, u64::MAX) <= 100 * MS);
        }
    }
}
