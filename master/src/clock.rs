//! The only place that reads clocks: the TTL clock of the state, the wall clock for log entries, the clock of its locks.
//!
//! TTLs run on a clock of their own: CLOCK_BOOTTIME, which also counts while the machine sleeps, less the master's own
//! stalls. From one tick to the next it runs at most `step_max_ms` far; what a late tick brings beyond that is left
//! out, so a master that was paused expires nobody.
//!
//! Invariants: the TTL clock starts at 1, never goes back, and never runs faster than real time.
//!
//! Deliberately absent: timers, and clocks of other hosts.

use std::sync::atomic::{AtomicU64, Ordering};

use metadata::Now;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The arithmetic of the TTL clock. Times are milliseconds of a clock that runs on through stalls.
#[derive(Debug)]
pub struct TtlClock {
    step_max_ms: u64,
    /// What to add to a time (wrapping). Gets smaller with every stall.
    offset_ms: AtomicU64,
    /// Where the clock stands still until the next tick.
    cap_ms: AtomicU64,
}

impl TtlClock {
    /// Reads 1 at `boot_ms`.
    pub fn new(boot_ms: u64, step_max_ms: u64) -> TtlClock {
        TtlClock {
            step_max_ms,
            offset_ms: AtomicU64::new(1_u64.wrapping_sub(boot_ms)),
            cap_ms: AtomicU64::new(1 + step_max_ms),
        }
    }

    pub fn at(&self, boot_ms: u64) -> u64 {
        // The cap first: whoever sees a new one sees the offset that was stored before it.
        let cap_ms = self.cap_ms.load(Ordering::Acquire);
        let offset_ms = self.offset_ms.load(Ordering::Acquire);
        boot_ms.wrapping_add(offset_ms).min(cap_ms)
    }

    /// The master runs. One caller; returns how much of the time since the last tick is left out.
    pub fn tick(&self, boot_ms: u64) -> u64 {
        let ttl_ms = self.at(boot_ms);
        let offset_ms = self.offset_ms.load(Ordering::Acquire);
        let stalled_ms = boot_ms.wrapping_add(offset_ms) - ttl_ms;
        self.offset_ms.store(offset_ms.wrapping_sub(stalled_ms), Ordering::Release);
        self.cap_ms.store(ttl_ms + self.step_max_ms, Ordering::Release);
        stalled_ms
    }
}

/// The clocks of one node.
#[derive(Debug)]
pub struct Clock {
    ttl: TtlClock,
    started_ms: u64,
}

impl Clock {
    pub fn start(step_max_ms: u64) -> Clock {
        let started_ms = boot_ms();
        Clock { ttl: TtlClock::new(started_ms, step_max_ms), started_ms }
    }

    pub fn now(&self) -> Now {
        Now { ttl_ms: self.ttl.at(boot_ms()), wall_ms: millis(clock_gettime(ClockId::Realtime)) }
    }

    /// See [`TtlClock::tick`].
    pub fn tick(&self) -> u64 {
        self.ttl.tick(boot_ms())
    }

    pub fn uptime_ms(&self) -> u64 {
        boot_ms() - self.started_ms
    }
}

/// Nanoseconds since 1970: for names that must differ, not for durations.
pub(crate) fn wall_ns() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// For durations within this process.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CLOCK_BOOTTIME: for durations that must count while the machine sleeps.
pub(crate) fn boot_ms() -> u64 {
    millis(clock_gettime(ClockId::Boottime))
}

fn millis(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_ticks_runs_like_any_other() {
        let clock = TtlClock::new(1_000_000, 550);
        assert_eq!(clock.at(1_000_000), 1);
        for step in 1..100 {
            assert_eq!(clock.tick(1_000_000 + step * 50), 0);
            assert_eq!(clock.at(1_000_000 + step * 50 + 20), step * 50 + 21);
        }
    }

    #[test]
    fn stall_beyond_the_step_is_left_out() {
        let clock = TtlClock::new(0, 550);
        assert_eq!(clock.tick(550), 0, "a tick may come this late");
        assert_eq!(clock.at(60_000), 1101, "it stands still until somebody ticks");
        assert_eq!(clock.tick(60_000), 60_000 - 1100);
        assert_eq!(clock.at(60_000), 1101);
        assert_eq!(clock.at(60_050), 1151);
    }

    #[test]
    fn time_never_goes_back_whatever_the_ticks() {
        let clock = TtlClock::new(7, 100);
        let (mut boot_ms, mut before_ms, mut random) = (7, 0, 1_u64);
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            boot_ms += (random >> 33) % 300;
            if random >> 63 == 0 {
                clock.tick(boot_ms);
            }
            let now_ms = clock.at(boot_ms);
            assert!(now_ms >= before_ms && now_ms <= boot_ms, "{before_ms}, then {now_ms} at {boot_ms}");
            before_ms = now_ms;
        }
    }

    #[test]
    fn clocks_of_a_node_start_at_one() {
        let clock = Clock::start(550);
        assert!((1..500).contains(&clock.now().ttl_ms));
        assert!(clock.now().wall_ms > 1_700_000_000_000);
        assert!(monotonic_ns() <= monotonic_ns());
    }
}
