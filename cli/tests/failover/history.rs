//! What clients did and were told: acknowledged, refused, or unknown.
//!
//! Each key belongs to one client, which touches it with one call at a time, and others read it
//! meanwhile.
//!
//! Invariant: a refusal with a reason that no healthy pair gives is a fault.
//!
//! Deliberately absent: judgement. `tests/histories` has the checkers, and `check` reads what the
//! members hold in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use histories::{Answer, Moment, Op, OpKind, Outcome};

/// The records of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    pub(crate) ops: Vec<Op>,
    pub(crate) put_ids: Vec<u64>,
    pub(crate) faults: Vec<String>,
    /// The obstacles of calls that were not acknowledged.
    pub(crate) troubles: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The origin of all moments.
    pub(crate) began: Instant,
    pub(crate) diaries: Vec<Diary>,
}

impl Diary {
    pub(crate) fn trouble(&mut self, what: &str) {
        *self.troubles.entry(what.to_owned()).or_default() += 1;
    }
}

impl History {
    pub(crate) fn ops(&self) -> impl Iterator<Item = &Op> {
        self.diaries.iter().flat_map(|diary| &diary.ops)
    }

    /// When changes were acknowledged, and in which epoch, in order.
    fn changes(&self) -> Vec<(Moment, u64)> {
        let changes = self.ops().filter(|op| !op.call.is_read());
        let mut changes: Vec<_> = changes.filter_map(|op| Some((op.returned, op.at?.epoch))).collect();
        changes.sort_unstable();
        changes
    }

    fn moment(&self, at: Instant) -> Moment {
        at.saturating_duration_since(self.began)
    }

    /// From `since` to the first acknowledged change of an epoch after `epoch`.
    pub(crate) fn outage(&self, since: Instant, epoch: u64) -> Option<Duration> {
        let (first, _) = self.changes().into_iter().find(|(_, of)| *of > epoch)?;
        Some(first.saturating_sub(self.moment(since)))
    }

    /// The longest time between two acknowledged changes within these moments.
    pub(crate) fn longest_pause(&self, from: Instant, to: Instant) -> Duration {
        let (from, to) = (self.moment(from), self.moment(to));
        let within = self.changes().into_iter().map(|(at, _)| at).filter(|at| (from..to).contains(at));
        let mut last = from;
        let pauses = within.chain([to]).map(|at| at.saturating_sub(std::mem::replace(&mut last, at)));
        pauses.max().unwrap_or_default()
    }

    /// One line about all of it.
    pub(crate) fn summary(&self) -> String {
        let of = |is_it: fn(&Op) -> bool| self.ops().filter(|op| is_it(op)).count();
        let acknowledged = of(|op| op.is_acknowledged() && !op.call.is_read());
        let refused = of(|op| matches!(op.outcome, Outcome::Refused(_)));
        let unknown = of(|op| op.outcome == Outcome::Unknown);
        let (reads, found) = (
            of(|op| op.is_acknowledged() && op.call.is_read()),
            of(|op| matches!(op.outcome, Outcome::Acknowledged(Answer::Found(Some(_))))),
        );
        let keys = of(|op| matches!(op.call, OpKind::Start { .. }));
        let mut troubles = BTreeMap::<&str, u64>::new();
        for (what, times) in self.diaries.iter().flat_map(|diary| &diary.troubles) {
            *troubles.entry(what).or_default() += times;
        }
        format!(
            "{keys} keys; changes: {acknowledged} acknowledged, {refused} refused, {unknown} unknown; reads: {reads}, of which \
             {found} found something; troubles: {troubles:?}"
        )
    }
}
