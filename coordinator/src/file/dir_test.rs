//! States of the directory in which two processes can meet, one by one.

use super::*;
use crate::conformance::{info, who};

fn dir() -> (tempfile::TempDir, Dir) {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = Dir::make(temporary.path()).expect("made");
    (temporary, dir)
}

#[test]
fn holder_of_the_lock_without_a_members_file_is_neither_dead_nor_taken_for_its_predecessor() {
    let (_temporary, dir) = dir();
    drop(dir.join(&info(1, 5)).expect("joined"));
    assert!(dir.is_dead(who(1, 5)).expect("answered"));
    let begun = dir.take(who(1, 6)).expect("answered").expect("it is free");
    assert_eq!(dir.members().expect("members"), []);
    assert!(!dir.is_dead(who(1, 5)).expect("answered"), "not known: its number may be this one's");
    assert!(!dir.is_dead(who(1, 6)).expect("answered"), "it lives");
    match dir.join(&info(1, 7)) {
        Err(Error::NameInUse { who: holder, address, .. }) => {
            assert_eq!((holder, &*address), (who(1, 6), "an unknown address"));
        }
        joined => panic!("{joined:?}"),
    }
    // It is killed before it writes its file.
    drop(begun);
    assert!(dir.is_dead(who(1, 5)).expect("answered"));
    assert!(!dir.is_dead(who(1, 6)).expect("answered"), "it was never named");
    dir.join(&info(1, 6)).expect("it is free");
}

#[test]
fn a_members_file_that_is_damaged_is_named_while_it_is_here_and_healed_by_the_next() {
    let (_temporary, dir) = dir();
    let held = dir.join(&info(1, 5)).expect("joined");
    std::fs::write(dir.member_path(MemberId(1)), "{").expect("written");
    let error = dir.members().expect_err("it is damaged");
    assert!(matches!(&error, Error::Damaged { place, .. } if place.ends_with("members/1.json")), "{error}");
    drop(held);
    assert_eq!(dir.members().expect("nobody is here"), []);
    let _next = dir.join(&info(1, 6)).expect("joined");
    assert_eq!(dir.members().expect("healed"), [info(1, 6)]);
    assert!(!dir.is_dead(who(1, 5)).expect("answered"), "forgotten, so not known");
}

#[test]
fn the_oldest_of_too_many_incarnations_are_forgotten() {
    let (_temporary, dir) = dir();
    let numbers: BTreeSet<u64> = (0..ENDED_MAX as u64).collect();
    let text = json::member_to_json(&info(1, 5000), numbers);
    drop(dir.join(&info(1, 5000)).expect("joined"));
    std::fs::write(dir.member_path(MemberId(1)), text).expect("written");
    let _next = dir.join(&info(1, 5001)).expect("joined");
    assert!(!dir.is_dead(who(1, 0)).expect("answered"), "forgotten, so not known");
    assert!(dir.is_dead(who(1, 1)).expect("answered"));
    assert!(dir.is_dead(who(1, 5000)).expect("answered"));
}

#[test]
fn a_file_that_cannot_be_read_has_not_lost_its_member() {
    let (_temporary, dir) = dir();
    let locked = dir.join(&info(1, 5)).expect("joined");
    assert!(dir.is_here(&info(1, 5), &locked));
    let path = dir.member_path(MemberId(1));
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory cannot be read as a file, as nothing can without descriptors");
    assert!(dir.is_here(&info(1, 5), &locked), "it is not certain, so nothing is given back");
    std::fs::remove_dir(&path).expect("removed");
    assert!(!dir.is_here(&info(1, 5), &locked), "it is not named any more");
}
