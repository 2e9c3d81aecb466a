//! From the log into the state: committed entries, in order, each once.
//!
//! Right after an entry was applied it is shown to the caller, while the state is exactly at its
//! position: digests in the log are compared at that moment.
//!
//! Invariant: nothing is applied that is not committed. So a standby that lost its primary can drop
//! whatever the next primary does not hold.

use oplog::{Entry, ReplicatedState, Tail};

use crate::error::StandbyError;

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    pub seq: u64,
    pub entries: usize,
}

/// One step: applies at most `entries_max` committed entries, and none after `upto`. An entry may
/// hold hundreds of items.
pub fn apply_committed<S: ReplicatedState>(
    state: &S,
    tail: &Tail,
    entries_max: usize,
    upto: u64,
    mut on_applied: impl FnMut(&Entry),
) -> Result<Applied, StandbyError> {
    let from = state.applied().seq;
    let upto = tail.committed().get().min(upto);
    let count = upto.saturating_sub(from).min(entries_max as u64) as usize;
    let frames = match count {
        0 => Vec::new(),
        _ => tail.entries_since(from, count, usize::MAX).map_err(|why| StandbyError::Fork { seq: from, why })?,
    };
    for frame in &frames {
        let entry = frame.decode()?;
        state.apply(&entry).map_err(|why| StandbyError::Apply { at: entry.position(), why })?;
        on_applied(&entry);
    }
    if !frames.is_empty() {
        tail.set_floor(Some(from + frames.len() as u64 + 1));
    }
    Ok(Applied { seq: from + frames.len() as u64, entries: frames.len() })
}
