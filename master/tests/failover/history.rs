//! What clients did and what they were told: acknowledged, refused, or nothing they can rely on.
//!
//! Each key belongs to one client, which touches it with one call at a time. So what a key must be is known after every
//! call: there, gone, or, after a call of unknown outcome, either. A client leaves a key alone that may be either.
//!
//! Invariant: what is refused with a reason that no healthy pair gives is a fault, as is an answer that does not fit what
//! was acknowledged before.
//!
//! Deliberately absent: what the members hold in the end; `check` asks them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use client::Position;

/// What a call was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Call {
    PutStart,
    PutEnd,
    Get,
    Remove,
}

/// How it went. `at`: of a change that is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Acknowledged {
        at: Position,
    },
    /// A read that was answered.
    Answered,
    /// Nothing was changed.
    Refused,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) client: usize,
    pub(crate) call: Call,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
    /// Its first answer was lost, or said to try again.
    pub(crate) sent_again: bool,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { client, call, outcome, .. } = self;
        let took = self.ended - self.began;
        write!(f, "{call:?} of client {client} ({outcome:?} after {took:?}, at {:?})", self.began)
    }
}

/// What must be under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Present,
    Gone,
    /// An unacknowledged put: there, or not.
    MaybePut,
    /// An unacknowledged removal: there, or not.
    MaybeRemoved,
}

/// What one client has to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    pub(crate) records: Vec<Record>,
    /// By number of the key.
    pub(crate) fates: BTreeMap<u64, Fate>,
    pub(crate) put_ids: Vec<u64>,
    pub(crate) faults: Vec<String>,
    /// What stood in the way of calls that were not acknowledged.
    pub(crate) troubles: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) diaries: Vec<Diary>,
    /// Keys that somebody else than their owner has read, with the client that owns them.
    pub(crate) seen: BTreeSet<(usize, u64)>,
    pub(crate) reads_of_others: u64,
}

impl Diary {
    pub(crate) fn trouble(&mut self, what: &str) {
        *self.troubles.entry(what.to_owned()).or_default() += 1;
    }
}

impl History {
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.diaries.iter().flat_map(|diary| &diary.records)
    }

    /// The acknowledged changes, with their positions, in the order of their answers.
    pub(crate) fn changes(&self) -> Vec<(Record, Position)> {
        let at = |record: &Record| match record.outcome {
            Outcome::Acknowledged { at } => Some((*record, at)),
            _ => None,
        };
        let mut changes: Vec<_> = self.records().filter_map(at).collect();
        changes.sort_by_key(|(record, _)| record.ended);
        changes
    }

    pub(crate) fn count(&self, is_it: impl Fn(&Record) -> bool) -> usize {
        self.records().filter(|record| is_it(record)).count()
    }

    /// From `since` to the first acknowledged change of an epoch after `epoch`.
    pub(crate) fn outage(&self, since: Instant, epoch: u64) -> Option<Duration> {
        let first = self.changes().into_iter().find(|(_, at)| at.epoch > epoch)?;
        Some(first.0.ended.saturating_duration_since(since))
    }

    /// The longest time between two acknowledged changes within these moments.
    pub(crate) fn longest_pause(&self, from: Instant, to: Instant) -> Duration {
        let within = self.changes().into_iter().map(|(record, _)| record.ended).filter(|at| (from..to).contains(at));
        let mut last = from;
        let pauses = within.chain([to]).map(|at| at.duration_since(std::mem::replace(&mut last, at)));
        pauses.max().unwrap_or_default()
    }

    /// One line about all of it.
    pub(crate) fn summary(&self) -> String {
        let of = |outcome: fn(&Outcome) -> bool| self.count(|record| outcome(&record.outcome));
        let acknowledged = of(|outcome| matches!(outcome, Outcome::Acknowledged { .. }));
        let (refused, unknown) =
            (of(|outcome| *outcome == Outcome::Refused), of(|outcome| *outcome == Outcome::Unknown));
        let reads = of(|outcome| *outcome == Outcome::Answered);
        let keys: usize = self.diaries.iter().map(|diary| diary.fates.len()).sum();
        let others = self.reads_of_others;
        let mut troubles = BTreeMap::<&str, u64>::new();
        for (what, times) in self.diaries.iter().flat_map(|diary| &diary.troubles) {
            *troubles.entry(what).or_default() += times;
        }
        format!(
            "{keys} keys; changes: {acknowledged} acknowledged, {refused} refused, {unknown} unknown; \
             reads: {reads} of own keys, {others} of others'; troubles: {troubles:?}"
        )
    }
}
