//! Whether the answers about one key have an order that explains them: each operation takes effect
//! at one moment between its invocation and its return, and answers as the key was then (Herlihy
//! and Wing).
//!
//! The search is Wing and Gong's with Lowe's memo, one event after the other: what is kept is the
//! set of all *configurations* that explain everything so far, each a state and which of the
//! operations that are under way have taken effect. A return keeps those in which that operation
//! has. If none is left, no order explains the history. An operation of unknown outcome never
//! returns, so it may take effect at any time after its invocation, or never.
//!
//! These need not be tried:
//! - An answer that is true of the state and does not change it is given at once: to wait gains
//!   nothing.
//! - An operation of unknown outcome that would change nothing does not run.
//! - Among equal ones of unknown outcome, the one that was invoked first runs first.
//! - If two configurations differ only in which of those have run, the one that has used fewer is
//!   kept.
//!
//! The work is the length of the history times the number of configurations, which are few unless
//! many different operations of one key are under way together. At a bound the answer is
//! [`Linear::Undecided`], never a guess.
//!
//! Deliberately absent: more than one key. Linearizability is local: a history fits if each key's
//! does.

use std::collections::{HashMap, HashSet};

use crate::history::{Fault, Op, Outcome, Why};
use crate::register::Register;

/// The most operations of one key that are under way together, including those of unknown outcome.
const OPEN_MAX: usize = 64;
/// The most steps for one key.
const WORK_MAX: usize = 2_000_000;
/// How many operations of a key a fault shows.
const OPS_SHOWN: usize = 60;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Linear {
    Fits,
    Broken(Fault),
    /// The bound was reached.
    Undecided(Fault),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Configuration {
    state: Register,
    /// Which slots have taken effect.
    done: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    /// Before the returns of the same moment: operations that touch count as under way together.
    Invoked,
    Returned,
}

struct Search<'a> {
    ops: &'a [&'a Op],
    /// Operations under way, by slot.
    open: [Option<usize>; OPEN_MAX],
    /// For an operation of unknown outcome: the slots of its equals that were invoked before it.
    equals_before: [u64; OPEN_MAX],
    configurations: HashSet<Configuration>,
    work: usize,
}

/// `ops`: all operations of one key.
pub fn linearizable(ops: &[&Op]) -> Linear {
    let mut events: Vec<_> =
        (0..ops.len()).filter(|at| matters(ops[*at])).flat_map(|at| events_of(ops[at], at)).collect();
    events.sort_by_key(|(event, at)| {
        let moment = if *event == Event::Invoked { ops[*at].invoked } else { ops[*at].returned };
        (moment, *event, *at)
    });
    let start = Configuration { state: Register::default(), done: 0 };
    let mut search = Search {
        ops,
        open: [None; OPEN_MAX],
        equals_before: [0; OPEN_MAX],
        configurations: HashSet::from([start]),
        work: 0,
    };
    for (event, at) in events {
        let went_on = match event {
            Event::Invoked => search.on_invoked(at),
            Event::Returned => search.on_returned(at),
        };
        if let Err(verdict) = went_on {
            return verdict;
        }
    }
    Linear::Fits
}

/// A read without an answer says nothing; neither does an operation that has not run.
fn matters(op: &Op) -> bool {
    match op.outcome {
        Outcome::Unknown => !op.call.is_read(),
        Outcome::Refused(why) => why != Why::DidNotRun,
        Outcome::Acknowledged(_) => true,
    }
}

fn events_of(op: &Op, at: usize) -> impl Iterator<Item = (Event, usize)> {
    let returned = (op.outcome != Outcome::Unknown).then_some((Event::Returned, at));
    [(Event::Invoked, at)].into_iter().chain(returned)
}

impl Search<'_> {
    fn on_invoked(&mut self, at: usize) -> Result<(), Linear> {
        let Some(slot) = self.open.iter().position(Option::is_none) else {
            let what = format!("more than {OPEN_MAX} calls of {:?} are under way at once", self.ops[at].key);
            return Err(Linear::Undecided(what));
        };
        let op = self.ops[at];
        let is_equal =
            |other: &Op| op.outcome == Outcome::Unknown && other.outcome == Outcome::Unknown && other.call == op.call;
        self.equals_before[slot] = self.slots(is_equal);
        self.open[slot] = Some(at);
        Ok(())
    }

    /// Keeps the configurations in which this operation has taken effect by now.
    fn on_returned(&mut self, at: usize) -> Result<(), Linear> {
        let slot = self.open.iter().position(|open| *open == Some(at)).expect("it was invoked before");
        let bit = 1_u64 << slot;
        let before = std::mem::take(&mut self.configurations);
        let (mut seen, mut left) = (before.clone(), before.iter().copied().collect::<Vec<_>>());
        while let Some(found) = left.pop() {
            let found = self.with_what_is_free(found);
            if found.done & bit != 0 {
                self.configurations.insert(Configuration { done: found.done & !bit, ..found });
                continue;
            }
            self.work += self.under_way().count();
            for (other, op) in self.under_way() {
                let mark = 1_u64 << other;
                if (found.done & mark) | (self.equals_before[other] & !found.done) != 0 {
                    continue;
                }
                let states = [found.state.after(op), found.state.in_place_after(op)].into_iter().flatten();
                for state in states.filter(|state| *state != found.state) {
                    let next = Configuration { state, done: found.done | mark };
                    if seen.insert(next) {
                        left.push(next);
                    }
                }
            }
            if self.work > WORK_MAX {
                return Err(Linear::Undecided(format!("{:?}: more than {WORK_MAX} steps", self.ops[at].key)));
            }
        }
        self.open[slot] = None;
        self.keep_the_freest();
        if self.configurations.is_empty() { Err(Linear::Broken(self.fault(at, &before))) } else { Ok(()) }
    }

    /// Adds answers that are true of this state and leave it unchanged.
    fn with_what_is_free(&self, found: Configuration) -> Configuration {
        let is_free = |op: &Op| op.outcome != Outcome::Unknown && found.state.after(op) == Some(found.state);
        Configuration { done: found.done | self.slots(is_free), ..found }
    }

    /// If two configurations differ only in which operations of unknown outcome have run, the one
    /// that has used fewer can continue in every way that the other can: the rest may never run.
    fn keep_the_freest(&mut self) {
        let unknown = self.slots(|op| op.outcome == Outcome::Unknown);
        let mut found: Vec<Configuration> = self.configurations.drain().collect();
        found.sort_unstable_by_key(|found| ((found.done & unknown).count_ones(), found.done));
        let mut freest = HashMap::<(Register, u64), Vec<u64>>::new();
        for Configuration { state, done } in found {
            let (used, others) = (done & unknown, freest.entry((state, done & !unknown)).or_default());
            if others.iter().all(|fewer| fewer & !used != 0) {
                others.push(used);
                self.configurations.insert(Configuration { state, done });
            }
        }
    }

    /// The slots of the operations under way for which this holds.
    fn slots(&self, is_such: impl Fn(&Op) -> bool) -> u64 {
        self.under_way().filter(|(_, op)| is_such(op)).fold(0, |mask, (slot, _)| mask | 1 << slot)
    }

    /// By slot.
    fn under_way(&self) -> impl Iterator<Item = (usize, &Op)> {
        self.open.iter().enumerate().filter_map(|(slot, at)| Some((slot, self.ops[(*at)?])))
    }

    fn fault(&self, at: usize, before: &HashSet<Configuration>) -> Fault {
        let mut states: Vec<_> = before.iter().map(|found| found.state).collect();
        states.sort_unstable();
        states.dedup();
        let mut told: Vec<&Op> = self.ops.iter().copied().filter(|op| op.invoked <= self.ops[at].returned).collect();
        told.sort_by_key(|op| op.invoked);
        let last = &told[told.len().saturating_sub(OPS_SHOWN)..];
        let lines: String = last.iter().map(|op| format!("\n    {op}")).collect();
        format!("not linearizable: {}; before it the key was one of {states:?}; its calls:{lines}", self.ops[at])
    }
}

#[cfg(test)]
#[path = "linear_test.rs"]
mod linear_test;
