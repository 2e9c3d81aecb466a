//! Each check finds what it is there for, in a history that is right but for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Location, Object, Position, Replica, SegmentId, SegmentKind, SegmentRef};

use crate::check::{Objects, faults_of};
use crate::history::{Call, Diary, Fate, History, Outcome, Record};
use crate::load::{checksum_of, key, size_of};

fn object(number: u64, address: u64) -> Object {
    let (name, endpoint, protocol, host) = ("s".to_owned(), String::new(), String::new(), String::new());
    let segment = SegmentRef { id: SegmentId([1; 16]), name, kind: SegmentKind::Memory, endpoint, protocol, host };
    let replica = Replica { segment: Arc::new(segment), location: Location::Memory { address }, complete: true };
    Object { size: size_of(0, number), replicas: vec![replica], checksum: Some(checksum_of(0, number)) }
}

fn change(began: Instant, after_ms: u64, (epoch, seq): (u64, u64)) -> Record {
    let (began, outcome) =
        (began + Duration::from_millis(after_ms), Outcome::Acknowledged { at: Position { epoch, seq } });
    Record { client: 0, call: Call::PutEnd, began, ended: began + Duration::from_millis(5), outcome, sent_again: false }
}

/// Two objects that are there, one that was removed, one that nobody can know of; four changes, one after the other.
fn right() -> (History, Objects) {
    let fates = [Fate::Present, Fate::Present, Fate::Gone, Fate::MaybePut];
    let fates = fates.into_iter().enumerate().map(|(number, fate)| (number as u64, fate)).collect();
    let began = Instant::now();
    let at = [(1, 1), (1, 2), (2, 4), (2, 5)];
    let records = at.into_iter().enumerate().map(|(turn, at)| change(began, turn as u64 * 10, at)).collect();
    let diary = Diary { fates, records, put_ids: vec![1, 2, 3], ..Diary::default() };
    let objects = BTreeMap::from([(key(0, 0), object(0, 0)), (key(0, 1), object(1, 1 << 20))]);
    (History { diaries: vec![diary], ..History::default() }, objects)
}

/// What is found after this has gone wrong.
fn found(wrong: impl FnOnce(&mut History, &mut Objects)) -> String {
    let (mut history, mut objects) = right();
    wrong(&mut history, &mut objects);
    let keys = objects.keys().cloned().collect();
    faults_of(&history, &keys, &objects).join("\n")
}

#[test]
fn history_that_is_right_has_no_faults() {
    assert_eq!(found(|_, _| {}), "");
    assert_eq!(found(|_, objects| drop(objects.insert(key(0, 3), object(3, 1 << 21)))), "", "it may be there");
}

#[test]
fn objects_that_do_not_fit_the_history_are_found() {
    let faults = found(|_, objects| drop(objects.remove(&key(0, 1))));
    assert!(faults.starts_with("lost: client-00/00000001"), "{faults}");
    let faults = found(|_, objects| drop(objects.insert(key(0, 2), object(2, 1 << 21))));
    assert!(faults.starts_with("back: client-00/00000002"), "{faults}");
    let faults = found(|_, objects| objects.get_mut(&key(0, 1)).unwrap().checksum = Some(7));
    assert!(faults.starts_with("not whole: client-00/00000001"), "{faults}");
    let faults = found(|_, objects| drop(objects.insert(key(7, 7), object(3, 1 << 21))));
    assert_eq!(faults, "nobody put client-07/00000007");
    let faults = found(|_, objects| drop(objects.insert(key(0, 1), object(1, size_of(0, 0) - 1))));
    assert!(faults.contains("overlap"), "{faults}");
}

#[test]
fn what_somebody_has_read_must_stay() {
    let faults = found(|history, _| history.seen.extend([(0, 3)]));
    assert!(faults.starts_with("taken back: client-00/00000003"), "{faults}");
    assert_eq!(found(|history, _| history.seen.extend([(0, 2)])), "", "it was removed since");
}

#[test]
fn positions_that_do_not_follow_time_are_found() {
    let at = |history: &mut History, turn: usize, (epoch, seq)| {
        history.diaries[0].records[turn].outcome = Outcome::Acknowledged { at: Position { epoch, seq } };
    };
    let of_an_older_epoch = found(|history, _| at(history, 3, (1, 9)));
    assert!(of_an_older_epoch.contains("began after 2/4"), "{of_an_older_epoch}");
    let with_an_older_seq = found(|history, _| at(history, 3, (3, 3)));
    assert!(with_an_older_seq.contains("began after 2/4"), "{with_an_older_seq}");
    let twice = found(|history, _| at(history, 1, (1, 1)));
    assert!(twice.contains("position 1/1 was acknowledged twice"), "{twice}");
    let put_twice = found(|history, _| history.diaries[0].put_ids.push(2));
    assert_eq!(put_twice, "put id 2 was given twice");
}
