//! Calls that may take longer than a millisecond: on threads of their own, so many at a time.
//!
//! Invariant: a call holds its place for no longer than its caller waits for it, or than its pattern may take, and a bounded step
//! more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metadata::{Going, Pace};
use proto::status;
use proto::v1::CallError;
use proto::v1::session_request::Call;

use crate::background::Piecework;
use crate::clock::monotonic_ns;
use crate::grpc::caller::From;
use crate::grpc::dispatch;
use crate::grpc::framing::Inbound;
use crate::grpc::reply::Reply;
use crate::metrics::Taken;
use crate::node::Node;

const RETRY_AFTER_MS: u32 = 100;

/// The caller's side of a call: when this is dropped, the call ends.
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
    /// For a call that is over before anyone could leave.
    pub(crate) const SURELY: Waited = Waited(None);

    fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|gone| gone.load(Ordering::Relaxed))
    }
}

/// What a call may spend on its pattern, for as long as its caller waits.
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

/// For a call that has none: it ends with its caller only.
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

/// Takes a place now; the call runs when the result is called, and keeps place and memory until it is done.
pub(crate) fn job(
    node: &Arc<Node>,
    from: From,
    call: Call,
    taken: Taken,
    inbound: Inbound,
    waited: Waited,
) -> Result<impl FnOnce() -> Result<Reply, CallError> + Send + 'static, CallError> {
    let place = Arc::clone(&node.long_calls).try_acquire_owned().map_err(|_| {
        let error = status::overloaded_at("long_calls_max", node.config.serving.long_calls_max, RETRY_AFTER_MS);
        node.requests.refused(taken, &error);
        error
    })?;
    let node = Arc::clone(node);
    Ok(move || {
        let _kept = (place, inbound);
        dispatch::run(&node, from, &call, taken, &waited)
    })
}
