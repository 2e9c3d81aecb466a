//! Each rule of the machine: a state, an event, and exactly the actions that follow.

use std::collections::BTreeSet;

use super::*;
use crate::record::MemberId;

const ME: Incarnation = Incarnation { member: MemberId(1), number: 1 };
const OTHER: Incarnation = Incarnation { member: MemberId(2), number: 1 };
const THIRD: Incarnation = Incarnation { member: MemberId(3), number: 1 };

fn member() -> Member {
    Timing::default().validate().unwrap();
    Member::new(ME, 7, Timing::default(), Unclean::Cold, 1000)
}

fn feed(member: &mut Member, event: Event, now: Millis) -> Vec<Action> {
    let mut out = Vec::new();
    member.on_event(event, now, &mut out);
    out
}

/// Of epoch 3, with the other one as the primary.
fn others(insync: &[Incarnation], revision: u64) -> Versioned {
    let record = ConfigRecord {
        cluster_id: 7,
        epoch: 3,
        primary: OTHER,
        insync: insync.iter().copied().collect(),
        level: 1,
        born: 1,
        confirm_within_ms: None,
    };
    Versioned { record, revision }
}

fn leader() -> Member {
    let mut member = member();
    assert_eq!(feed(&mut member, Event::Tick, 1000), [Action::Read]);
    let first = ConfigRecord::first(7, ME, 1);
    assert_eq!(feed(&mut member, Event::Read(None), 1001), [Action::Swap { expect: None, to: first }]);
    assert_eq!(feed(&mut member, Event::Swapped(1), 1002), [Action::Lead { epoch: 1 }]);
    member
}

/// In the set of epoch 3; the last answer left at 1000.
fn standby() -> Member {
    let mut member = member();
    let heard = Event::Heard { from: OTHER, epoch: 3, sent_ms: 77 };
    let follow = Action::Follow { primary: OTHER, epoch: 3 };
    assert_eq!(feed(&mut member, heard, 1000), [follow, Action::Answer { epoch: 3, echo_ms: 77 }]);
    assert_eq!(feed(&mut member, Event::Tick, 1000), [Action::Read]);
    assert_eq!(feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 1001), []);
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
    let read = Event::Read(Some(others(&[ME, OTHER], 9)));
    assert_eq!(feed(&mut member, Event::Tick, 1199), [], "heard a moment ago");
    assert_eq!(feed(&mut member, Event::Tick, 1200), [Action::Read]);
    assert_eq!(feed(&mut member, read.clone(), 1201), []);
    let claim_at = 1000 + Timing::default().takeover_wait_ms();
    assert_eq!(feed(&mut member, Event::Tick, claim_at - 2), [Action::Read]);
    assert_eq!(feed(&mut member, read.clone(), claim_at - 1), [], "the primary may count on the last answer");
    assert_eq!(feed(&mut member, Event::Tick, claim_at), [Action::Read]);
    let to = others(&[ME, OTHER], 9).record.promoted(ME);
    assert_eq!(feed(&mut member, read, claim_at + 1), [Action::Swap { expect: Some(9), to: to.clone() }]);
    assert_eq!((to.epoch, to.insync), (4, BTreeSet::from([ME])));
    assert_eq!(feed(&mut member, Event::Swapped(10), claim_at + 2), [Action::Lead { epoch: 4 }]);
}

#[test]
fn nobody_is_answered_while_a_claim_may_still_happen() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 1601);
    let heard = Event::Heard { from: OTHER, epoch: 3, sent_ms: 500 };
    assert!(!member.would_answer(3));
    assert_eq!(feed(&mut member, heard.clone(), 1602), []);
    assert_eq!(feed(&mut member, Event::NoAnswer, 1700), []);
    assert_eq!(feed(&mut member, heard.clone(), 1701), [], "it may happen yet");
    // The record has moved on without us: now it can't.
    feed(&mut member, Event::Tick, 1800);
    assert_eq!(feed(&mut member, Event::Read(Some(others(&[OTHER], 10))), 1801), []);
    assert_eq!(feed(&mut member, heard, 1802), [Action::Answer { epoch: 3, echo_ms: 500 }]);
}

#[test]
fn a_claim_without_an_answer_is_found_in_the_record() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    let claimed = feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 1601);
    let [Action::Swap { to, .. }] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::NoAnswer, 1700);
    assert_eq!(feed(&mut member, Event::Tick, 1800), [Action::Read]);
    let found = Versioned { record: to.clone(), revision: 10 };
    assert_eq!(feed(&mut member, Event::Read(Some(found)), 1801), [Action::Lead { epoch: 4 }]);
}

#[test]
fn outside_of_the_set_nothing_is_claimed() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(feed(&mut member, Event::Read(Some(others(&[OTHER], 9))), 9001), []);
    assert_eq!(member.leads(), None);
}

#[test]
fn a_peer_enters_the_set_only_with_everything_committed_and_is_waited_for_from_before() {
    let mut member = leader();
    feed(&mut member, Event::Appended(5), 1003);
    let answered = |received, echo_ms| Event::Answered { from: OTHER, epoch: 1, received, echo_ms, sound: true };
    feed(&mut member, answered(3, 1003), 1004);
    assert_eq!(feed(&mut member, Event::Tick, 1110), [], "it joins, and lacks what is committed");
    assert_eq!(feed(&mut member, Event::Appended(6), 1111), [], "commits wait for it from now on");
    assert_eq!(feed(&mut member, answered(6, 1111), 1112), [Action::Commit { upto: 6 }]);
    let swapped = feed(&mut member, Event::Tick, 1113);
    assert!(matches!(&swapped[..], [Action::Swap { expect: Some(1), to }] if to.insync.contains(&OTHER)));
    assert!(member.may_answer(1111 + 499) && !member.may_answer(1111 + 500), "its answers bound the tenure");
}

#[test]
fn a_silent_peer_is_dropped_before_anything_is_acknowledged_without_it() {
    let mut member = leader();
    let answered = Event::Answered { from: OTHER, epoch: 1, received: 0, echo_ms: 1100, sound: true };
    feed(&mut member, answered, 1101);
    feed(&mut member, Event::Tick, 1110);
    feed(&mut member, Event::Tick, 1111);
    feed(&mut member, Event::Swapped(2), 1112);
    assert_eq!(feed(&mut member, Event::Appended(1), 1113), []);
    let dropped = feed(&mut member, Event::Tick, 1400);
    assert!(matches!(&dropped[..], [Action::Swap { expect: Some(2), to }] if !to.insync.contains(&OTHER)));
    assert_eq!(member.committed(), Some(0), "the swap has not happened yet");
    assert!(!member.may_answer(1700));
    assert_eq!(feed(&mut member, Event::Swapped(3), 1701), [Action::Commit { upto: 1 }]);
    assert!(member.may_answer(1701));
}

#[test]
fn a_later_epoch_deposes() {
    let mut member = leader();
    assert_eq!(feed(&mut member, Event::Heard { from: OTHER, epoch: 3, sent_ms: 0 }, 1500), []);
    assert_eq!(feed(&mut member, Event::Tick, 1500), [Action::Read]);
    let expected = [Action::Depose { epoch: 1, by: 3 }, Action::Follow { primary: OTHER, epoch: 3 }];
    assert_eq!(feed(&mut member, Event::Read(Some(others(&[OTHER], 9))), 1501), expected);
    assert!(!member.may_answer(1501));
}

#[test]
fn a_coordinator_that_lost_its_data_is_not_believed() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    assert_eq!(feed(&mut member, Event::Read(None), 1601), [Action::CoordinatorLostData { held: 3, found: 0 }]);
    assert_eq!(member.leads(), None);
}

#[test]
fn a_primary_that_resigns_answers_nobody_and_its_heir_need_not_wait() {
    let mut old = leader();
    assert_eq!(feed(&mut old, Event::Resign, 2000), [Action::Depose { epoch: 1, by: 1 }]);
    assert!(!old.may_answer(2000) && old.leads().is_none());
    assert_eq!(feed(&mut old, Event::Resign, 2001), [], "once");

    let mut heir = standby();
    assert_eq!(feed(&mut heir, Event::Resigned { epoch: 3 }, 1010), []);
    assert_eq!(feed(&mut heir, Event::Tick, 1060), [Action::Read]);
    let claimed = feed(&mut heir, Event::Read(Some(others(&[ME, OTHER], 9))), 1061);
    assert!(matches!(&claimed[..], [Action::Swap { expect: Some(9), to }] if to.epoch == 4));
}

#[test]
fn a_resigned_primary_claims_again_when_nobody_else_does() {
    let mut old = leader();
    feed(&mut old, Event::Resign, 2000);
    assert_eq!(feed(&mut old, Event::Tick, 2000), [Action::Read]);
    let record = ConfigRecord::first(7, ME, 1);
    let read = || Event::Read(Some(Versioned { record: ConfigRecord::first(7, ME, 1), revision: 1 }));
    assert_eq!(feed(&mut old, read(), 2001), [], "its own last answers may be on their way");
    let claim_at = 2000 + Timing::default().takeover_wait_ms();
    assert_eq!(feed(&mut old, Event::Tick, claim_at), [Action::Read]);
    let claimed = feed(&mut old, read(), claim_at);
    assert_eq!(claimed, [Action::Swap { expect: Some(1), to: record.promoted(ME) }]);
}

#[test]
fn a_proven_death_is_not_waited_for_and_silence_is() {
    let mut member = standby();
    assert_eq!(feed(&mut member, Event::StreamBroken, 1010), []);
    assert_eq!(feed(&mut member, Event::Tick, 1060), [Action::Read]);
    assert_eq!(feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 1061), []);
    assert_eq!(feed(&mut member, Event::ProvenDead(OTHER), 1070), []);
    assert_eq!(feed(&mut member, Event::Tick, 1070), [Action::Read]);
    let claimed = feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 1071);
    assert!(matches!(&claimed[..], [Action::Swap { expect: Some(9), to }] if to.epoch == 4 && to.born == 1));
}

#[test]
fn who_was_not_in_the_set_begins_with_nothing_and_only_when_all_who_were_have_ended() {
    let third = Incarnation { member: MemberId(3), number: 1 };
    let record = || Event::Read(Some(others(&[OTHER, third], 9)));
    let mut member = standby();
    feed(&mut member, Event::Tick, 9000);
    feed(&mut member, Event::ProvenDead(OTHER), 9000);
    assert_eq!(feed(&mut member, record(), 9001), [], "the third may be back");
    feed(&mut member, Event::Tick, 9100);
    feed(&mut member, Event::ProvenDead(third), 9100);
    let claimed = feed(&mut member, record(), 9101);
    assert!(matches!(&claimed[..], [Action::Swap { expect: Some(9), to }] if (to.epoch, to.born) == (4, 4)));
    feed(&mut member, Event::Held(77), 9101);
    assert_eq!(feed(&mut member, Event::Swapped(10), 9102), [Action::Lead { epoch: 4 }]);
    assert_eq!((member.committed(), member.born()), (Some(0), 4));
    feed(&mut member, Event::Resign, 9103);
    assert_eq!(member.born(), 4, "whatever it is next: what it held then is not to be counted");

    let mut patient = Member::new(ME, 7, Timing::default(), Unclean::Wait, 1000);
    feed(&mut patient, Event::Tick, 1000);
    feed(&mut patient, Event::ProvenDead(OTHER), 1000);
    let followed = feed(&mut patient, Event::Read(Some(others(&[OTHER], 9))), 1001);
    assert_eq!(followed, [Action::Follow { primary: OTHER, epoch: 3 }]);
    assert_eq!(patient.leads(), None);
}

#[test]
fn a_peer_that_holds_commits_up_for_too_long_leaves_the_set_and_stays_out_for_a_while() {
    let mut member = leader();
    let answered = |received, echo_ms| Event::Answered { from: OTHER, epoch: 1, received, echo_ms, sound: true };
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
            feed(&mut member, Event::Read(same), now);
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
    let answered = |echo_ms| Event::Answered { from: OTHER, epoch: 1, received: 0, echo_ms, sound: true };
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
    let dropped = feed(&mut member, Event::Tick, 1220);
    assert!(matches!(&dropped[..], [Action::Swap { to, .. }] if !to.insync.contains(&OTHER)));

    let mut member = in_sync();
    feed(&mut member, answered(1200), 1201);
    assert_eq!(feed(&mut member, Event::Tick, 1300), []);
}

#[test]
fn a_standby_that_is_about_to_end_answers_nobody_and_claims_nothing() {
    let mut member = standby();
    feed(&mut member, Event::Retire, 1002);
    assert!(!member.would_answer(3));
    assert_eq!(feed(&mut member, Event::Heard { from: OTHER, epoch: 3, sent_ms: 90 }, 1010), []);
    for event in [Event::StreamBroken, Event::ProvenDead(OTHER), Event::Resigned { epoch: 3 }, Event::Hint] {
        assert_eq!(feed(&mut member, event, 9000), []);
    }
    assert_eq!(feed(&mut member, Event::Tick, 9000), [Action::Read]);
    assert_eq!(feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 9001), []);
}

#[test]
fn a_primary_that_is_about_to_end_leads_on_and_never_again() {
    let mut primary = leader();
    feed(&mut primary, Event::Retire, 2000);
    assert!(primary.may_answer(2001), "somebody must");
    feed(&mut primary, Event::Resign, 2100);
    let mine = Versioned { record: ConfigRecord::first(7, ME, 1).with(OTHER), revision: 2 };
    for now in (2100..9000).step_by(50) {
        feed(&mut primary, Event::Tick, now);
        assert_eq!(feed(&mut primary, Event::Read(Some(mine.clone())), now), []);
    }
}

#[test]
fn a_claim_that_was_under_way_is_decided_before_the_end() {
    let mut member = standby();
    feed(&mut member, Event::Tick, 1600);
    let claimed = feed(&mut member, Event::Read(Some(others(&[ME, OTHER], 9))), 1601);
    let [Action::Swap { to, .. }] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::Retire, 1602);
    feed(&mut member, Event::NoAnswer, 1700);
    assert_eq!(feed(&mut member, Event::Tick, 1800), [Action::Read]);
    let found = Versioned { record: to.clone(), revision: 10 };
    assert_eq!(feed(&mut member, Event::Read(Some(found)), 1801), [Action::Lead { epoch: 4 }]);
}

#[test]
fn a_member_whose_state_is_not_sound_claims_nothing_until_it_is() {
    let mut member = standby();
    let read = Event::Read(Some(others(&[ME, OTHER], 9)));
    assert_eq!(feed(&mut member, Event::Sound(false), 1100), []);
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(feed(&mut member, read.clone(), 9001), []);
    assert_eq!(feed(&mut member, Event::Sound(true), 9002), []);
    feed(&mut member, Event::Tick, 9100);
    let to = others(&[ME, OTHER], 9).record.promoted(ME);
    assert_eq!(feed(&mut member, read, 9101), [Action::Swap { expect: Some(9), to }]);
}

#[test]
fn a_peer_that_is_not_sound_leaves_the_set_and_is_let_in_again_when_it_is() {
    let mut member = leader();
    let answered = |echo_ms, sound| Event::Answered { from: OTHER, epoch: 1, received: 0, echo_ms, sound };
    feed(&mut member, answered(1100, true), 1101);
    feed(&mut member, Event::Tick, 1102);
    let both = ConfigRecord::first(7, ME, 1).with(OTHER);
    assert_eq!(feed(&mut member, Event::Tick, 1103), [Action::Swap { expect: Some(1), to: both.clone() }]);
    feed(&mut member, Event::Swapped(2), 1104);
    feed(&mut member, answered(1105, false), 1106);
    let alone = both.without(OTHER);
    assert_eq!(feed(&mut member, Event::Tick, 1107), [Action::Swap { expect: Some(2), to: alone }]);
    feed(&mut member, Event::Swapped(3), 1108);
    feed(&mut member, Event::Tick, 1109);
    assert_eq!(feed(&mut member, Event::Tick, 1110), [], "it says that it is not");
    feed(&mut member, answered(1111, true), 1112);
    feed(&mut member, Event::Tick, 1113);
    assert_eq!(feed(&mut member, Event::Tick, 1114), [Action::Swap { expect: Some(3), to: both }]);
}

#[test]
fn whoever_is_about_to_leave_the_set_may_not_succeed() {
    let mut member = leader();
    assert!(!member.may_succeed(OTHER) && !member.may_succeed(ME));
    let answered = |echo_ms, sound| Event::Answered { from: OTHER, epoch: 1, received: 0, echo_ms, sound };
    feed(&mut member, answered(1100, true), 1101);
    feed(&mut member, Event::Tick, 1102);
    feed(&mut member, Event::Tick, 1103);
    assert!(!member.may_succeed(OTHER), "it is only proposed");
    feed(&mut member, Event::Swapped(2), 1104);
    assert!(member.may_succeed(OTHER));
    feed(&mut member, answered(1105, false), 1106);
    assert!(!member.may_succeed(OTHER), "it will be taken out");
    assert!(matches!(&feed(&mut member, Event::Tick, 1107)[..], [Action::Swap { .. }]));
    feed(&mut member, answered(1108, true), 1109);
    assert!(!member.may_succeed(OTHER), "it may be out by now");
    feed(&mut member, Event::Swapped(3), 1110);
    assert!(!member.may_succeed(OTHER));
}

#[test]
fn a_primary_finds_out_by_itself_that_another_one_leads() {
    let mut member = leader();
    assert_eq!(feed(&mut member, Event::Tick, 1500), [], "it has looked a moment ago");
    let look_at = 1000 + Timing::default().look_every_ms;
    assert_eq!(feed(&mut member, Event::Tick, look_at), [Action::Read]);
    let found = Event::Read(Some(others(&[OTHER], 9)));
    let depose = Action::Depose { epoch: 1, by: 3 };
    assert_eq!(
        feed(&mut member, found, look_at + 1),
        [depose, Action::Follow { primary: OTHER, epoch: 3 }],
        "a person may have declared it dead"
    );
}

#[test]
fn a_primary_whose_record_is_gone_says_so_and_goes_on() {
    let mut member = leader();
    feed(&mut member, Event::Hint, 1100);
    assert_eq!(feed(&mut member, Event::Tick, 1100), [Action::Read]);
    assert_eq!(feed(&mut member, Event::Read(None), 1101), [Action::CoordinatorLostData { held: 1, found: 0 }]);
    assert_eq!(member.leads(), Some(1));
}

#[test]
fn a_bound_primary_whose_record_is_gone_answers_nobody_and_says_on_that_it_leads() {
    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    let claimed = look(&mut member, &bound(&[ME, OTHER], 9), 1000, 1600);
    let [(Action::Swap { to, .. }, _)] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::Swapped(10), 1600);
    assert_eq!(feed(&mut member, Event::Tick, 2600), [Action::Read]);
    feed(&mut member, Event::Read(Some(Versioned { record: to.with(OTHER), revision: 11 })), 2601);
    for now in (3650..9000).step_by(50) {
        feed(&mut member, Event::Answered { from: OTHER, epoch: 4, received: 0, echo_ms: now, sound: true }, now);
        if feed(&mut member, Event::Tick, now).contains(&Action::Read) {
            feed(&mut member, Event::Read(None), now);
        }
    }
    assert_eq!((member.leads(), member.may_answer(9000)), (Some(4), false));
}

#[test]
fn whoever_is_new_creates_no_record_beside_a_primary_that_lives() {
    let mut member = member();
    feed(&mut member, Event::Tick, 1000);
    feed(&mut member, Event::Announced { epoch: 7 }, 1001);
    assert_eq!(feed(&mut member, Event::Read(None), 1001), []);
    assert_eq!(feed(&mut member, Event::Tick, 1100), [Action::Read]);
    assert_eq!(feed(&mut member, Event::Read(None), 1101), [Action::CoordinatorLostData { held: 7, found: 0 }]);
}

#[test]
fn whoever_resigns_to_end_claims_nothing_any_more() {
    let mut member = leader();
    feed(&mut member, Event::Resign, 1100);
    feed(&mut member, Event::Retire, 1100);
    let mine = Versioned { record: ConfigRecord::first(7, ME, 1).with(OTHER), revision: 2 };
    for now in (1100..9000).step_by(50) {
        assert_eq!(feed(&mut member, Event::Tick, now), [Action::Read], "it looks who leads");
        assert_eq!(feed(&mut member, Event::Read(Some(mine.clone())), now), []);
    }
    assert!(!member.claims() && !member.would_answer(1));
    feed(&mut member, Event::Tick, 9000);
    assert_eq!(
        feed(&mut member, Event::Read(Some(others(&[OTHER], 9))), 9001),
        [Action::Follow { primary: OTHER, epoch: 3 }]
    );
}

#[test]
fn a_peer_that_falls_silent_again_and_again_is_not_let_in_at_once() {
    let mut member = leader();
    let answered = |echo_ms| Event::Answered { from: OTHER, epoch: 1, received: 0, echo_ms, sound: true };
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

/// A tick, and whatever is asked of the coordinator is answered.
fn settle(member: &mut Member, now: Millis, revision: &mut u64) {
    for action in feed(member, Event::Tick, now) {
        match action {
            Action::Swap { .. } => {
                *revision += 1;
                feed(member, Event::Swapped(*revision), now);
            }
            Action::Read => {
                let same = member.record().cloned();
                feed(member, Event::Read(same), now);
            }
            _ => {}
        }
    }
}

#[test]
fn a_receipt_that_is_quicker_than_the_append_commits_at_the_append() {
    let mut member = leader();
    let answered = |received, echo_ms| Event::Answered { from: OTHER, epoch: 1, received, echo_ms, sound: true };
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
    let answered = |received, echo_ms| Event::Answered { from: OTHER, epoch: 1, received, echo_ms, sound: true };
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

/// Of epoch 3, as [`others`]; its primary is bound.
fn bound(insync: &[Incarnation], revision: u64) -> Versioned {
    let Versioned { record, .. } = others(insync, revision);
    Versioned { record: record.confirmed_within(Some(5000)), revision }
}

#[test]
fn a_bound_primary_answers_only_for_so_long_after_it_asked_and_still_led() {
    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    feed(&mut member, Event::Tick, 1000);
    let first = ConfigRecord::first(7, ME, 1).confirmed_within(Some(5000));
    assert_eq!(feed(&mut member, Event::Read(None), 1001), [Action::Swap { expect: None, to: first.clone() }]);
    feed(&mut member, Event::Swapped(1), 1200);
    assert!(member.may_answer(1001 + 4999) && !member.may_answer(1001 + 5000), "from the question, not the answer");
    assert_eq!(feed(&mut member, Event::Tick, 2000), [Action::Read]);
    feed(&mut member, Event::NoAnswer, 3000);
    assert_eq!(member.tenure_until(), 1001 + 5000, "no answer is no confirmation");
    assert_eq!(feed(&mut member, Event::Tick, 7000), [Action::Read]);
    assert!(!member.may_answer(7001));
    feed(&mut member, Event::Read(Some(Versioned { record: first, revision: 1 })), 7300);
    assert_eq!((member.leads(), member.tenure_until()), (Some(1), 7000 + 5000), "it led all the time, and goes on");
}

/// Looks every 50 ms, in `from..upto`, and is shown `known`, which nobody leads. Returns what it asked for but reads, and when.
fn look(member: &mut Member, known: &Versioned, from: Millis, upto: Millis) -> Vec<(Action, Millis)> {
    let mut asked = Vec::new();
    for now in (from..upto).step_by(50) {
        for action in feed(member, Event::Tick, now) {
            assert_eq!(action, Action::Read, "at {now}");
            feed(member, Event::NobodyAnnounced, now);
            let then = feed(member, Event::Read(Some(known.clone())), now);
            asked
                .extend(then.into_iter().filter(|action| !matches!(action, Action::Follow { .. })).map(|to| (to, now)));
        }
    }
    asked
}

#[test]
fn where_nobody_has_led_for_long_somebody_begins_with_nothing_once_no_answer_can_go_out_any_more() {
    let known = bound(&[OTHER], 9);
    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    let asked = look(&mut member, &known, 1000, 13_050);
    let to = known.record.reborn(ME).confirmed_within(Some(5000));
    assert_eq!(asked, [(Action::Swap { expect: Some(9), to: to.clone() }, 13_000)]);
    assert_eq!(feed(&mut member, Event::Swapped(10), 13_100), [], "the old one may have been confirmed right before");
    let won = Event::Read(Some(Versioned { record: to, revision: 10 }));
    let over = 13_100 + 5000 + 250 + 20;
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
        let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
        assert_eq!(look(&mut member, &known, 1000, 12_000), []);
        member
    };
    let mut member = start();
    feed(&mut member, Event::Tick, 12_000);
    feed(&mut member, Event::Announced { epoch: 3 }, 12_001);
    feed(&mut member, Event::Read(Some(known.clone())), 12_001);
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
    assert_eq!(look(&mut member, &changed, 12_000, 23_950), [], "somebody has changed the record");

    let mut member = start();
    assert_eq!(look(&mut member, &known, 16_000, 27_000), [], "this member stood still");

    let mut member = start();
    feed(&mut member, Event::Heard { from: OTHER, epoch: 3, sent_ms: 1 }, 12_001);
    assert_eq!(look(&mut member, &known, 12_500, 24_000), [], "the primary lives");

    let mut member = start();
    assert_eq!(look(&mut member, &others(&[OTHER], 9), 12_000, 60_000), [], "the primary of this record is not bound");
    assert_eq!(member.leads(), None);
}

#[test]
fn whoever_follows_somebody_who_began_anew_and_may_not_have_led_waits_as_long() {
    let won = |insync: &[Incarnation]| {
        let Versioned { record, .. } = bound(&[THIRD], 9);
        let reborn = record.reborn(OTHER);
        Versioned { record: ConfigRecord { insync: insync.iter().copied().collect(), ..reborn }, revision: 10 }
    };
    for (insync, unclean, waits_ms, bound_ms) in [
        // It may have ended before it led: then the primary before it may still answer, and this one may end, too.
        (&[OTHER][..], Unclean::Cold, 5000 + 250 + 20, Some(5000)),
        (&[OTHER], Unclean::ColdAfter { after_ms: 12_000, confirm_within_ms: 2000 }, 5000 + 250 + 20, Some(5000)),
        (&[OTHER], Unclean::ColdAfter { after_ms: 20_000, confirm_within_ms: 9000 }, 5000 + 250 + 20, Some(9000)),
        // It has led: nobody else has joined it before.
        (&[OTHER, THIRD], Unclean::Cold, 0, None),
    ] {
        let mut member = Member::new(ME, 7, Timing::default(), unclean, 1000);
        for who in insync {
            feed(&mut member, Event::ProvenDead(*who), 1000);
        }
        let claims = look(&mut member, &won(insync), 1000, 1050);
        let to = won(insync).record.reborn(ME).confirmed_within(bound_ms);
        assert_eq!(claims, [(Action::Swap { expect: Some(10), to: to.clone() }, 1000)]);
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
    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    let known = bound(&[ME, OTHER], 9);
    let claimed = look(&mut member, &known, 1000, 1600);
    let [(Action::Swap { to, .. }, _)] = &claimed[..] else { panic!("{claimed:?}") };
    feed(&mut member, Event::Swapped(10), 1600);
    assert_eq!(member.leads(), Some(4));
    let joined = Versioned { record: to.with(OTHER), revision: 11 };
    let tick = |member: &mut Member, now| {
        feed(member, Event::Answered { from: OTHER, epoch: 4, received: 0, echo_ms: now, sound: true }, now);
        feed(member, Event::Tick, now)
    };
    assert_eq!(tick(&mut member, 2600), [Action::Read]);
    feed(&mut member, Event::Read(Some(joined)), 2660);
    assert_eq!(member.record().map(|known| known.revision), Some(11));
    assert_eq!(tick(&mut member, 3700), [Action::Read]);
    assert_eq!(tick(&mut member, 7599), []);
    feed(&mut member, Event::Appended(1), 7599);
    assert_eq!(tick(&mut member, 7600), [], "what it took is still on its way");
    let answered = Event::Answered { from: OTHER, epoch: 4, received: 1, echo_ms: 7640, sound: true };
    assert_eq!(feed(&mut member, answered, 7640), [Action::Commit { upto: 1 }]);
    let makes_way = [Action::Unconfirmed { epoch: 4 }, Action::Depose { epoch: 4, by: 4 }];
    assert_eq!(tick(&mut member, 7650), makes_way, "the other one may see it");
    assert_eq!(member.leads(), None);
}

#[test]
fn an_older_announcement_is_nobodys_and_who_is_in_the_set_takes_over_as_ever() {
    let known = bound(&[OTHER], 9);
    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    for now in (1000..13_000).step_by(50) {
        feed(&mut member, Event::Tick, now);
        feed(&mut member, Event::Announced { epoch: 2 }, now);
        feed(&mut member, Event::Read(Some(known.clone())), now);
    }
    feed(&mut member, Event::Tick, 13_000);
    feed(&mut member, Event::Announced { epoch: 2 }, 13_000);
    let claimed = feed(&mut member, Event::Read(Some(known)), 13_000);
    assert!(matches!(&claimed[..], [Action::Swap { to, .. }] if to.born == 4), "{claimed:?}");

    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    let claims = look(&mut member, &bound(&[ME, OTHER], 9), 1000, 1000 + Timing::default().takeover_wait_ms() + 50);
    assert!(matches!(&claims[..], [(Action::Swap { to, .. }, _)] if to.born == 1 && to.epoch == 4), "{claims:?}");
}

#[test]
fn a_claim_that_is_not_made_again_is_settled_so_that_the_primary_can_be_answered() {
    let known = bound(&[OTHER], 9);
    let mut member = Member::new(ME, 7, Timing::default(), COLD_AFTER, 1000);
    assert_eq!(look(&mut member, &known, 1000, 13_050).len(), 1);
    feed(&mut member, Event::NoAnswer, 14_000);
    assert!(member.claims());
    assert_eq!(feed(&mut member, Event::Tick, 14_050), [Action::Read]);
    feed(&mut member, Event::Announced { epoch: 3 }, 14_051);
    let settles = Action::Swap { expect: Some(9), to: known.record.clone() };
    assert_eq!(feed(&mut member, Event::Read(Some(known)), 14_051), [settles]);
    feed(&mut member, Event::Swapped(10), 14_052);
    assert!(!member.claims() && member.would_answer(3));
}
