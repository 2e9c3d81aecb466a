//! What a member does before it ends: it claims nothing more, and hands over if it is the primary.
//!
//! ```text
//!   told that it ends ─► a claim is pending: waits for its outcome
//!                     ─► it leads: hands over to the best heir, or the next one if that one may be leaving
//!                     ─► it does not lead: done
//! ```
//!
//! Deliberately absent: how long it tries (its caller limits that), and names.

use election::{Event, Incarnation, Millis};

use crate::member::Member;
use crate::transfer::{NotTransferred, Transferred};

/// What to do before the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// The caller must ask again in a moment.
    Waits,
    /// Hand over to this member: [`Member::transfer`].
    Gives(Incarnation),
    /// This member does not lead.
    Done,
    /// There is no other member: what this one holds ends with it.
    Alone,
    /// It could not hand over.
    Fails(NotTransferred),
}

impl Member {
    /// `given`: the result of the last transfer that was asked for.
    pub fn leave(&mut self, given: Option<Result<Transferred, NotTransferred>>, now: Millis) -> Leaving {
        self.on(Event::Retire, now);
        if self.election.claims() {
            // The outcome of the claim is not known yet.
            return Leaving::Waits;
        }
        if self.leads().is_none() {
            return Leaving::Done;
        }
        match given {
            // A takeover has not been seen yet; or another transfer was under way, which ends soon;
            // or an heir may be leaving.
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
            // A member is connected and will be in sync. No other one will come.
            None => Leaving::Waits,
        }
    }
}
