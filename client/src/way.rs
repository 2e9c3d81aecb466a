//! Where the primary is thought to be: which member is asked, which history its answers must be of,
//! and the highest epoch that was seen of it. Pure.
//!
//! ```text
//!   an answer ──► of this history ──────────────────────────────────► it counts, unless its epoch was over
//!      └────────► of another one ──► a member of ours may still live ──► it does not count
//!                                └─► all were asked, and none is of ours ──► that is our history now
//! ```
//!
//! Epochs compare within one history. A cluster that is founded anew counts from 1 again, and one
//! that begins anew with nothing on a coordinator that was rolled back counts from what that shows.
//! Without the history's id a client that has seen a higher epoch would take all members for
//! deposed ones.
//!
//! Invariants: the epoch of a history never goes back; the client turns to another history only
//! after every address that it has was asked since that one was met, and none spoke for its own.
//!
//! The simulator's clients keep this way, and are told no history: what [`Way::meets`] does is
//! shown by the tests beside this file, and by those of `master/tests/failover` whose clusters are
//! founded anew or begin anew.
//!
//! Deliberately absent: connections, and what was lost with the history before. A new one is empty,
//! and says so.

use std::collections::BTreeSet;

use proto::v1::CallError;

use crate::ids::HistoryId;
use crate::route::{Redirect, Route, Target};

/// Where the primary is thought to be: of all calls of a client.
#[derive(Clone, Debug)]
pub struct Way {
    pub(crate) route: Route,
    history: Option<HistoryId>,
    epoch_seen: u64,
    /// Another history was met, and the client's own has not answered since.
    other: Option<Other>,
}

#[derive(Clone, Debug)]
struct Other {
    history: HistoryId,
    /// Addresses that were asked since then.
    asked: BTreeSet<String>,
}

impl Way {
    /// By these addresses.
    pub fn new(addresses: Vec<String>) -> Way {
        Way { route: Route::new(addresses), history: None, epoch_seen: 0, other: None }
    }

    /// Whom to ask now.
    pub fn target(&self) -> Target {
        self.route.target()
    }

    /// The one that answers count of, once a member has said which it is.
    pub fn history(&self) -> Option<HistoryId> {
        self.history
    }

    /// The highest one of this history.
    pub fn epoch_seen(&self) -> u64 {
        self.epoch_seen
    }

    /// An answer, a redirect or a directory has named it.
    pub fn saw_epoch(&mut self, epoch: u64) {
        self.epoch_seen = self.epoch_seen.max(epoch);
    }

    /// A member has answered, and says of which history it is, if it knows. An error says why its
    /// answer does not count.
    pub fn meets(&mut self, address: &str, history: Option<HistoryId>) -> Result<(), String> {
        let Some(met) = history else { return Ok(()) };
        if self.history.is_none() {
            // What was seen before it was known may have been of another one.
            (self.history, self.epoch_seen) = (Some(met), 0);
        }
        let own = self.history.unwrap_or(met);
        if own == met {
            self.other = None;
            return Ok(());
        }
        self.other.get_or_insert_with(|| Other { history: met, asked: BTreeSet::new() }).history = met;
        self.asked(address);
        if self.turns_to_other() {
            return Ok(());
        }
        Err(format!("it tells the history {met}, and this client's is {own}"))
    }

    /// An error that names no history tells no epoch of the client's own: it counts for where it
    /// points to alone.
    pub fn without_epoch(&self, history: Option<HistoryId>, error: CallError) -> CallError {
        match (self.history, history) {
            (Some(_), None) => CallError { epoch: self.epoch_seen, ..error },
            _ => error,
        }
    }

    /// The target of this turn serves.
    pub fn on_answer(&mut self, turn: u64) {
        self.route.on_answer(turn);
    }

    /// It does not. True: time to pause before the next one.
    pub fn on_failure(&mut self, turn: u64) -> bool {
        self.asked_now(turn);
        self.route.on_failure(turn);
        // Also for those that come late: else each of many calls would try a member that is down
        // once more.
        self.route.round_is_over()
    }

    /// It names another one. True: time to pause before going there.
    pub fn on_redirect(&mut self, turn: u64, error: &CallError) -> (Redirect, bool) {
        // It does not speak for the client's own history, or `meets` has heard it.
        self.asked_now(turn);
        let redirect = self.route.on_redirect(turn, &error.primary_address, error.epoch, self.epoch_seen);
        self.saw_epoch(error.epoch);
        (redirect, self.route.round_is_over())
    }

    /// A directory names it. True: it is asked next. That is a hint, and no more: what it answers
    /// counts or not by itself.
    pub fn on_announced(&mut self, address: &str) -> bool {
        self.route.on_announced(address)
    }

    /// Certainly another one.
    pub(crate) fn is_other(&self, history: Option<HistoryId>) -> bool {
        matches!((self.history, history), (Some(own), Some(said)) if own != said)
    }

    fn asked_now(&mut self, turn: u64) {
        let target = self.route.target();
        if turn == target.turn {
            self.asked(&target.address);
        }
    }

    fn asked(&mut self, address: &str) {
        if let Some(other) = &mut self.other {
            other.asked.insert(address.to_owned());
        }
    }

    fn turns_to_other(&mut self) -> bool {
        let is_asked = |other: &Other| self.route.addresses().all(|address| other.asked.contains(address));
        match self.other.take_if(|other| is_asked(other)) {
            Some(Other { history, .. }) => {
                (self.history, self.epoch_seen) = (Some(history), 0);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
#[path = "way_test.rs"]
mod tests;
