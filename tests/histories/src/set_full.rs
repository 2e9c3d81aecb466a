//! Nothing acknowledged is missing, and nothing is there that no client put.
//!
//! The final state is read once, after everything has settled. The check must be right for each key
//! whatever the order of its calls was. So a doubt (a removal that may have run, or that ran
//! beside) counts in the members' favour; `linear` decides those.
//!
//! Deliberately absent: keys that are touched after the final read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::history::{Answer, Fault, IfExists, Moment, Op, OpKind, Outcome, by_key};

/// The version of each key that exists in the end.
pub type FinalVersions = BTreeMap<Arc<str>, u64>;

pub fn set_full(ops: &[Op], held: &FinalVersions) -> Vec<Fault> {
    let keys = by_key(ops);
    let mut faults: Vec<Fault> =
        keys.iter().filter_map(|(key, ops)| of_key(key, ops, held.get(key).copied())).collect();
    let untried = held.keys().filter(|key| !keys.contains_key(*key));
    faults.extend(untried.map(|key| format!("no client put {key:?}, but it is there")));
    faults
}

fn of_key(key: &str, ops: &[&Op], held: Option<u64>) -> Option<Fault> {
    let Some(version) = held else { return missing(key, ops) };
    let tried: BTreeSet<u64> = ops.iter().filter(|op| op.may_have_run()).filter_map(|op| ended(op)).collect();
    if !tried.contains(&version) {
        return Some(format!("not whole: {key:?} is version {version}, ended were {tried:?}"));
    }
    back(key, ops, version).or_else(|| replaced(key, ops, version))
}

fn ended(op: &Op) -> Option<u64> {
    if let OpKind::End { version } = op.call { Some(version) } else { None }
}

/// An operation that shows that this version was there: its writer was told so, or a reader has
/// seen it.
fn witness(op: &Op) -> Option<u64> {
    match (&op.outcome, op.call) {
        (Outcome::Acknowledged(_), OpKind::End { version }) => Some(version),
        (Outcome::Acknowledged(Answer::Found(found)), _) => *found,
        _ => None,
    }
}

/// A removal that may have come after this moment, or a put in place, which removes what it
/// replaces unless it ends.
fn may_be_removed(ops: &[&Op], after: Moment) -> bool {
    let removes = |op: &Op| matches!(op.call, OpKind::Remove | OpKind::Start { if_exists: IfExists::Replace, .. });
    ops.iter().any(|op| removes(op) && op.may_have_run() && op.effect_upto() >= after)
}

fn missing(key: &str, ops: &[&Op]) -> Option<Fault> {
    let seen = ops.iter().filter(|op| witness(op).is_some());
    let lost = seen.filter(|op| !may_be_removed(ops, op.invoked)).max_by_key(|op| op.invoked)?;
    let word = if lost.call == OpKind::Get { "taken back" } else { "lost" };
    Some(format!("{word}: {key:?} is not there, after {lost}"))
}

/// It was removed after everything that could have put it.
fn back(key: &str, ops: &[&Op], version: u64) -> Option<Fault> {
    let ends = ops.iter().filter(|op| ended(op) == Some(version) && op.may_have_run());
    let upto = ends.map(|op| op.effect_upto()).max()?;
    let removed = ops.iter().find(|op| op.call == OpKind::Remove && op.is_acknowledged() && op.invoked > upto)?;
    Some(format!("back: {key:?} is there as version {version}, after {removed}"))
}

/// Another version was acknowledged after everything that could have put this one.
fn replaced(key: &str, ops: &[&Op], version: u64) -> Option<Fault> {
    let ends = ops.iter().filter(|op| ended(op) == Some(version) && op.may_have_run());
    let upto = ends.map(|op| op.effect_upto()).max()?;
    let later = ops
        .iter()
        .find(|op| ended(op).is_some_and(|other| other != version) && op.is_acknowledged() && op.invoked > upto)?;
    Some(format!("lost: {key:?} is version {version}, after {later}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::{done, end, found, removed, start, unknown};

    fn faults(ops: &[Op], held: Option<u64>) -> String {
        set_full(ops, &held.map(|version| (Arc::from("k"), version)).into_iter().collect()).join("\n")
    }

    fn put(version: u64, from: u64) -> [Op; 2] {
        [start(version, (from, from + 1)), end(version, (from + 2, from + 3))]
    }

    #[test]
    fn what_fits_is_accepted() {
        assert_eq!(faults(&put(1, 0), Some(1)), "");
        assert_eq!(faults(&[&put(1, 0)[..], &[removed((4, 5))]].concat(), None), "");
        let maybe = [start(1, (0, 1)), unknown(OpKind::End { version: 1 }, (2, 3))];
        assert_eq!(faults(&maybe, None) + &faults(&maybe, Some(1)), "");
        let maybe = [&put(1, 0)[..], &[unknown(OpKind::Remove, (4, 5))]].concat();
        assert_eq!(faults(&maybe, None) + &faults(&maybe, Some(1)), "");
    }

    #[test]
    fn what_was_acknowledged_or_read_and_is_missing_is_found() {
        assert!(faults(&put(1, 0), None).starts_with("lost: \"k\""));
        let again = [&put(1, 0)[..], &[removed((4, 5))], &put(2, 6)].concat();
        assert!(faults(&again, None).starts_with("lost: \"k\""));
        let seen = [start(1, (0, 1)), unknown(OpKind::End { version: 1 }, (2, 3)), found(Some(1), (4, 5))];
        assert!(faults(&seen, None).starts_with("taken back: \"k\""));
    }

    #[test]
    fn version_that_a_put_in_place_may_have_taken_is_not_missed_until_that_put_has_ended() {
        let over = done(OpKind::Start { version: 2, if_exists: IfExists::Replace }, (4, 5));
        let begun = [&put(1, 0)[..], &[over]].concat();
        assert_eq!(faults(&begun, None) + &faults(&begun, Some(1)), "");
        assert!(faults(&[&begun[..], &[end(2, (6, 7))]].concat(), None).starts_with("lost: \"k\""));
    }

    #[test]
    fn what_should_not_be_there_is_found() {
        assert!(faults(&[], Some(1)).starts_with("no client put \"k\""));
        assert!(faults(&put(1, 0), Some(2)).starts_with("not whole"));
        assert!(faults(&[&put(1, 0)[..], &[removed((4, 5))]].concat(), Some(1)).starts_with("back: \"k\""));
        assert!(faults(&[put(1, 0), put(2, 4)].concat(), Some(1)).starts_with("lost: \"k\" is version 1"));
    }
}
