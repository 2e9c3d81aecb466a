//! From a standby to a primary: the promotion commits all that the member holds, applies it, and
//! begins the epoch in the log.
//!
//! Invariants: a primary has applied all that it holds; the first entry of its epoch says so.
//!
//! Deliberately absent: any cost that grows with the number of objects; which member is promoted,
//! and when clients may call; where the random bytes of a secret come from.

use std::sync::Arc;

use oplog::{Appender, DomainId, Draft, OP_EPOCH_START, ReplicatedState, Secret, Tail};

use crate::applying::{Applied, apply_committed};
use crate::error::StandbyError;
use crate::standby::Standby;

#[derive(Debug)]
pub struct Promotion<S> {
    state: Arc<S>,
    tail: Arc<Tail>,
    log: Appender,
}

impl<S: ReplicatedState> Promotion<S> {
    pub fn new(standby: Standby<S>) -> Promotion<S> {
        let (state, mut tail, mut log) = standby.into_parts();
        let held = tail.last().seq;
        if tail.committed().closed().is_some() {
            // The member has led with this log before.
            (tail, log) = tail.forked(held, held).expect("the log holds its own end");
        }
        tail.committed().advance(held);
        Promotion { state, tail, log }
    }

    /// One step. If it applied no entries, it was the last one.
    pub fn apply(&self, entries_max: usize) -> Result<Applied, StandbyError> {
        apply_committed(&*self.state, &self.tail, entries_max, u64::MAX, |_| {})
    }

    /// After the last step. `drawn`, random and never used before, becomes the cluster's secret if
    /// the log begins here; otherwise it is ignored. An error: the state was lost meanwhile, in a
    /// repair that failed.
    pub fn begin(
        mut self,
        epoch: u64,
        timestamp_ms: u64,
        drawn: Secret,
    ) -> Result<(Arc<S>, Arc<Tail>, Appender), StandbyError> {
        assert_eq!(self.state.applied(), self.tail.last(), "whoever leads has applied all that it holds");
        self.tail.set_floor(None);
        self.log.begin_epoch(epoch);
        // No peer keeps old entries from making room.
        begin_epoch(&*self.state, &mut self.log, timestamp_ms, drawn)?;
        Ok((self.state, self.tail, self.log))
    }
}

/// Writes the first entry of an epoch into a log that has room for it, and applies it to the state,
/// which must be at the log's end.
pub fn begin_epoch<S: ReplicatedState>(
    state: &S,
    log: &mut Appender,
    timestamp_ms: u64,
    drawn: Secret,
) -> Result<(), StandbyError> {
    let (domain, op_type) = (DomainId::ENGINE, OP_EPOCH_START);
    let payload = &drawn.payload_behind(state.applied().seq);
    let draft = Draft { domain, op_type, timestamp_ms, request: None, key: b"", payload };
    let frame = log.reserve(payload.len()).expect("the log has room for an entry").append(&draft);
    let entry = frame.decode().expect("it was encoded here");
    state.apply(&entry).map_err(|why| StandbyError::Apply { at: entry.position(), why })
}
