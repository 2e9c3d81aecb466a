//! Tests of each rule of the machine: a state, an event, and exactly the actions that follow.

use std::collections::BTreeSet;

use super::*;
use crate::record::MemberId;

const ME: Incarnation = Incarnation { member: MemberId(1), number: 1 };
const OTHER: Incarnation = Incarnation { member: MemberId(2), number: 1 };
const THIRD: Incarnation = Incarnation { member: MemberId(3), number: 1 };

const AT_ONCE: Founding = Founding { allowed: true, after_ms: 0 };

/// Written by a member with the default timing.
fn first(cluster_id: u128, who: Incarnation) -> ConfigRecord {
    ConfigRecord::first(cluster_id, who, 1).timed(Timing::default())
}

fn start(unclean: Unclean, founding: Founding) -> Start {
    Start { timing: Timing::default(), pace: Pace::default(), unclean, founding }
}

fn member() -> Election {
    Timing::default().validate().unwrap();
    Election::new(ME, 7, start(Unclean::Cold, AT_ONCE), 1000)
}

fn feed(member: &mut Election, event: Event, now: Millis) -> Vec<Action> {
    let mut out = Vec::new();
    member.on_event(event, now, &mut out);
    out
}

fn read(known: impl Into<Option<Versioned>>) -> Event {
    Event::Read(Look { record: known.into(), store: 0, others: None, is_present: true })
}

fn swap(expect: Versioned, to: ConfigRecord) -> Action {
    Action::Swap { expect: Some(expect), to }
}

/// `known` and `found` are an epoch and a version.
fn lost(lost: Lost, known: Option<(u64, u64)>, found: Option<(u64, u64)>) -> Action {
    let seen = |(epoch, version)| Seen { cluster_id: 7, epoch, version };
    Action::CoordinatorLostData { lost, known: known.map(seen), found: found.map(seen) }
}

fn nothing() -> Event {
    read(None)
}

/// A record of epoch 3, with the other member as the primary.
fn others(insync: &[Incarnation], revision: u64) -> Versioned {
    let record = ConfigRecord {
        cluster_id: 7,
        version: revision,
        store: 0,
        epoch: 3,
        primary: OTHER,
        insync: insync.iter().copied().collect(),
        level: 1,
        born: 1,
        confirm_within_ms: None,
        timing: Some(Timing::default()),
    };
    Versioned { record, revision }
}

fn leader() -> Election {
    let mut member = member();
    assert_eq!(feed(&mut member, Event::Tick, 1000), [Action::Read]);
    let first = first(7, ME);
    assert_eq!(feed(&mut member, nothing(), 1001), [Action::Swap { expect: None, to: first }]);
    assert_eq!(feed(&mut member, Event::Swapped(1), 1002), [Action::Lead { epoch: 1 }]);
    member
}

/// A primary that is to remove a peer from the set first checks whether the coordinator still
/// answers.
fn looks_and_then(member: &mut Election, now: Millis) -> Vec<Action> {
    let known = member.record().cloned();
    assert_eq!(feed(member, Event::Tick, now), [Action::Read]);
    assert_eq!(feed(member, read(known), now), []);
    feed(member, Event::Tick, now)
}

/// A member in the set of epoch 3, whose last answer left at 1000.
fn standby() -> Election {
    let mut member = member();
    let heard = Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 77, tenure_ms: 500 };
    let follow = Action::Follow { primary: OTHER, epoch: 3 };
    assert_eq!(feed(&mut member, heard, 1000), [follow, Action::Answer { epoch: 3, echo_ms: 77 }]);
    assert_eq!(feed(&mut member, Event::Tick, 1000), [Action::Read]);
    assert_eq!(feed(&mut member, read(others(&[ME, OTHER], 9)), 1001), []);
    member
}

#[test]
fn the_first_member_creates_the_record_and_leads_alone() {
    let mut member = leader();
    assert_eq!(member.leads(), Some(1));
    assert!(member.may_answer(1002) && member.may_answer(u64::MAX));
    assert_eq!(feed(&mut member, Event::Appended(5), 1003), [Action::Commit { upto: 5 }]);
}

#[test]
fn a_standby_claims_only_after_silence_and_the_whole_wait() {
    let mut member = standby();
    let read = read(others(&[ME, OTHER], 9));
    assert_eq!(feed(&mut member, Event::Tick, 1199), [], "heard a moment ago");
    assert_eq!(feed(&mut member, Event::Tick, 1200), [Action::Read]);
    assert_eq!(feed(&mut member, read.clone(), 1201), []);
    let claim_at = 1000 + Timing::default().takeover_wait_ms();
    assert_eq!(feed(&mut member, Event::Tick, claim_at - 2), [Action::Read]);
    assert_eq!(feed(&mut member, read.clone(), claim_at - 1), [], "the primary may count on the last answer");
    assert_eq!(feed(&mut member, Event::Tick, claim_at), [Action::Read]);
    let to = others(&[ME, OTHER], 9).record.promoted(ME);
    assert_eq!(feed(&mut member, read, claim_at + 1), [swap(others(&[ME, OTHER], 9), to.clone())]);
    assert_eq!((to.epoch, to.insync), (4, BTreeSet::from([ME])));
    assert_eq!(feed(&mut member, Event::Swapped(10), claim_at + 2), [Action::Lead { epoch: 4 }]);
}

#[test]
fn time_that_may_not_have_passed_is_waited_for_once_more() {
    let mut member = standby();
    let read = read(others(&[ME, OTHER], 9));
    let claim_at = 1000 + Timing::default().takeover_wait_ms();
    assert_eq!(feed(&mut member, Event::Tick, 1200), [Action::Read]);
    assert_eq!(feed(&mut member, read.clone(), 1201), []);
    assert_eq!(feed(&mut member, Event::FellBehind(60), 1300), []);
    assert_eq!(feed(&mut member, Event::FellBehind(40), 1400), []);
    assert_eq!(feed(&mut member, Event::Tick, claim_at + 1), [Action::Read]);
    assert_eq!(feed(&mut member, read.clone(), claim_at + 99), [], "the other clock has counted 100 ms less");
    assert_eq!(feed(&mut member, Event::Tick, claim_at + 100), [Action::Read]);
    let to = others(&[ME, OTHER], 9).record.promoted(ME);
    assert_eq!(feed(&mut member, read, claim_at + 100), [swap(others(&[ME, OTHER], 9), to)]);
}

#[test]
fn no_primary_is_answered_while_a_claim_may_still_happen() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    feed(&mut member, read(others(&[ME, OTHER], 9)), 1601);
    let heard = Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 500, tenure_ms: 500 };
    assert!(!member.would_answer(3));
    assert_eq!(feed(&mut member, heard.clone(), 1602), []);
    assert_eq!(feed(&mut member, Event::NoAnswer, 1700), []);
    assert_eq!(feed(&mut member, heard.clone(), 1701), [], "it may happen yet");
    // The record has changed without this member's swap: now it can't happen.
    feed(&mut member, Event::Tick, 1800);
    assert_eq!(feed(&mut member, read(others(&[OTHER], 10)), 1801), []);
    assert_eq!(feed(&mut member, heard, 1802), [Action::Answer { epoch: 3, echo_ms: 500 }]);
}

#[test]
fn a_claim_without_an_answer_is_found_in_the_record() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    let claimed = feed(&mut member, read(others(&[ME, OTHER], 9)), 1601);
    let [Action::Swap { to, .. }] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::NoAnswer, 1700);
    assert_eq!(feed(&mut member, Event::Tick, 1800), [Action::Read]);
    let found = Versioned { record: to.clone(), revision: 10 };
    assert_eq!(feed(&mut member, read(found), 1801), [Action::Lead { epoch: 4 }]);
}

#[test]
fn outside_of_the_set_nothing_is_claimed() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(feed(&mut member, read(others(&[OTHER], 9)), 9001), []);
    assert_eq!(member.leads(), None);
}

/// It holds everything acknowledged, but could not serve before it has applied it.
#[test]
fn a_peer_with_much_of_the_log_still_to_apply_does_not_join() {
    let mut member = leader();
    feed(&mut member, Event::Appended(5000), 1003);
    let answered = |applied, echo_ms| {
        let received = 5000;
        Event::Answered { from: OTHER, epoch: 1, received, applied, echo_ms, sound: true }
    };
    feed(&mut member, answered(3999, 1003), 1004);
    for at in [1110, 1220] {
        assert_eq!(feed(&mut member, Event::Tick, at), [], "it holds everything and has 1,001 to apply");
        feed(&mut member, answered(3999, at), at + 1);
    }
    feed(&mut member, answered(4000, 1221), 1222);
    assert_eq!(feed(&mut member, Event::Tick, 1330), [], "it joins");
    feed(&mut member, answered(4000, 1330), 1331);
    let swapped = feed(&mut member, Event::Tick, 1332);
    assert!(matches!(&swapped[..], [Action::Swap { to, .. }] if to.insync.contains(&OTHER)), "{swapped:?}");
}

#[test]
fn a_peer_enters_the_set_only_with_everything_committed_and_is_waited_for_from_before() {
    let mut member = leader();
    feed(&mut member, Event::Appended(5), 1003);
    let answered = |received, echo_ms| Event::Answered {
        from: OTHER,
        epoch: 1,
        received,
        applied: received,
        echo_ms,
        sound: true,
    };
    feed(&mut member, answered(3, 1003), 1004);
    assert_eq!(feed(&mut member, Event::Tick, 1110), [], "it joins, and lacks what is committed");
    assert_eq!(feed(&mut member, Event::Appended(6), 1111), [], "commits wait for it from now on");
    assert_eq!(feed(&mut member, answered(6, 1111), 1112), [Action::Commit { upto: 6 }]);
    let swapped = feed(&mut member, Event::Tick, 1113);
    assert!(
        matches!(&swapped[..], [Action::Swap { expect: Some(Versioned { revision: 1, .. }), to }] if to.insync.contains(&OTHER))
    );
    assert!(member.may_answer(1111 + 499) && !member.may_answer(1111 + 500), "its answers bound the tenure");
}

#[test]
fn a_silent_peer_is_dropped_before_anything_is_acknowledged_without_it() {
    let mut member = leader();
    let answered = Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms: 1100, sound: true };
    feed(&mut member, answered, 1101);
    feed(&mut member, Event::Tick, 1110);
    feed(&mut member, Event::Tick, 1111);
    feed(&mut member, Event::Swapped(2), 1112);
    assert_eq!(feed(&mut member, Event::Appended(1), 1113), []);
    let dropped = looks_and_then(&mut member, 1400);
    assert!(
        matches!(&dropped[..], [Action::Swap { expect: Some(Versioned { revision: 2, .. }), to }] if !to.insync.contains(&OTHER))
    );
    assert_eq!(member.committed(), Some(0), "the swap has not happened yet");
    assert!(!member.may_answer(1700));
    assert_eq!(feed(&mut member, Event::Swapped(3), 1701), [Action::Commit { upto: 1 }]);
    assert!(member.may_answer(1701));
}

/// The primary of epoch 1 with one peer in its set. No message has come from that peer since 1100.
fn leader_of_two() -> Election {
    let mut member = leader();
    let answered = Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms: 1100, sound: true };
    feed(&mut member, answered, 1101);
    feed(&mut member, Event::Tick, 1110);
    feed(&mut member, Event::Tick, 1111);
    feed(&mut member, Event::Swapped(2), 1112);
    member
}

/// The coordinator hears the primary, but the primary does not hear the coordinator. Then the
/// record must not change unseen, so that the standby, which the record names, can take over.
#[test]
fn primary_that_the_coordinator_does_not_answer_removes_no_peer_from_the_set() {
    let mut member = leader_of_two();
    for now in (1400..9000).step_by(200) {
        assert_eq!(feed(&mut member, Event::Tick, now), [Action::Read], "{now}");
        assert_eq!(feed(&mut member, Event::NoAnswer, now + 100), []);
    }
    assert!(!member.may_answer(9000));
    // The answer is as old as its question.
    let record = member.record().cloned();
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(feed(&mut member, read(record), 9050), []);
    assert!(
        matches!(&feed(&mut member, Event::Tick, 9050)[..], [Action::Swap { to, .. }] if !to.insync.contains(&OTHER))
    );
}

/// The remaining case: answers of the coordinator are lost from between the look and the swap on.
/// While that lasts no member can serve. Nothing is lost, and it is enough that either link is
/// whole again.
#[test]
fn after_a_swap_without_an_answer_no_member_may_serve_until_one_of_two_links_is_whole() {
    let cut_off = || {
        let mut member = leader_of_two();
        feed(&mut member, Event::Appended(1), 1200);
        let swapped = looks_and_then(&mut member, 1400);
        let [Action::Swap { to: alone, .. }] = &swapped[..] else { panic!("{swapped:?}") };
        feed(&mut member, Event::NoAnswer, 1500);
        for now in (1600..5000).step_by(200) {
            assert_eq!(feed(&mut member, Event::Tick, now), [Action::Read]);
            assert_eq!(feed(&mut member, Event::NoAnswer, now + 100), []);
        }
        assert!(!member.may_answer(5000), "for all that it knows another member leads");
        assert_eq!(member.committed(), Some(0));
        (member, alone.clone())
    };

    // The standby sees a record without itself: as far as it knows, the primary is alone and
    // acknowledges.
    let mut standby = standby();
    for now in (1600..5000).step_by(200) {
        assert_eq!(feed(&mut standby, Event::Tick, now), [Action::Read]);
        assert_eq!(feed(&mut standby, read(others(&[OTHER], 10)), now + 1), []);
    }
    assert_eq!(standby.leads(), None);

    let (mut member, alone) = cut_off();
    feed(&mut member, Event::Tick, 5000);
    let shown = Versioned { record: alone.clone(), revision: 3 };
    assert_eq!(feed(&mut member, read(shown), 5001), [Action::Commit { upto: 1 }], "the coordinator answers");
    assert!(member.may_answer(5001));

    let (mut member, _) = cut_off();
    let answered = Event::Answered { from: OTHER, epoch: 1, received: 1, applied: 1, echo_ms: 5000, sound: true };
    assert_eq!(feed(&mut member, answered, 5001), [Action::Commit { upto: 1 }], "its peer does");
    assert!(member.may_answer(5001));
}

#[test]
fn a_later_epoch_deposes() {
    let mut member = leader();
    assert_eq!(
        feed(&mut member, Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 0, tenure_ms: 500 }, 1500),
        []
    );
    assert_eq!(feed(&mut member, Event::Tick, 1500), [Action::Read]);
    let expected = [Action::Depose { epoch: 1, by: 3 }, Action::Follow { primary: OTHER, epoch: 3 }];
    assert_eq!(feed(&mut member, read(others(&[OTHER], 9)), 1501), expected);
    assert!(!member.may_answer(1501));
}

#[test]
fn a_coordinator_that_lost_its_data_is_not_believed() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    assert_eq!(feed(&mut member, nothing(), 1601), [lost(Lost::Gone, Some((3, 9)), None)]);
    assert_eq!((member.leads(), member.lost()), (None, Some(Lost::Gone)));
    feed(&mut member, Event::Tick, 1700);
    let older = [lost(Lost::RolledBack, Some((3, 9)), Some((3, 8)))];
    assert_eq!(feed(&mut member, read(others(&[ME, OTHER], 8)), 1701), older, "it would be its turn by that record");
    feed(&mut member, Event::Tick, 1800);
    assert!(matches!(feed(&mut member, read(others(&[ME, OTHER], 9)), 1801)[..], [Action::Swap { .. }]));
    assert_eq!(member.lost(), None);
}

#[test]
fn a_primary_that_resigns_answers_no_more_and_its_heir_need_not_wait() {
    let mut old = leader();
    assert_eq!(feed(&mut old, Event::Resign, 2000), [Action::Depose { epoch: 1, by: 1 }]);
    assert!(!old.may_answer(2000) && old.leads().is_none());
    assert_eq!(feed(&mut old, Event::Resign, 2001), [], "once");

    let mut heir = standby();
    assert_eq!(feed(&mut heir, Event::Resigned { from: THIRD, epoch: 3 }, 1005), [], "it follows another one");
    assert_eq!(feed(&mut heir, Event::Resigned { from: OTHER, epoch: 3 }, 1010), [Action::Read], "at once");
    let claimed = feed(&mut heir, read(others(&[ME, OTHER], 9)), 1061);
    assert!(
        matches!(&claimed[..], [Action::Swap { expect: Some(Versioned { revision: 9, .. }), to }] if to.epoch == 4)
    );
}

#[test]
fn record_of_its_own_epoch_that_names_another_primary_is_not_taken_for_its_own() {
    let mut member = leader();
    assert_eq!(feed(&mut member, Event::Tick, 3000), [Action::Read]);
    let known = others(&[OTHER], 9);
    let forged = Versioned { record: ConfigRecord { epoch: 1, ..known.record }, ..known };
    let told = feed(&mut member, read(forged.clone()), 3001);
    let [found, Action::Restores { epoch: 2 }, Action::Swap { expect, to }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*found, lost(Lost::RolledBack, Some((1, 1)), Some((1, 9))));
    assert_eq!((expect.as_ref(), to.primary, to.version), (Some(&forged), ME, 10));
    assert_eq!(member.record().map(|known| known.record.primary), Some(ME));
}

#[test]
fn a_resigned_primary_claims_again_when_no_other_member_does() {
    let mut old = leader();
    feed(&mut old, Event::Resign, 2000);
    assert_eq!(feed(&mut old, Event::Tick, 2000), [Action::Read]);
    let record = first(7, ME);
    let known = Versioned { record: first(7, ME), revision: 1 };
    let read = || read(known.clone());
    assert_eq!(feed(&mut old, read(), 2001), [], "its own last answers may be on their way");
    let claim_at = 2000 + Timing::default().takeover_wait_ms();
    assert_eq!(feed(&mut old, Event::Tick, claim_at), [Action::Read]);
    let claimed = feed(&mut old, read(), claim_at);
    assert_eq!(claimed, [swap(known.clone(), record.promoted(ME))]);
}

#[test]
fn a_proven_death_is_not_waited_for_and_silence_is() {
    let mut member = standby();
    assert_eq!(feed(&mut member, Event::StreamBroken { from: OTHER, epoch: 3 }, 1010), []);
    assert_eq!(feed(&mut member, Event::Tick, 1060), [Action::Read]);
    assert_eq!(feed(&mut member, read(others(&[ME, OTHER], 9)), 1061), []);
    assert_eq!(feed(&mut member, Event::ProvenDead(OTHER), 1070), []);
    assert_eq!(feed(&mut member, Event::Tick, 1070), [Action::Read]);
    let claimed = feed(&mut member, read(others(&[ME, OTHER], 9)), 1071);
    assert!(
        matches!(&claimed[..], [Action::Swap { expect: Some(Versioned { revision: 9, .. }), to }] if to.epoch == 4 && to.born == 1)
    );
}

#[test]
fn what_breaks_or_is_heard_elsewhere_is_no_reason_to_doubt_the_primary() {
    let mut member = standby();
    for event in [
        Event::StreamBroken { from: THIRD, epoch: 3 },
        Event::StreamBroken { from: OTHER, epoch: 2 },
        Event::LaterEpoch { from: THIRD, epoch: 3 },
    ] {
        assert_eq!(feed(&mut member, event, 1010), []);
        assert_eq!(feed(&mut member, Event::Tick, 1060), []);
    }
    feed(&mut member, Event::LaterEpoch { from: THIRD, epoch: 4 }, 1060);
    assert_eq!(feed(&mut member, Event::Tick, 1060), [Action::Read]);
}

#[test]
fn a_proof_of_death_is_taken_back_when_that_incarnation_is_heard() {
    let mut member = standby();
    feed(&mut member, Event::ProvenDead(OTHER), 1010);
    let heard = Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 90, tenure_ms: 500 };
    assert_eq!(feed(&mut member, heard, 1020), [Action::Answer { epoch: 3, echo_ms: 90 }], "it lives");
    feed(&mut member, Event::StreamBroken { from: OTHER, epoch: 3 }, 1030);
    assert_eq!(feed(&mut member, Event::Tick, 1060), [Action::Read]);
    let read = || read(others(&[ME, OTHER], 9));
    assert_eq!(feed(&mut member, read(), 1061), [], "it counts on that answer, so it is waited for");
    feed(&mut member, Event::ProvenDead(OTHER), 1070);
    assert_eq!(feed(&mut member, Event::Tick, 1070), [Action::Read]);
    let claimed = feed(&mut member, read(), 1071);
    assert!(matches!(&claimed[..], [Action::Swap { .. }]), "proven once more: {claimed:?}");
}

#[test]
fn member_outside_the_set_begins_with_nothing_and_only_when_all_in_it_have_ended() {
    let third = Incarnation { member: MemberId(3), number: 1 };
    let record = || read(others(&[OTHER, third], 9));
    let mut member = standby();
    feed(&mut member, Event::Tick, 9000);
    feed(&mut member, Event::ProvenDead(OTHER), 9000);
    assert_eq!(feed(&mut member, record(), 9001), [], "the third may be back");
    feed(&mut member, Event::Tick, 9100);
    feed(&mut member, Event::ProvenDead(third), 9100);
    let claimed = feed(&mut member, record(), 9101);
    assert!(
        matches!(&claimed[..], [Action::Swap { expect: Some(Versioned { revision: 9, .. }), to }] if (to.epoch, to.born) == (4, 4))
    );
    feed(&mut member, Event::Received(77), 9101);
    assert_eq!(feed(&mut member, Event::Swapped(10), 9102), [Action::Lead { epoch: 4 }]);
    assert_eq!((member.committed(), member.born()), (Some(0), 4));
    feed(&mut member, Event::Resign, 9103);
    assert_eq!(member.born(), 4, "whatever it is next: what it held then is not to be counted");

    let mut patient = Election::new(ME, 7, start(Unclean::Wait, AT_ONCE), 1000);
    feed(&mut patient, Event::Tick, 1000);
    feed(&mut patient, Event::ProvenDead(OTHER), 1000);
    let followed = feed(&mut patient, read(others(&[OTHER], 9)), 1001);
    assert_eq!(followed, [Action::Follow { primary: OTHER, epoch: 3 }]);
    assert_eq!(patient.leads(), None);
}

#[test]
fn a_peer_that_holds_commits_up_for_too_long_leaves_the_set_and_stays_out_for_a_while() {
    let mut member = leader();
    let answered = |received, echo_ms| Event::Answered {
        from: OTHER,
        epoch: 1,
        received,
        applied: received,
        echo_ms,
        sound: true,
    };
    feed(&mut member, answered(0, 1100), 1101);
    feed(&mut member, Event::Tick, 1110);
    feed(&mut member, Event::Tick, 1111);
    feed(&mut member, Event::Swapped(2), 1112);
    feed(&mut member, Event::Appended(5), 1150);
    let mut now = 1200;
    let dropped = loop {
        feed(&mut member, answered(4, now), now);
        let actions = feed(&mut member, Event::Tick, now);
        if actions == [Action::Read] {
            let same = member.record().cloned();
            feed(&mut member, read(same), now);
        } else if !actions.is_empty() {
            break actions;
        }
        now += 50;
    };
    assert!((2100..=2500).contains(&now), "after lag_ms_max: {now}");
    assert!(matches!(&dropped[..], [Action::Swap { to, .. }] if !to.insync.contains(&OTHER)));
    assert_eq!(feed(&mut member, Event::Swapped(3), now), [Action::Commit { upto: 5 }]);
    feed(&mut member, answered(5, now + 50), now + 50);
    assert_eq!(feed(&mut member, Event::Tick, now + 50), []);
    assert_eq!(feed(&mut member, Event::Appended(6), now + 60), [Action::Commit { upto: 6 }], "it is not waited for");
}

#[test]
fn a_peer_whose_stream_broke_is_dropped_sooner_unless_it_speaks_again() {
    let answered = |echo_ms| Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms, sound: true };
    let in_sync = || {
        let mut member = leader();
        feed(&mut member, answered(1100), 1101);
        feed(&mut member, Event::Tick, 1110);
        feed(&mut member, Event::Tick, 1111);
        feed(&mut member, Event::Swapped(2), 1112);
        feed(&mut member, Event::PeerGone { who: OTHER, epoch: 1 }, 1120);
        member
    };
    let mut member = in_sync();
    assert_eq!(feed(&mut member, Event::Tick, 1219), []);
    let dropped = looks_and_then(&mut member, 1220);
    assert!(matches!(&dropped[..], [Action::Swap { to, .. }] if !to.insync.contains(&OTHER)));

    let mut member = in_sync();
    feed(&mut member, answered(1200), 1201);
    assert_eq!(feed(&mut member, Event::Tick, 1300), []);
}

#[test]
fn a_standby_that_is_about_to_end_neither_answers_nor_claims() {
    let mut member = standby();
    feed(&mut member, Event::Retire, 1002);
    assert!(!member.would_answer(3));
    assert_eq!(
        feed(&mut member, Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 90, tenure_ms: 500 }, 1010),
        []
    );
    for event in [Event::StreamBroken { from: OTHER, epoch: 3 }, Event::ProvenDead(OTHER), Event::Hint] {
        assert_eq!(feed(&mut member, event, 9000), []);
    }
    assert_eq!(feed(&mut member, Event::Resigned { from: OTHER, epoch: 3 }, 9000), [Action::Read]);
    assert_eq!(feed(&mut member, read(others(&[ME, OTHER], 9)), 9001), []);
}

#[test]
fn a_primary_that_is_about_to_end_leads_on_and_never_again() {
    let mut primary = leader();
    feed(&mut primary, Event::Retire, 2000);
    assert!(primary.may_answer(2001), "somebody must");
    feed(&mut primary, Event::Resign, 2100);
    let mine = Versioned { record: first(7, ME).with(OTHER), revision: 2 };
    for now in (2100..9000).step_by(50) {
        feed(&mut primary, Event::Tick, now);
        assert_eq!(feed(&mut primary, read(mine.clone()), now), []);
    }
}

#[test]
fn a_claim_that_was_under_way_is_decided_before_the_end() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    let claimed = feed(&mut member, read(others(&[ME, OTHER], 9)), 1601);
    let [Action::Swap { to, .. }] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::Retire, 1602);
    feed(&mut member, Event::NoAnswer, 1700);
    assert_eq!(feed(&mut member, Event::Tick, 1800), [Action::Read]);
    let found = Versioned { record: to.clone(), revision: 10 };
    assert_eq!(feed(&mut member, read(found), 1801), [Action::Lead { epoch: 4 }]);
}

#[test]
fn a_member_whose_state_is_not_sound_claims_nothing_until_it_is() {
    let mut member = standby();
    let read = read(others(&[ME, OTHER], 9));
    assert_eq!(feed(&mut member, Event::Sound(false), 1100), []);
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(feed(&mut member, read.clone(), 9001), []);
    assert_eq!(feed(&mut member, Event::Sound(true), 9002), []);
    feed(&mut member, Event::Tick, 9100);
    let to = others(&[ME, OTHER], 9).record.promoted(ME);
    assert_eq!(feed(&mut member, read, 9101), [swap(others(&[ME, OTHER], 9), to)]);
}

#[test]
fn a_peer_that_is_not_sound_leaves_the_set_and_is_let_in_again_when_it_is() {
    let mut member = leader();
    let answered = |echo_ms, sound| Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms, sound };
    feed(&mut member, answered(1100, true), 1101);
    feed(&mut member, Event::Tick, 1102);
    let first = first(7, ME);
    let both = first.with(OTHER);
    let known = |record: &ConfigRecord, revision| Versioned { record: record.clone(), revision };
    assert_eq!(feed(&mut member, Event::Tick, 1103), [swap(known(&first, 1), both.clone())]);
    feed(&mut member, Event::Swapped(2), 1104);
    feed(&mut member, answered(1105, false), 1106);
    let alone = both.without(OTHER);
    assert_eq!(looks_and_then(&mut member, 1107), [swap(known(&both, 2), alone.clone())]);
    feed(&mut member, Event::Swapped(3), 1108);
    feed(&mut member, Event::Tick, 1109);
    assert_eq!(feed(&mut member, Event::Tick, 1110), [], "it says that it is not");
    feed(&mut member, answered(1111, true), 1112);
    feed(&mut member, Event::Tick, 1113);
    assert_eq!(feed(&mut member, Event::Tick, 1114), [swap(known(&alone, 3), alone.with(OTHER))]);
}

#[test]
fn a_peer_that_is_about_to_leave_the_set_may_not_succeed() {
    let mut member = leader();
    assert!(!member.may_succeed(OTHER) && !member.may_succeed(ME));
    let answered = |echo_ms, sound| Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms, sound };
    feed(&mut member, answered(1100, true), 1101);
    feed(&mut member, Event::Tick, 1102);
    feed(&mut member, Event::Tick, 1103);
    assert!(!member.may_succeed(OTHER), "it is only proposed");
    feed(&mut member, Event::Swapped(2), 1104);
    assert!(member.may_succeed(OTHER));
    feed(&mut member, answered(1105, false), 1106);
    assert!(!member.may_succeed(OTHER), "it will be taken out");
    assert!(matches!(&looks_and_then(&mut member, 1107)[..], [Action::Swap { .. }]));
    feed(&mut member, answered(1108, true), 1109);
    assert!(!member.may_succeed(OTHER), "it may be out by now");
    feed(&mut member, Event::Swapped(3), 1110);
    assert!(!member.may_succeed(OTHER));
}

#[test]
fn a_primary_finds_out_by_itself_that_another_one_leads() {
    let mut member = leader();
    assert_eq!(feed(&mut member, Event::Tick, 1500), [], "it has looked a moment ago");
    let look_at = 1000 + Pace::default().look_every_ms;
    assert_eq!(feed(&mut member, Event::Tick, look_at), [Action::Read]);
    let found = read(others(&[OTHER], 9));
    let depose = Action::Depose { epoch: 1, by: 3 };
    assert_eq!(
        feed(&mut member, found, look_at + 1),
        [depose, Action::Follow { primary: OTHER, epoch: 3 }],
        "an operator may have declared it dead"
    );
}

#[test]
fn a_primary_whose_record_is_gone_writes_it_again_under_a_later_epoch() {
    let mut member = leader();
    feed(&mut member, Event::Appended(5), 1050);
    feed(&mut member, Event::Hint, 1100);
    assert_eq!(feed(&mut member, Event::Tick, 1100), [Action::Read]);
    let first = first(7, ME);
    let again = ConfigRecord { epoch: 2, version: 2, ..first };
    let restores = [
        lost(Lost::Gone, Some((1, 1)), None),
        Action::Restores { epoch: 2 },
        Action::Swap { expect: None, to: again.clone() },
    ];
    assert_eq!(feed(&mut member, nothing(), 1101), restores);
    assert!(member.may_answer(1102), "nothing has changed yet");
    assert_eq!(feed(&mut member, Event::NoAnswer, 1200), []);
    feed(&mut member, Event::Tick, 1250);
    let leads = [Action::Depose { epoch: 1, by: 2 }, Action::Lead { epoch: 2 }];
    assert_eq!(feed(&mut member, read(Versioned { record: again, revision: 4 }), 1251), leads);
    assert_eq!((member.committed(), member.lost()), (Some(5), None));
}

#[test]
fn a_primary_of_a_pair_writes_its_record_again_only_while_the_other_one_has_just_answered() {
    let paired = || {
        let mut member = leader();
        let answered =
            |echo_ms| Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms, sound: true };
        feed(&mut member, answered(1100), 1101);
        feed(&mut member, Event::Tick, 1102);
        assert!(matches!(feed(&mut member, Event::Tick, 1103)[..], [Action::Swap { .. }]));
        feed(&mut member, Event::Swapped(2), 1104);
        (member, answered)
    };
    let older = Versioned { record: first(7, ME), revision: 9 };
    let looks = |member: &mut Election, now| {
        feed(member, Event::Hint, now);
        if matches!(feed(member, Event::Tick, now)[..], [Action::Swap { .. }]) {
            // The silent peer is due to leave the set. The record is not the one that this swap
            // compares with.
            feed(member, Event::SwapRefused, now);
            assert_eq!(feed(member, Event::Tick, now), [Action::Read]);
        }
        feed(member, read(older.clone()), now)
    };
    let (mut member, answered) = paired();
    let only_said = [lost(Lost::RolledBack, Some((1, 2)), Some((1, 1)))];
    assert_eq!(looks(&mut member, 1150), only_said, "the other one may not know this version: it could claim");
    feed(&mut member, answered(1140), 1151);
    let again = ConfigRecord { epoch: 2, version: 3, ..older.record.clone() };
    let restores = [only_said[0].clone(), Action::Restores { epoch: 2 }, swap(older.clone(), again)];
    assert_eq!(looks(&mut member, 1200), restores);

    let (mut member, answered) = paired();
    feed(&mut member, answered(1140), 1151);
    assert_eq!(looks(&mut member, 1140 + 500), only_said, "its tenure is over: the other one may have claimed");
    assert_eq!(feed(&mut member, Event::Tick, 1700), [Action::Read], "and it proposes nothing on an older record");
}

#[test]
fn a_primary_makes_way_by_an_older_record_only_for_a_member_that_it_waits_for() {
    let mut member = leader();
    feed(
        &mut member,
        Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms: 1100, sound: true },
        1101,
    );
    feed(&mut member, Event::Tick, 1102);
    feed(&mut member, Event::Tick, 1103);
    feed(&mut member, Event::Swapped(2), 1104);
    let first = first(7, ME);
    let claimed = |who| Versioned { record: first.with(who).promoted(who), revision: 30 };
    let stale = Versioned { record: ConfigRecord { version: 2, ..claimed(THIRD).record }, revision: 30 };
    feed(&mut member, Event::Hint, 1150);
    feed(&mut member, Event::Tick, 1150);
    let said = [lost(Lost::RolledBack, Some((1, 2)), Some((2, 2)))];
    assert_eq!(feed(&mut member, read(stale), 1151), said);
    feed(&mut member, Event::Tick, 1250);
    let heir = Versioned { record: ConfigRecord { version: 2, ..claimed(OTHER).record }, revision: 30 };
    let deposed = [Action::Depose { epoch: 1, by: 2 }, Action::Follow { primary: OTHER, epoch: 2 }];
    assert_eq!(feed(&mut member, read(heir), 1251), deposed);
}

#[test]
fn of_two_clusters_neither_yields() {
    let mut member = leader();
    feed(&mut member, Event::Hint, 1100);
    feed(&mut member, Event::Tick, 1100);
    let other = Versioned { record: first(8, OTHER).promoted(OTHER), revision: 40 };
    let found = Some(Seen { cluster_id: 8, epoch: 2, version: 2 });
    let said = Action::CoordinatorLostData { lost: Lost::AnotherCluster, known: member.seen(), found };
    assert_eq!(feed(&mut member, read(other), 1101), [said]);
    assert_eq!((member.leads(), member.lost()), (Some(1), Some(Lost::AnotherCluster)));
}

#[test]
fn a_bound_primary_without_answers_does_not_write_its_record_again_and_still_announces_itself() {
    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    let claimed = look(&mut member, &bound(&[ME, OTHER], 9), 1000, 1600);
    let [(Action::Swap { to, .. }, _)] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::Swapped(10), 1600);
    assert_eq!(feed(&mut member, Event::Tick, 2600), [Action::Read]);
    feed(&mut member, read(Versioned { record: to.with(OTHER), revision: 11 }), 2601);
    for now in (3650..9000).step_by(50) {
        match &feed(&mut member, Event::Tick, now)[..] {
            [Action::Read] => {
                let said = feed(&mut member, nothing(), now);
                assert!(matches!(said[..], [Action::CoordinatorLostData { .. }]), "{said:?}");
            }
            [Action::Swap { .. }] => drop(feed(&mut member, Event::SwapRefused, now)),
            other => assert!(other.is_empty(), "{other:?}"),
        }
    }
    assert_eq!((member.leads(), member.may_answer(9000)), (Some(4), false));
}

#[test]
fn a_new_member_creates_no_record_while_another_one_that_is_here_holds_something() {
    let mut member = member();
    feed(&mut member, Event::Tick, 1000);
    let survivor = Event::Read(Look {
        others: Some(Seen { cluster_id: 7, epoch: 7, version: 1 }),
        is_present: true,
        ..Look::default()
    });
    assert_eq!(feed(&mut member, survivor, 1001), [lost(Lost::Gone, None, None)]);
    assert_eq!(feed(&mut member, Event::Tick, 1100), [Action::Read]);
    assert!(matches!(feed(&mut member, nothing(), 1101)[..], [Action::Swap { expect: None, .. }]), "it has left");
}

#[test]
fn a_record_is_created_only_after_a_while_in_which_nothing_was_there_each_time() {
    const PATIENT: Founding = Founding { allowed: true, after_ms: 2000 };
    let start = |founding| Election::new(ME, 7, start(Unclean::Cold, founding), 1000);
    let looks = |member: &mut Election, from: Millis, upto: Millis| {
        for now in (from..upto).step_by(50) {
            assert_eq!(feed(member, Event::Tick, now), [Action::Read]);
            assert_eq!(feed(member, nothing(), now), []);
        }
    };
    let mut member = start(PATIENT);
    looks(&mut member, 1000, 3000);
    feed(&mut member, Event::Tick, 3000);
    assert!(matches!(feed(&mut member, nothing(), 3000)[..], [Action::Swap { expect: None, .. }]));

    let mut unsure = start(PATIENT);
    looks(&mut unsure, 1000, 2900);
    feed(&mut unsure, Event::Tick, 2950);
    feed(&mut unsure, Event::NoAnswer, 2951);
    looks(&mut unsure, 3100, 5000);

    // The store has forgotten this member, so it may have forgotten others, too.
    let mut forgotten = start(PATIENT);
    looks(&mut forgotten, 1000, 2900);
    feed(&mut forgotten, Event::Tick, 2950);
    assert_eq!(feed(&mut forgotten, Event::Read(Look::default()), 2950), []);
    looks(&mut forgotten, 3000, 4900);

    let mut stalled = start(PATIENT);
    looks(&mut stalled, 1000, 2900);
    looks(&mut stalled, 3500, 5400);

    let mut never = start(Founding { allowed: false, after_ms: 0 });
    looks(&mut never, 1000, 99_000);
}

#[test]
fn with_nothing_an_epoch_is_begun_only_after_a_while_in_which_no_member_was_seen_that_holds_more() {
    let founding = Founding { allowed: false, after_ms: 2000 };
    let mut member = Election::new(ME, 7, start(Unclean::Cold, founding), 1000);
    feed(&mut member, Event::Tick, 1000);
    feed(&mut member, read(others(&[OTHER], 9)), 1001);
    feed(&mut member, Event::ProvenDead(OTHER), 1002);
    let more =
        Look { others: Some(Seen { cluster_id: 7, epoch: 3, version: 10 }), is_present: true, ..Look::default() };
    let survivor = Event::Read(Look { record: Some(others(&[OTHER], 9)), ..more });
    for now in (1100..2950).step_by(50) {
        assert_eq!(feed(&mut member, Event::Tick, now), [Action::Read]);
        assert_eq!(feed(&mut member, read(others(&[OTHER], 9)), now), []);
    }
    feed(&mut member, Event::Tick, 3000);
    let said = lost(Lost::RolledBack, Some((3, 9)), Some((3, 9)));
    assert_eq!(feed(&mut member, survivor, 3000), [said], "this is no record of a cluster that has lost all");
    feed(&mut member, Event::Tick, 3050);
    assert!(
        matches!(&feed(&mut member, read(others(&[OTHER], 9)), 3050)[..], [Action::Swap { to, .. }] if to.born == 4)
    );
}

#[test]
fn a_primary_that_resigns_to_end_claims_nothing_any_more() {
    let mut member = leader();
    feed(&mut member, Event::Resign, 1100);
    feed(&mut member, Event::Retire, 1100);
    let mine = Versioned { record: first(7, ME).with(OTHER), revision: 2 };
    for now in (1100..9000).step_by(50) {
        assert_eq!(feed(&mut member, Event::Tick, now), [Action::Read], "it looks who leads");
        assert_eq!(feed(&mut member, read(mine.clone()), now), []);
    }
    assert!(!member.claims() && !member.would_answer(1));
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(feed(&mut member, read(others(&[OTHER], 9)), 9001), [Action::Follow { primary: OTHER, epoch: 3 }]);
}

#[test]
fn a_peer_that_falls_silent_again_and_again_is_not_let_in_at_once() {
    let mut member = leader();
    let answered = |echo_ms| Event::Answered { from: OTHER, epoch: 1, received: 0, applied: 0, echo_ms, sound: true };
    let (mut revision, mut now) = (1, 2000);
    let mut let_in = Vec::new();
    for _ in 0..2 {
        let spoke = now;
        while member.record().is_some_and(|known| known.record.insync.len() == 1) {
            feed(&mut member, answered(now), now);
            settle(&mut member, now, &mut revision);
            now += 10;
        }
        let_in.push(now - spoke);
        while member.record().is_some_and(|known| known.record.insync.len() == 2) {
            settle(&mut member, now, &mut revision);
            now += 10;
        }
    }
    let spoke = now;
    while member.record().is_some_and(|known| known.record.insync.len() == 1) {
        feed(&mut member, answered(now), now);
        settle(&mut member, now, &mut revision);
        now += 10;
    }
    assert!(let_in[1] < 100, "after the first silence at once: {let_in:?}");
    assert!(now - spoke > Timing::default().slow_pause_ms - 500, "{}", now - spoke);
}

/// A tick; then every request to the coordinator is answered.
fn settle(member: &mut Election, now: Millis, revision: &mut u64) {
    for action in feed(member, Event::Tick, now) {
        match action {
            Action::Swap { .. } => {
                *revision += 1;
                feed(member, Event::Swapped(*revision), now);
            }
            Action::Read => {
                let same = member.record().cloned();
                feed(member, read(same), now);
            }
            _ => {}
        }
    }
}

#[test]
fn a_receipt_that_is_quicker_than_the_append_commits_at_the_append() {
    let mut member = leader();
    let answered = |received, echo_ms| Event::Answered {
        from: OTHER,
        epoch: 1,
        received,
        applied: received,
        echo_ms,
        sound: true,
    };
    feed(&mut member, answered(0, 1100), 1101);
    feed(&mut member, Event::Tick, 1102);
    feed(&mut member, Event::Tick, 1103);
    feed(&mut member, Event::Swapped(2), 1104);
    assert_eq!(feed(&mut member, answered(5, 1110), 1111), []);
    assert_eq!(feed(&mut member, Event::Appended(4), 1112), [Action::Commit { upto: 4 }]);
    assert_eq!(feed(&mut member, Event::Appended(6), 1113), [Action::Commit { upto: 5 }]);
}

#[test]
fn what_a_peer_lacks_is_kept_from_when_it_is_proposed() {
    let mut member = leader();
    let answered = |received, echo_ms| Event::Answered {
        from: OTHER,
        epoch: 1,
        received,
        applied: received,
        echo_ms,
        sound: true,
    };
    feed(&mut member, answered(0, 1100), 1101);
    feed(&mut member, Event::Tick, 1102);
    feed(&mut member, Event::Appended(7), 1103);
    assert_eq!(member.needed_seq(), None, "it joins, and finds what there is");
    feed(&mut member, answered(4, 1104), 1105);
    assert!(matches!(&feed(&mut member, Event::Tick, 1106)[..], [Action::Swap { .. }]));
    assert_eq!(member.needed_seq(), Some(5));
    feed(&mut member, Event::NoAnswer, 1107);
    assert_eq!(member.needed_seq(), Some(5), "it may be in the set by now");
}

const COLD_AFTER: Unclean = Unclean::ColdAfter { after_ms: 12_000, confirm_within_ms: 5000 };

/// As [`others`], of epoch 3, but its primary is bound.
fn bound(insync: &[Incarnation], revision: u64) -> Versioned {
    let Versioned { record, .. } = others(insync, revision);
    Versioned { record: record.confirmed_within(Some(5000)), revision }
}

#[test]
fn a_bound_primary_answers_only_for_so_long_after_it_asked_and_still_led() {
    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    feed(&mut member, Event::Tick, 1000);
    let first = first(7, ME).confirmed_within(Some(5000));
    assert_eq!(feed(&mut member, nothing(), 1001), [Action::Swap { expect: None, to: first.clone() }]);
    feed(&mut member, Event::Swapped(1), 1200);
    assert!(member.may_answer(1001 + 4999) && !member.may_answer(1001 + 5000), "from the question, not the answer");
    assert_eq!(feed(&mut member, Event::Tick, 2000), [Action::Read]);
    feed(&mut member, Event::NoAnswer, 3000);
    assert_eq!(member.tenure_until(), 1001 + 5000, "no answer is no confirmation");
    assert_eq!(feed(&mut member, Event::Tick, 7000), [Action::Read]);
    assert!(!member.may_answer(7001));
    feed(&mut member, read(Versioned { record: first, revision: 1 }), 7300);
    assert_eq!((member.leads(), member.tenure_until()), (Some(1), 7000 + 5000), "it led all the time, and goes on");
}

/// Reads every 50 ms, in `from..upto`, and is shown `known`, in which no member leads. Returns what
/// it asked for except reads, and when.
fn look(member: &mut Election, known: &Versioned, from: Millis, upto: Millis) -> Vec<(Action, Millis)> {
    let mut asked = Vec::new();
    for now in (from..upto).step_by(50) {
        for action in feed(member, Event::Tick, now) {
            assert_eq!(action, Action::Read, "at {now}");
            feed(member, Event::NobodyAnnounced, now);
            let then = feed(member, read(known.clone()), now);
            asked
                .extend(then.into_iter().filter(|action| !matches!(action, Action::Follow { .. })).map(|to| (to, now)));
        }
    }
    asked
}

#[test]
fn a_member_begins_with_nothing_when_none_has_led_for_long_and_no_answer_can_go_out_any_more() {
    let known = bound(&[OTHER], 9);
    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    let asked = look(&mut member, &known, 1000, 13_050);
    let to = known.record.reborn(ME).confirmed_within(Some(5000));
    assert_eq!(asked, [(swap(known.clone(), to.clone()), 13_000)]);
    assert_eq!(feed(&mut member, Event::Swapped(10), 13_100), [], "the old one may have been confirmed right before");
    let won = read(Versioned { record: to, revision: 10 });
    let over = 13_100 + outlasts_ms(5000);
    assert_eq!(feed(&mut member, Event::Tick, over - 52), [Action::Read]);
    assert_eq!(feed(&mut member, won.clone(), over - 51), [], "it may answer yet");
    assert_eq!(feed(&mut member, Event::Tick, over), [Action::Read]);
    assert_eq!(feed(&mut member, won, over + 1), [Action::Lead { epoch: 4 }]);
    assert_eq!((member.born(), member.tenure_until()), (4, over + 5000));
}

#[test]
fn time_in_which_a_primary_was_or_could_not_be_seen_does_not_count() {
    let known = bound(&[OTHER], 9);
    let start = || {
        let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
        assert_eq!(look(&mut member, &known, 1000, 12_000), []);
        member
    };
    let mut member = start();
    feed(&mut member, Event::Tick, 12_000);
    feed(&mut member, Event::Announced { epoch: 3 }, 12_001);
    feed(&mut member, read(known.clone()), 12_001);
    assert_eq!(look(&mut member, &known, 12_100, 24_000), [], "somebody led");

    let mut member = start();
    feed(&mut member, Event::Tick, 12_000);
    feed(&mut member, Event::NoAnswer, 14_900);
    assert_eq!(look(&mut member, &known, 15_000, 26_000), [], "the coordinator was away");

    let mut member = start();
    feed(&mut member, Event::Tick, 12_000);
    feed(&mut member, Event::NoAnswer, 12_100);
    assert_eq!(look(&mut member, &known, 12_150, 13_050).len(), 1, "a look that fails is soon made again");

    let mut member = start();
    let changed = bound(&[OTHER], 10);
    assert_eq!(look(&mut member, &changed, 12_000, 23_950), [], "another member has changed the record");

    let mut member = start();
    assert_eq!(look(&mut member, &known, 16_000, 27_000), [], "this member stood still");

    let mut member = start();
    feed(&mut member, Event::Heard { from: OTHER, epoch: 3, version: 1, sent_ms: 1, tenure_ms: 500 }, 12_001);
    assert_eq!(look(&mut member, &known, 12_500, 24_000), [], "the primary lives");

    let mut member = start();
    assert_eq!(look(&mut member, &others(&[OTHER], 9), 12_000, 60_000), [], "the primary of this record is not bound");
    assert_eq!(member.leads(), None);
}

#[test]
fn successor_of_a_member_that_began_anew_and_may_not_have_led_waits_as_long() {
    let won = |insync: &[Incarnation]| {
        let Versioned { record, .. } = bound(&[THIRD], 9);
        let reborn = record.reborn(OTHER);
        Versioned { record: ConfigRecord { insync: insync.iter().copied().collect(), ..reborn }, revision: 10 }
    };
    for (insync, unclean, waits_ms, bound_ms) in [
        // It may have ended before it led. Then the primary before it may still answer, and this
        // member may end, too.
        (&[OTHER][..], Unclean::Cold, 5000 + 250 + 20, Some(5000)),
        (&[OTHER], Unclean::ColdAfter { after_ms: 12_000, confirm_within_ms: 2000 }, 5000 + 250 + 20, Some(5000)),
        (&[OTHER], Unclean::ColdAfter { after_ms: 20_000, confirm_within_ms: 9000 }, 5000 + 250 + 20, Some(9000)),
        // It has led, since no other member joins before that.
        (&[OTHER, THIRD], Unclean::Cold, 0, None),
    ] {
        let mut member = Election::new(ME, 7, start(unclean, AT_ONCE), 1000);
        for who in insync {
            feed(&mut member, Event::ProvenDead(*who), 1000);
        }
        let claims = look(&mut member, &won(insync), 1000, 1050);
        let to = won(insync).record.reborn(ME).confirmed_within(bound_ms);
        assert_eq!(claims, [(swap(won(insync), to.clone()), 1000)]);
        feed(&mut member, Event::Swapped(11), 2000);
        let known = Versioned { record: to, revision: 11 };
        assert_eq!(look(&mut member, &known, 2050, 2000 + waits_ms), [], "{insync:?}");
        let led = if waits_ms == 0 { Some(5) } else { None };
        assert_eq!(member.leads(), led, "{insync:?}");
        look(&mut member, &known, 2050 + waits_ms, 2100 + waits_ms);
        assert_eq!(member.leads(), Some(5), "{insync:?}");
    }
}

#[test]
fn a_bound_primary_that_is_not_confirmed_makes_way_for_the_others_of_its_set() {
    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    let known = bound(&[ME, OTHER], 9);
    let claimed = look(&mut member, &known, 1000, 1600);
    let [(Action::Swap { to, .. }, _)] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::Swapped(10), 1600);
    assert_eq!(member.leads(), Some(4));
    let joined = Versioned { record: to.with(OTHER), revision: 11 };
    let tick = |member: &mut Election, now| {
        feed(
            member,
            Event::Answered { from: OTHER, epoch: 4, received: 0, applied: 0, echo_ms: now, sound: true },
            now,
        );
        feed(member, Event::Tick, now)
    };
    assert_eq!(tick(&mut member, 2600), [Action::Read]);
    feed(&mut member, read(joined), 2660);
    assert_eq!(member.record().map(|known| known.revision), Some(11));
    assert_eq!(tick(&mut member, 3700), [Action::Read]);
    assert_eq!(tick(&mut member, 7599), []);
    feed(&mut member, Event::Appended(1), 7599);
    assert_eq!(tick(&mut member, 7600), [], "what it took is still on its way");
    let answered = Event::Answered { from: OTHER, epoch: 4, received: 1, applied: 1, echo_ms: 7640, sound: true };
    assert_eq!(feed(&mut member, answered, 7640), [Action::Commit { upto: 1 }]);
    let makes_way = [Action::Unconfirmed { epoch: 4 }, Action::Depose { epoch: 4, by: 4 }];
    assert_eq!(tick(&mut member, 7650), makes_way, "the other one may see it");
    assert_eq!(member.leads(), None);
}

#[test]
fn an_older_announcement_does_not_count_and_a_member_of_the_set_takes_over_as_ever() {
    let known = bound(&[OTHER], 9);
    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    for now in (1000..13_000).step_by(50) {
        feed(&mut member, Event::Tick, now);
        feed(&mut member, Event::Announced { epoch: 2 }, now);
        feed(&mut member, read(known.clone()), now);
    }
    feed(&mut member, Event::Tick, 13_000);
    feed(&mut member, Event::Announced { epoch: 2 }, 13_000);
    let claimed = feed(&mut member, read(known), 13_000);
    assert!(matches!(&claimed[..], [Action::Swap { to, .. }] if to.born == 4), "{claimed:?}");

    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    let claims = look(&mut member, &bound(&[ME, OTHER], 9), 1000, 1000 + Timing::default().takeover_wait_ms() + 50);
    assert!(matches!(&claims[..], [(Action::Swap { to, .. }, _)] if to.born == 1 && to.epoch == 4), "{claims:?}");
}

#[test]
fn an_abandoned_claim_is_cancelled_so_that_the_primary_can_be_answered() {
    let known = bound(&[OTHER], 9);
    let mut member = Election::new(ME, 7, start(COLD_AFTER, AT_ONCE), 1000);
    assert_eq!(look(&mut member, &known, 1000, 13_050).len(), 1);
    feed(&mut member, Event::NoAnswer, 14_000);
    assert!(member.claims());
    assert_eq!(feed(&mut member, Event::Tick, 14_050), [Action::Read]);
    feed(&mut member, Event::Announced { epoch: 3 }, 14_051);
    let settles = swap(known.clone(), known.record.renewed());
    assert_eq!(feed(&mut member, read(known), 14_051), [settles]);
    feed(&mut member, Event::Swapped(10), 14_052);
    assert!(!member.claims() && member.would_answer(3));
}

#[path = "retime_test.rs"]
mod retime;
