//! A cluster is founded once: not again beside members that hold what the first one acknowledged.

use election::ConfigRecord;

use super::violated;

pub(crate) fn check(newest: &ConfigRecord, to: &ConfigRecord) {
    let is_first = to.epoch == 1 && to.version == 1;
    if is_first || to.cluster_id != newest.cluster_id {
        violated!("{to:?} was founded, and {newest:?} is what its members hold");
    }
}
