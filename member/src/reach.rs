//! How the sequences that run beside a member reach it.
//!
//! A sequence (a stream, a repair, a change of roles) moves bytes without any lock, and tells the
//! member of each step. In `master` the member stands behind a lock, and what it says is carried
//! out before the lock is given back; the simulator has one thread, and carries it out afterwards.

use election::Millis;

use crate::member::Member;

pub trait Reach {
    /// Something happens to the member, at the time that it is told.
    fn tell<R>(&mut self, happens: impl FnOnce(&mut Member, Millis) -> R) -> R;
}

/// For a carrier that holds its member already.
impl Reach for (&mut Member, Millis) {
    fn tell<R>(&mut self, happens: impl FnOnce(&mut Member, Millis) -> R) -> R {
        happens(self.0, self.1)
    }
}
