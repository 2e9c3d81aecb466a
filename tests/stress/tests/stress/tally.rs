//! Which calls were made, how often, and with which results.
//!
//! Invariant: a refusal that no client could have caused, or that has no reason, stops its client
//! at once, with its call.

use std::collections::BTreeMap;
use std::fmt;

use proto::v1::{CallError, Reason, Refusal};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: BTreeMap<&'static str, u64>,
    refused: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    pub(crate) fn called(&mut self, kind: &'static str) {
        *self.calls.entry(kind).or_default() += 1;
    }

    pub(crate) fn refused(&mut self, kind: &'static str, reason: Reason, message: &str) {
        let fault =
            matches!(reason, Reason::Unspecified | Reason::Internal | Reason::NotPrimary | Reason::ShuttingDown);
        assert!(!fault, "{kind} was refused with {}: {message}", reason.as_str_name());
        assert!(!message.is_empty(), "{kind} was refused with {} and not a word", reason.as_str_name());
        *self.refused.entry((kind, reason.as_str_name())).or_default() += 1;
    }

    pub(crate) fn refused_call(&mut self, kind: &'static str, error: &CallError) {
        self.refused(kind, error.reason(), &error.message);
    }

    pub(crate) fn refused_item(&mut self, kind: &'static str, refusal: &Refusal) {
        self.refused(kind, refusal.reason(), &refusal.message);
    }

    /// The outcome is unknown, which is the honest answer: the node was too busy for too long.
    pub(crate) fn unanswered(&mut self, kind: &'static str) {
        *self.refused.entry((kind, "(no answer in time)")).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Tally) {
        for (kind, count) in other.calls {
            *self.calls.entry(kind).or_default() += count;
        }
        for (which, count) in other.refused {
            *self.refused.entry(which).or_default() += count;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    pub(crate) fn count_unanswered(&self) -> u64 {
        self.refused.iter().filter(|((_, why), _)| why.starts_with('(')).map(|(_, count)| count).sum()
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.calls.keys().copied()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.calls {
            write!(f, "{kind:<18} {count:>9}")?;
            let of_kind = self.refused.range((*kind, "")..).take_while(|((other, _), _)| other == kind);
            for ((_, why), count) in of_kind {
                write!(f, "  {why} {count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
