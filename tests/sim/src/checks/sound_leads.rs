//! A member that is known not to be sound claims nothing, and enters no set.

use election::{ConfigRecord, Incarnation};

use super::violated;

pub(crate) fn claims(who: Incarnation, to: &ConfigRecord, is_sound: bool) {
    if to.primary == who && to.insync.len() == 1 && to.born != to.epoch && !is_sound {
        violated!("{who:?} claims epoch {} with a state that it knows to be wrong", to.epoch);
    }
}

/// A primary proposes a set. `unsound`: members whose last word to it was that they are not sound.
pub(crate) fn proposes(record: &ConfigRecord, to: &ConfigRecord, unsound: impl Fn(Incarnation) -> bool) {
    if let Some(who) = to.insync.difference(&record.insync).find(|who| unsound(**who)) {
        violated!("{who:?} is let into {to:?}, and has said that it is not sound");
    }
}
