//! What of the log goes into a standby's state, and what is compared on the way.
//!
//! Invariants: nothing is applied that is not committed; nothing is applied any more once an entry
//! did not fit; digests that the log carries are compared with the state's own right after their
//! entry, while the state stands exactly there.
//!
//! Deliberately absent: who else may touch the state meanwhile. Rule of the shell: a task that
//! applies, or repairs, holds the turn of its member.

use oplog::{Digests, DomainId, Entry, OP_DIGEST, Verifiable};
use verification::{Condition, Event};

use crate::member::Member;

/// The own digests and the primary's, at the same seq.
#[derive(Clone, Debug)]
pub struct Compared {
    pub ours: Digests,
    pub event: Event,
}

/// After `entry` was applied to `state`, and nothing else. `None`: it brings no digests. An error:
/// what it brings is none.
pub fn compare<S: Verifiable>(state: &S, entry: &Entry) -> Option<Result<Compared, oplog::DecodeError>> {
    if entry.domain != DomainId::ENGINE || entry.op_type != OP_DIGEST {
        return None;
    }
    let theirs = match Digests::decode(entry.position(), &entry.payload, state.shards() as usize) {
        Ok(theirs) => theirs,
        Err(error) => return Some(Err(error)),
    };
    let ours = state.digests();
    let event = Event::Compared { at: ours.at, difference: ours.difference(&theirs) };
    Some(Ok(Compared { ours, event }))
}

impl Member {
    /// Asked before each step.
    pub fn may_apply(&self) -> bool {
        self.verifier.condition() != Condition::Lost
    }
}
