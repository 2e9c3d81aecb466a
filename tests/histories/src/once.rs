//! A request that is sent again runs once.
//!
//! Effects can be counted from outside: tasks that are listed, objects that exist. The count must
//! lie between what was acknowledged and what may have run. Something with an id is given out once.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::history::Fault;

/// Effects of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    pub acknowledged: u64,
    /// Calls that may have run.
    pub unknown: u64,
    /// How many effects there are in the end.
    pub counted: u64,
}

impl Counter {
    pub fn check(&self, what: &str) -> Option<Fault> {
        let Counter { acknowledged, unknown, counted } = *self;
        let fits = (acknowledged..=acknowledged + unknown).contains(&counted);
        let said =
            format!("{counted} {what}, of which {acknowledged} were acknowledged and {unknown} more may have run");
        (!fits).then_some(said)
    }
}

/// What was given out, and to which client: each thing once.
pub fn at_most_once<T: Ord + Display, W: Display>(what: &str, given: impl IntoIterator<Item = (T, W)>) -> Vec<Fault> {
    let mut first = BTreeMap::<T, W>::new();
    let mut faults = Vec::new();
    for (id, whom) in given {
        if let Some(before) = first.get(&id) {
            faults.push(format!("{what} {id} was given to {before}, and to {whom}"));
        } else {
            first.insert(id, whom);
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_lies_between_what_was_told_and_what_may_have_run() {
        let check = |counted| Counter { acknowledged: 3, unknown: 2, counted }.check("tasks");
        assert_eq!([check(3), check(4), check(5)], [None, None, None]);
        assert!(check(2).is_some_and(|fault| fault.starts_with("2 tasks")));
        assert!(check(6).is_some());
    }

    #[test]
    fn what_is_given_twice_is_found() {
        assert_eq!(at_most_once("task", [(1, "a"), (2, "a")]), Vec::<String>::new());
        assert_eq!(at_most_once("task", [(1, "a"), (2, "a"), (1, "b")]), ["task 1 was given to a, and to b"]);
    }
}
