//! A reader that was told where bytes lie can count on them until its lease is over.

use understudy_metadata::{Call, Now, PutStart, Refusal, RemovedMany};

use crate::support::{Primary, config, memory, one, placed, refusal};

#[test]
fn what_is_leased_is_removed_only_by_force_and_its_bytes_stay() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let seen = primary.lookup("a").unwrap();
    assert_eq!(primary.remove("a"), Err(Refusal::Leased));
    primary.remove_forced("a").unwrap();
    assert_eq!(primary.lookup("a"), None);
    assert_eq!(primary.bytes(), (0, 128));
    for n in 0..50 {
        assert_ne!(primary.put(1, &n.to_string(), 100).places.to_vec(), seen.places);
    }
    primary.pass(10_000);
    primary.step();
    assert_eq!(primary.bytes().1, 0);
}

#[test]
fn a_lease_ends_at_its_time() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    primary.lookup("a").unwrap();
    primary.pass(9_999);
    assert_eq!(primary.remove("a"), Err(Refusal::Leased));
    primary.pass(1);
    assert_eq!(primary.remove("a"), Ok(()));
    assert_eq!(primary.bytes(), (0, 0));
}

#[test]
fn each_lookup_prolongs_the_lease_and_an_earlier_one_does_not_shorten_it() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    primary.lookup("a").unwrap();
    primary.pass(5_000);
    primary.lookup("a").unwrap();
    let early = Now { ttl_ms: primary.now().ttl_ms - 4_000, wall_ms: 0 };
    primary.state.lookup("", [&b"a"[..]].into_iter(), early, |_| {}).unwrap();
    primary.pass(9_999);
    assert_eq!(primary.remove("a"), Err(Refusal::Leased));
    primary.pass(1);
    assert_eq!(primary.remove("a"), Ok(()));
}

#[test]
fn a_put_that_nobody_read_is_not_leased() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    assert_eq!(primary.remove("a"), Ok(()));
}

/// The remover took its time before the reader did, and waited for its turn.
#[test]
fn a_removal_with_an_older_clock_does_not_shorten_a_lease() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 128)).unwrap();
    primary.put(1, "a", 128);
    let before = primary.now();
    primary.pass(3_000);
    primary.lookup("a").unwrap();
    let late = Call { now: before, ..primary.call(1) };
    one(primary.state.remove(&late, true, &[b"a"])).unwrap();
    primary.pass(9_999);
    primary.step();
    assert_eq!(refusal(primary.start(1, "b", 128)), Refusal::NoSpace, "the lease has not run out");
    primary.pass(1);
    primary.step();
    primary.put(1, "b", 128);
}

#[test]
fn a_replacement_with_an_older_clock_does_not_shorten_a_lease() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 256)).unwrap();
    primary.put(1, "a", 128);
    let new = primary.start_as(1, &PutStart { replace: true, ..placed(1, 0) }, "a", 64).unwrap();
    let before = primary.now();
    primary.pass(3_000);
    let old = primary.lookup("a").unwrap();
    let late = Call { now: before, ..primary.call(1) };
    let item = understudy_metadata::PutEndItem { key: b"a", put: new.put, checksum: None };
    one(primary.state.put_end(&late, understudy_metadata::Scope::All, &[item])).unwrap();
    primary.pass(9_999);
    primary.step();
    assert_eq!(refusal(primary.start(1, "b", 128)), Refusal::NoSpace);
    primary.pass(1);
    primary.step();
    assert_eq!(primary.put(1, "b", 128).places.to_vec(), old.places);
}

#[test]
fn leased_objects_are_left_by_a_removal_of_all() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    primary.put(1, "b", 100);
    primary.lookup("b").unwrap();
    let sum = primary.state.remove_all(&primary.call(1), false).unwrap().results;
    assert_eq!(sum, RemovedMany { removed: 1, refused: 1 });
    assert_eq!(primary.keys(), ["b"]);
    let sum = primary.state.remove_all(&primary.call(1), true).unwrap().results;
    assert_eq!(sum, RemovedMany { removed: 1, refused: 0 });
    assert_eq!(primary.bytes(), (0, 128));
}

#[test]
fn existence_of_what_cannot_be_read_grants_nothing() {
    let primary = Primary::with_two_segments();
    let put = primary.start(1, "a", 100).unwrap().put;
    assert_eq!(primary.lookup("a"), None);
    primary.end(1, "a", put).unwrap();
    assert_eq!(primary.remove("a"), Ok(()));
}

#[test]
fn after_a_promotion_everything_is_leased_for_one_lease() {
    let old = Primary::with_two_segments();
    old.put(1, "a", 100);
    old.put(1, "b", 100);
    old.lookup("a").unwrap();
    let new = old.fail_over();
    assert_eq!(new.remove("a"), Err(Refusal::Leased));
    assert_eq!(new.remove("b"), Err(Refusal::Leased));
    let beside = new.start_over(1, "a", 100).unwrap();
    assert_ne!(beside.places.to_vec(), new.lookup("a").unwrap().places, "in place would pull the bytes from a reader");
    new.pass(9_999);
    assert_eq!(new.remove("b"), Err(Refusal::Leased));
    new.pass(1);
    assert_eq!(new.remove("b"), Ok(()));
}

/// A clock may well stand at 0 when a restarted member leads: that is a time like any other.
#[test]
fn the_grace_holds_also_at_time_zero() {
    let old = Primary::with_two_segments();
    old.put(1, "a", 100);
    let new = Primary::promoted(old.follower(), config(), 0);
    assert_eq!(new.remove("a"), Err(Refusal::Leased));
    new.pass(10_000);
    assert_eq!(new.remove("a"), Ok(()));
}

#[test]
fn retired_space_waits_in_full_after_a_promotion() {
    let old = Primary::with_two_segments();
    old.put(1, "a", 100);
    old.lookup("a").unwrap();
    old.remove_forced("a").unwrap();
    old.start(1, "b", 100).unwrap();
    old.pass(30_000);
    assert_eq!(old.state.step(old.now()).unwrap().puts_discarded, 1);
    let new = old.fail_over();
    new.pass(9_999);
    assert_eq!(new.step().extents_released, 0);
    new.pass(1);
    assert_eq!(new.step().extents_released, u64::from(old.bytes().1 == 256));
    new.pass(590_000);
    assert_eq!(new.step().extents_released, 1);
    assert_eq!(new.bytes(), (0, 0));
}
