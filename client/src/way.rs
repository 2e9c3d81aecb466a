//! Where the primary is thought to be: which member is asked, which history its answers must belong
//! to, and the highest epoch of it that was seen. Pure.
//!
//! ```text
//!   an answer ──► of this history ─────────────────────────► it counts, unless its epoch was over
//!      └────────► of another one ──► some were not asked ──► it does not count
//!                                └─► none is of this one ──► the client changes to that history
//! ```
//!
//! Epochs compare within one history only. A cluster that is founded anew counts from 1 again, and
//! a cluster that begins anew on a coordinator that was rolled back counts from what that shows.
//! Without the history's id, a client that has seen a higher epoch would take all members for
//! deposed ones.
//!
//! Invariants: the epoch of a history never goes back; the client changes to another history only
//! after every address that it has was asked since that history was first seen, and none answered
//! with its own.
//!
//! The simulator's clients use this without histories. [`Way::meets`] is tested by the tests beside
//! this file, and by those of `cli/tests/failover` whose clusters are founded anew or begin
//! anew.
//!
//! Deliberately absent: connections, and what was lost with the previous history.

use std::collections::BTreeSet;

use proto::v1::CallError;

use crate::ids::HistoryId;
use crate::route::{Redirect, Route, Target};

/// Where the primary is thought to be, for all calls of a client.
#[derive(Clone, Debug)]
pub struct Way {
    pub(crate) route: Route,
    history: Option<HistoryId>,
    epoch_seen: u64,
    /// Another history was seen, and no member has answered with the client's own since.
    other: Option<Other>,
}

#[derive(Clone, Debug)]
struct Other {
    history: HistoryId,
    /// Addresses that were asked since then.
    asked: BTreeSet<String>,
}

impl Way {
    /// Asks these addresses.
    pub fn new(addresses: Vec<String>) -> Way {
        Way { route: Route::new(addresses), history: None, epoch_seen: 0, other: None }
    }

    /// The member to ask now.
    pub fn target(&self) -> Target {
        self.route.target()
    }

    /// The history whose answers count, once a member has said which it is.
    pub fn history(&self) -> Option<HistoryId> {
        self.history
    }

    /// The highest epoch of this history.
    pub fn epoch_seen(&self) -> u64 {
        self.epoch_seen
    }

    /// An answer, a redirect or a directory has named this epoch.
    pub fn saw_epoch(&mut self, epoch: u64) {
        self.epoch_seen = self.epoch_seen.max(epoch);
    }

    /// A member has answered, and says its history, if it knows it. An error says why its answer
    /// does not count.
    pub fn meets(&mut self, address: &str, history: Option<HistoryId>) -> Result<(), String> {
        let Some(met) = history else { return Ok(()) };
        if self.history.is_none() {
            // Epochs that were seen before may belong to another history.
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

    /// An error without a history says nothing about epochs of the client's own: only the address
    /// that it names counts.
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

    /// The target of this turn does not serve. True: pause before the next one.
    pub fn on_failure(&mut self, turn: u64) -> bool {
        self.asked_now(turn);
        self.route.on_failure(turn);
        // This counts for late failures, too. Otherwise each of many calls would try a member that
        // is down once more.
        self.route.round_is_over()
    }

    /// The target names another member. True: pause before asking it.
    pub fn on_redirect(&mut self, turn: u64, error: &CallError) -> (Redirect, bool) {
        // It does not answer for the client's own history, or `meets` has seen it.
        self.asked_now(turn);
        let redirect = self.route.on_redirect(turn, &error.primary_address, error.epoch, self.epoch_seen);
        self.saw_epoch(error.epoch);
        (redirect, self.route.round_is_over())
    }

    /// A directory announces this member. True: it is asked next. This is a hint: its answers count
    /// like any others.
    pub fn on_announced(&mut self, address: &str) -> bool {
        self.route.on_announced(address)
    }

    /// It is certainly another history.
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
