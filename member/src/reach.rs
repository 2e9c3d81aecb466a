//! How code that runs beside a member reaches it.
//!
//! A sequence (a stream, a repair, a change of roles) moves bytes without any lock, and reports
//! each step to the member. In `master` the member is behind a lock, and its actions are carried
//! out before the lock is given back. The simulator has one thread, and carries them out
//! afterwards.

use election::Millis;

use crate::member::Member;

pub trait Reach {
    /// Reports an event to the member, with the time.
    fn tell<R>(&mut self, happens: impl FnOnce(&mut Member, Millis) -> R) -> R;
}

/// Serves a caller that has the member already.
impl Reach for (&mut Member, Millis) {
    fn tell<R>(&mut self, happens: impl FnOnce(&mut Member, Millis) -> R) -> R {
        happens(self.0, self.1)
    }
}
