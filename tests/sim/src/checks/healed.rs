//! After the faults end, within a bounded time: there is one primary, every member is in its set,
//! every client is answered, and all states are the same, down to what is derived from them.

use election::Incarnation;
use metadata::Metadata;
use oplog::Verifiable as _;

use super::violated;

/// After the last fault.
pub(crate) const HEAL_MS_MAX: u64 = 20_000;

pub(crate) fn check_time(waited_ms: u64, describe: impl FnOnce() -> String) {
    if waited_ms >= HEAL_MS_MAX {
        violated!("not whole {waited_ms} ms after the last fault: {}", describe());
    }
}

pub(crate) fn check_same(primary: &Metadata, who: Incarnation, state: &Metadata) {
    let (ours, theirs) = (state.digests(), primary.digests());
    if ours != theirs {
        let difference = ours.difference(&theirs);
        violated!("{who:?} stands at {}, the primary at {}; they differ in {difference:?}", ours.at, theirs.at);
    }
    if let Err(what) = state.check() {
        violated!("{who:?}: {what}");
    }
}
