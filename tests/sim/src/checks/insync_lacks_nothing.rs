//! A member of the in-sync set lacks no acknowledged entry: it received each before it was
//! acknowledged.

use std::collections::BTreeMap;

use election::{ConfigRecord, Incarnation};
use oplog::Position;

use super::violated;
use crate::history::History;

/// Where the log of each living member ends.
#[derive(Debug, Default)]
pub(crate) struct LogEnds {
    ends: BTreeMap<Incarnation, Position>,
}

impl LogEnds {
    pub(crate) fn holds(&mut self, who: Incarnation, end: Position) {
        self.ends.insert(who, end);
    }

    pub(crate) fn gone(&mut self, who: Incarnation) {
        self.ends.remove(&who);
    }

    pub(crate) fn acknowledged(&self, history: &History, record: &ConfigRecord, at: Position) {
        for who in &record.insync {
            if let Some(end) = self.ends.get(who)
                && !history.contains(*end, at)
            {
                violated!("{who:?} is in the set and holds a log up to {end}, without {at}, which is acknowledged");
            }
        }
    }
}
