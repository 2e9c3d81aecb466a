//! Tests: which connection gets bytes, and which one is cut off for them.

use super::*;

fn budget(bytes_max: usize, connection_bytes_max: usize) -> Budget {
    Budget::new(Bounds { name: "all", bytes_max, connection_name: "own", connection_bytes_max })
}

#[test]
fn bounds_are_never_exceeded_and_bytes_come_back() {
    let budget = budget(10, 8);
    let (a, b) = (budget.open(None), budget.open(None));
    let mut six = a.share().take(6).expect("there is room");
    assert_eq!(a.share().take(3).expect_err("its own bound").setting, "own");
    assert_eq!(a.share().take(usize::MAX).expect_err("its own bound").setting, "own");
    six.grow(2).expect("there is room");
    assert_eq!(six.grow(1).map_err(|full| full.setting), Err("own"));
    assert_eq!((six.bytes(), a.share().check_room().map_err(|full| full.setting)), (8, Err("own")));
    let two = b.share().take(2).expect("there is room");
    assert_eq!(budget.taken(), 10);
    drop(six);
    assert_eq!((budget.taken(), a.share().check_room()), (2, Ok(())));
    drop(two);
    assert_eq!(budget.taken(), 0);
}

#[test]
fn connection_that_holds_nothing_may_take_more_than_its_bound_at_once() {
    let budget = budget(100, 8);
    let a = budget.open(None);
    let large = a.share().take(50).expect("it holds nothing");
    assert_eq!(a.share().take(1).expect_err("it does now").setting, "own");
    drop(large);
    assert_eq!(a.share().take(101).expect_err("not beyond the bound of all").setting, "all");
    assert_eq!(budget.taken(), 0);
}

#[test]
fn connection_that_holds_the_most_loses_and_what_it_holds_counts_no_more() {
    let budget = budget(10, 9);
    let (greedy, other, polite) = (budget.open(None), budget.open(None), budget.open(None));
    let kept = greedy.share().take(7).expect("there is room");
    let small = other.share().take(3).expect("there is room");
    let first = polite.share().take(2).expect("the greedy one goes for it");
    let is_cut = |share: &OpenShare| share.share().is_cut.load(Ordering::Acquire);
    assert_eq!([&greedy, &other, &polite].map(is_cut), [true, false, false]);
    let second = polite.share().take(5).expect("what it holds counts no more");
    assert_eq!([&greedy, &other, &polite].map(is_cut), [true, false, false]);
    assert_eq!(polite.share().take(1).expect_err("it would hold the most itself").setting, "all");
    assert!(greedy.share().take(1).is_err(), "one that is cut off gets nothing");
    drop((kept, small, first, second, greedy, other, polite));
    assert_eq!(budget.taken(), 0);
}

#[test]
fn connection_with_something_that_does_not_move_is_cut_off() {
    let budget = budget(10, 10);
    let (stuck, moving, over) = (budget.open(None), budget.open(None), budget.open(None));
    let _stuck = stuck.share().watch(100);
    let part = moving.share().watch(100);
    let gone = over.share().watch(100);
    moving.share().moved(part, 200);
    over.share().let_go(gone);
    budget.cut_unmoved(150);
    let is_cut = |share: &OpenShare| share.share().is_cut.load(Ordering::Acquire);
    assert_eq!([&stuck, &moving, &over].map(is_cut), [true, false, false]);
}

#[test]
fn many_that_do_not_move_go_for_one_that_needs_what_they_hold() {
    let budget = budget(10, 10);
    let stuck: Vec<_> = (0..5).map(|_| budget.open(None)).collect();
    let _held: Vec<_> = stuck.iter().map(|share| share.share().take(2).expect("there is room")).collect();
    let polite = budget.open(None);
    assert_eq!(polite.share().take(6).expect_err("it would hold more than any").setting, "all");
    for share in &stuck {
        share.share().watch(0);
    }
    let _six = polite.share().take(6).expect("they are cut off");
    let cut = stuck.iter().filter(|share| share.share().is_cut.load(Ordering::Acquire)).count();
    assert_eq!(cut, 3, "as many as it takes");
}
