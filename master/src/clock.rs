//! The only place that reads clocks: the TTL clock of the state, the wall clock for log entries,
//! the clock of its locks.
//!
//! `election` derives the time from CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW ([`TwoClocks`]), and
//! decides what of it counts on the TTL clock ([`TtlClock`]).
//!
//! Deliberately absent: timers, and clocks of other hosts.

use std::sync::LazyLock;

use election::{LeftOut, Moment, Service, TtlClock, TwoClocks};
use metadata::Now;
use parking_lot::Mutex;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time of this thread.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// One for the process, since its nodes have one host.
static CLOCKS: LazyLock<Clocks> = LazyLock::new(Clocks::start);
/// Two readings count as simultaneous if no more than this lies between them.
const AT_ONCE_NS_MAX: u64 = 50_000;
/// How often that is tried. On a busier host the distance of the clocks is uncertain by what lies
/// between the readings.
const TRIES_MAX: u32 = 16;

#[derive(Debug)]
struct Clocks {
    merged: TwoClocks,
    /// Held by the thread that follows the distance of the clocks.
    following: Mutex<()>,
}

impl Clocks {
    fn start() -> Clocks {
        let (first_ns, second_ns) = read_at_once();
        Clocks { merged: TwoClocks::new(first_ns, second_ns), following: Mutex::new(()) }
    }

    fn get<T>(&self, look: impl Fn(&TwoClocks, u64, u64) -> Option<T>) -> T {
        let (first_ns, second_ns) = read_both();
        match look(&self.merged, first_ns, second_ns) {
            Some(found) => found,
            None => self.follow(look),
        }
    }

    /// The clocks have moved apart, or this thread has stood still between two readings.
    #[cold]
    fn follow<T>(&self, look: impl Fn(&TwoClocks, u64, u64) -> Option<T>) -> T {
        let _following = self.following.lock();
        loop {
            let (first_ns, second_ns) = read_at_once();
            if let Some(found) = look(&self.merged, first_ns, second_ns) {
                return found;
            }
            self.merged.follow(first_ns, second_ns);
        }
    }
}

fn read_both() -> (u64, u64) {
    (nanoseconds(clock_gettime(ClockId::Boottime)), nanoseconds(clock_gettime(ClockId::MonotonicRaw)))
}

fn read_at_once() -> (u64, u64) {
    let mut read = read_both();
    for _ in 1..TRIES_MAX {
        if nanoseconds(clock_gettime(ClockId::Boottime)) - read.0 <= AT_ONCE_NS_MAX {
            break;
        }
        read = read_both();
    }
    read
}

/// The clocks of one node.
#[derive(Debug)]
pub struct Clock {
    ttl: TtlClock,
    started_ms: u64,
}

impl Clock {
    pub fn start(step_max_ms: u64) -> Clock {
        let moment = moment();
        Clock { ttl: TtlClock::new(moment.slow(), step_max_ms), started_ms: moment.now }
    }

    pub fn now(&self) -> Now {
        Now { ttl_ms: self.ttl.at(moment().slow()), wall_ms: wall_ms() }
    }

    /// For decisions by the clock. `None`: it stands still, and nothing may be decided.
    pub(crate) fn running(&self) -> Option<Now> {
        self.ttl.running(moment().slow()).map(|ttl_ms| Now { ttl_ms, wall_ms: wall_ms() })
    }

    /// See [`TtlClock::limit_step`].
    pub(crate) fn limit_step(&self, step_max_ms: u64) {
        self.ttl.limit_step(step_max_ms);
    }

    /// See [`TtlClock::tick`].
    pub(crate) fn tick(&self, service: Service) -> LeftOut {
        let moment = moment();
        self.ttl.tick(moment.slow(), &service.counted_by(&moment))
    }

    pub fn uptime_ms(&self) -> u64 {
        now_ms() - self.started_ms
    }
}

/// Nanoseconds since 1970: for names that must differ, not for durations.
pub fn wall_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// The clock for durations within this process.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// This member's time: at least what each clock of its host has counted.
pub fn now_ms() -> u64 {
    CLOCKS.get(TwoClocks::now)
}

/// The same, with how much of it may not have passed.
pub(crate) fn moment() -> Moment {
    CLOCKS.get(TwoClocks::moment)
}

fn wall_ms() -> u64 {
    millis(clock_gettime(ClockId::Realtime))
}

fn millis(time: Timespec) -> u64 {
    nanoseconds(time) / 1_000_000
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_a_node_start_at_one() {
        let clock = Clock::start(550);
        assert!((1..500).contains(&clock.now().ttl_ms));
        assert!(clock.now().wall_ms > 1_700_000_000_000);
        assert!(monotonic_ns() <= monotonic_ns());
    }

    #[test]
    fn time_of_a_member_counts_what_the_clocks_count_and_never_goes_back() {
        let busy = || {
            let (began, (first_ns, second_ns)) = (moment(), read_both());
            let mut before_ms = began.now;
            for _ in 0..200_000 {
                let now_ms = now_ms();
                assert!(now_ms >= before_ms, "{before_ms}, then {now_ms}");
                before_ms = now_ms;
            }
            let (now_first_ns, now_second_ns) = read_both();
            let (least_ms, ended) = ((now_first_ns - first_ns).max(now_second_ns - second_ns) / 1_000_000, moment());
            assert!(ended.now - began.now + 3 >= least_ms, "{began:?} {ended:?}");
        };
        // They all follow the distance of the clocks.
        std::thread::scope(|threads| (0..4).for_each(|_| drop(threads.spawn(busy))));
    }
}
