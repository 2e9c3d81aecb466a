//! Epoch, committed and applied of a member never go back. Positions compare by epoch first: a
//! member that drops what was never committed has moved on to a later epoch.

use std::collections::BTreeMap;

use election::Incarnation;
use oplog::Position;

use super::violated;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    applied: Position,
    leads: u64,
    committed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Monotonic {
    seen: BTreeMap<Incarnation, Seen>,
}

impl Monotonic {
    /// It has dropped all that it held: it began an epoch with nothing.
    pub(crate) fn emptied(&mut self, who: Incarnation) {
        self.seen.entry(who).or_default().applied = Position::default();
    }

    /// `reign`: the epoch that it leads, and what is committed in it.
    pub(crate) fn check(&mut self, who: Incarnation, applied: Position, reign: Option<(u64, u64)>) {
        let seen = self.seen.entry(who).or_default();
        if applied < seen.applied {
            violated!("{who:?} had applied {}, now {applied}", seen.applied);
        }
        seen.applied = applied;
        let Some((epoch, committed)) = reign else { return };
        if epoch < seen.leads || (epoch == seen.leads && committed < seen.committed) {
            violated!("{who:?} led {} committed up to {}, now {epoch} up to {committed}", seen.leads, seen.committed);
        }
        (seen.leads, seen.committed) = (epoch, committed);
    }
}
