//! Which entries go into a standby's state, and what is compared on the way.
//!
//! Invariants: nothing is applied that is not committed; nothing more is applied once an entry did
//! not fit; digests in the log are compared with the state's own right after their entry, while the
//! state is exactly at that position.
//!
//! Deliberately absent: what else may touch the state meanwhile. Rule of the shell: a task that
//! applies or repairs holds its member's turn.

use oplog::{Digests, DomainId, Entry, OP_DIGEST, Verifiable};
use verification::{Condition, Event};

use crate::member::Member;

/// This member's digests and the primary's, at the same seq.
#[derive(Clone, Debug)]
pub struct Compared {
    pub ours: Digests,
    pub event: Event,
}

/// Right after `entry` was applied to `state`, and nothing else. `None`: the entry has no digests.
/// An error: they cannot be decoded.
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
