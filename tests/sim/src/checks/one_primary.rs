//! In each epoch, one primary acknowledges, and one writes.

use std::collections::BTreeMap;

use election::Incarnation;

use super::violated;

#[derive(Debug, Default)]
pub(crate) struct OnePrimary {
    acted: BTreeMap<u64, Incarnation>,
}

impl OnePrimary {
    pub(crate) fn acts(&mut self, who: Incarnation, epoch: u64) {
        let first = *self.acted.entry(epoch).or_insert(who);
        if first != who {
            violated!("{first:?} and {who:?} acted as the primary of epoch {epoch}");
        }
    }

    pub(crate) fn begins(before: Option<Incarnation>, who: Incarnation, epoch: u64) {
        if let Some(before) = before {
            violated!("{before:?} and {who:?} have begun epoch {epoch}");
        }
    }
}
