//! A repeated line is written once, with a count, and no place is written more often than its
//! bound.

use super::*;

fn usual(repeats: &mut Repeats<u32>, place: u32, text: &str, now_ms: u64) -> Fate {
    repeats.take(place, text, Detail::Usual, now_ms)
}

#[test]
fn repeated_line_is_written_once_with_the_count_of_the_others() {
    let mut repeats = Repeats::default();
    assert_eq!(usual(&mut repeats, 1, "away", 0), Fate::Written);
    for at_ms in 1..76 {
        assert_eq!(usual(&mut repeats, 1, "away", at_ms), Fate::Counted);
    }
    assert_eq!(usual(&mut repeats, 2, "away", 76), Fate::Written, "another place in the code");
    assert!(repeats.has_counted());
    assert_eq!(repeats.due(INTERVAL_MS - 1), []);
    assert_eq!(repeats.due(INTERVAL_MS), [Repeated { text: "away".to_owned(), count: 75 }]);
    assert!(!repeats.has_counted());
}

#[test]
fn line_that_goes_on_is_told_ever_more_rarely_and_one_that_comes_back_at_once() {
    let mut repeats = Repeats::default();
    let (mut written, mut counted, mut told) = (0, 0, Vec::new());
    for now_ms in 0..600_000 {
        told.extend(repeats.due(now_ms).into_iter().map(|repeated| (now_ms, repeated.count)));
        match usual(&mut repeats, 1, "away", now_ms) {
            Fate::Written => written += 1,
            Fate::Counted => counted += 1,
        }
    }
    assert_eq!((written, counted), (1, 599_999));
    assert_eq!(told[..4], [(1000, 999), (3000, 2000), (7000, 4000), (15_000, 8000)]);
    assert_eq!(told[6], (127_000, 64_000));
    assert!(told[6..].windows(2).all(|pair| pair[1].0 - pair[0].0 == INTERVAL_MS_MAX));
    let rest: u64 = repeats.all().iter().map(|repeated| repeated.count).sum();
    assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>() + rest, 599_999, "none is missing");
    assert_eq!(usual(&mut repeats, 1, "away", 700_000), Fate::Written);
}

#[test]
fn texts_that_differ_each_time_are_bounded_too() {
    let mut repeats = Repeats::default();
    let mut written = 0;
    for ping in 0..100_000 {
        let fate = usual(&mut repeats, 1, &format!("PING ack {ping}"), ping / 25);
        written += usize::from(fate == Fate::Written) + repeats.due(ping / 25).len();
    }
    // 4 s: the interval of 1 s, that of 2 s, and one that has begun.
    assert!(written <= 3 * TEXTS_MAX + 1, "{written}");
    let all = repeats.all();
    assert_eq!(all[0].text, "PING ack 99999");
}

#[test]
fn lines_that_were_asked_for_are_all_written_up_to_their_bound() {
    let mut repeats = Repeats::default();
    let fates = (0..3000).map(|_| repeats.take(1, "same", Detail::AskedFor, 0));
    assert_eq!(fates.filter(|fate| *fate == Fate::Written).count(), DETAILS_MAX);
}

#[test]
fn what_is_not_repeated_is_not_kept() {
    let mut repeats = Repeats::default();
    for at in 0..1000 {
        assert_eq!(usual(&mut repeats, at, "once", 0), Fate::Written);
    }
    assert_eq!(repeats.due(INTERVAL_MS), []);
    assert!(repeats.places.is_empty());
}
