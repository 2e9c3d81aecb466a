//! Two states that should be the same and are not: it is found, where and what is told, and just that is repaired.

use oplog::{
    Difference, Entry, MismatchKind, Part, Position, RepairError, ReplicatedState, ScrubCursor, ScrubStep, Verifiable,
};
use understudy_metadata::{Fault, Metadata, Pin, PutStartItem, compare_parts};

use crate::support::{Primary, config, memory, placed};

/// Objects of all kinds, in one tenant whose keys share their first bytes, and a follower that has applied everything.
fn pair() -> (Primary, Metadata) {
    let mut primary = Primary::new();
    primary.verify_at_end = false;
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    primary.mount(2, memory(2, "m2", 1 << 20)).unwrap();
    for n in 0..500 {
        primary.put(1, &format!("tenant-a/model/{n}"), 64 + n);
    }
    primary.pin("tenant-a/model/7", Pin::Hard).unwrap();
    primary.start(2, "tenant-a/unfinished", 100).unwrap();
    primary.put(1, "tenant-a/replaced", 100);
    primary.start_over(1, "tenant-a/replaced", 200).unwrap();
    let call = primary.numbered(1, 1);
    let item = PutStartItem { key: b"numbered", size: 64 };
    primary.state.put_start(&call, &placed(1, 0), &[item]).unwrap();
    let follower = Metadata::new(config(), Position::default());
    follow(&primary, &follower);
    (primary, follower)
}

fn entries(primary: &Primary, after: u64) -> Vec<Entry> {
    let frames = primary.tail.entries_since(after, usize::MAX, usize::MAX).unwrap();
    frames.iter().map(|frame| frame.decode().unwrap()).collect()
}

fn follow(primary: &Primary, follower: &Metadata) {
    for entry in entries(primary, follower.applied().seq) {
        follower.apply(&entry).unwrap();
    }
}

fn difference(primary: &Primary, follower: &Metadata) -> Difference {
    primary.state.digests().difference(&follower.digests())
}

/// As a standby does: from the shards that differ, by what is counted, to the buckets, and then what is in them; with the
/// directory, where what the records imply is not to be trusted.
fn repaired(primary: &Primary, follower: &Metadata, shards: &[u32]) -> Vec<oplog::Mismatch> {
    let found = repair(primary, follower, parts_of(primary, follower, shards), 100_000);
    assert!(difference(primary, follower).is_empty());
    follower.check().unwrap();
    found
}

fn repair(primary: &Primary, follower: &Metadata, mut parts: Vec<Part>, max: usize) -> Vec<oplog::Mismatch> {
    let alone = follower.repair(&primary.state.capture_parts(&parts), max);
    if let Err(RepairError::NeedsWhole { .. }) = alone {
        parts.push(Part { shard: follower.shards() - 1, bucket: 0 });
        return follower.repair(&primary.state.capture_parts(&parts), max).unwrap();
    }
    alone.unwrap()
}

fn parts_of(primary: &Primary, follower: &Metadata, shards: &[u32]) -> Vec<Part> {
    let mut parts = Vec::new();
    for &shard in shards {
        let (theirs, ours) = (primary.state.buckets(shard), follower.buckets(shard));
        assert!(theirs.is_sound());
        let differ = (0..theirs.kept.len()).filter(|at| theirs.kept[*at] != ours.counted[*at]);
        parts.extend(differ.map(|bucket| Part { shard, bucket: bucket as u32 }));
    }
    parts
}

/// All shards, record by record.
fn scrub(state: &Metadata) -> Vec<(u32, String)> {
    let mut rotten = Vec::new();
    for shard in 0..state.shards() {
        let mut at = ScrubCursor::of(shard);
        loop {
            match state.scrub(at, 3) {
                ScrubStep::More(next) => at = next,
                ScrubStep::Sound => break,
                ScrubStep::Rotten(what) => break rotten.push((shard, what)),
                ScrubStep::Busy => panic!("nothing changes here"),
            }
        }
    }
    rotten
}

#[test]
fn equal_states_have_equal_digests_of_everything_and_nothing_to_repair() {
    let (primary, follower) = pair();
    assert!(difference(&primary, &follower).is_empty());
    assert_eq!(scrub(&primary.state), []);
    assert_eq!(scrub(&follower), []);
    let all: Vec<Part> = (0..follower.shards()).map(|shard| Part { shard, bucket: 3 }).collect();
    assert_eq!(follower.repair(&primary.state.capture_parts(&all), 0), Ok(Vec::new()));
    assert!(difference(&primary, &follower).is_empty());
    follower.check().unwrap();
}

/// Which shards are asked about may come from another member.
#[test]
fn a_shard_that_is_not_there_has_nothing_to_compare() {
    let (_, follower) = pair();
    for shard in [1025, u32::MAX] {
        assert!(follower.buckets(shard).kept.is_empty());
        assert!(follower.sample(Part { shard, bucket: 0 }, 0, 10).records.is_empty());
        assert_eq!(follower.scrub(ScrubCursor::of(shard), 10), ScrubStep::Sound);
        assert!(follower.capture_parts(&[Part { shard, bucket: 0 }]).parts.is_empty());
    }
}

#[test]
fn digests_in_the_log_are_those_of_the_state_before_them() {
    let (primary, follower) = pair();
    let logged = primary.state.log_digests(primary.now()).unwrap();
    let entry = entries(&primary, follower.applied().seq).pop().unwrap();
    assert_eq!((entry.domain, entry.op_type), (oplog::DomainId::ENGINE, oplog::OP_DIGEST));
    assert_eq!(oplog::Digests::decode(entry.position(), &entry.payload, 1025), Ok(logged.clone()));
    follower.apply(&entry).unwrap();
    assert_eq!(follower.digests(), logged);
}

#[test]
fn every_fault_of_objects_is_found_named_and_repaired_alone() {
    for (fault, kind, is_under) in [
        (Fault::RecordBit, MismatchKind::Checksum, true),
        (Fault::RecordChanged, MismatchKind::Checksum, false),
        (Fault::RecordLost, MismatchKind::KeyNotFound, false),
        (Fault::PinReset, MismatchKind::Checksum, false),
    ] {
        let (primary, follower) = pair();
        let what = follower.inflict(fault).unwrap();
        let found = difference(&primary, &follower);
        let rotten = scrub(&follower);
        let shards: Vec<u32> = match is_under {
            true => rotten.iter().map(|(shard, _)| *shard).collect(),
            false => found.shards.clone(),
        };
        assert_eq!((found.shards.is_empty(), rotten.is_empty()), (is_under, !is_under), "{what}");
        assert!(what.ends_with(&format!("in shard {}", shards[0])), "{what}: {shards:?}");
        let parts = parts_of(&primary, &follower, &shards);
        assert_eq!(parts.len(), 1, "{what}: one bucket differs");
        let mismatches = repair(&primary, &follower, parts, 10);
        assert_eq!(mismatches.len(), 1, "{what}: {mismatches:?}");
        assert_eq!(mismatches[0].kind, kind);
        assert!(what.starts_with(&mismatches[0].record), "{what}: {mismatches:?}");
        assert!(difference(&primary, &follower).is_empty(), "{what}");
        assert_eq!(scrub(&follower), []);
        follower.check().unwrap();
    }
}

/// The record stands under a hash that is not its key's any more, and holds the space that the
/// right one needs. Here the key has become that of another object.
#[test]
fn a_record_whose_key_has_changed_is_taken_out_before_the_right_one_comes_in() {
    let (primary, follower) = pair();
    let what = follower.inflict(Fault::KeyBit).unwrap();
    assert!(difference(&primary, &follower).is_empty());
    let shards: Vec<u32> = scrub(&follower).iter().map(|(shard, _)| *shard).collect();
    assert_eq!(shards.len(), 1, "{what}");
    let mismatches = repaired(&primary, &follower, &shards);
    let kinds: Vec<MismatchKind> = mismatches.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [MismatchKind::ExtraKey, MismatchKind::KeyNotFound], "{mismatches:?}");
    assert_eq!(scrub(&follower), []);
    primary.put(1, "after", 640);
    primary.remove("tenant-a/model/9").unwrap();
    follow(&primary, &follower);
    assert!(difference(&primary, &follower).is_empty(), "{what}");
}

#[test]
fn what_differs_is_told_field_by_field() {
    let (primary, follower) = pair();
    follower.inflict(Fault::PinReset).unwrap();
    let shards = difference(&primary, &follower).shards;
    let found = repaired(&primary, &follower, &shards);
    let pin = ("pin".to_owned(), "none".to_owned(), "hard".to_owned());
    assert_eq!(found.iter().map(|found| found.fields.clone()).collect::<Vec<_>>(), [vec![pin]]);
    assert!(found[0].record.contains("tenant-a/model/7"), "{found:?}");
}

#[test]
fn faults_of_the_directory_are_found_and_the_directory_is_replaced() {
    for fault in
        [Fault::FreeRangeBit, Fault::FreeRangeLost, Fault::AnswerBit, Fault::AnswerUnreadable, Fault::AnswerLost]
    {
        let (primary, follower) = pair();
        let what = follower.inflict(fault).unwrap();
        let found = difference(&primary, &follower);
        let rotten = scrub(&follower);
        let directory = follower.shards() - 1;
        match fault {
            Fault::FreeRangeBit | Fault::AnswerBit | Fault::AnswerUnreadable => {
                assert!(found.is_empty() && rotten.len() == 1 && rotten[0].0 == directory, "{what}: {rotten:?}");
            }
            Fault::FreeRangeLost => assert!(found.implied && found.shards.is_empty(), "{what}: {found:?}"),
            _ => assert!(!found.implied && found.shards == [directory], "{what}: {found:?}"),
        }
        let image = primary.state.capture_parts(&[Part { shard: directory, bucket: 0 }]);
        follower.repair(&image, 10).unwrap();
        assert!(difference(&primary, &follower).is_empty(), "{what}");
        assert_eq!(scrub(&follower), [], "{what}");
        follower.check().unwrap();
        // It goes on like any other.
        primary.put(1, "after", 640);
        primary.remove("tenant-a/model/9").unwrap();
        follow(&primary, &follower);
        assert!(difference(&primary, &follower).is_empty(), "{what}");
    }
}

#[test]
fn more_than_may_be_repaired_changes_nothing() {
    let (primary, follower) = pair();
    follower.inflict(Fault::RecordChanged).unwrap();
    let before = follower.digests();
    let parts = parts_of(&primary, &follower, &difference(&primary, &follower).shards);
    let refused = follower.repair(&primary.state.capture_parts(&parts), 0);
    assert_eq!(refused, Err(RepairError::TooMany { found: 1, max: 0 }));
    assert_eq!(follower.digests(), before);
}

#[test]
fn an_image_of_another_moment_or_with_a_changed_bit_changes_nothing() {
    let (primary, follower) = pair();
    follower.inflict(Fault::RecordChanged).unwrap();
    let before = follower.digests();
    let parts = parts_of(&primary, &follower, &difference(&primary, &follower).shards);
    let image = primary.state.capture_parts(&parts);
    for bit in 0..image.bytes.len() * 8 {
        let mut bytes = image.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let damaged = oplog::PartsImage { bytes: bytes.into(), ..image.clone() };
        follower.repair(&damaged, 10).unwrap_err();
    }
    primary.put(1, "later", 64);
    let later = primary.state.capture_parts(&parts);
    assert!(matches!(follower.repair(&later, 10), Err(RepairError::Position { .. })));
    assert_eq!(follower.digests(), before);
}

/// They are captured one by one, and a shard may change between two of them.
#[test]
fn parts_that_are_captured_while_others_write_stand_at_one_moment() {
    let (primary, follower) = pair();
    let parts: Vec<Part> = (0..32).flat_map(|shard| (0..16).map(move |bucket| Part { shard, bucket })).collect();
    let (state, done) = (&primary.state, std::sync::atomic::AtomicBool::new(false));
    let images = std::thread::scope(|scope| {
        let captures = scope.spawn(|| {
            let mut images = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) || images.is_empty() {
                images.push(state.capture_parts(&parts));
            }
            images
        });
        for n in 0..4000 {
            primary.put(1, &format!("beside/{n}"), 64);
            if n % 3 == 0 {
                primary.remove(&format!("beside/{}", n / 2)).ok();
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        captures.join().unwrap()
    });
    for image in images {
        for entry in entries(&primary, follower.applied().seq) {
            if entry.position().seq <= image.digests.at.seq {
                follower.apply(&entry).unwrap();
            }
        }
        let ours = follower.capture_parts(&parts);
        assert_eq!(ours.digests, image.digests);
        let found = compare_parts(&ours, &image).unwrap();
        assert!(found.records.is_empty() && found.undecided == 0, "at {}: {found:?}", image.digests.at);
    }
}

/// An answer comes from another process, and tells itself which parts it holds.
#[test]
fn an_image_of_parts_that_are_not_here_or_of_one_twice_changes_nothing() {
    let (primary, follower) = pair();
    let before = follower.digests();
    let directory = follower.shards() - 1;
    let part = |shard, bucket| Part { shard, bucket };
    let parts = [part(0, 0), part(0, 1)];
    let image = primary.state.capture_parts(&parts);
    // None of them holds a record, so no key says where it belongs.
    let nothing = primary.state.capture_parts(&[part(0, 16), part(0, 17)]);
    for parts in [
        [part(0, 0), part(directory, 0)],
        [part(0, 0), part(u32::MAX, 0)],
        [part(0, 0), part(0, 16)],
        [part(0, 0), part(0, u32::MAX)],
        [part(0, 0), part(0, 0)],
        [part(0, 1), part(0, 0)],
    ] {
        for image in [&image, &nothing] {
            let said = oplog::PartsImage { parts: parts.to_vec(), ..image.clone() };
            let refused = follower.repair(&said, 10);
            assert!(matches!(refused, Err(RepairError::Inconsistent { .. })), "{parts:?}: {refused:?}");
        }
    }
    let whole = primary.state.capture_parts(&[part(directory, 0)]);
    let directory = whole.whole.clone().unwrap();
    let later = Position { seq: directory.at.seq + 1, ..directory.at };
    for other in
        [oplog::ShardImage { shard: 0, ..directory.clone() }, oplog::ShardImage { at: later, ..directory.clone() }]
    {
        let refused = follower.repair(&oplog::PartsImage { whole: Some(other), ..whole.clone() }, 10);
        assert!(matches!(refused, Err(RepairError::Inconsistent { .. })), "{refused:?}");
    }
    assert_eq!(follower.digests(), before);
    follower.check().unwrap();
}

/// A standby serves reads: they must not see what only it had.
#[test]
fn a_directory_that_lacks_segments_and_names_a_tenant_otherwise_replaces_what_readers_see() {
    let tenant = |name| {
        let mut primary = Primary::new();
        primary.verify_at_end = false;
        primary.state.set_tenant_quota(name, 1 << 20, primary.now()).unwrap();
        primary
    };
    let (other, primary) = (tenant("one"), tenant("two"));
    other.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let follower = Metadata::new(config(), Position::default());
    follow(&other, &follower);
    let at = follower.applied();
    let mut image = primary.state.capture_parts(&[Part { shard: follower.shards() - 1, bucket: 0 }]);
    image.digests.at = at;
    image.whole.as_mut().unwrap().at = at;
    follower.repair(&image, 10).unwrap();
    assert!(follower.digests().difference(&image.digests).is_empty());
    // Compares the readers' view with the directory.
    follower.check().unwrap();
}

#[test]
fn entries_that_were_skipped_swapped_or_applied_to_another_object_are_found() {
    let (primary, follower) = pair();
    primary.pin("tenant-a/model/11", Pin::Hard).unwrap();
    let skipped = entries(&primary, follower.applied().seq);
    follower.skip_to(skipped[0].position());
    primary.put(2, "next", 64);
    follow(&primary, &follower);
    let found = difference(&primary, &follower);
    assert_eq!(found.shards.len(), 1, "{found:?}");
    repaired(&primary, &follower, &found.shards);

    // Two changes of one object, in the wrong order.
    primary.pin("tenant-a/model/12", Pin::Hard).unwrap();
    primary.pin("tenant-a/model/12", Pin::Soft { ttl_ms: 5 }).unwrap();
    let two = entries(&primary, follower.applied().seq);
    let swapped = [Entry { seq: two[0].seq, ..two[1].clone() }, Entry { seq: two[1].seq, ..two[0].clone() }];
    swapped.iter().for_each(|entry| follower.apply(entry).unwrap());
    let found = difference(&primary, &follower);
    assert_eq!(found.shards.len(), 1, "{found:?}");
    repaired(&primary, &follower, &found.shards);
}

#[test]
fn a_sample_finds_what_is_under_the_digests_and_leaves_out_what_has_changed_since() {
    let (primary, follower) = pair();
    let what = follower.inflict(Fault::RecordBit).unwrap();
    let found = |follower: &Metadata, primary: &Primary| -> Vec<(Part, MismatchKind)> {
        let mut found = Vec::new();
        for shard in 0..follower.shards() {
            for bucket in 0..16 {
                let part = Part { shard, bucket };
                let mismatches = primary.state.check_sample(&follower.sample(part, u64::MAX / 2, 1000));
                found.extend(mismatches.into_iter().map(|(kind, _)| (part, kind)));
            }
        }
        found
    };
    let one = found(&follower, &primary);
    assert_eq!(one.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), [MismatchKind::Checksum], "{what}");
    assert!(what.ends_with(&format!("in shard {}", one[0].0.shard)), "{what}");
    repaired(&primary, &follower, &[one[0].0.shard]);
    assert_eq!(found(&follower, &primary), []);
    // What the follower has not seen yet is no mismatch.
    for n in 100..300 {
        primary.remove(&format!("tenant-a/model/{n}")).unwrap();
        primary.put(1, &format!("tenant-a/model/{n}"), 64);
        primary.put(1, &format!("tenant-a/new/{n}"), 64);
    }
    assert_eq!(found(&follower, &primary), []);
    follow(&primary, &follower);
    follower.inflict(Fault::ShardLost).unwrap();
    let lost = found(&follower, &primary);
    assert!(!lost.is_empty() && lost.iter().all(|(_, kind)| *kind == MismatchKind::KeyNotFound), "{lost:?}");
}

#[test]
fn a_shard_that_changes_while_it_is_looked_at_is_begun_anew() {
    let (primary, _) = pair();
    let shard = (0..1024).find(|shard| primary.state.buckets(*shard).kept.iter().any(|digest| digest.0 != 0)).unwrap();
    let ScrubStep::More(at) = primary.state.scrub(ScrubCursor::of(shard), 1) else { panic!("it has more slots") };
    for n in 0..500 {
        primary.pin(&format!("tenant-a/model/{n}"), Pin::Hard).unwrap();
    }
    assert_eq!(primary.state.scrub(ScrubCursor { next: at.next, ..at }, usize::MAX), ScrubStep::Sound);
    let changing = (0..100).try_fold(ScrubCursor::of(shard), |at, n| {
        let pin = if n % 2 == 0 { Pin::None } else { Pin::Hard };
        (0..500).for_each(|n| primary.pin(&format!("tenant-a/model/{n}"), pin).unwrap());
        match primary.state.scrub(at, 1) {
            ScrubStep::More(next) => Ok(next),
            other => Err(other),
        }
    });
    assert_eq!(changing, Err(ScrubStep::Busy));
}

#[test]
fn a_record_that_has_left_its_space_behind_is_not_repaired_alone() {
    let (primary, follower) = pair();
    follower.inflict(Fault::RecordLost).unwrap();
    let shards = difference(&primary, &follower).shards;
    let mut parts = parts_of(&primary, &follower, &shards);
    let alone = follower.repair(&primary.state.capture_parts(&parts), 10);
    assert!(matches!(alone, Err(RepairError::NeedsWhole { .. })), "{alone:?}");
    parts.push(Part { shard: follower.shards() - 1, bucket: 0 });
    assert_eq!(follower.repair(&primary.state.capture_parts(&parts), 10).map(|found| found.len()), Ok(1));
    assert!(difference(&primary, &follower).is_empty());
    follower.check().unwrap();
}
