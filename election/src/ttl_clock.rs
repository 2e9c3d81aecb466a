//! The clock for TTLs of clients, puts, leases, pins and tasks. It runs only while this member can
//! hear and answer.
//!
//! A client whose heartbeat is refused, or not read, must not expire for that. So the time in which
//! the member could not answer is left out:
//!
//! - its gate was shut: it does not lead, it hands over, or it ends;
//! - its tenure was over, whether a standby or the coordinator did not answer;
//! - its commits stood still, so that no answer went out;
//! - the process itself stood still: its owner ticked late.
//!
//! One owner ticks the clock and tells it each time what the member may do ([`Service`]). Between
//! two ticks the clock runs no further than that allowed. A deadline on this clock comes later than
//! on a wall clock, never earlier.
//!
//! Invariants: the clock starts at 1 and never runs faster than the time that it is told. It does
//! not go back, with two exceptions: by the time that passes while its owner ticks, for a thread
//! that reads it meanwhile, and by a millisecond when the host's clocks are found to have moved
//! apart. Decisions by this clock are made only while it runs ([`TtlClock::running`]), so a member
//! that may not answer decides nothing.
//!
//! It counts the least time that can have passed by the clocks of the host ([`Moment::slow`]), so a
//! lease never ends before a reader on another host expects it to.
//!
//! Deliberately absent: where the time comes from, and what is due.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::timing::Millis;
use crate::two_clocks::Moment;

/// What a member may do at this moment, as far as it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Service {
    /// The member accepts and answers calls before this moment. 0: it does not. [`Millis::MAX`]:
    /// without end.
    pub until_ms: Millis,
    /// The end of its log, and how much of it is committed.
    pub appended: u64,
    pub committed: u64,
}

impl Service {
    /// The member accepts nothing and has no log.
    pub const SHUT: Service = Service { until_ms: 0, appended: 0, committed: 0 };

    /// The same, with its end in the time that [`Moment::slow`] counts.
    pub fn counted_by(self, moment: &Moment) -> Service {
        let until_ms = match self.until_ms {
            Millis::MAX => Millis::MAX,
            until_ms => until_ms.saturating_sub(moment.behind_ms),
        };
        Service { until_ms, ..self }
    }
}

/// Time that does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// The process stood still.
    pub stalled_ms: Millis,
    /// The member could not answer.
    pub unheard_ms: Millis,
}

/// All times are milliseconds of a clock that runs on through stalls.
#[derive(Debug)]
pub struct TtlClock {
    step_max_ms: Millis,
    /// No tick counts more than this.
    step_limit_ms: AtomicU64,
    /// What to add to a time (wrapping). It gets smaller with all that is left out.
    offset_ms: AtomicU64,
    /// The clock stands still here until the next tick.
    cap_ms: AtomicU64,
    /// When the last tick was.
    ticked_ms: AtomicU64,
    /// Where the log ended at some moment, and that moment. It moves on when the log is committed
    /// up to there, which shows that commits have moved since.
    mark_seq: AtomicU64,
    mark_ms: AtomicU64,
}

impl TtlClock {
    /// Reads 1 at `now_ms`, and stands still until it is told that the member may answer.
    /// `step_max_ms`: the delay of a tick, and the time without commits, that still count.
    pub fn new(now_ms: Millis, step_max_ms: Millis) -> TtlClock {
        TtlClock {
            step_max_ms,
            step_limit_ms: AtomicU64::new(Millis::MAX),
            offset_ms: AtomicU64::new(1_u64.wrapping_sub(now_ms)),
            cap_ms: AtomicU64::new(1),
            ticked_ms: AtomicU64::new(now_ms),
            mark_seq: AtomicU64::new(0),
            mark_ms: AtomicU64::new(now_ms),
        }
    }

    /// For the owner only, when TTLs are shorter than the clock was made for.
    pub fn limit_step(&self, step_max_ms: Millis) {
        self.step_limit_ms.store(step_max_ms.max(1), Ordering::Relaxed);
    }

    fn step_max_ms(&self) -> Millis {
        self.step_max_ms.min(self.step_limit_ms.load(Ordering::Relaxed))
    }

    pub fn at(&self, now_ms: Millis) -> Millis {
        let (cap_ms, free_ms) = self.cap_and_free(now_ms);
        free_ms.min(cap_ms)
    }

    /// `None`: the clock stands still, and nothing may be decided by it.
    pub fn running(&self, now_ms: Millis) -> Option<Millis> {
        let (cap_ms, free_ms) = self.cap_and_free(now_ms);
        (free_ms < cap_ms).then_some(free_ms)
    }

    fn cap_and_free(&self, now_ms: Millis) -> (Millis, Millis) {
        // The cap is read first: a reader that sees a new cap sees the offset that was stored
        // before it.
        let cap_ms = self.cap_ms.load(Ordering::Acquire);
        (cap_ms, now_ms.wrapping_add(self.offset_ms.load(Ordering::Acquire)))
    }

    /// For the owner only. Returns how much of the time since the last tick is left out.
    pub fn tick(&self, now_ms: Millis, service: &Service) -> LeftOut {
        let (cap_ms, free_ms) = self.cap_and_free(now_ms);
        let ttl_ms = free_ms.min(cap_ms);
        let still_ms = free_ms - ttl_ms;
        let until_ms = service.until_ms.min(self.commits_moved_ms(now_ms, service).saturating_add(self.step_max_ms()));
        let runs_ms = until_ms.saturating_sub(now_ms).min(self.step_max_ms());
        self.offset_ms.fetch_sub(still_ms, Ordering::AcqRel);
        self.cap_ms.store(ttl_ms + runs_ms, Ordering::Release);
        // The time by the slower clock may go back by a millisecond.
        let late_ms = now_ms.saturating_sub(self.ticked_ms.swap(now_ms, Ordering::Relaxed));
        let stalled_ms = still_ms.min(late_ms.saturating_sub(self.step_max_ms()));
        LeftOut { stalled_ms, unheard_ms: still_ms - stalled_ms }
    }

    /// When commits last moved, or had nothing left to commit.
    fn commits_moved_ms(&self, now_ms: Millis, service: &Service) -> Millis {
        let mark_seq = self.mark_seq.load(Ordering::Relaxed);
        // A member that leads anew has another log, which may be shorter. Commits behind a shut
        // gate count as still, too: an entry appended right before the gate shut gets no second
        // step when it opens.
        let moved = service.committed >= mark_seq || service.appended < mark_seq;
        if moved && *service != Service::SHUT {
            self.mark_seq.store(service.appended, Ordering::Relaxed);
            self.mark_ms.store(now_ms, Ordering::Relaxed);
        }
        self.mark_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_MAX: Millis = 550;
    const ALONE: Service = Service { until_ms: Millis::MAX, appended: 0, committed: 0 };

    fn tenured(until_ms: Millis) -> Service {
        Service { until_ms, ..ALONE }
    }

    fn left_out(stalled_ms: Millis, unheard_ms: Millis) -> LeftOut {
        LeftOut { stalled_ms, unheard_ms }
    }

    #[test]
    fn clock_that_ticks_runs_like_any_other() {
        let clock = TtlClock::new(1_000_000, STEP_MAX);
        assert_eq!((clock.at(1_000_000), clock.running(1_000_000)), (1, None), "nobody has said that it may run");
        for step in 0..100 {
            assert_eq!(clock.tick(1_000_000 + step * 50, &ALONE), LeftOut::default());
            assert_eq!(clock.at(1_000_000 + step * 50 + 20), step * 50 + 21);
            assert_eq!(clock.running(1_000_000 + step * 50 + 20), Some(step * 50 + 21));
        }
    }

    #[test]
    fn stall_beyond_the_step_is_left_out() {
        let clock = TtlClock::new(0, STEP_MAX);
        clock.tick(0, &ALONE);
        assert_eq!(clock.tick(550, &ALONE), LeftOut::default(), "a tick may come this late");
        assert_eq!((clock.at(60_000), clock.running(60_000)), (1101, None), "it stands still until its owner ticks");
        assert_eq!(clock.tick(60_000, &ALONE), left_out(60_000 - 1100, 0));
        assert_eq!(clock.running(60_000), Some(1101));
        assert_eq!(clock.at(60_050), 1151);
    }

    #[test]
    fn where_ttls_are_short_a_stall_counts_for_less() {
        let clock = TtlClock::new(0, STEP_MAX);
        clock.limit_step(200);
        clock.tick(0, &ALONE);
        assert_eq!((clock.at(199), clock.at(540)), (200, 201));
        assert_eq!(clock.tick(540, &ALONE), left_out(340, 0));
    }

    #[test]
    fn commits_that_stood_still_behind_a_shut_gate_get_no_second_step() {
        let clock = TtlClock::new(0, STEP_MAX);
        clock.tick(0, &ALONE);
        let stuck = Service { appended: ALONE.committed + 1, ..ALONE };
        // The gate shuts before a tick has seen the entry that is never committed.
        clock.tick(50, &Service { until_ms: 0, ..stuck });
        clock.tick(50 + STEP_MAX, &Service { until_ms: 0, ..stuck });
        let before = clock.at(50 + STEP_MAX);
        clock.tick(60 + STEP_MAX, &stuck);
        assert_eq!((clock.at(60 + 2 * STEP_MAX), clock.running(61 + STEP_MAX)), (before, None));
    }

    #[test]
    fn shut_gate_stops_it_at_once_and_all_that_time_is_left_out() {
        let clock = TtlClock::new(0, STEP_MAX);
        clock.tick(0, &ALONE);
        clock.tick(50, &Service::SHUT);
        assert_eq!((clock.at(99), clock.running(99)), (51, None));
        for step in 2..100 {
            assert_eq!(clock.tick(step * 50, &Service::SHUT), left_out(0, 50));
        }
        assert_eq!(clock.tick(5000, &ALONE), left_out(0, 50));
        assert_eq!((clock.running(5000), clock.at(5001)), (Some(51), 52));
    }

    #[test]
    fn it_runs_no_further_than_the_tenure_and_goes_on_with_the_next_one() {
        let clock = TtlClock::new(0, STEP_MAX);
        clock.tick(0, &tenured(130));
        assert_eq!(clock.tick(50, &tenured(130)), LeftOut::default());
        assert_eq!(clock.tick(100, &tenured(130)), LeftOut::default());
        assert_eq!((clock.running(129), clock.running(130), clock.at(149)), (Some(130), None, 131));
        assert_eq!(clock.tick(150, &tenured(130)), left_out(0, 20));
        assert_eq!(clock.tick(20_000, &tenured(130)), left_out(20_000 - 150 - STEP_MAX, STEP_MAX), "both");
        assert_eq!(clock.tick(20_050, &tenured(20_400)), left_out(0, 50));
        assert_eq!(clock.at(20_060), 131 + 10);
    }

    #[test]
    fn commits_that_stand_still_stop_it_after_a_step() {
        let clock = TtlClock::new(0, STEP_MAX);
        let stuck = Service { until_ms: Millis::MAX, appended: 9, committed: 4 };
        for step in 0..100 {
            clock.tick(step * 50, &stuck);
        }
        let stood = clock.at(5000);
        clock.tick(5000, &Service::SHUT);
        clock.tick(5000, &stuck);
        assert_eq!(clock.running(5000), None, "a gate that was shut meanwhile moves no commits");
        assert_eq!((stood, clock.running(5000)), (1 + STEP_MAX, None));
        let moves = |appended, committed| Service { until_ms: Millis::MAX, appended, committed };
        clock.tick(5000, &moves(20, 9));
        assert_eq!(clock.at(5050), stood + 50, "what was there is committed, and more has come");
        for step in 1..100 {
            clock.tick(5000 + step * 50, &moves(20 + step, 15 + step));
        }
        assert_eq!(clock.at(9950), stood + 4950, "commits lag, and move");
    }

    #[test]
    fn shorter_log_of_a_new_life_does_not_count_as_stuck() {
        let clock = TtlClock::new(0, STEP_MAX);
        let long = Service { until_ms: Millis::MAX, appended: 1000, committed: 900 };
        let short = Service { until_ms: Millis::MAX, appended: 3, committed: 2 };
        clock.tick(0, &long);
        for step in 1..100 {
            let service = Service { appended: 3 + step, committed: 2 + step, ..short };
            assert_eq!(clock.tick(step * 50, &service), LeftOut::default());
        }
    }

    #[test]
    fn time_never_goes_back_nor_faster_whatever_the_owner_says() {
        let clock = TtlClock::new(7, 100);
        let (mut now_ms, mut before_ms, mut random) = (7, 0, 1_u64);
        let (mut appended, mut committed, mut left_out_ms) = (0, 0, 0);
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = |shift: u32, of: u64| (random >> shift) % of;
            now_ms += draw(33, 300);
            appended += draw(40, 3);
            committed += draw(45, appended - committed + 1);
            if draw(63, 2) == 0 {
                let until_ms = [0, now_ms + draw(20, 400), now_ms.saturating_sub(5), Millis::MAX][draw(50, 4) as usize];
                let left_out = clock.tick(now_ms, &Service { until_ms, appended, committed });
                left_out_ms += left_out.stalled_ms + left_out.unheard_ms;
                assert_eq!(clock.at(now_ms), now_ms - 6 - left_out_ms, "what is not left out counts");
            }
            let read_ms = clock.at(now_ms);
            assert!(read_ms >= before_ms && read_ms <= now_ms, "{before_ms}, then {read_ms} at {now_ms}");
            before_ms = read_ms;
        }
    }
}
