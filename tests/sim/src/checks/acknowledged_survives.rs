//! What was acknowledged is in the log, and so in the state, of every later primary, and in what every later read sees.
//!
//! Of what was acknowledged only the newest entry is kept: it stands for all before it.

use election::Incarnation;
use oplog::Position;

use super::violated;
use crate::history::History;

#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    newest: Position,
}

impl Acknowledged {
    /// `end`: of the log of the member that answers; `at`: what its answer rests on.
    pub(crate) fn acknowledge(&mut self, history: &History, who: Incarnation, end: Position, at: Position) {
        self.check(history, who, end, "answers");
        // An answer that rests on something older says nothing of what came since.
        self.newest = self.newest.max(at);
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
