//! Removal of named keys, by pattern, and of all.

use understudy_metadata::{Pin, Refusal, RemovedMany};

use crate::support::{Primary, config, disk, field_of, memory, placed};

#[test]
fn a_removed_object_gives_its_space_back_at_once() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    assert_eq!(primary.remove("a"), Ok(()));
    assert_eq!(primary.remove("a"), Err(Refusal::NotFound));
    assert_eq!((primary.keys().len(), primary.bytes()), (0, (0, 0)));
}

#[test]
fn what_is_being_written_is_removed_only_by_force_and_its_space_waits_for_the_writer() {
    let primary = Primary::with_two_segments();
    let put = primary.start(1, "a", 100).unwrap().put;
    assert_eq!(primary.remove("a"), Err(Refusal::WriteInProgress));
    primary.remove_forced("a").unwrap();
    assert_eq!(primary.bytes(), (0, 128));
    assert_eq!(primary.end(1, "a", put), Err(Refusal::NotFound));
    primary.pass(599_999);
    assert_eq!(primary.step().extents_released, 0);
    primary.pass(1);
    assert_eq!(primary.step().extents_released, 1);
}

#[test]
fn a_forced_removal_takes_a_replacement_along() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let put = primary.start_over(1, "a", 200).unwrap().put;
    assert_eq!(primary.remove("a"), Err(Refusal::WriteInProgress));
    primary.remove_forced("a").unwrap();
    assert_eq!(primary.bytes(), (0, 256), "nobody read the old version, somebody may be writing the new one");
    assert_eq!(primary.end(1, "a", put), Err(Refusal::NotFound));
}

#[test]
fn a_half_ended_put_that_is_removed_by_force_waits_for_its_writer() {
    let primary = Primary::with_two_segments();
    primary.mount(1, disk(3, "d3", 65536)).unwrap();
    let put = primary.start_as(1, &placed(1, 1), "a", 100).unwrap().put;
    primary.end_scope(1, "a", put, understudy_metadata::Scope::Memory, None).unwrap();
    primary.lookup("a").unwrap();
    primary.remove_forced("a").unwrap();
    assert_eq!(primary.bytes(), (0, 256));
    primary.pass(600_000);
    primary.step();
    assert_eq!(primary.bytes(), (0, 0));
}

#[test]
fn a_hard_pin_is_removed_only_by_force() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    primary.pin("a", Pin::Hard).unwrap();
    assert_eq!(primary.remove("a"), Err(Refusal::Pinned));
    primary.pin("a", Pin::Soft { ttl_ms: 9 }).unwrap();
    assert_eq!(primary.remove("a"), Ok(()));
    assert_eq!(primary.pin("a", Pin::None), Err(Refusal::NotFound));
}

#[test]
fn a_pattern_takes_what_it_matches_and_counts_what_it_leaves() {
    let primary = Primary::with_two_segments();
    for key in ["run/1", "run/2", "run/3", "other/1"] {
        primary.put(1, key, 10);
    }
    primary.pin("run/2", Pin::Hard).unwrap();
    primary.start(1, "run/open", 10).unwrap();
    let sum = primary.state.remove_matching(&primary.call(1), "^run/", false).unwrap().results;
    assert_eq!(sum, RemovedMany { removed: 2, refused: 2 });
    assert_eq!(primary.keys(), ["other/1", "run/2", "run/open"]);
    let sum = primary.state.remove_matching(&primary.call(1), "/[0-9]$", true).unwrap().results;
    assert_eq!(sum, RemovedMany { removed: 2, refused: 0 });
}

#[test]
fn a_pattern_works_on_bytes() {
    let primary = Primary::with_two_segments();
    let keys: [&[u8]; 2] = [b"\xff\x00a", b"plain"];
    for key in keys {
        let item = understudy_metadata::PutStartItem { key, size: 1 };
        primary.state.put_start(&primary.call(1), &placed(1, 0), &[item]).unwrap();
    }
    let sum = primary.state.remove_matching(&primary.call(1), r"(?-u)^\xff", true).unwrap().results;
    assert_eq!(sum.removed, 1);
    assert_eq!(primary.keys(), ["plain"]);
}

#[test]
fn patterns_that_are_wrong_or_would_run_away_are_refused() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 10);
    let before = primary.digest();
    let long = "a".repeat(1025);
    for bad in ["", "(", "a{1000}{1000}{1000}", "(?:[a-z]{500}){500}", r"\w{5000}\w{5000}", long.as_str()] {
        assert_eq!(field_of(primary.state.remove_matching(&primary.call(1), bad, true)), "regex", "{bad:.20}");
    }
    assert_eq!(primary.digest(), before);
}

#[test]
fn all_of_one_tenant_go_in_many_entries_and_no_others() {
    let primary = Primary::with(config());
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    for n in 0..2000 {
        primary.put(1, &n.to_string(), 1);
    }
    let other = understudy_metadata::Call { tenant: "other", ..primary.call(1) };
    let item = understudy_metadata::PutStartItem { key: b"a", size: 1 };
    primary.state.put_start(&other, &placed(1, 0), &[item]).unwrap();
    let sum = primary.state.remove_all(&primary.call(1), true).unwrap().results;
    assert_eq!(sum, RemovedMany { removed: 2000, refused: 0 });
    assert_eq!(primary.state.totals().objects, 1);
    let nobody = understudy_metadata::Call { tenant: "nobody", ..primary.call(1) };
    assert_eq!(primary.state.remove_all(&nobody, true).unwrap().results, RemovedMany::default());
    let sum = primary.state.remove_all(&other, true).unwrap().results;
    assert_eq!(sum, RemovedMany { removed: 1, refused: 0 });
}

/// Keys of the longest kind: an entry is bounded by their bytes too.
#[test]
fn long_keys_are_removed_in_entries_of_a_bounded_size() {
    let primary = Primary::with(config());
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    for n in 0..100 {
        primary.put(1, &format!("{n:04096}"), 1);
    }
    assert_eq!(primary.state.remove_all(&primary.call(1), false).unwrap().results.removed, 100);
    assert!(primary.entries().iter().all(|entry| entry.payload.len() < 300 << 10));
}

/// Calls take their time before they wait for the writer lock, so an object may be younger than the call that removes it.
#[test]
fn a_put_that_began_after_a_call_was_made_is_removed_by_it() {
    let primary = Primary::with_two_segments();
    let early = primary.call(1);
    primary.pass(5);
    primary.start(1, "open", 100).unwrap();
    primary.put(1, "whole", 100);
    let removed = primary.state.remove(&early, true, &[b"open", b"whole"]).unwrap().results;
    assert_eq!(removed, [Ok(()), Ok(())]);
    primary.state.check().unwrap();
    assert_eq!(primary.state.totals().objects, 0);
}
