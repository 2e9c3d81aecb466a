//! Tests of each rule of the machine: a finding, and exactly the actions that follow.

use super::*;

const LIMITS: Limits = Limits { shards_max: 3, tries_max: 2, whole_shard: 9 };

fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

fn feed(verifier: &mut Verifier, event: Event) -> Vec<Action> {
    let mut out = Vec::new();
    verifier.on_event(event, &mut out);
    out
}

fn compared(seq: u64, shards: &[u32], implied: bool) -> Event {
    Event::Compared { at: at(seq), difference: Difference { shards: shards.to_vec(), implied } }
}

fn repair(shards: &[u32]) -> Action {
    Action::Repair { shards: shards.iter().copied().collect() }
}

fn repaired(seq: u64, shards: &[u32]) -> Event {
    Event::Repaired { at: at(seq), records: 1, remaining: Difference { shards: shards.to_vec(), implied: false } }
}

#[test]
fn equal_digests_ask_for_nothing_and_are_remembered() {
    let mut verifier = Verifier::new(LIMITS);
    assert_eq!(feed(&mut verifier, compared(7, &[], false)), []);
    assert_eq!((verifier.verified(), verifier.condition()), (at(7), Condition::Sound));
}

#[test]
fn a_difference_makes_the_member_unsound_until_it_is_repaired() {
    let mut verifier = Verifier::new(LIMITS);
    assert_eq!(feed(&mut verifier, compared(7, &[2], false)), [Action::Sound(false), repair(&[2])]);
    assert_eq!(feed(&mut verifier, compared(8, &[2], false)), [], "one repair at a time");
    assert_eq!(verifier.verified(), Position::default());
    assert_eq!(feed(&mut verifier, repaired(9, &[])), [Action::Sound(true)]);
    assert_eq!((verifier.verified(), verifier.condition()), (at(9), Condition::Sound));
}

#[test]
fn what_is_implied_belongs_to_the_shard_without_parts() {
    let mut verifier = Verifier::new(LIMITS);
    assert_eq!(feed(&mut verifier, compared(7, &[], true)), [Action::Sound(false), repair(&[9])]);
}

#[test]
fn digests_that_agree_say_nothing_of_what_is_under_them() {
    let mut verifier = Verifier::new(LIMITS);
    assert_eq!(feed(&mut verifier, Event::Rotten { shard: 4 }), [Action::Sound(false), repair(&[4])]);
    assert_eq!(feed(&mut verifier, compared(8, &[], false)), []);
    assert_eq!(verifier.condition(), Condition::Diverged);
    assert_eq!(feed(&mut verifier, Event::NotRepaired), [repair(&[4])]);
    assert_eq!(feed(&mut verifier, repaired(9, &[])), [Action::Sound(true)]);
}

#[test]
fn what_a_repair_leaves_is_repaired_next_and_not_for_ever() {
    let mut verifier = Verifier::new(LIMITS);
    feed(&mut verifier, compared(7, &[2], false));
    assert_eq!(feed(&mut verifier, repaired(8, &[3])), [repair(&[3])]);
    assert_eq!(feed(&mut verifier, repaired(9, &[3])), [Action::FullSync]);
    assert_eq!(verifier.condition(), Condition::Lost);
}

#[test]
fn too_much_to_repair_is_a_full_sync_and_nothing_else_counts_until_it_is_whole() {
    for event in [compared(7, &[1, 2, 3, 4], false), Event::Broken, Event::TooMany] {
        let mut verifier = Verifier::new(LIMITS);
        assert_eq!(feed(&mut verifier, event), [Action::Sound(false), Action::FullSync]);
        assert_eq!(feed(&mut verifier, compared(8, &[], false)), []);
        assert_eq!(feed(&mut verifier, Event::EpochBegins), []);
        assert_eq!(verifier.condition(), Condition::Lost);
        assert_eq!(feed(&mut verifier, Event::Synced), [Action::Sound(true)]);
        assert_eq!(verifier.condition(), Condition::Sound);
    }
}

#[test]
fn two_against_the_primary_are_an_alarm_and_the_end_of_repairs_there() {
    let mut verifier = Verifier::new(LIMITS);
    feed(&mut verifier, Event::SampleDiffers { shard: 5 });
    let rotten = Event::PrimaryRotten { shards: vec![5], agreed: vec![5] };
    assert_eq!(feed(&mut verifier, rotten.clone()), [Action::Alarm { shards: vec![5] }, Action::Sound(true)]);
    assert_eq!(feed(&mut verifier, Event::SampleDiffers { shard: 5 }), [], "a person decides");
    assert_eq!(feed(&mut verifier, rotten), [], "said once");
    assert_eq!(feed(&mut verifier, Event::EpochBegins), []);
    assert_eq!(feed(&mut verifier, Event::SampleDiffers { shard: 5 }), [Action::Sound(false), repair(&[5])]);
}

#[test]
fn a_member_that_differs_from_a_rotten_primary_is_not_sound_either() {
    let mut verifier = Verifier::new(LIMITS);
    feed(&mut verifier, compared(7, &[5], false));
    let rotten = Event::PrimaryRotten { shards: vec![5], agreed: vec![] };
    assert_eq!(feed(&mut verifier, rotten), [Action::Alarm { shards: vec![5] }]);
    assert_eq!(verifier.condition(), Condition::Diverged);
}

#[test]
fn a_repair_that_ended_with_its_stream_is_begun_again_on_the_next_one() {
    let mut verifier = Verifier::new(LIMITS);
    feed(&mut verifier, compared(7, &[2], false));
    assert_eq!(feed(&mut verifier, compared(8, &[2], false)), [], "one repair at a time");
    assert_eq!(feed(&mut verifier, Event::StreamBegins), [repair(&[2])]);
    assert_eq!(feed(&mut verifier, repaired(9, &[])), [Action::Sound(true)]);
    assert_eq!(feed(&mut verifier, Event::StreamBegins), []);
}
