//! What was acknowledged is in the log, and so in the state, of every later primary, and every
//! later read sees it.
//!
//! Only the newest acknowledged entry is kept: it stands for all before it.

use election::Incarnation;
use oplog::Position;

use super::violated;
use crate::history::History;

#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    newest: Position,
}

impl Acknowledged {
    /// `end`: of the log of the member that answers. `at`: what its answer rests on.
    pub(crate) fn acknowledge(&mut self, history: &History, who: Incarnation, end: Position, at: Position) {
        self.check(history, who, end, "answers");
        // An answer that rests on something older says nothing of later entries.
        self.newest = self.newest.max(at);
    }

    /// A standby answers what it has applied, which counts as acknowledged from here on.
    pub(crate) fn told_by_standby(&mut self, history: &History, who: Incarnation, applied: Position) {
        let (older, newer) =
            if applied.seq < self.newest.seq { (applied, self.newest) } else { (self.newest, applied) };
        if !history.contains(newer, older) {
            violated!("{who:?} answers as a standby with {applied}, and {} was acknowledged", self.newest);
        }
        self.newest = newer;
    }

    pub(crate) fn leads(&self, history: &History, who: Incarnation, end: Position) {
        self.check(history, who, end, "leads");
    }

    fn check(&self, history: &History, who: Incarnation, end: Position, does: &str) {
        if !history.contains(end, self.newest) {
            violated!("{who:?} {does} with a log up to {end}, without {}, which was acknowledged", self.newest);
        }
    }
}
