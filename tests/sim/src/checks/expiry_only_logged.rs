//! The primary decides and logs expiry, eviction and all else that happens by itself: a standby's
//! state does not change by its own clock.

use election::Incarnation;
use metadata::{Metadata, Now};
use oplog::ReplicatedState as _;

use super::violated;

/// A standby runs what every member runs now and then.
pub(crate) fn check(who: Incarnation, state: &Metadata, now: Now) {
    let before = state.digest();
    let steps = state.step(now);
    let after = state.digest();
    if before != after || steps.is_ok() {
        violated!(
            "{who:?} is a standby, and by itself did {steps:?}: {} {} before, {} {} after",
            before.0,
            before.1,
            after.0,
            after.1
        );
    }
}
