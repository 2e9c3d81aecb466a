//! What a member that is about to end does before: it takes no place that it has not got yet, and
//! gives away the one that it has.
//!
//! ```text
//!   told that it ends ─► a claim is under way: waits for what becomes of it
//!                     ─► it leads: gives its place to the best heir; another one, where that one may be leaving
//!                     ─► it leads no more: done
//! ```
//!
//! Deliberately absent: for how long it tries (its caller bounds that), and names.

use election::{Event, Incarnation, Millis};

use crate::member::Member;
use crate::transfer::{NotTransferred, Transferred};

/// What is to be done before the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// To be asked again in a moment.
    Waits,
    /// The place is to be given to this member: [`Member::transfer`].
    Gives(Incarnation),
    /// This member leads no more, or has never led.
    Done,
    /// There is no other member: what this one holds ends with it.
    Alone,
    /// It could not give its place away.
    Fails(NotTransferred),
}

impl Member {
    /// `given`: what became of the transfer that was asked for last.
    pub fn leave(&mut self, given: Option<Result<Transferred, NotTransferred>>, now: Millis) -> Leaving {
        self.on(Event::Retire, now);
        if self.election.claims() {
            // Whether it comes to be is not known yet.
            return Leaving::Waits;
        }
        if self.leads().is_none() {
            return Leaving::Done;
        }
        match given {
            // A takeover is not seen yet; or another transfer was under way, and is over soon; or
            // an heir may be leaving.
            Some(
                Ok(_)
                | Err(
                    NotTransferred::NotPrimary
                    | NotTransferred::Busy
                    | NotTransferred::HeirLeaves
                    | NotTransferred::NobodyInSync,
                ),
            )
            | None => {}
            Some(Err(why)) => return Leaving::Fails(why),
        }
        match self.best_heir(now) {
            Some(heir) => Leaving::Gives(heir),
            None if self.peers.is_empty() => Leaving::Alone,
            // One is connected, and will be in sync. It is all there will be.
            None => Leaving::Waits,
        }
    }
}
