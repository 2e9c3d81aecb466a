//! A standby against a primary with a real state: afterwards both hold the same, however it was
//! transferred.

use std::sync::Arc;

use bytes::Bytes;
use metadata::{
    Call, Config, ItemId, Metadata, Now, Placement, PutEndItem, PutStart, PutStartItem, Scope, SegmentId, SegmentKind,
    SegmentSpec, Settings,
};
use oplog::{ClientId, Position, ReplicatedState as _, Secret, Tail, TailConfig, TailError};
use proto::v1;
use replication::{BatchLimits, Images, Start, next_batch, plan};

use super::*;
use crate::applying::apply_committed;
use crate::promotion::Promotion;

const LIMITS: BatchLimits = BatchLimits { entries: 7, bytes: 1 << 20 };
const NOW: Now = Now { ttl_ms: 1, wall_ms: 1 };

struct Primary {
    state: Arc<Metadata>,
    tail: Arc<Tail>,
    puts: u64,
}

/// No primary here has a later epoch.
const EPOCH: u64 = 100;

fn call() -> Call<'static> {
    Call { client: ClientId([1; 16]), number: 0, answered_below: 0, address: None, tenant: "", now: NOW }
}

fn config() -> Config {
    Config { settings: Settings { client_ttl_ms: 3_600_000, ..Settings::default() }, ..Config::default() }
}

impl Primary {
    fn new() -> Primary {
        let state = Arc::new(Metadata::new(config(), Position::default()));
        let (tail, mut log) = Tail::new(TailConfig::default(), Position::default());
        log.begin_epoch(1);
        state.lead(log, NOW, 1);
        let segment = SegmentSpec {
            id: SegmentId([1; 16]),
            name: "m",
            kind: SegmentKind::Memory,
            base: 1 << 32,
            size: 1 << 30,
            endpoint: "10.0.0.1:1",
            protocol: "tcp",
            host: "",
            path: "",
        };
        state.mount(&call(), &[segment]).unwrap();
        Primary { state, tail, puts: 0 }
    }

    /// A primary of the next epoch, made from this standby.
    fn promoted(standby: Standby<Metadata>, epoch: u64) -> Primary {
        let promotion = Promotion::new(standby);
        while promotion.apply(100).unwrap().entries > 0 {}
        let (state, tail, log) = promotion.begin(epoch, 1, Secret([7; 16])).unwrap();
        state.lead(log, NOW, 1);
        Primary { state, tail, puts: 1000 * epoch }
    }

    fn put(&mut self, count: u64) {
        for _ in 0..count {
            self.puts += 1;
            let key = self.puts.to_be_bytes();
            let how =
                PutStart { placement: Placement { memory_replicas: 1, ..Placement::default() }, ..PutStart::default() };
            self.state
                .put_start(&call(), &how, &[PutStartItem { key: &key, size: 100 }])
                .unwrap()
                .results
                .remove(0)
                .unwrap();
            let end = PutEndItem { key: &key, put: ItemId::NONE, checksum: None };
            self.state.put_end(&call(), Scope::All, &[end]).unwrap().results.remove(0).unwrap();
        }
    }

    fn plan(&self, standby: &Standby<Metadata>) -> Start {
        plan(&self.tail.history(), self.tail.first_seq() - 1, &standby.holds())
    }

    fn welcome(&self, start: Start) -> v1::welcome::Start {
        match start {
            Start::Log { fork_seq } => v1::welcome::Start::ForkSeq(fork_seq),
            Start::FullSync { first_shard, .. } => {
                v1::welcome::Start::FullSync(v1::FullSync { first_shard, shards: self.state.shards() })
            }
        }
    }

    /// Sends everything after `sent`, in small batches.
    fn send_log(&self, standby: &mut Standby<Metadata>, mut sent: u64) {
        while let Some(batch) = next_batch(&self.tail, sent, u64::MAX, LIMITS).unwrap() {
            let mut frames = batch.frames.clone();
            while !frames.is_empty() {
                let _ = standby.on_frames(&mut frames).unwrap();
            }
            sent = batch.last_seq;
        }
    }

    /// Syncs, from the hello to the end of the log.
    fn sync(&mut self, standby: &mut Standby<Metadata>) -> Start {
        let start = self.plan(standby);
        let _ = standby.on_welcome(self.welcome(start), EPOCH).unwrap();
        let sent = match start {
            Start::Log { fork_seq } => fork_seq,
            Start::FullSync { first_shard, after } => {
                let mut images = Images::new(Arc::clone(&self.state), first_shard);
                let mut sent = after;
                while let Some(image) = images.next_message() {
                    if image.shard % 100 == 7 {
                        self.put(1);
                    }
                    let last = image.shard;
                    let _ = standby.on_image(image).unwrap();
                    let from = sent.or(images.oldest().map(|at| at.seq)).unwrap();
                    // Sometimes the log was sent beside the images, and is gone from the primary by
                    // then.
                    if last % 200 == 7 {
                        self.send_log(standby, from);
                        sent = Some(self.tail.last().seq);
                        self.lose_log_before(u64::MAX);
                    }
                }
                sent.unwrap()
            }
        };
        self.send_log(standby, sent);
        start
    }

    fn assert_same(&self, standby: &Standby<Metadata>) {
        standby.on_committed(u64::MAX);
        while apply_committed(&**standby.state(), standby.tail(), 3, u64::MAX, |_| {}).unwrap().entries > 0 {}
        assert_eq!(standby.state().digest(), self.state.digest());
        assert_eq!(standby.received(), self.tail.last().seq);
        standby.state().check().unwrap();
    }

    fn lose_log_before(&self, seq: u64) {
        self.tail.truncate_before(seq);
    }
}

fn standby() -> Standby<Metadata> {
    let (tail, log) = Tail::new(TailConfig::default(), Position::default());
    Standby::new(Arc::new(Metadata::new(config(), Position::default())), tail, log, TailConfig::default())
}

#[test]
fn the_log_makes_the_same_state_and_goes_on_where_it_was_cut() {
    let (mut primary, mut standby) = (Primary::new(), standby());
    for _ in 0..3 {
        primary.put(20);
        assert!(matches!(primary.sync(&mut standby), Start::Log { .. }));
        primary.assert_same(&standby);
    }
}

#[test]
fn nothing_is_applied_before_it_is_committed() {
    let (mut primary, mut standby) = (Primary::new(), standby());
    primary.put(20);
    primary.sync(&mut standby);
    standby.on_committed(5);
    let applied = apply_committed(&**standby.state(), standby.tail(), 1000, u64::MAX, |_| {}).unwrap();
    assert_eq!((applied.seq, applied.entries), (5, 5));
    assert_eq!(standby.received(), primary.tail.last().seq);
    standby.on_committed(u64::MAX);
    assert_eq!(standby.tail().committed().get(), standby.held(), "what is not here does not count");
}

#[test]
fn what_the_next_primary_does_not_hold_is_dropped_unless_it_is_applied() {
    let (mut old, mut heir, mut other) = (Primary::new(), standby(), standby());
    old.put(10);
    old.sync(&mut heir);
    old.put(5);
    old.sync(&mut other);
    // Both hold what was committed, and one of them holds more.
    let committed = heir.held();
    other.on_committed(committed);
    let mut new = Primary::promoted(heir, 2);
    new.put(3);
    assert_eq!(new.sync(&mut other), Start::Log { fork_seq: committed });
    new.assert_same(&other);

    // The old primary has applied what no other member holds: it needs a full sync.
    let log = old.state.follow().unwrap();
    let mut deposed = Standby::new(Arc::clone(&old.state), Arc::clone(&old.tail), log, TailConfig::default());
    let refused = deposed.on_welcome(v1::welcome::Start::ForkSeq(committed), EPOCH).unwrap_err();
    assert!(matches!(refused, StandbyError::ForkBelowApplied { .. }), "{refused}");
    assert!(matches!(new.sync(&mut deposed), Start::FullSync { .. }));
    new.assert_same(&deposed);
}

#[test]
fn a_deposed_primary_that_lost_nothing_goes_on_from_its_log() {
    let (mut old, mut heir) = (Primary::new(), standby());
    old.put(10);
    old.sync(&mut heir);
    let mut new = Primary::promoted(heir, 2);
    new.put(3);
    old.tail.committed().close(oplog::CloseReason::Deposed { epoch: 2 });
    let log = old.state.follow().unwrap();
    let mut deposed = Standby::new(Arc::clone(&old.state), Arc::clone(&old.tail), log, TailConfig::default());
    let start = new.plan(&deposed);
    assert!(matches!(start, Start::Log { .. }));
    assert_eq!(deposed.on_welcome(new.welcome(start), EPOCH).unwrap(), Hand::Changed, "its watch was closed");
    let Start::Log { fork_seq } = start else { unreachable!("it was just looked at") };
    new.send_log(&mut deposed, fork_seq);
    new.assert_same(&deposed);
}

#[test]
fn full_sync_beside_writes_makes_the_same_state() {
    let (mut primary, mut standby) = (Primary::new(), standby());
    primary.put(3000);
    primary.lose_log_before(u64::MAX);
    assert_eq!(primary.sync(&mut standby), Start::FullSync { first_shard: 0, after: None });
    assert_eq!(standby.syncing(), None);
    primary.assert_same(&standby);
    primary.put(5);
    assert!(matches!(primary.sync(&mut standby), Start::Log { .. }));
    primary.assert_same(&standby);
}

#[test]
fn full_sync_that_was_cut_off_goes_on_where_it_was() {
    let (mut primary, mut standby) = (Primary::new(), standby());
    primary.put(500);
    primary.lose_log_before(u64::MAX);
    let first = primary.plan(&standby);
    let _ = standby.on_welcome(primary.welcome(first), EPOCH).unwrap();
    let mut images = Images::new(Arc::clone(&primary.state), 0);
    for image in std::iter::from_fn(|| images.next_message()).take(400) {
        let _ = standby.on_image(image).unwrap();
    }
    // Half of the next one is on its way when the stream breaks.
    let mut half = images.next_message().unwrap();
    half.last_chunk = false;
    let _ = standby.on_image(half).unwrap();
    assert_eq!((standby.received(), standby.syncing().unwrap().shards_done), (0, 400));
    primary.put(50);
    let resumed = primary.plan(&standby);
    assert!(matches!(resumed, Start::FullSync { first_shard: 400, after: Some(_) }), "{resumed:?}");
    primary.sync(&mut standby);
    primary.assert_same(&standby);
}

#[test]
fn full_sync_whose_log_is_gone_begins_anew() {
    let (mut primary, mut standby) = (Primary::new(), standby());
    primary.put(100);
    primary.lose_log_before(u64::MAX);
    let first = primary.plan(&standby);
    let _ = standby.on_welcome(primary.welcome(first), EPOCH).unwrap();
    let mut images = Images::new(Arc::clone(&primary.state), 0);
    let _ = standby.on_image(images.next_message().unwrap()).unwrap();
    primary.put(10);
    primary.lose_log_before(u64::MAX);
    assert_eq!(primary.plan(&standby), Start::FullSync { first_shard: 0, after: None });
    primary.sync(&mut standby);
    primary.assert_same(&standby);
}

#[test]
fn what_does_not_come_next_is_refused_and_changes_nothing() {
    let (mut primary, mut standby) = (Primary::new(), standby());
    primary.put(10);
    primary.sync(&mut standby);
    let before = standby.held();
    primary.put(2);
    let batch =
        next_batch(&primary.tail, before, u64::MAX, BatchLimits { entries: 512, bytes: 1 << 20 }).unwrap().unwrap();

    let mut gap = next_batch(&primary.tail, before + 1, u64::MAX, LIMITS).unwrap().unwrap().frames;
    assert!(matches!(standby.on_frames(&mut gap), Err(StandbyError::Append(_))));
    for at in [0, 5, 20, 60] {
        let mut damaged = batch.frames.to_vec();
        damaged[at] ^= 1;
        assert!(matches!(standby.on_frames(&mut Bytes::from(damaged)), Err(StandbyError::Frame(_))), "at {at}");
    }
    let image = Images::new(Arc::clone(&primary.state), 0).next_message().unwrap();
    assert!(matches!(standby.on_image(image), Err(StandbyError::Unexpected { .. })));
    let middle = v1::welcome::Start::FullSync(v1::FullSync { first_shard: 9, shards: 1025 });
    assert!(matches!(standby.on_welcome(middle, EPOCH), Err(StandbyError::Unexpected { .. })));
    let ahead = standby.on_welcome(v1::welcome::Start::ForkSeq(before + 1), EPOCH).unwrap_err();
    assert!(matches!(ahead, StandbyError::Fork { why: TailError::Ahead { .. }, .. }), "{ahead}");
    assert_eq!(standby.held(), before);

    primary.sync(&mut standby);
    primary.assert_same(&standby);
}

#[test]
fn damaged_images_are_refused() {
    let mut primary = Primary::new();
    primary.put(100);
    primary.lose_log_before(u64::MAX);
    let full = v1::welcome::Start::FullSync(v1::FullSync { first_shard: 0, shards: primary.state.shards() });
    let syncing = || {
        let mut standby = standby();
        let _ = standby.on_welcome(full, EPOCH).unwrap();
        standby
    };
    let image = Images::new(Arc::clone(&primary.state), 0).next_message().unwrap();
    let mut damaged = image.clone();
    damaged.chunk = Bytes::from(damaged.chunk.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
    assert!(matches!(syncing().on_image(damaged), Err(StandbyError::Install(_))));
    let other = v1::ShardImage { shard: 1, ..image.clone() };
    assert!(matches!(syncing().on_image(other), Err(StandbyError::Unexpected { .. })));
    let nowhere = v1::ShardImage { at: None, ..image.clone() };
    assert!(matches!(syncing().on_image(nowhere), Err(StandbyError::Unexpected { .. })));
    let undigested = v1::ShardImage { digest: Bytes::new(), ..image.clone() };
    assert!(matches!(syncing().on_image(undigested), Err(StandbyError::Unexpected { .. })));
}

#[test]
fn log_beside_the_images_is_bounded() {
    let mut primary = Primary::new();
    primary.put(100);
    primary.lose_log_before(u64::MAX);
    let small = TailConfig { bytes_max: 1000, ..TailConfig::default() };
    let (tail, log) = Tail::new(small.clone(), Position::default());
    let mut standby = Standby::new(Arc::new(Metadata::new(config(), Position::default())), tail, log, small);
    let full = v1::welcome::Start::FullSync(v1::FullSync { first_shard: 0, shards: primary.state.shards() });
    let _ = standby.on_welcome(full, EPOCH).unwrap();
    let from = primary.tail.last().seq;
    primary.put(20);
    let all = BatchLimits { entries: 512, bytes: 1 << 20 };
    let mut frames = next_batch(&primary.tail, from, u64::MAX, all).unwrap().unwrap().frames;
    assert_eq!(standby.on_frames(&mut frames).unwrap_err(), StandbyError::TooMuchLog { bytes_max: 1000 });
}

/// The rest is for the new log, which the holder of the old one must get first.
#[test]
fn a_full_sync_that_ends_in_the_middle_of_a_message_leaves_the_rest() {
    let mut primary = Primary::new();
    primary.put(100);
    primary.lose_log_before(u64::MAX);
    let mut standby = standby();
    let full = v1::welcome::Start::FullSync(v1::FullSync { first_shard: 0, shards: primary.state.shards() });
    let _ = standby.on_welcome(full, EPOCH).unwrap();
    let mut images = Images::new(Arc::clone(&primary.state), 0);
    while let Some(image) = images.next_message() {
        if image.shard == 7 {
            primary.put(3);
        }
        assert_eq!(standby.on_image(image), Ok(Hand::Kept));
    }
    let from = images.oldest().unwrap().seq;
    primary.put(5);
    let all = BatchLimits { entries: 512, bytes: 1 << 20 };
    let mut frames = next_batch(&primary.tail, from, u64::MAX, all).unwrap().unwrap().frames;
    assert_eq!(standby.on_frames(&mut frames), Ok(Hand::Changed));
    assert!(!frames.is_empty() && standby.held() < primary.tail.last().seq);
    assert_eq!(standby.on_frames(&mut frames), Ok(Hand::Kept));
    assert!(frames.is_empty());
    assert_eq!(standby.held(), primary.tail.last().seq);
}

#[test]
fn a_full_log_is_refused_until_what_is_committed_is_applied() {
    let mut primary = Primary::new();
    let small = TailConfig { entries_max: 20, ..TailConfig::default() };
    let (tail, log) = Tail::new(small.clone(), Position::default());
    let mut standby = Standby::new(Arc::new(Metadata::new(config(), Position::default())), tail, log, small);
    primary.put(30);
    let _ = standby.on_welcome(v1::welcome::Start::ForkSeq(0), EPOCH).unwrap();
    let all = BatchLimits { entries: 512, bytes: 1 << 20 };
    let mut frames = next_batch(&primary.tail, 0, u64::MAX, all).unwrap().unwrap().frames;
    let full = standby.on_frames(&mut frames).unwrap_err();
    assert!(matches!(full, StandbyError::Append(oplog::AppendFrameError::Overloaded(_))), "{full}");
    assert_eq!(standby.held(), 20);
    while standby.held() < primary.tail.last().seq {
        standby.on_committed(u64::MAX);
        apply_committed(&**standby.state(), standby.tail(), 5, u64::MAX, |_| {}).unwrap();
        let _ = standby.on_frames(&mut frames);
    }
    assert!(frames.is_empty());
    primary.assert_same(&standby);
}

#[test]
fn standby_that_does_not_trust_what_it_holds_asks_for_a_full_sync_and_accepts_nothing_less() {
    let mut standby = standby();
    standby.distrust();
    assert_eq!(standby.holds(), PeerLog::default());
    let refused = standby.on_welcome(v1::welcome::Start::ForkSeq(standby.held()), EPOCH);
    assert!(matches!(refused, Err(StandbyError::Unexpected { .. })), "{refused:?}");
    let all = v1::FullSync { first_shard: 0, shards: standby.state().shards() };
    assert_eq!(standby.on_welcome(v1::welcome::Start::FullSync(all), EPOCH), Ok(Hand::Kept));
}

/// The log would end in an epoch that has not begun, and the primary of the next epoch could not go
/// on from there.
#[test]
fn entry_of_a_later_epoch_than_its_primary_is_refused() {
    let mut primary = Primary::new();
    primary.put(3);
    let mut standby = standby();
    let _ = standby.on_welcome(v1::welcome::Start::ForkSeq(0), 1).unwrap();
    let later = Position { epoch: u64::MAX, seq: 1 };
    let entry = primary.tail.entries_since(0, 1, usize::MAX).unwrap()[0].decode().unwrap();
    let mut frames = Frame::encode(later, &entry.draft()).as_bytes().clone();
    let refused = standby.on_frames(&mut frames);
    assert!(matches!(refused, Err(StandbyError::Unexpected { .. })), "{refused:?}");
    assert_eq!(standby.held(), 0);
    let all = v1::FullSync { first_shard: 0, shards: primary.state.shards() };
    let _ = standby.on_welcome(v1::welcome::Start::FullSync(all), 1).unwrap();
    let at = Some(v1::Position { epoch: u64::MAX, seq: 1 });
    let refused = standby.on_image(v1::ShardImage { at, ..v1::ShardImage::default() });
    assert!(matches!(refused, Err(StandbyError::Unexpected { .. })), "{refused:?}");
    // It can lead with what it holds.
    let _ = standby.on_welcome(v1::welcome::Start::ForkSeq(0), 1).unwrap();
    let (mut frames, last) = primary.tail.joined_since(0, usize::MAX, usize::MAX).unwrap().unwrap();
    assert_eq!(standby.on_frames(&mut frames), Ok(Hand::Kept));
    assert_eq!(standby.held(), last);
    Primary::promoted(standby, 2).put(1);
}
