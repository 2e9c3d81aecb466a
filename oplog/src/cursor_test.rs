//! Cursors move forward, in order, or not at all.

use super::*;

#[test]
fn cursors_advance_in_their_order() {
    let mut cursors = Cursors::starting_at(10);
    for cursor in [Cursor::Received, Cursor::Committed, Cursor::Applied, Cursor::Snapshot, Cursor::Purged] {
        cursors.advance(cursor, 20).expect("all that it depends on moved before");
        assert_eq!(cursors.get(cursor), 20);
    }
    cursors.advance(Cursor::Purged, 20).expect("standing still is fine");
}

#[test]
fn going_back_is_refused_and_nothing_moves() {
    let mut cursors = Cursors::starting_at(10);
    let refused = cursors.advance(Cursor::Applied, 9);
    assert_eq!(refused, Err(CursorError::Back { cursor: Cursor::Applied, from: 10, to: 9 }));
    assert_eq!(cursors, Cursors::starting_at(10));
}

#[test]
fn every_relation_is_kept_and_its_breach_prints_both_values() {
    for (low, high) in ORDER {
        let mut cursors = Cursors::starting_at(10);
        let refused = cursors.advance(low, 11).expect_err("high is still at 10");
        assert_eq!(refused, CursorError::Order { low, low_seq: 11, high, high_seq: 10 });
        assert_eq!(refused.to_string(), format!("{low} <= {high} does not hold: {low} is 11, {high} is 10"));
        assert_eq!(cursors, Cursors::starting_at(10));
    }
}

#[test]
fn applied_may_run_ahead_of_committed_and_behind_it() {
    let mut primary = Cursors::starting_at(0);
    primary.advance(Cursor::Received, 5).expect("free");
    primary.advance(Cursor::Applied, 5).expect("a primary applies before it commits");
    let mut standby = Cursors::starting_at(0);
    standby.advance(Cursor::Received, 5).expect("free");
    standby.advance(Cursor::Committed, 5).expect("a standby commits before it applies");
}

#[test]
fn parts_from_elsewhere_are_checked_on_demand() {
    let good = Cursors::from_parts(|cursor| match cursor {
        Cursor::Purged => 1,
        Cursor::Snapshot => 2,
        Cursor::Applied => 3,
        Cursor::Received => 5,
        Cursor::Committed => 4,
    });
    assert_eq!(good.validate(), Ok(()));
    assert_eq!((good.get(Cursor::Purged), good.get(Cursor::Committed)), (1, 4));
    let bad = Cursors::from_parts(|cursor| if cursor == Cursor::Committed { 9 } else { 8 });
    assert!(matches!(bad.validate(), Err(CursorError::Order { low: Cursor::Committed, .. })));
}
