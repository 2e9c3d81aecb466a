//! Only a process that the coordinator has shown as a member is ever in the set.

use std::collections::BTreeSet;

use election::{ConfigRecord, Incarnation};

use super::violated;

pub(crate) fn check(listed: &BTreeSet<Incarnation>, to: &ConfigRecord) {
    if let Some(stranger) = to.insync.iter().find(|who| !listed.contains(who)) {
        violated!("{stranger:?} comes into the set and was never shown by the coordinator: {to:?}");
    }
}
