//! Where the primary of one's cluster is thought to be: which member is asked, which cluster is meant, and what is the highest epoch
//! that was seen of it. Pure.
//!
//! ```text
//!   an answer ──► of this cluster ──────────────────────────────────► it counts, unless its epoch was over
//!      └────────► of another one ──► a member of ours may still live ──► it does not count
//!                                └─► all were asked, and none is of ours ──► that is our cluster now
//! ```
//!
//! Epochs compare within one cluster. A cluster that is founded anew counts from 1 again, so without its id a client that has seen a
//! higher epoch would take all of its members for deposed ones.
//!
//! Invariants: the epoch of a cluster never goes back; the client turns to another cluster only after every address that it has was
//! asked since that one was met, and none spoke for its own.
//!
//! Deliberately absent: connections, and what a cluster that was founded anew has lost. It is empty, and says so.

use std::collections::BTreeSet;

use proto::v1::CallError;

use crate::ids::ClusterId;
use crate::route::{Redirect, Route, Target};

/// Where the primary is thought to be: of all calls of a client.
#[derive(Clone, Debug)]
pub struct Way {
    pub(crate) route: Route,
    cluster: Option<ClusterId>,
    epoch_seen: u64,
    /// Another cluster was met, and the client's own has not answered since.
    other: Option<Other>,
}

#[derive(Clone, Debug)]
struct Other {
    cluster: ClusterId,
    /// Addresses that were asked since then.
    asked: BTreeSet<String>,
}

impl Way {
    /// By these addresses.
    pub fn new(addresses: Vec<String>) -> Way {
        Way { route: Route::new(addresses), cluster: None, epoch_seen: 0, other: None }
    }

    /// Whom to ask now.
    pub fn target(&self) -> Target {
        self.route.target()
    }

    /// The cluster that answers count of, once one has said which it is.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The highest one of this cluster.
    pub fn epoch_seen(&self) -> u64 {
        self.epoch_seen
    }

    /// An answer, a redirect or a directory has named it.
    pub fn saw_epoch(&mut self, epoch: u64) {
        self.epoch_seen = self.epoch_seen.max(epoch);
    }

    /// A member has answered, and says of which cluster it is, if it knows. An error says why its answer does not count.
    pub fn meets(&mut self, target: &Target, cluster: Option<ClusterId>) -> Result<(), String> {
        let Some(met) = cluster else { return Ok(()) };
        let own = *self.cluster.get_or_insert(met);
        if own == met {
            self.other = None;
            return Ok(());
        }
        self.other.get_or_insert_with(|| Other { cluster: met, asked: BTreeSet::new() }).cluster = met;
        self.asked(&target.address);
        if self.turns_to_other() {
            return Ok(());
        }
        Err(format!("it is a member of cluster {met}, and this client's is {own}"))
    }

    /// The target of this turn serves.
    pub fn on_answer(&mut self, turn: u64) {
        self.route.on_answer(turn);
    }

    /// It does not. True: time to pause before the next one.
    pub fn on_failure(&mut self, turn: u64) -> bool {
        if turn == self.route.target().turn {
            self.asked(&self.route.target().address);
        }
        self.route.on_failure(turn);
        // Also for those that come late: else each of many calls would try a member that is down once more.
        self.route.round_is_over()
    }

    /// It names another one. True: time to pause before going there.
    pub fn on_redirect(&mut self, turn: u64, error: &CallError) -> (Redirect, bool) {
        let redirect = self.route.on_redirect(turn, &error.primary_address, error.epoch, self.epoch_seen);
        self.saw_epoch(error.epoch);
        (redirect, self.route.round_is_over())
    }

    /// A directory names it. True: it is asked next. One of another cluster is asked, too: what it answers counts by [`Way::meets`].
    pub fn on_announced(&mut self, address: &str, cluster: Option<ClusterId>, epoch: u64) -> bool {
        if self.is_other(cluster) {
            return self.route.on_announced(address, epoch, 0);
        }
        let followed = self.route.on_announced(address, epoch, self.epoch_seen);
        self.saw_epoch(epoch);
        followed
    }

    /// Certainly another one.
    pub(crate) fn is_other(&self, cluster: Option<ClusterId>) -> bool {
        matches!((self.cluster, cluster), (Some(own), Some(said)) if own != said)
    }

    fn asked(&mut self, address: &str) {
        if let Some(other) = &mut self.other {
            other.asked.insert(address.to_owned());
        }
    }

    fn turns_to_other(&mut self) -> bool {
        let is_asked = |other: &Other| self.route.addresses().all(|address| other.asked.contains(address));
        match self.other.take_if(|other| is_asked(other)) {
            Some(Other { cluster, .. }) => {
                (self.cluster, self.epoch_seen) = (Some(cluster), 0);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
#[path = "way_test.rs"]
mod tests;
