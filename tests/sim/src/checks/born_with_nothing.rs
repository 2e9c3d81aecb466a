//! Who begins a cluster's life anew, since all who held anything are lost, begins it with nothing;
//! every later primary's log begins there. What a member held before would be stale: objects whose
//! memory is somebody else's by now.

use std::collections::BTreeMap;

use election::Incarnation;
use oplog::Position;

use super::violated;
use crate::history::History;

#[derive(Debug, Default)]
pub(crate) struct Births {
    /// By epoch: the one that its life began with.
    born: BTreeMap<u64, u64>,
    /// Of those that somebody has led in: the newest.
    life: u64,
}

impl Births {
    /// The record says so.
    pub(crate) fn begins(&mut self, epoch: u64, born: u64) {
        self.born.insert(epoch, born);
    }

    /// The first leader of its life; of the first life there was nothing before.
    pub(crate) fn is_new_life(&mut self, epoch: u64) -> bool {
        let born = self.born[&epoch];
        let is_new = born > self.life.max(1);
        self.life = self.life.max(born);
        is_new
    }

    /// `begins_after`: the end of the log that it leads with.
    pub(crate) fn leads(&self, history: &History, who: Incarnation, epoch: u64, begins_after: Position) {
        let born = self.born[&epoch];
        let is_empty = begins_after == Position::default();
        // Not always that one: who began it may have lost its place before it had written anything.
        let is_older = history.epoch_at(begins_after, 1).is_none_or(|first| first < born);
        if !is_empty && (epoch == born || is_older) {
            violated!(
                "{who:?} leads {epoch}, of a life that began with nothing in {born}, with a log up to {begins_after}"
            );
        }
    }
}
