//! What a member has, as what it is: a log and a state that it follows with, or leads with; one
//! after the other.
//!
//! ```text
//!   follow ──Lead──► `Rise`: apply what is received ─► begin the epoch in the log ─► lead ─► `open` the gate
//!     ▲                                                                               │
//!     └──────── `step_down`: take log and state back ◄── Deposed ─────────────────────┘
//! ```
//!
//! Invariants: log and state belong to one of the two at any time; what was held before this member
//! began an epoch with nothing is dropped, whatever it is next; calls find the log and the state that
//! the member leads with before the gate opens.
//!
//! Deliberately absent: any cost that grows with the number of objects.

use std::sync::Arc;

use oplog::{Appender, ReplicatedState, Secret, Tail, TailConfig};
use standby::{Promotion, Standby, StandbyError};

use crate::reach::Reach;
use crate::settings::APPLY_ENTRIES;

/// What a member needs of its state beside the replication of it.
pub trait Stock<S: ReplicatedState> {
    /// A state and a log with nothing in them.
    fn empty(&self) -> (Arc<S>, Arc<Tail>, Appender);

    /// The state writes to this log from here on. `born`: the epoch in which the cluster began with nothing.
    fn lead(&self, state: &S, log: Appender, born: u64);

    /// It writes no more.
    fn follow(&self, state: &S) -> Appender;

    fn tail_config(&self) -> TailConfig;

    /// Calls find these from here on.
    fn hold(&self, state: &Arc<S>, tail: &Arc<Tail>);

    /// For the first entry of an epoch: the time of day, and a secret, random and never used before.
    fn begins(&self, epoch: u64) -> (u64, Secret);
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
    /// may wait for it.
    fn take_back(self, stock: &impl Stock<S>) -> Standby<S> {
        match self {
            Life::Follows(standby) => *standby,
            Life::Leads(state, tail) => {
                let log = stock.follow(&state);
                Standby::new(state, tail, log, stock.tail_config())
            }
        }
    }

    /// Before any other role is taken up. True: state and log are others now, with nothing in them.
    pub fn step_down(self, mut reach: impl Reach, stock: &impl Stock<S>) -> (Standby<S>, bool) {
        // Before the member is told: it is needed by the calls that this waits for.
        let standby = self.take_back(stock);
        let (standby, is_emptied) = reach.tell(|member, now| {
            // Looked at whatever the role is: the one that began with nothing may be over already.
            let is_emptied = member.is_to_be_emptied();
            let standby = if is_emptied { empty(stock) } else { standby };
            if is_emptied {
                member.doubt(verification::Event::Synced, now);
            }
            member.doubt(verification::Event::EpochBegins, now);
            (standby, is_emptied)
        });
        if is_emptied {
            stock.hold(standby.state(), standby.tail());
        }
        (standby, is_emptied)
    }

    /// State and log are whole and in place: calls may come. False: this member leads no more.
    pub fn open(&self, mut reach: impl Reach, epoch: u64) -> bool {
        reach.tell(|member, now| member.open(epoch, Arc::clone(self.tail()), now))
    }
}

/// From a standby to the primary of an epoch. Nothing else applies beside it.
#[derive(Debug)]
pub struct Rise<S> {
    promotion: Promotion<S>,
    epoch: u64,
    born: u64,
}

impl<S: ReplicatedState> Rise<S> {
    pub fn new(standby: Standby<S>, epoch: u64, born: u64) -> Rise<S> {
        Rise { promotion: Promotion::new(standby), epoch, born }
    }

    /// Some of what is held. False: all of it is applied.
    pub fn apply(&self) -> Result<bool, StandbyError> {
        self.promotion.apply(APPLY_ENTRIES).map(|applied| applied.entries > 0)
    }

    /// Behind the last step: the epoch begins in the log, and calls find what the member leads with.
    pub fn begin(self, stock: &impl Stock<S>) -> Result<Life<S>, StandbyError> {
        let (timestamp_ms, drawn) = stock.begins(self.epoch);
        let (state, tail, log) = self.promotion.begin(self.epoch, timestamp_ms, drawn)?;
        stock.lead(&state, log, self.born);
        stock.hold(&state, &tail);
        Ok(Life::Leads(state, tail))
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
