//! A standby that differs from its primary knows it once it has come to the next digests in the
//! log. A standby that does not differ raises no alarm.

use election::Incarnation;
use oplog::{Difference, Position};

use super::violated;

pub(crate) fn check(who: Incarnation, at: Position, is_sound: bool) {
    if is_sound {
        violated!("{who:?} has compared itself at {at}, differs, and believes that it is sound");
    }
}

pub(crate) fn no_false_alarm(who: Incarnation, at: Position, difference: &Difference) {
    if !difference.is_empty() {
        violated!("{who:?} has compared itself at {at}, is the same as its primary, and finds {difference:?}");
    }
}
