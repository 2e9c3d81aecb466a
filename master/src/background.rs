//! Bulk work beside the calls of clients: eviction, expiry, unmounts, lists, removals of many, the
//! scrub. It runs in small pieces, so that none delays a call for long. Many pieces in a row would,
//! so all of them together use at most a share of one CPU.
//!
//! Invariants:
//! - After a piece, a thread rests for as long as that piece, and those of other threads meanwhile,
//!   are worth.
//! - If no client has called for [`QUIET_NS`], no thread rests. Bulk calls do not count, since a
//!   list of all keys would slow itself down.
//!
//! Deliberately absent: order among the threads. Each rests on its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{monotonic_ns, thread_cpu_ns};
use crate::node::Node;

/// A shorter rest is postponed, since a timer is not as exact, and a piece may take only a few µs.
const REST_NS_MIN: u64 = 2_000_000;
/// The most rest that counts for later pieces: a thread wakes late, which should not slow anything
/// down.
const CREDIT_NS_MAX: u64 = 10_000_000;
/// After so long without a call of any client, bulk work need not share the CPU.
const QUIET_NS: u64 = 20_000_000;
/// The longest single rest. What is owed beyond it is added after the next piece.
const REST_NS_MAX: u64 = 50_000_000;

#[derive(Debug)]
pub(crate) struct Background {
    /// A share of one CPU.
    share: f64,
    /// What has been done so far is paid for by the time until then.
    paid_at_ns: AtomicU64,
    /// Calls that had been answered when a thread last asked whether to rest.
    calls: AtomicU64,
    /// When that number last changed.
    called_ns: AtomicU64,
}

impl Background {
    pub(crate) fn new(share: f64) -> Background {
        Background { share, paid_at_ns: AtomicU64::new(0), calls: AtomicU64::new(0), called_ns: AtomicU64::new(0) }
    }

    /// How long to rest after a piece that took this much of a CPU. `calls`: how many have been
    /// answered by now.
    fn rest_after(&self, spent_ns: u64, now_ns: u64, calls: impl FnOnce() -> u64) -> Duration {
        let worth_ns = (spent_ns as f64 / self.share) as u64;
        let pay = |paid_at_ns: u64| {
            Some(paid_at_ns.max(now_ns.saturating_sub(spent_ns + CREDIT_NS_MAX)).saturating_add(worth_ns))
        };
        let before = self.paid_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        let paid_at_ns = before.ok().and_then(pay).unwrap_or(now_ns);
        let rest_ns = paid_at_ns.saturating_sub(now_ns);
        if rest_ns < REST_NS_MIN {
            return Duration::ZERO;
        }
        let calls = calls();
        if self.calls.swap(calls, Ordering::Relaxed) != calls {
            self.called_ns.store(now_ns, Ordering::Relaxed);
        } else if now_ns > self.called_ns.load(Ordering::Relaxed) + QUIET_NS {
            self.paid_at_ns.store(now_ns, Ordering::Relaxed);
            return Duration::ZERO;
        }
        Duration::from_nanos(rest_ns.min(REST_NS_MAX))
    }
}

/// The pieces of one thread.
#[derive(Debug)]
pub(crate) struct Piecework<'a> {
    node: &'a Node,
    began_cpu_ns: u64,
}

impl<'a> Piecework<'a> {
    /// A piece begins, on this thread.
    pub(crate) fn begin(node: &'a Node) -> Piecework<'a> {
        Piecework { node, began_cpu_ns: thread_cpu_ns() }
    }

    /// It has ended, on the same thread. Returns how long to rest.
    pub(crate) fn end(self) -> Duration {
        let spent_ns = thread_cpu_ns().saturating_sub(self.began_cpu_ns);
        self.node.background.rest_after(spent_ns, monotonic_ns(), || self.node.requests.answered_but_bulk())
    }

    /// Ends one piece, rests, and begins the next, on a thread that may block.
    pub(crate) fn rest(&mut self) {
        let done = std::mem::replace(self, Piecework::begin(self.node));
        let rest = done.end();
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn all_together_take_no_more_than_the_share() {
        let background = Background::new(0.25);
        let (mut now_ns, mut spent_ns, mut calls) = (1000 * MS, 0, 0);
        let began_ns = now_ns;
        let mut resting: [u64; 2] = [now_ns; 2];
        while now_ns < began_ns + 1000 * MS {
            for wakes_ns in &mut resting {
                if *wakes_ns > now_ns {
                    continue;
                }
                // The worker has a CPU for itself.
                spent_ns += MS;
                calls += 1;
                *wakes_ns = now_ns + MS + background.rest_after(MS, now_ns + MS, || calls).as_nanos() as u64;
            }
            now_ns += MS / 10;
        }
        let share = spent_ns as f64 / (now_ns - began_ns) as f64;
        assert!((0.24..=0.27).contains(&share), "{share}");
    }

    #[test]
    fn small_pieces_are_rested_for_together() {
        let background = Background::new(0.5);
        let mut now_ns = 1000 * MS;
        let rests = (0..200).map(|calls| {
            now_ns += MS / 10;
            background.rest_after(MS / 10, now_ns, || calls)
        });
        let rests: Vec<Duration> = rests.collect();
        let first = rests.iter().position(|rest| !rest.is_zero()).expect("somebody rests");
        // The credit, and what is too short for a rest, at half a CPU.
        assert_eq!(first, 119, "{rests:?}");
        assert_eq!(rests[first], Duration::from_millis(2));
    }

    #[test]
    fn no_thread_rests_while_no_client_calls() {
        let background = Background::new(0.1);
        assert_eq!(background.rest_after(5 * MS, 1000 * MS, || 1), Duration::from_millis(35));
        // Another thread asks before the next call, and owes what both have done.
        assert_eq!(background.rest_after(MS, 1002 * MS, || 1), Duration::from_millis(43));
        assert_eq!(background.rest_after(5 * MS, 1040 * MS, || 1), Duration::ZERO);
        // Rest that was not taken then is not owed later.
        assert_eq!(background.rest_after(5 * MS, 1045 * MS, || 2), Duration::from_millis(45));
    }

    #[test]
    fn a_long_piece_is_rested_for_in_parts() {
        let background = Background::new(0.25);
        assert_eq!(background.rest_after(100 * MS, 1000 * MS, || 1), Duration::from_millis(50));
        assert_eq!(background.rest_after(0, 1050 * MS, || 2), Duration::from_millis(50));
        assert_eq!(background.rest_after(0, 1300 * MS, || 3), Duration::ZERO);
    }
}
