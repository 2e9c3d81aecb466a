use proto::status::not_primary;

use super::*;

const OURS: Option<HistoryId> = Some(HistoryId(1));
const NEW: Option<HistoryId> = Some(HistoryId(2));

fn way(addresses: &[&str]) -> Way {
    let mut way = Way::new(addresses.iter().map(|&address| address.to_owned()).collect());
    way.meets("a:1", OURS).expect("the first one that is met");
    way.saw_epoch(12);
    way
}

/// A member that runs answers, and the client moves on if the answer does not count.
fn meet(way: &mut Way, history: Option<HistoryId>) -> bool {
    let target = way.target();
    let counts = way.meets(&target.address, history).is_ok();
    if !counts {
        way.on_failure(target.turn);
    }
    counts
}

#[test]
fn lone_address_that_answers_for_another_history_is_believed_and_epochs_count_anew() {
    let mut way = way(&["a:1"]);
    assert!(meet(&mut way, NEW));
    assert_eq!((way.history(), way.epoch_seen()), (NEW, 0));
    way.saw_epoch(1);
    assert!(!way.is_other(NEW) && way.is_other(OURS));
}

#[test]
fn another_history_counts_only_after_every_address_was_asked_in_vain() {
    let mut way = way(&["a:1", "b:1", "c:1"]);
    assert!(!meet(&mut way, NEW), "b and c were not asked");
    way.on_failure(way.target().turn);
    assert_eq!(way.target().address, "c:1");
    assert!(meet(&mut way, NEW), "b is down, and c says the same as a");
    assert_eq!((way.history(), way.epoch_seen()), (NEW, 0));
}

#[test]
fn one_member_that_answers_with_the_own_history_is_enough_to_keep_it() {
    let mut way = way(&["a:1", "b:1"]);
    for _ in 0..5 {
        assert!(!meet(&mut way, NEW));
        // A standby of the own history, which knows no primary.
        assert!(meet(&mut way, OURS));
        way.on_failure(way.target().turn);
    }
    assert_eq!((way.history(), way.epoch_seen()), (OURS, 12));
}

#[test]
fn member_that_holds_nothing_answers_for_no_history_and_its_redirect_tells_no_epoch() {
    let mut way = way(&["a:1", "b:1"]);
    assert!(!meet(&mut way, NEW));
    assert!(meet(&mut way, None));
    let told = way.without_epoch(None, not_primary("a:1", 40));
    let (redirect, _) = way.on_redirect(way.target().turn, &told);
    assert_eq!((redirect, way.epoch_seen()), (Redirect::Followed, 12));
    assert!(meet(&mut way, NEW), "b was asked, too");
}

#[test]
fn what_was_seen_before_the_history_was_known_counts_for_nothing() {
    let mut way = Way::new(vec!["a:1".into()]);
    way.saw_epoch(40);
    way.meets("a:1", OURS).expect("the first one");
    assert_eq!(way.epoch_seen(), 0);
}

#[test]
fn redirect_of_the_new_history_is_followed_once_it_counts() {
    let mut way = way(&["a:1", "b:1"]);
    assert!(!meet(&mut way, NEW));
    assert!(meet(&mut way, NEW), "b is a standby of it");
    let (redirect, _) = way.on_redirect(way.target().turn, &not_primary("a:1", 1));
    assert_eq!((redirect, way.target().address.as_str()), (Redirect::Followed, "a:1"));
}

#[test]
fn announced_primary_is_asked_and_counts_like_any_other() {
    let mut way = way(&["a:1"]);
    assert!(way.on_announced("n:1"));
    assert_eq!((way.target().address.as_str(), way.epoch_seen()), ("n:1", 12));
    assert!(!meet(&mut way, NEW), "a may be alive");
    assert_eq!(way.target().address, "a:1");
    way.on_failure(way.target().turn);
    assert!(way.on_announced("n:1"));
    assert!(meet(&mut way, NEW));
}
