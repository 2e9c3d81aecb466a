//! A member that begins anew, because all that held anything are lost, begins with nothing, and
//! every later primary's log begins there. What it held before would be stale: objects whose memory
//! may belong to another object by now.

use std::collections::BTreeMap;

use election::Incarnation;
use oplog::Position;

use super::violated;
use crate::history::History;

#[derive(Debug, Default)]
pub(crate) struct Births {
    /// By epoch: the epoch in which its life of the cluster began.
    born: BTreeMap<u64, u64>,
    /// The newest life in which a member has led.
    life: u64,
}

impl Births {
    /// The record says that this epoch begins.
    pub(crate) fn begins(&mut self, epoch: u64, born: u64) {
        self.born.insert(epoch, born);
    }

    /// The first primary of its life. In the first life there was nothing before.
    pub(crate) fn is_new_life(&mut self, epoch: u64) -> bool {
        let born = self.born[&epoch];
        let is_new = born > self.life.max(1);
        self.life = self.life.max(born);
        is_new
    }

    /// `begins_after`: the end of the log with which it leads.
    pub(crate) fn leads(&self, history: &History, who: Incarnation, epoch: u64, begins_after: Position) {
        let born = self.born[&epoch];
        let is_empty = begins_after == Position::default();
        // Not always that epoch: the member that began it may have lost the lead before it had
        // written anything.
        let is_older = history.epoch_at(begins_after, 1).is_none_or(|first| first < born);
        if !is_empty && (epoch == born || is_older) {
            violated!(
                "{who:?} leads {epoch}, of a life that began with nothing in {born}, with a log up to {begins_after}"
            );
        }
    }
}
