//! `purged ≤ applied ≤ received`, `committed ≤ received`; and a primary's log still has what a peer
//! of its set lacks.

use election::Incarnation;
use oplog::{Position, Tail};

use super::violated;

pub(crate) fn check(who: Incarnation, tail: &Tail, applied: Position) {
    let (stats, committed) = (tail.stats(), tail.committed().get());
    let purged = stats.first_seq - 1;
    if !(purged <= applied.seq && applied.seq <= stats.last.seq && committed <= stats.last.seq) {
        let received = stats.last;
        violated!("{who:?}: purged {purged}, applied {applied}, received {received}, committed {committed}");
    }
}

/// `peer` is in the set and has received this much.
pub(crate) fn check_kept(tail: &Tail, peer: Incarnation, received: u64) {
    let first = tail.first_seq();
    if first > received + 1 {
        violated!("{peer:?} is in the set and lacks what follows {received}, but the log begins at {first}");
    }
}
