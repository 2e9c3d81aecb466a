//! Equal position ⇒ equal digest: however a state came to a position, it equals that of the primary
//! that wrote it.

use election::Incarnation;
use oplog::{Digest, Position};

use super::violated;
use crate::history::History;

pub(crate) fn is_equal(history: &History, at: Position, digest: impl FnOnce() -> Digest) -> bool {
    history.digest(at).is_none_or(|known| known == digest())
}

pub(crate) fn check(history: &History, who: Incarnation, at: Position, digest: impl FnOnce() -> Digest, how: &str) {
    if !is_equal(history, at, digest) {
        violated!("{who:?} stands at {at} {how}, with another state than the primary had there");
    }
}
