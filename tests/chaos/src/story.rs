//! What happened in a run, for its report: faults, answers, takeovers, verdicts.
//!
//! It is kept apart from the run itself, so that a run that breaks off still has one.

use std::collections::BTreeMap;
use std::time::Duration;

use histories::{Fault as Violation, Moment, Op, Outcome};

use crate::plan::{Kind, Who};
use crate::series::Series;

/// A takeover that was under way when a fault ended counts as caused by it.
const AFTERMATH: Duration = Duration::from_millis(300);

/// A fault that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) kind: Kind,
    pub(crate) who: Who,
    pub(crate) name: String,
    pub(crate) from: Moment,
    /// `None`: it has not ended.
    pub(crate) upto: Option<Moment>,
    /// The highest epoch that was known when it came.
    pub(crate) epoch: u64,
    /// No other fault was under way when it came.
    pub(crate) alone: bool,
}

/// How often each check was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) rounds: u64,
    pub(crate) keys: u64,
    pub(crate) ops: u64,
    pub(crate) buffers: u64,
    pub(crate) tasks: u64,
    pub(crate) pins: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Story {
    pub(crate) seed: u64,
    pub(crate) commit: String,
    pub(crate) lasted: Duration,
    pub(crate) faults: Vec<Came>,
    /// Faults that would have destroyed what only one member holds, or had no victim.
    pub(crate) skipped: u64,
    pub(crate) series: Series,
    pub(crate) changes: u64,
    pub(crate) reads: u64,
    pub(crate) refused: u64,
    pub(crate) not_run: u64,
    pub(crate) unknown: u64,
    /// By epoch: when the first change was acknowledged in it.
    pub(crate) firsts: BTreeMap<u64, Moment>,
    /// From the end of a round's faults until all members were in sync.
    pub(crate) healed: Vec<Duration>,
    pub(crate) checked: Checked,
    pub(crate) violations: Vec<Violation>,
    /// The obstacles of calls, and how often each occurred.
    pub(crate) troubles: BTreeMap<String, u64>,
    pub(crate) was_stopped: bool,
}

impl Story {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Whether anything happened that could have gone wrong.
    pub fn is_told(&self) -> bool {
        !self.faults.is_empty() && self.changes > 0 && self.reads > 0 && self.checked.rounds > 0
    }

    /// The summary in one line.
    pub fn summary(&self) -> String {
        let Story { changes, reads, refused, not_run, unknown, faults, .. } = self;
        format!(
            "{} in {:.0?}: {} faults, {} takeovers; {changes} changes and {reads} reads acknowledged, {refused} refused by \
             what was there, {not_run} not run in time, {unknown} of unknown outcome",
            plural(self.checked.rounds, "round"),
            self.lasted,
            faults.len(),
            self.takeovers(),
        )
    }

    /// The run ended before its time.
    pub fn broke_off(&mut self, what: &str) {
        self.violations.push(what.to_owned());
    }

    pub(crate) fn on_op(&mut self, op: &Op) {
        let is_change = !op.call.is_read();
        match (&op.outcome, is_change) {
            (Outcome::Acknowledged(_), true) => self.changes += 1,
            (Outcome::Acknowledged(_), false) => self.reads += 1,
            (Outcome::Refused(histories::Why::DidNotRun), _) => self.not_run += 1,
            (Outcome::Refused(_), _) => self.refused += 1,
            (Outcome::Unknown, _) => self.unknown += 1,
        }
        match (&op.outcome, op.at) {
            (Outcome::Acknowledged(_), at) => {
                self.series.on_acknowledged(op.returned, op.returned - op.invoked, is_change);
                if let Some(at) = at.filter(|_| is_change) {
                    let first = self.firsts.entry(at.epoch).or_insert(op.returned);
                    *first = op.returned.min(*first);
                }
            }
            // A refusal by a member that knows the state.
            (Outcome::Refused(why), _) if *why != histories::Why::DidNotRun => {}
            _ => self.series.on_failed(op.returned),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.firsts.keys().next_back().copied().unwrap_or(0)
    }

    /// Epochs after the first.
    pub(crate) fn takeovers(&self) -> u64 {
        let first = self.firsts.keys().next().copied().unwrap_or(0);
        self.epoch() - first
    }

    /// From a fault of the primary until a change was acknowledged in a later epoch. Each epoch is
    /// attributed to the newest earlier fault of a primary, unless that ended too long ago to have
    /// caused it.
    pub(crate) fn outages(&self) -> Vec<(&Came, Duration)> {
        let began = self.firsts.iter().skip(1);
        let cause = |(epoch, first): (&u64, &Moment)| {
            let before = self.faults.iter().rev().filter(|fault| fault.who == Who::Primary);
            let fault = before.into_iter().find(|fault| fault.from <= *first && fault.epoch < *epoch)?;
            let upto = fault.upto.unwrap_or(*first) + AFTERMATH;
            (fault.kind.ends_its_term() || *first <= upto).then(|| (fault, *first - fault.from))
        };
        began.filter_map(cause).collect()
    }
}

pub(crate) fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(kind: Kind, who: Who, (from, upto): (u64, u64), epoch: u64) -> Came {
        let (from, upto) = (Duration::from_millis(from), Some(Duration::from_millis(upto)));
        Came { kind, who, name: "m1".to_owned(), from, upto, epoch, alone: true }
    }

    #[test]
    fn takeover_is_put_down_to_the_newest_fault_of_a_primary_that_can_have_caused_it() {
        let faults = vec![
            came(Kind::Pause, Who::Primary, (100, 200), 1),
            came(Kind::Kill, Who::Standby, (900, 950), 1),
            came(Kind::Kill, Who::Primary, (1000, 1100), 1),
            came(Kind::Narrow, Who::Primary, (5000, 5100), 2),
        ];
        let firsts = [(1, 50), (2, 1600), (3, 9000)].map(|(epoch, ms)| (epoch, Duration::from_millis(ms)));
        let story = Story { faults, firsts: firsts.into(), ..Story::default() };
        let outages: Vec<_> = story.outages().iter().map(|(fault, outage)| (fault.kind, outage.as_millis())).collect();
        assert_eq!(outages, [(Kind::Kill, 600)], "the narrow link had long ended when epoch 3 began");
        assert_eq!(story.takeovers(), 2);
    }
}
