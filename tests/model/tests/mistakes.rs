//! The checker finds each deliberate mistake, and finds none without one.

use stateright::{Checker, HasDiscoveries, Model};
use understudy_model::rules::{Bounds, Mistake, Rules};

const RIGHT: &str = "who may answer is the record's primary";
const SET: &str = "members of the set hold all that was acknowledged";

const SECOND: &str = "no first record is made beside a member that has seen one";

const PROMISES: [&str; 7] = [
    "at most one member may answer",
    RIGHT,
    "no member may answer after a later epoch has",
    "who may answer has committed all that was acknowledged",
    "the primary holds all that was acknowledged",
    SET,
    SECOND,
];

/// The promises that are broken first: one thread visits states in the same order each time.
fn broken(bounds: Bounds, mistake: Option<Mistake>) -> Vec<&'static str> {
    let finish = HasDiscoveries::AnyFailures;
    let checker = Rules { bounds, mistake }.checker().finish_when(finish).spawn_bfs().join();
    let is_of = |name: &&str| bounds.losses > 0 || *name != SECOND;
    PROMISES.into_iter().filter(is_of).filter(|name| checker.discovery(name).is_some()).collect()
}

#[track_caller]
fn breaks(promise: &str, bounds: Bounds, mistake: Mistake) {
    let broken = broken(bounds, Some(mistake));
    assert!(broken.contains(&promise), "{mistake:?} breaks {broken:?}, not {promise:?}");
}

#[test]
fn without_a_mistake_nothing_is_broken() {
    assert_eq!(broken(Bounds { address: true, ..Bounds::small(2, 0) }, None), [""; 0]);
}

#[test]
fn a_tenure_from_receipt_is_found() {
    breaks(RIGHT, Bounds::small(2, 0), Mistake::TenureFromReceipt);
}

#[test]
fn a_wait_that_is_too_short_is_found() {
    breaks(RIGHT, Bounds::small(2, 0), Mistake::WaitTooShort);
}

#[test]
fn a_claim_from_outside_of_the_set_is_found() {
    breaks(SET, Bounds::small(2, 0), Mistake::ClaimOutsideSet);
}

#[test]
fn an_acknowledgement_before_the_swap_is_found() {
    breaks(SET, Bounds::small(2, 0), Mistake::AcknowledgeBeforeSwap);
}

#[test]
fn an_answer_beside_a_claim_is_found() {
    breaks(RIGHT, Bounds::small(2, 0), Mistake::AnswerWhileClaiming);
}

#[test]
fn an_unknown_outcome_taken_for_a_failure_is_found() {
    breaks(SET, Bounds::small(2, 0), Mistake::UnknownIsFailed);
}

#[test]
fn a_peer_that_joins_before_it_holds_everything_is_found() {
    breaks(SET, Bounds::small(2, 0), Mistake::JoinBeforeHolding);
}

#[test]
fn a_member_that_keeps_its_name_without_its_memory_is_found() {
    breaks(SET, Bounds::small(2, 1), Mistake::SameIncarnation);
}

#[test]
fn a_tail_that_is_kept_across_a_takeover_is_found() {
    breaks(SET, Bounds { epochs: 3, ..Bounds::small(2, 0) }, Mistake::KeepDivergedTail);
}

#[test]
fn the_address_taken_for_a_right_to_serve_is_found() {
    breaks(RIGHT, Bounds { address: true, ..Bounds::small(2, 0) }, Mistake::ServeByAddress);
}

#[test]
fn data_that_is_lost_breaks_nothing() {
    assert_eq!(broken(Bounds::losing(2, 0), None), [""; 0]);
}

#[test]
fn a_backup_that_a_member_cannot_tell_from_the_newest_record_is_not_covered() {
    for failures in [0, 1] {
        let bounds = Bounds { any_backup: true, ..Bounds::losing(2, failures) };
        assert_ne!(broken(bounds, None), [""; 0], "{bounds:?}");
    }
}

#[test]
fn a_record_that_is_written_again_without_the_right_to_answer_is_found() {
    breaks(RIGHT, Bounds::losing(2, 0), Mistake::RestoreWithoutRight);
}

#[test]
fn an_older_record_that_is_believed_is_found() {
    breaks(RIGHT, Bounds::losing(2, 0), Mistake::BelieveOlder);
}

#[test]
fn a_first_record_beside_a_survivor_is_found() {
    breaks(SECOND, Bounds::losing(2, 0), Mistake::FoundBesideSurvivor);
}

#[test]
fn a_beginning_with_nothing_beside_a_survivor_is_found() {
    breaks(RIGHT, Bounds::losing(2, 1), Mistake::BeginAnewBesideSurvivor);
}
