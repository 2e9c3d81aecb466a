//! What a member has, as what it is: a log and a state that it follows with, or leads with; one
//! after the other.
//!
//! ```text
//!   follow ──Lead──► apply what is received ─► begin the epoch in the log ─► lead ─► open the gate
//!     ▲                                                                               │
//!     └──────────────── take log and state back ◄── Deposed ──────────────────────────┘
//! ```
//!
//! Invariants: log and state belong to one of the two at any time; what was held before this member
//! began an epoch with nothing is dropped, whatever it is next.
//!
//! Deliberately absent: any cost that grows with the number of objects.

use std::sync::Arc;

use oplog::{Appender, ReplicatedState, Tail, TailConfig};
use standby::Standby;

use crate::member::Member;

/// What a member needs of its state beside the replication of it.
pub trait Stock<S: ReplicatedState> {
    /// A state and a log with nothing in them.
    fn empty(&self) -> (Arc<S>, Arc<Tail>, Appender);

    /// The state writes to this log from here on.
    fn lead(&self, state: &S, log: Appender);

    /// It writes no more.
    fn follow(&self, state: &S) -> Appender;

    fn tail_config(&self) -> TailConfig;
}

pub enum Life<S: ReplicatedState> {
    Follows(Box<Standby<S>>),
    Leads(Arc<S>, Arc<Tail>),
}

impl<S: ReplicatedState> Life<S> {
    /// A member with nothing.
    pub fn begin(stock: &impl Stock<S>) -> Life<S> {
        Life::Follows(Box::new(empty(stock)))
    }

    pub fn state(&self) -> &Arc<S> {
        match self {
            Life::Follows(standby) => standby.state(),
            Life::Leads(state, _) => state,
        }
    }

    pub fn tail(&self) -> &Arc<Tail> {
        match self {
            Life::Follows(standby) => standby.tail(),
            Life::Leads(_, tail) => tail,
        }
    }

    /// The log is taken back from the calls. A call that is under way has the state meanwhile, so this
    /// may wait for it: a carrier with threads does it before it has its member.
    pub fn take_back(self, stock: &impl Stock<S>) -> Standby<S> {
        match self {
            Life::Follows(standby) => *standby,
            Life::Leads(state, tail) => {
                let log = stock.follow(&state);
                Standby::new(state, tail, log, stock.tail_config())
            }
        }
    }

    /// Before any other role is taken up. True: state and log are others now, with nothing in them.
    pub fn step_down(self, member: &mut Member, stock: &impl Stock<S>, now: u64) -> (Standby<S>, bool) {
        let standby = self.take_back(stock);
        // Looked at whatever the role is: the one that began with nothing may be over already.
        let is_emptied = member.is_to_be_emptied();
        let standby = if is_emptied { empty(stock) } else { standby };
        if is_emptied {
            member.doubt(verification::Event::Synced, now);
        }
        member.doubt(verification::Event::EpochBegins, now);
        (standby, is_emptied)
    }

    /// Behind [`standby::Promotion::begin`]: this member leads with them.
    pub fn leads(stock: &impl Stock<S>, (state, tail, log): (Arc<S>, Arc<Tail>, Appender)) -> Life<S> {
        stock.lead(&state, log);
        Life::Leads(state, tail)
    }
}

fn empty<S: ReplicatedState>(stock: &impl Stock<S>) -> Standby<S> {
    let (state, tail, log) = stock.empty();
    Standby::new(state, tail, log, stock.tail_config())
}

impl<S: ReplicatedState> std::fmt::Debug for Life<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Life::Follows(standby) => write!(f, "Follows({standby:?})"),
            Life::Leads(state, tail) => write!(f, "Leads({tail:?}, applied {})", state.applied()),
        }
    }
}
