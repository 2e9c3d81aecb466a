//! The members that the coordinator shows, or showed last, and what is known of each.
//!
//! Invariants: one incarnation of each member is known, the one that was shown last. A member that
//! is not shown any more is forgotten after a while, unless the record names it: a member of the
//! set stays known, whatever has become of the coordinator's data. Time in which nothing could be
//! read does not count.
//!
//! Deliberately absent: where the list comes from. It is what the coordinator shows.

use std::collections::BTreeMap;

use proto::v1;

#[derive(Clone, Debug)]
pub struct Roll<T> {
    forget_after_ms: u64,
    seen: BTreeMap<u64, Seen<T>>,
}

#[derive(Clone, Debug)]
struct Seen<T> {
    who: v1::Incarnation,
    what: T,
    /// When it was first missing.
    missing_since_ms: Option<u64>,
}

impl<T> Roll<T> {
    pub fn new(forget_after_ms: u64) -> Roll<T> {
        Roll { forget_after_ms, seen: BTreeMap::new() }
    }

    /// `shown`: the members that are here at `now_ms`; `is_named`: whether the record names an
    /// incarnation.
    pub fn update(
        &mut self,
        shown: impl IntoIterator<Item = (v1::Incarnation, T)>,
        is_named: impl Fn(v1::Incarnation) -> bool,
        now_ms: u64,
    ) {
        let missing = |seen: Seen<T>| Seen { missing_since_ms: seen.missing_since_ms.or(Some(now_ms)), ..seen };
        let before = std::mem::take(&mut self.seen);
        self.seen = before.into_iter().map(|(member, seen)| (member, missing(seen))).collect();
        let shown = shown.into_iter().map(|(who, what)| (who.member, Seen { who, what, missing_since_ms: None }));
        self.seen.extend(shown);
        let forget_after_ms = self.forget_after_ms;
        let is_gone = |since_ms: u64| now_ms >= since_ms.saturating_add(forget_after_ms);
        self.seen.retain(|_, seen| is_named(seen.who) || !seen.missing_since_ms.is_some_and(is_gone));
    }

    /// `None`: the coordinator does not show this incarnation, and has not shown it lately.
    pub fn find(&self, who: v1::Incarnation) -> Option<&T> {
        self.seen.get(&who.member).filter(|seen| seen.who == who).map(|seen| &seen.what)
    }

    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.seen.values().map(|seen| &seen.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORGET_AFTER_MS: u64 = 10;

    fn who(member: u64, number: u64) -> v1::Incarnation {
        v1::Incarnation { member, number }
    }

    fn show(roll: &mut Roll<u64>, shown: &[(u64, u64)], named: &[(u64, u64)], now_ms: u64) -> Vec<u64> {
        let is_named = |one: v1::Incarnation| named.contains(&(one.member, one.number));
        roll.update(shown.iter().map(|&(member, number)| (who(member, number), member)), is_named, now_ms);
        roll.all().copied().collect()
    }

    #[test]
    fn member_that_left_is_forgotten_after_a_while_unless_the_record_names_it() {
        let (mut roll, named) = (Roll::new(FORGET_AFTER_MS), [(1, 1), (2, 1)]);
        assert_eq!(show(&mut roll, &[(1, 1), (2, 1), (3, 1)], &named, 0), [1, 2, 3]);
        // The coordinator could not be read for long: that says nothing about any member.
        assert_eq!(show(&mut roll, &[(1, 1)], &named, 50), [1, 2, 3]);
        assert_eq!(show(&mut roll, &[(1, 1)], &named, 55), [1, 2, 3]);
        assert_eq!(show(&mut roll, &[(1, 1)], &named, 60), [1, 2], "2 may be promoted");
        assert_eq!(show(&mut roll, &[(1, 1)], &[(1, 1)], 60), [1]);
    }

    #[test]
    fn member_that_comes_back_is_found_by_its_new_incarnation_alone() {
        let mut roll = Roll::new(FORGET_AFTER_MS);
        show(&mut roll, &[(1, 1)], &[], 0);
        show(&mut roll, &[], &[], 0);
        show(&mut roll, &[(1, 2)], &[(1, 1)], 10);
        assert_eq!(roll.find(who(1, 2)), Some(&1));
        assert_eq!(roll.find(who(1, 1)), None, "not even where the record names it");
        assert_eq!(show(&mut roll, &[], &[], 20), [1], "missing since now only");
    }

    #[test]
    fn member_of_the_set_is_known_when_the_coordinator_has_lost_everything() {
        let mut roll = Roll::new(FORGET_AFTER_MS);
        show(&mut roll, &[(1, 1), (2, 1)], &[(1, 1)], 0);
        show(&mut roll, &[], &[(1, 1)], 10);
        assert_eq!(show(&mut roll, &[], &[(1, 1)], 1 << 40), [1]);
        assert_eq!(roll.find(who(1, 1)), Some(&1));
    }
}
