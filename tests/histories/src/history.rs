//! An operation: which client called what and when, what it was told, and at which position.
//!
//! Invariants: moments are of one monotonic clock, for all clients of a history; a version names
//! one put for good, and is never 0.
//!
//! Deliberately absent: judgement.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Since the history began.
pub type Moment = Duration;

/// What is wrong, in words.
pub type Fault = String;

/// A point in the history of the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    pub epoch: u64,
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.seq)
    }
}

/// What a put does with a key that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfExists {
    Fail,
    Replace,
}

/// A put has two calls: readers see it from its end on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    Start {
        version: u64,
        if_exists: IfExists,
    },
    End {
        version: u64,
    },
    Revoke {
        version: u64,
    },
    Remove,
    Get,
    Exists,
    /// A change that concerns no key.
    Other(&'static str),
}

impl OpKind {
    pub fn is_read(&self) -> bool {
        matches!(self, OpKind::Get | OpKind::Exists)
    }
}

/// Space that a put was given.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Buffer {
    pub segment: [u8; 16],
    pub start: u64,
    /// Exclusive.
    pub end: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Done,
    Started(Vec<Buffer>),
    /// The version that a reader sees; none: there is no such object.
    Found(Option<u64>),
    Exists(bool),
}

/// Why a call was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    AlreadyExists,
    NotFound,
    /// Another client's put of this key has not ended.
    InProgress,
    /// That put is not under way (any more).
    NotWriting,
    /// It certainly has not run, and says nothing about the state.
    DidNotRun,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Acknowledged(Answer),
    Refused(Why),
    /// It may run at any time after its invocation, or never.
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    pub client: u32,
    /// Empty: it concerns no key.
    pub key: Arc<str>,
    pub call: OpKind,
    pub invoked: Moment,
    /// When the caller had the answer, or gave up.
    pub returned: Moment,
    pub outcome: Outcome,
    /// The position of an acknowledged one.
    pub at: Option<Position>,
    /// The member that answered, if known.
    pub member: Option<Arc<str>>,
    /// Its first answer was lost, or said to try again.
    pub sent_again: bool,
}

impl Op {
    pub fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Acknowledged(_))
    }

    /// The latest moment at which it may have had its effect.
    pub fn effect_upto(&self) -> Moment {
        if self.outcome == Outcome::Unknown { Moment::MAX } else { self.returned }
    }

    /// Whether it may have changed anything.
    pub fn may_have_run(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused(_))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Op { client, key, call, invoked, returned, outcome, .. } = self;
        write!(f, "{call:?} of {key:?} by client {client} from {invoked:.6?} to {returned:.6?}: {outcome:?}")?;
        if let Some(at) = self.at {
            write!(f, " at {at}")?;
        }
        if let Some(member) = &self.member {
            write!(f, " by {member}")?;
        }
        Ok(())
    }
}

/// The operations of each key. Those without a key are left out.
pub fn by_key(ops: &[Op]) -> BTreeMap<Arc<str>, Vec<&Op>> {
    let mut keys = BTreeMap::<Arc<str>, Vec<&Op>>::new();
    for op in ops.iter().filter(|op| !op.key.is_empty()) {
        keys.entry(Arc::clone(&op.key)).or_default().push(op);
    }
    keys
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn ms(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    pub(crate) fn op(call: OpKind, (invoked, returned): (u64, u64), outcome: Outcome) -> Op {
        let (key, invoked, returned) = ("k".into(), ms(invoked), ms(returned));
        Op { client: 0, key, call, invoked, returned, outcome, at: None, member: None, sent_again: false }
    }

    pub(crate) fn done(call: OpKind, times: (u64, u64)) -> Op {
        op(call, times, Outcome::Acknowledged(Answer::Done))
    }

    pub(crate) fn end(version: u64, times: (u64, u64)) -> Op {
        done(OpKind::End { version }, times)
    }

    pub(crate) fn start(version: u64, times: (u64, u64)) -> Op {
        done(OpKind::Start { version, if_exists: IfExists::Fail }, times)
    }

    pub(crate) fn found(version: Option<u64>, times: (u64, u64)) -> Op {
        op(OpKind::Get, times, Outcome::Acknowledged(Answer::Found(version)))
    }

    pub(crate) fn removed(times: (u64, u64)) -> Op {
        done(OpKind::Remove, times)
    }

    pub(crate) fn unknown(call: OpKind, times: (u64, u64)) -> Op {
        op(call, times, Outcome::Unknown)
    }

    pub(crate) fn at(mut op: Op, epoch: u64, seq: u64) -> Op {
        op.at = Some(Position { epoch, seq });
        op
    }
}
