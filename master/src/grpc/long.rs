//! Calls that may take longer than a millisecond: on threads of their own, with a limit on their
//! number.
//!
//! Invariant: a call holds its place no longer than its caller waits for it, or than its pattern
//! may take, plus a bounded step. No caller has all places: see [`Places`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metadata::{Going, Pace};
use parking_lot::Mutex;
use proto::status;
use proto::v1::CallError;
use proto::v1::session_request::Call;

use crate::background::Piecework;
use crate::clock::monotonic_ns;
use crate::grpc::caller::From;
use crate::grpc::dispatch;
use crate::grpc::framing::Inbound;
use crate::grpc::outgoing::Shares;
use crate::grpc::reply::Reply;
use crate::metrics::CallTimer;
use crate::node::Node;

const RETRY_AFTER_MS: u32 = 100;

/// The caller's side of a call. When this is dropped, the call ends.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Arc<AtomicBool>);

/// Whether the caller still waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waited(Option<Arc<AtomicBool>>);

impl Waiting {
    pub(crate) fn waited(&self) -> Waited {
        Waited(Some(Arc::clone(&self.0)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Waited {
    /// For a call that is over before any caller could leave.
    pub(crate) const SURELY: Waited = Waited(None);

    fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|gone| gone.load(Ordering::Relaxed))
    }
}

/// How long a call may match its pattern, while its caller waits.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    waited: &'a Waited,
    pieces: Piecework<'a>,
    left_ns: u64,
    looked_ns: u64,
}

impl Patience<'_> {
    pub(crate) fn of<'a>(node: &'a Node, waited: &'a Waited) -> Patience<'a> {
        let left_ns = node.config.serving.pattern_ms_max.saturating_mul(1_000_000);
        Patience { waited, pieces: Piecework::begin(node), left_ns, looked_ns: monotonic_ns() }
    }
}

impl Pace for Patience<'_> {
    fn begin(&mut self) {
        self.looked_ns = monotonic_ns();
    }

    fn going(&mut self) -> Going {
        if self.waited.is_over() {
            return Going::CallerIsGone;
        }
        let now_ns = monotonic_ns();
        self.left_ns = self.left_ns.saturating_sub(now_ns.saturating_sub(self.looked_ns));
        self.looked_ns = now_ns;
        if self.left_ns == 0 { Going::TimeIsUp } else { Going::On }
    }

    fn pause(&mut self) {
        self.pieces.rest();
    }
}

/// For a call without a pattern: it ends only with its caller.
#[derive(Debug)]
pub(crate) struct NoPattern<'a> {
    waited: &'a Waited,
    pieces: Piecework<'a>,
}

impl NoPattern<'_> {
    pub(crate) fn of<'a>(node: &'a Node, waited: &'a Waited) -> NoPattern<'a> {
        NoPattern { waited, pieces: Piecework::begin(node) }
    }
}

impl Pace for NoPattern<'_> {
    fn begin(&mut self) {}

    fn going(&mut self) -> Going {
        if self.waited.is_over() { Going::CallerIsGone } else { Going::On }
    }

    fn pause(&mut self) {
        self.pieces.rest();
    }
}

/// The places for such calls, of all connections together. One connection may have half of them,
/// and one address three quarters, so that no caller keeps the others out.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    taken: Mutex<TakenPlaces>,
}

#[derive(Debug, Default)]
struct TakenPlaces {
    all: usize,
    of_address: BTreeMap<From, usize>,
}

/// Given back when this is dropped.
#[derive(Debug)]
struct Place {
    node: Arc<Node>,
    shares: Arc<Shares>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Places {
        Places { max, taken: Mutex::default() }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().all
    }

    /// An error says which limit is reached.
    fn take(&self, shares: &Shares) -> Result<(), String> {
        let of_connection_max = self.max.div_ceil(2);
        let of_address_max = self.max.saturating_sub(self.max.div_ceil(4)).max(1);
        let mut taken = self.taken.lock();
        let of_address = taken.of_address.get(&shares.from).copied().unwrap_or(0);
        let of_connection = shares.long_calls.load(Ordering::Relaxed);
        if taken.all >= self.max {
            return Err(format!("the limit of {} is reached", self.max));
        }
        if shares.from.is_some() && of_address >= of_address_max {
            return Err(format!(
                "{of_address_max} of {} are those of one address, and as many run from this one",
                self.max
            ));
        }
        if shares.from.is_some() && of_connection >= of_connection_max {
            return Err(format!("{of_connection_max} of {} are those of one connection, and as many run", self.max));
        }
        taken.all += 1;
        *taken.of_address.entry(shares.from).or_default() += 1;
        shares.long_calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, shares: &Shares) {
        let mut taken = self.taken.lock();
        taken.all -= 1;
        shares.long_calls.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut of_address) = taken.of_address.entry(shares.from) {
            *of_address.get_mut() -= 1;
            if *of_address.get() == 0 {
                of_address.remove();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.long_calls.give_back(&self.shares);
    }
}

/// Takes a place now. The call runs when the result is called, and keeps its place and its memory
/// until it is done.
pub(crate) fn job(
    node: &Arc<Node>,
    shares: &Arc<Shares>,
    call: Call,
    taken: CallTimer,
    inbound: Inbound,
    waited: Waited,
) -> Result<impl FnOnce() -> Result<Reply, CallError> + Send + 'static, CallError> {
    node.long_calls.take(shares).map_err(|why| {
        let error = status::overloaded_by(format_args!("long_calls_max: {why}"), RETRY_AFTER_MS);
        node.requests.refused(taken, &error);
        error
    })?;
    let place = Place { node: Arc::clone(node), shares: Arc::clone(shares) };
    let (node, from) = (Arc::clone(node), shares.from);
    Ok(move || {
        let _kept = (place, inbound);
        dispatch::run(&node, from, &call, taken, &waited)
    })
}
