//! A primary accepts peers only once state and log of its epoch are in place.

use election::Incarnation;

use super::violated;

pub(crate) fn taken_too_early(who: Incarnation) -> ! {
    violated!("{who:?} accepts a peer, and does not lead")
}
