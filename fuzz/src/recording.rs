//! The log of a small primary, and the states it passed through, for targets to start from.
//!
//! Invariant: it is made anew in every process and always the same; an op of every type is in it.

use std::sync::{Arc, OnceLock};

use metadata::{Config, LedgerOp, Metadata, OpType, Settings};
use oplog::{Appender, Digest, DomainId, Entry, Position, ReplicatedState, Secret, ShardImage, Tail, TailConfig};

use crate::course;

/// Where the log begins.
const BEGINNING: Position = Position { epoch: 1, seq: 0 };

#[derive(Debug)]
pub struct Recording {
    pub entries: Vec<Entry>,
}

/// Images of all shards, and the log that brings them to one moment.
#[derive(Debug)]
pub struct Captured {
    pub images: Vec<ShardImage>,
    pub log: &'static [Entry],
    /// What they must give.
    pub digest: Digest,
}

/// Made at the first call.
pub fn recording() -> &'static Recording {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    RECORDING.get_or_init(record)
}

/// Of a state that stood still, at the end and in the middle, and of one that went on from there meanwhile.
pub fn captured() -> &'static [Captured] {
    static CAPTURED: OnceLock<[Captured; 3]> = OnceLock::new();
    let (middle, end) = (recording().entries.len() / 2, recording().entries.len());
    CAPTURED.get_or_init(|| [capture(end, end), capture(middle, middle), capture(middle, end)])
}

/// Half of the shards at one point, the rest at another.
fn capture(held: usize, end: usize) -> Captured {
    let recording = recording();
    let state = recording.state(held);
    let half = state.shards() / 2;
    let mut images: Vec<_> = (0..half).map(|shard| state.capture(shard)).collect();
    let log = &recording.entries[held..end];
    log.iter().for_each(|entry| state.apply(entry).expect("it is the recorded one"));
    images.extend((half..state.shards()).map(|shard| state.capture(shard)));
    Captured { images, log, digest: state.digest().1 }
}

/// Nothing in it.
pub fn empty() -> Metadata {
    Metadata::new(config(), BEGINNING)
}

fn config() -> Config {
    // So little that each of these bounds is met on the course.
    let settings = Settings { tombstones_max: 3, ..Settings::default() };
    Config { settings, finished_tasks_max: 2, tenants_max: 3, answer_bytes_total_max: 500, ..Config::default() }
}

/// An empty state leads from here on, under this secret.
pub fn led(state: &Metadata, secret: Secret) -> Arc<Tail> {
    let (tail, mut log) = Tail::new(TailConfig::default(), BEGINNING);
    standby::begin_epoch(state, &mut log, 0, secret).expect("it is empty");
    state.lead(log, metadata::Now { ttl_ms: 1, wall_ms: 0 }, 1);
    tail
}

fn record() -> Recording {
    let primary = empty();
    let tail = led(&primary, Secret([0x5e; 16]));
    course::run(&primary);
    let frames = tail.entries_since(BEGINNING.seq, usize::MAX, usize::MAX).expect("all of it is in the tail");
    let entries: Vec<Entry> = frames.iter().map(|frame| frame.decode().expect("it was encoded here")).collect();
    let recorded = |domain, op| entries.iter().any(|entry| (entry.domain, entry.op_type) == (domain, op));
    let own = (0..=u8::MAX).filter_map(OpType::from_number);
    let missing: Vec<OpType> = own.filter(|op| !recorded(DomainId::METADATA, *op as u8)).collect();
    assert!(missing.is_empty(), "the course leaves no {missing:?}");
    let ledgers = (0..=u8::MAX).filter_map(LedgerOp::from_number);
    let missing: Vec<LedgerOp> = ledgers.filter(|op| !recorded(DomainId::ENGINE, *op as u8)).collect();
    assert!(missing.is_empty(), "the course leaves no {missing:?}");
    primary.check().expect("the primary is sound");
    let recording = Recording { entries };
    assert_eq!(recording.state(recording.entries.len()).digest(), primary.digest(), "a replay of the log differs");
    recording
}

impl Recording {
    /// A standby that holds the first `held` entries.
    pub fn state(&self, held: usize) -> Metadata {
        let state = empty();
        for entry in &self.entries[..held] {
            state.apply(entry).unwrap_or_else(|why| panic!("its own entry {}: {why}", entry.position()));
        }
        state
    }
}

/// All shards of a state that stands still.
pub fn images(state: &Metadata) -> Vec<ShardImage> {
    (0..state.shards()).map(|shard| state.capture(shard)).collect()
}

/// A log that goes on where the state stands.
pub fn log_of(state: &Metadata) -> Appender {
    Tail::new(TailConfig::default(), state.applied()).1
}
