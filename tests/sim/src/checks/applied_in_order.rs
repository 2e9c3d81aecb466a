//! No entry is applied twice, none is left out, and none is of another history than the log's.

use election::Incarnation;
use oplog::Position;
use standby::StandbyError;

use super::violated;
use crate::history::History;

pub(crate) fn check(history: &History, who: Incarnation, before: Position, at: Position) {
    if at.seq != before.seq + 1 || !history.contains(at, before) {
        violated!("{who:?} applied {at} after {before}");
    }
}

pub(crate) fn misfit(who: Incarnation, error: &StandbyError) -> ! {
    violated!("{who:?}: an entry does not fit a state that was not changed otherwise: {error}")
}
