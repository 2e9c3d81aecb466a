//! Only a member of the in-sync set is promoted. A member that begins with nothing says so.

use election::ConfigRecord;

use super::violated;

pub(crate) fn check(from: &ConfigRecord, to: &ConfigRecord) {
    if !to.insync.contains(&to.primary) {
        violated!("the primary is not in its own set: {to:?}");
    }
    let is_next = to.epoch == from.epoch + 1 && to.insync.len() == 1;
    let fits = match (to.epoch == from.epoch, to.primary == from.primary) {
        (true, same_primary) => same_primary && to.born == from.born,
        (false, _) if to.born == from.born => is_next && from.insync.contains(&to.primary),
        (false, _) => is_next && to.born == to.epoch,
    };
    if !fits {
        violated!("{from:?} became {to:?}");
    }
}
