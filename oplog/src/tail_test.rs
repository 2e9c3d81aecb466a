//! Tests of the tail against a list that forgets nothing, with one writer and many readers, and of
//! its configuration.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::entry::{DomainId, Draft};
use crate::error::Bound;
use crate::frame::FRAME_HEADER_BYTES_MAX;

const START: u64 = 50;

fn append(appender: &mut Appender, payload: &[u8]) -> Option<Frame> {
    let draft = Draft { domain: DomainId::METADATA, op_type: 1, timestamp_ms: 0, request: None, key: b"", payload };
    Some(appender.reserve(payload.len()).ok()?.append(&draft))
}

#[derive(Clone, Debug)]
enum Step {
    Append { bytes: usize },
    Epoch,
    Floor { seq: Option<u64> },
    Truncate { seq: u64 },
    Read { after: u64, limit_entries: usize, limit_bytes: usize },
}

fn steps() -> impl Strategy<Value = Step> {
    let seqs = || 0..START + 120;
    prop_oneof![
        8 => (0..400_usize).prop_map(|bytes| Step::Append { bytes }),
        1 => Just(Step::Epoch),
        2 => proptest::option::of(seqs()).prop_map(|seq| Step::Floor { seq }),
        1 => seqs().prop_map(|seq| Step::Truncate { seq }),
        5 => (seqs(), 0..30_usize, 0..2000_usize)
            .prop_map(|(after, limit_entries, limit_bytes)| Step::Read { after, limit_entries, limit_bytes }),
    ]
}

/// All frames ever appended, and where the tail must begin.
struct Model {
    config: TailConfig,
    all: Vec<Frame>,
    first: u64,
    floor: Option<u64>,
    epoch: u64,
}

impl Model {
    fn last(&self) -> Position {
        self.all.last().map_or(Position { epoch: 1, seq: START }, Frame::position)
    }

    fn held(&self) -> &[Frame] {
        &self.all[(self.first - START - 1) as usize..]
    }

    fn bytes(&self) -> usize {
        self.held().iter().map(|frame| frame.len() + FRAME_OVERHEAD_BYTES).sum()
    }

    fn drop_below(&mut self, seq: u64) {
        let end = seq.min(self.floor.unwrap_or(u64::MAX)).min(self.last().seq + 1);
        self.first = self.first.max(end);
    }

    /// Drops as little as possible. False: what is left is still too much.
    fn make_room(&mut self, needed: usize) -> bool {
        if needed > self.config.bytes_max {
            return false;
        }
        loop {
            if self.held().len() < self.config.entries_max && self.bytes() + needed <= self.config.bytes_max {
                return true;
            }
            let before = self.first;
            self.drop_below(before + 1);
            if self.first == before {
                return false;
            }
        }
    }

    fn read(&self, after: u64, limit_entries: usize, limit_bytes: usize) -> Result<Vec<Frame>, TailError> {
        if after > self.last().seq {
            return Err(TailError::Ahead { last: self.last(), asked: after });
        }
        if after + 1 < self.first {
            return Err(TailError::Purged { first: self.first, asked: after });
        }
        let mut bytes = 0;
        let mut out: Vec<Frame> = Vec::new();
        for frame in self.held().iter().filter(|frame| frame.position().seq > after).take(limit_entries) {
            bytes += frame.len();
            if bytes > limit_bytes && !out.is_empty() {
                break;
            }
            out.push(frame.clone());
        }
        Ok(out)
    }
}

fn step(model: &mut Model, tail: &Tail, appender: &mut Appender, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Append { bytes } => {
            let room = model.make_room(bytes + FRAME_HEADER_BYTES_MAX + FRAME_OVERHEAD_BYTES);
            let frame = append(appender, &vec![7; bytes]);
            prop_assert_eq!(frame.is_some(), room);
            if let Some(frame) = frame {
                prop_assert_eq!(frame.position(), Position { epoch: model.epoch, seq: model.last().seq + 1 });
                model.all.push(frame);
            }
        }
        Step::Epoch => {
            model.epoch += 1;
            appender.begin_epoch(model.epoch);
        }
        Step::Floor { seq } => {
            model.floor = seq;
            tail.set_floor(seq);
        }
        Step::Truncate { seq } => {
            model.drop_below(seq);
            tail.truncate_before(seq);
        }
        Step::Read { after, limit_entries, limit_bytes } => {
            let expected = model.read(after, limit_entries, limit_bytes);
            prop_assert_eq!(tail.entries_since(after, limit_entries, limit_bytes), expected.clone());
            let joined = expected.map(|frames| {
                let last = frames.last()?.position().seq;
                Some((frames.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect(), last))
            });
            prop_assert_eq!(tail.joined_since(after, limit_entries, limit_bytes), joined);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_tail_does_what_a_simple_list_does(steps in proptest::collection::vec(steps(), 1..150)) {
        let config = TailConfig { entries_max: 20, bytes_max: 5000, waiters_max: 0 };
        let (tail, mut appender) = Tail::new(config.clone(), Position { epoch: 1, seq: START });
        let mut model = Model { config, all: Vec::new(), first: START + 1, floor: None, epoch: 1 };
        for next in steps {
            step(&mut model, &tail, &mut appender, next)?;
            let (entries, bytes) = (model.held().len(), model.bytes());
            let expected = TailStats { entries, bytes, first_seq: model.first, last: model.last() };
            prop_assert_eq!(tail.stats(), expected);
            prop_assert_eq!((tail.first_seq(), tail.last()), (model.first, model.last()));
            prop_assert!(entries <= 20 && bytes <= 5000);
            prop_assert_eq!(tail.appended().get(), model.last().seq);
            prop_assert_eq!(tail.committed().get(), START);
        }
    }
}

#[test]
fn what_is_joined_is_whole_however_large_its_frames_are() {
    let (tail, mut appender) = Tail::new(TailConfig::default(), Position::default());
    let sizes = [10, LOCKED_BYTES_MAX, LOCKED_BYTES_MAX / 2, LOCKED_BYTES_MAX / 2, 7, 3 * LOCKED_BYTES_MAX, 9];
    let mut append = |(at, bytes): (usize, usize)| append(&mut appender, &vec![at as u8; bytes]).expect("room");
    let frames: Vec<Frame> = sizes.into_iter().enumerate().map(&mut append).collect();
    let bytes_of = |frames: &[Frame]| frames.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect::<Bytes>();
    for after in 0..frames.len() {
        for upto in after + 1..=frames.len() {
            let expected = bytes_of(&frames[after..upto]);
            let joined = tail.joined_since(after as u64, usize::MAX, expected.len());
            assert_eq!(joined, Ok(Some((expected, upto as u64))));
            assert_eq!(tail.joined_since(after as u64, upto - after, usize::MAX), joined);
        }
        let one = tail.joined_since(after as u64, usize::MAX, 1);
        assert_eq!(one, Ok(Some((frames[after].as_bytes().clone(), after as u64 + 1))), "one goes in any case");
    }
    assert_eq!(tail.joined_since(frames.len() as u64, 9, 9), Ok(None));
}

#[test]
fn reads_and_truncations_go_on_over_many_batches() {
    let (tail, mut appender) = Tail::new(TailConfig::default(), Position::default());
    let count = 5 * LOCKED_FRAMES_MAX as u64 + 3;
    for _ in 0..count {
        append(&mut appender, b"x").expect("room");
    }
    let seqs = |frames: Vec<Frame>| frames.iter().map(|frame| frame.position().seq).collect::<Vec<_>>();
    let all = tail.entries_since(0, usize::MAX, usize::MAX).expect("held");
    assert!(seqs(all).into_iter().eq(1..=count));
    let limited = tail.entries_since(10, 2 * LOCKED_FRAMES_MAX, usize::MAX).expect("held");
    assert!(seqs(limited).into_iter().eq(11..=10 + 2 * LOCKED_FRAMES_MAX as u64));
    // 49 bytes each.
    let by_bytes = tail.entries_since(0, usize::MAX, 49 * 700).expect("held");
    assert!(seqs(by_bytes).into_iter().eq(1..=700));
    let (bytes, last) = tail.joined_since(0, usize::MAX, 49 * 1400).expect("held").expect("there are some");
    assert_eq!((bytes.len(), last), (49 * 1400, 1400));
    tail.truncate_before(count);
    assert_eq!(tail.stats().entries, 1);
    tail.truncate_before(u64::MAX);
    let stats = tail.stats();
    assert_eq!((stats.entries, stats.bytes, stats.first_seq), (0, 0, count + 1));
    assert_eq!(tail.entries_since(count, 9, 9), Ok(Vec::new()));
    let purged = tail.entries_since(count - 1, 9, 9).expect_err("dropped");
    assert_eq!(
        purged.to_string(),
        format!("entries after seq {} were asked for, the tail begins at seq {}", count - 1, count + 1)
    );
}

/// Lets the other threads of a test end, even when this one panics.
struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[test]
fn readers_see_an_unbroken_log_while_it_is_written_and_cut() {
    const COUNT: u64 = 30_000;
    let config = TailConfig { entries_max: 1500, bytes_max: 1 << 20, waiters_max: 0 };
    let (tail, mut appender) = Tail::new(config, Position::default());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(|| done.store(true, Ordering::SeqCst));
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| read_to_the_end(&tail, &done))).collect();
        for seq in 1..=COUNT {
            append(&mut appender, &seq.to_le_bytes()).expect("no peer needs the old ones");
        }
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert_eq!(reader.join().expect("no reader panics"), COUNT);
        }
    });
}

/// Returns the last seq that was read.
fn read_to_the_end(tail: &Tail, done: &AtomicBool) -> u64 {
    let mut after = 0;
    loop {
        let (was_done, appended) = (done.load(Ordering::SeqCst), tail.appended().get());
        match tail.entries_since(after, 1000, usize::MAX) {
            Ok(frames) => {
                for (frame, seq) in frames.iter().zip(after + 1..) {
                    assert_eq!(frame.position().seq, seq);
                    assert_eq!(frame.decode().expect("whole").payload[..], seq.to_le_bytes());
                }
                after += frames.len() as u64;
                assert!(!frames.is_empty() || after >= appended, "at {after}, {appended} was appended before");
            }
            Err(TailError::Purged { first, asked }) => {
                assert!(asked == after && first > after + 1);
                after = first - 1;
            }
            Err(ahead) => panic!("{ahead}"),
        }
        if was_done && after == tail.last().seq {
            return after;
        }
    }
}

#[test]
fn the_floor_holds_against_a_writer_in_a_hurry() {
    let config = TailConfig { entries_max: 100, bytes_max: 1 << 20, waiters_max: 0 };
    let (tail, mut appender) = Tail::new(config, Position::default());
    tail.set_floor(Some(1));
    thread::scope(|scope| {
        let _end = AtEnd(|| tail.set_floor(None));
        let writer = scope.spawn(move || {
            while appender.next_seq() <= 5000 {
                if append(&mut appender, b"x").is_none() {
                    thread::yield_now();
                }
            }
        });
        let mut after = 0;
        while after < 5000 {
            // Never Purged, since what this peer needs is kept.
            after += tail.entries_since(after, 30, usize::MAX).expect("kept by the floor").len() as u64;
            tail.set_floor(Some(after + 1));
            assert!(tail.first_seq() <= after + 1);
        }
        writer.join().expect("no panic");
    });
    assert_eq!(tail.last().seq, 5000);
}

#[test]
fn a_waiter_finds_the_entry_that_woke_it() {
    let (tail, mut appender) = Tail::new(TailConfig::default(), Position::default());
    let appended = tail.appended_shared();
    thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=2000 {
                while appended.get() < seq {
                    std::hint::spin_loop();
                }
                assert_eq!(tail.entries_since(seq - 1, 1, 1).expect("held").len(), 1);
            }
        });
        for _ in 0..2000 {
            append(&mut appender, b"x").expect("room");
        }
    });
}

#[test]
fn a_configuration_that_cannot_work_is_refused_by_name() {
    assert_eq!(TailConfig::default().validate(), Ok(()));
    let bytes_max = FRAME_BYTES_MAX;
    let refused = TailConfig { bytes_max, ..TailConfig::default() }.validate();
    let bytes_min = FRAME_BYTES_MAX + FRAME_OVERHEAD_BYTES;
    assert_eq!(refused, Err(TailConfigError::BytesBelowOneEntry { bytes_max, bytes_min }));
    let none = TailConfig { entries_max: 0, ..TailConfig::default() };
    assert_eq!(none.validate(), Err(TailConfigError::NoEntries));
    let (_tail, mut appender) = Tail::new(none, Position::default());
    let refused = appender.reserve(1).expect_err("no place at all");
    assert!(matches!(refused.bound, Bound::TailEntries { entries: 0, max: 0, .. }));
    let silent = TailConfig { waiters_max: 0, ..TailConfig::default() };
    assert_eq!(silent.validate(), Err(TailConfigError::NoWaiters));
}
