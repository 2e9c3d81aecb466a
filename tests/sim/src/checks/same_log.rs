//! A log is a part of one history: a member that holds an entry holds all that its writer had
//! before it.

use election::Incarnation;
use oplog::Tail;

use super::violated;
use crate::history::History;

pub(crate) fn check(history: &History, who: Incarnation, tail: &Tail) {
    let ends = tail.history();
    if let Some(stray) = history.stray(&ends) {
        violated!("{who:?} holds {stray} in a log that ends with {:?}", ends.last());
    }
}
