//! A standby that differs from its primary knows it as soon as it has come to the next digests in the log.

use election::Incarnation;
use oplog::Position;

use super::violated;

pub(crate) fn check(who: Incarnation, at: Position, is_sound: bool) {
    if is_sound {
        violated!("{who:?} has compared itself at {at}, differs, and believes to be sound");
    }
}
