//! Calls of clients, counted by method and result, and some of them timed.
//!
//! A call costs a counter or two, on a cache line of its own thread, and every [`TIMED_EVERY`]th
//! call reads the clock twice: about 20 ns in all. On some machines, reading a clock for each call
//! would cost six times as much.
//!
//! Invariants: a call is counted once, when its answer may go out or its refusal is made. A call
//! whose client is gone by then may never be counted.
//!
//! Deliberately absent: why single items of a batch were refused, and the calls of operators.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proto::status::REASONS;
use proto::v1::CallError;
use proto::v1::session_request::Call;

use crate::clock::monotonic_ns;

/// On each thread, one in this many calls of a method is timed, beginning with the first.
pub(crate) const TIMED_EVERY: u64 = 8;
/// Upper bounds of the times, in nanoseconds. One more bucket has what takes longer.
pub(crate) const BOUNDS_NS: [u64; 14] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
];
const BUCKETS: usize = BOUNDS_NS.len() + 1;
/// If there are more threads than this, some share a shard.
const SHARDS: usize = 16;

macro_rules! methods {
    ($($name:ident($request:ident) -> $answer:ident($message:ident), $method:ident,
       mutates: $mutates:literal, work: $work:tt, standby: $standby:literal;)+) => {
        /// The method of a call.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub(crate) enum Method {
            $($name,)+
            /// A session was opened.
            Session,
            /// A request whose method cannot be read.
            #[default]
            Unknown,
        }

        impl Method {
            pub(crate) const ALL: &[Method] = &[$(Method::$name,)+ Method::Session, Method::Unknown];

            pub(crate) fn of(call: &Call) -> Method {
                match call {
                    $(Call::$name(_) => Method::$name,)+
                }
            }

            /// The name of the call in the contract.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Method::$name => stringify!($name),)+
                    Method::Session => "Session",
                    Method::Unknown => "unknown",
                }
            }
        }
    };
}

proto::for_each_call!(methods);

impl Method {
    /// Too slow for the fast path.
    pub(crate) fn named(name: &str) -> Method {
        Method::ALL.iter().copied().find(|method| method.name() == name).unwrap_or_default()
    }

    fn is_bulk(self) -> bool {
        matches!(self, Method::ListKeys | Method::RemoveMatching | Method::RemoveAll)
    }
}

/// A running call, for its count and its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CallTimer {
    method: Method,
    /// 0: this call is not timed.
    began_ns: u64,
}

impl From<Method> for CallTimer {
    fn from(method: Method) -> CallTimer {
        CallTimer { method, began_ns: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Requests {
    shards: Box<[Shard]>,
}

/// The counts of one thread, or of a few.
#[repr(align(128))]
#[derive(Debug)]
struct Shard {
    methods: [Counts; Method::ALL.len()],
}

#[derive(Debug)]
struct Counts {
    /// Until one is timed. Only roughly right if threads share.
    untimed: AtomicU64,
    answered: AtomicU64,
    timed_ns: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    refused: [AtomicU64; REASONS.len()],
}

/// The counts of one method, over all threads.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Counted {
    pub(crate) method: Method,
    pub(crate) answered: u64,
    /// By the number of the reason.
    pub(crate) refused: [u64; REASONS.len()],
    pub(crate) timed_ns: u64,
    pub(crate) buckets: [u64; BUCKETS],
}

impl Requests {
    pub(crate) fn new() -> Requests {
        Requests { shards: (0..SHARDS).map(|_| Shard::new()).collect() }
    }

    /// Calls of all methods except those that are bulk work themselves.
    pub(crate) fn answered_but_bulk(&self) -> u64 {
        let counted = Method::ALL.iter().filter(|method| !method.is_bulk());
        let counts = counted.flat_map(|method| self.shards.iter().map(|shard| &shard.methods[*method as usize]));
        counts.map(|counts| counts.answered.load(Ordering::Relaxed)).sum()
    }

    /// The time counts from here.
    pub(crate) fn take(&self, call: &Call) -> CallTimer {
        let method = Method::of(call);
        let untimed = &self.counts(method).untimed;
        let left = untimed.load(Ordering::Relaxed);
        untimed.store(if left == 0 { TIMED_EVERY - 1 } else { left - 1 }, Ordering::Relaxed);
        CallTimer { method, began_ns: if left == 0 { monotonic_ns() } else { 0 } }
    }

    /// The call is over, with an answer or a refusal.
    pub(crate) fn count<T>(&self, taken: CallTimer, end: Result<T, CallError>) -> Result<T, CallError> {
        match &end {
            Ok(_) => self.answered(taken),
            Err(error) => self.refused(taken, error),
        }
        end
    }

    pub(crate) fn answered(&self, CallTimer { method, began_ns }: CallTimer) {
        let counts = self.counts(method);
        counts.answered.fetch_add(1, Ordering::Relaxed);
        if began_ns != 0 {
            let took_ns = monotonic_ns() - began_ns;
            let bucket = BOUNDS_NS.iter().position(|bound| took_ns <= *bound).unwrap_or(BOUNDS_NS.len());
            counts.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            counts.timed_ns.fetch_add(took_ns, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self, taken: impl Into<CallTimer>, error: &CallError) {
        // A reason that this version does not know counts as unspecified.
        let reason = usize::try_from(error.reason).ok().filter(|reason| *reason < REASONS.len()).unwrap_or(0);
        self.counts(taken.into().method).refused[reason].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self) -> Vec<Counted> {
        let sum = |get: &dyn Fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| get(s).load(Ordering::Relaxed)).sum();
        let of = |method: Method| Counted {
            method,
            answered: sum(&|shard| &shard.of(method).answered),
            refused: std::array::from_fn(|reason| sum(&|shard| &shard.of(method).refused[reason])),
            timed_ns: sum(&|shard| &shard.of(method).timed_ns),
            buckets: std::array::from_fn(|bucket| sum(&|shard| &shard.of(method).buckets[bucket])),
        };
        Method::ALL.iter().copied().map(of).collect()
    }

    fn counts(&self, method: Method) -> &Counts {
        self.shards[shard()].of(method)
    }
}

impl Shard {
    fn new() -> Shard {
        Shard { methods: std::array::from_fn(|_| Counts::new()) }
    }

    fn of(&self, method: Method) -> &Counts {
        &self.methods[method as usize]
    }
}

impl Counts {
    fn new() -> Counts {
        Counts {
            untimed: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            timed_ns: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The place of this thread, in the requests of any node.
fn shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}

#[cfg(test)]
#[path = "requests_test.rs"]
mod tests;
