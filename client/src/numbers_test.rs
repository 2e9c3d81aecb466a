//! Tests of the window of request numbers against a plain set of the open ones.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn window_agrees_with_a_set_of_open_numbers(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..2000)) {
        let mut window = NumberWindow::new();
        let mut open = BTreeSet::new();
        let mut highest = 0;
        for (opens, which) in steps {
            if opens || open.is_empty() {
                let number = window.try_open().expect("fewer steps than the span");
                prop_assert_eq!(number, highest + 1);
                highest = number;
                open.insert(number);
            } else {
                let number = *which.get(&open.iter().copied().collect::<Vec<_>>());
                let lowest = open.first() == Some(&number);
                open.remove(&number);
                prop_assert_eq!(window.close(number), lowest);
            }
            prop_assert_eq!(window.answered_below(), open.first().copied().unwrap_or(highest + 1));
        }
    }
}

#[test]
fn ring_comes_around_many_times() {
    let mut window = NumberWindow::new();
    let mut held = window.try_open().expect("first");
    for _ in 0..10 * REQUEST_SPAN_MAX {
        let next = window.try_open().expect("two are open");
        window.close(held);
        assert_eq!(window.answered_below(), next);
        held = next;
    }
}

#[test]
fn span_is_refused_until_the_lowest_is_closed() {
    let mut window = NumberWindow::new();
    for number in 1..=REQUEST_SPAN_MAX {
        assert_eq!(window.try_open(), Some(number));
    }
    for number in 2..=REQUEST_SPAN_MAX {
        assert!(!window.close(number));
    }
    assert_eq!((window.try_open(), window.answered_below()), (None, 1));
    assert!(window.close(1));
    assert_eq!(window.answered_below(), REQUEST_SPAN_MAX + 1);
    assert_eq!(window.try_open(), Some(REQUEST_SPAN_MAX + 1));
}

#[test]
#[should_panic(expected = "closed twice")]
fn number_is_not_closed_twice() {
    let mut window = NumberWindow::new();
    window.try_open();
    window.try_open();
    window.close(2);
    window.close(2);
}

#[tokio::test]
async fn waiter_gets_its_number_when_the_lowest_is_closed() {
    let numbers = Numbers::new();
    let soon = || Instant::now() + Duration::from_millis(20);
    let mut open = Vec::new();
    for _ in 0..REQUEST_SPAN_MAX {
        open.push(numbers.open(soon()).await.expect("within the span"));
    }
    assert!(numbers.open(soon()).await.is_none(), "over the span");
    let late = Instant::now() + Duration::from_secs(10);
    let (got, ()) = tokio::join!(numbers.open(late), async {
        tokio::task::yield_now().await;
        drop(open.remove(0));
    });
    let got = got.expect("the lowest was closed");
    assert_eq!((got.number, got.answered_below), (REQUEST_SPAN_MAX + 1, 2));
}
