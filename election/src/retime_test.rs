//! The timing of the cluster stands in the record. An answer grants what its message asked for.

use super::*;

fn with_tenure(tenure_ms: Millis) -> Timing {
    let slower = Timing { tenure_ms, drop_after_ms: tenure_ms * 3 / 5, ..Timing::default() };
    slower.validate().unwrap();
    slower
}

fn heard(tenure_ms: Millis) -> Event {
    Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 77, tenure_ms }
}

fn timed(insync: &[Incarnation], revision: u64, timing: Timing) -> Versioned {
    let known = others(insync, revision);
    Versioned { record: known.record.timed(timing), ..known }
}

/// When a member with this record claims, ticked every millisecond.
fn claims_at(member: &mut Election, record: &Versioned, from: Millis) -> Millis {
    for now in from..from + 10_000 {
        for action in feed(member, Event::Tick, now) {
            assert_eq!(action, Action::Read);
            if feed(member, read(record.clone()), now).iter().any(|action| matches!(action, Action::Swap { .. })) {
                return now;
            }
        }
    }
    panic!("it never claims");
}

/// A primary with one peer in its set, which has answered the message sent at 1060.
fn leader_of_a_pair(timing: Timing) -> Election {
    let mut member = Election::new(ME, 7, Start { timing, ..start(Unclean::Cold, AT_ONCE) }, 1000);
    feed(&mut member, Event::Tick, 1000);
    feed(&mut member, nothing(), 1001);
    feed(&mut member, Event::Swapped(1), 1002);
    answered(&mut member, 1060);
    assert_eq!(feed(&mut member, Event::Tick, 1060), [], "it joins");
    let joined = swap(
        Versioned { record: ConfigRecord::first(7, ME, 1).timed(timing), revision: 1 },
        ConfigRecord::first(7, ME, 1).timed(timing).with(OTHER),
    );
    assert_eq!(feed(&mut member, Event::Tick, 1061), [joined]);
    feed(&mut member, Event::Swapped(2), 1062);
    member
}

fn answered(member: &mut Election, echo_ms: Millis) {
    let answer = Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms, sound: true };
    feed(member, answer, echo_ms);
}

fn retime(member: &mut Election, timing: Timing, now: Millis) {
    feed(member, Event::Retime(timing), now);
    let actions = feed(member, Event::Tick, now);
    assert!(
        matches!(&actions[..], [Action::Swap { to, .. }] if to.timing == Some(timing)),
        "it writes what an operator wants: {actions:?}"
    );
    assert_ne!(*member.timing(), timing, "not before the record says so");
    feed(member, Event::Swapped(3), now);
    assert_eq!(*member.timing(), timing);
    assert_eq!(feed(member, Event::Tick, now), [], "once");
}

#[test]
fn a_takeover_waits_as_long_as_the_answered_message_asked_for() {
    for tenure_ms in [100, 500, 3000] {
        let mut member = member();
        feed(&mut member, heard(tenure_ms), 1000);
        let claimed_at = claims_at(&mut member, &others(&[ME, OTHER], 9), 1001);
        // It does not know what it granted before it was started.
        let expected = 1000 + outlasts_ms(tenure_ms).max(Timing::default().takeover_wait_ms());
        assert_eq!(claimed_at, expected, "{tenure_ms}");
    }
}

/// The record alone does not say what its primary has learned.
#[test]
fn a_shorter_tenure_counts_once_the_primary_itself_asks_for_it() {
    let record = timed(&[ME, OTHER], 9, with_tenure(500));
    let mut member = member();
    feed(&mut member, heard(3000), 1000);
    assert_eq!(claims_at(&mut member, &record, 1101), 1000 + outlasts_ms(3000));

    let mut member = standby();
    feed(&mut member, heard(3000), 1000);
    feed(&mut member, heard(500), 1100);
    assert_eq!(claims_at(&mut member, &record, 1101), 1100 + outlasts_ms(500));
}

/// What another primary was granted still counts.
#[test]
fn a_later_primary_that_asks_for_less_takes_nothing_back_from_the_one_before() {
    let mut member = member();
    feed(&mut member, heard(3000), 1000);
    feed(&mut member, Event::Heard { from: THIRD, epoch: 4, version: 2, sent_ms: 5, tenure_ms: 500 }, 1100);
    assert_eq!(member.free_ms, 1000 + outlasts_ms(3000));
}

#[test]
fn a_message_that_asks_for_nothing_or_for_more_than_a_member_grants_is_not_answered() {
    let mut member = member();
    assert_eq!(feed(&mut member, heard(Timing::TENURE_MS_MAX + 1), 1000), []);
    assert_eq!(feed(&mut member, heard(0), 1000), [], "one that does not say so counts by its own");
    assert_ne!(feed(&mut member, heard(Timing::TENURE_MS_MAX), 1000), []);
}

#[test]
fn a_longer_tenure_counts_from_the_first_message_that_asks_for_it() {
    let mut member = leader_of_a_pair(with_tenure(500));
    retime(&mut member, with_tenure(2000), 1100);
    assert_eq!(member.tenure_until(), 1060 + 500);
    answered(&mut member, 1100);
    assert_eq!(member.tenure_until(), 1100 + 500, "it may have been sent before");
    answered(&mut member, 1101);
    assert_eq!(member.tenure_until(), 1101 + 2000);
}

#[test]
fn a_shorter_tenure_counts_at_once_and_a_third_one_grants_no_more_than_was_asked_for() {
    let mut member = leader_of_a_pair(with_tenure(2000));
    assert_eq!(member.tenure_until(), 1060 + 2000);
    retime(&mut member, with_tenure(500), 1100);
    assert_eq!(member.tenure_until(), 1060 + 500);
    answered(&mut member, 1150);
    retime(&mut member, with_tenure(2000), 1200);
    assert_eq!(member.tenure_until(), 1150 + 500);
}

/// The newest answer came at the longer beacon interval that held before.
#[test]
fn a_peer_is_not_silent_by_a_rule_that_began_after_it_was_asked() {
    let slow =
        Timing { tenure_ms: 30_000, drop_after_ms: 20_000, silence_ms: 20_000, beacon_ms: 5_000, ..Timing::default() };
    let mut member = leader_of_a_pair(slow);
    assert_eq!(feed(&mut member, Event::Tick, 4_900), [Action::Read], "now and then");
    let record = member.record().cloned();
    feed(&mut member, read(record), 4_900);
    retime(&mut member, Timing::default(), 5_000);
    let drop_after_ms = Timing::default().drop_after_ms;
    assert_eq!(feed(&mut member, Event::Tick, 5_000 + drop_after_ms - 1), []);
    assert_eq!(
        feed(&mut member, Event::Tick, 5_000 + drop_after_ms),
        [Action::Read],
        "now it is, and is to leave the set"
    );
}

#[test]
fn a_member_goes_by_the_record_and_not_by_what_it_was_started_with() {
    let mut member = member();
    feed(&mut member, heard(500), 1000);
    assert_eq!(feed(&mut member, Event::Tick, 1000), [Action::Read]);
    feed(&mut member, read(timed(&[ME, OTHER], 9, Timing { silence_ms: 2000, ..Timing::default() })), 1001);
    assert_eq!(member.timing().silence_ms, 2000);
    assert_eq!(feed(&mut member, Event::Tick, 2999), [], "by its own it would suspect its primary");
    assert_eq!(feed(&mut member, Event::Tick, 3000), [Action::Read]);
}

#[test]
fn a_primary_adds_what_it_goes_by_to_a_record_that_does_not_say() {
    let mut member = member();
    feed(&mut member, Event::Tick, 1000);
    let untold = Versioned { record: ConfigRecord::first(7, ME, 1), revision: 4 };
    feed(&mut member, nothing(), 1001);
    assert_eq!(feed(&mut member, Event::NoAnswer, 1002), []);
    feed(&mut member, Event::Tick, 1060);
    assert_eq!(feed(&mut member, read(untold.clone()), 1061), [Action::Lead { epoch: 1 }]);
    let to = untold.record.renewed().timed(Timing::default());
    assert_eq!(feed(&mut member, Event::Tick, 1200), [swap(untold, to)]);
}

#[test]
fn only_a_primary_can_change_it() {
    let mut member = standby();
    assert_eq!(feed(&mut member, Event::Retime(with_tenure(2000)), 1010), []);
    assert_eq!(*member.timing(), Timing::default());
}

#[test]
fn every_value_has_a_name_and_a_bound() {
    let timing = Timing::default();
    for (name, value) in timing.named() {
        let other = timing.with(name, value + 1).expect("it is named so");
        assert_ne!(other, timing, "{name}");
        assert!(timing.with(name, u64::MAX).is_some_and(|wild| wild.validate().is_err()), "{name}");
    }
    assert_eq!(timing.with("tenure", 1), None);
}
