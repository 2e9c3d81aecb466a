//! A small replicated state that keeps the contract, and breaks one rule of it on request: counters
//! in 4 shards, and a directory shard with the number of counters in each group (first byte of the
//! key).
//!
//! Invariants: without a fault, those of the contract. The directory comes last, since it depends
//! on the counters.
//!
//! Absent on purpose: speed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::codec::{decode_payload, encode_payload};
use crate::entry::{DomainId, Entry, OP_TYPE_NEVER, Position};
use crate::state::{ApplyError, Digest, InstallError, Rebuild, ReplicatedState, ShardImage};

pub(super) const OP_EPOCH_START: u8 = 1;
pub(super) const OP_ADD: u8 = 1;
pub(super) const OP_REMOVE: u8 = 2;
pub(super) const OP_CLEAR_GROUP: u8 = 3;

const COUNTERS: usize = 4;
const DIRECTORY: usize = COUNTERS;
const SHARDS: usize = COUNTERS + 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    DigestDiffersByInstance,
    DigestLeavesOutDirectory,
    DigestKeepsWhatIsRemoved,
    TakesGaps,
    TakesRepetitions,
    TakesEarlierEpochs,
    TakesUnknownDomains,
    TakesUnknownOpsOfTheEngine,
    TakesAnyPayloadOfTheEngine,
    RefusedOpMovesOn,
    ChangesBeforeDecoding,
    RebuildKeepsOldState,
    RebuildForgetsWhatImagesHold,
    RebuildTakesGaps,
    InstallTrustsBytes,
    InstallTakesTwice,
    FinishTakesHoles,
    FinishTakesShortLog,
    AppliedStaysBehindAfterRebuild,
}

/// The seq at which each shard stands: an entry changes only a shard that is older.
type ShardSeqs = [u64; SHARDS];

#[derive(Clone, Default)]
struct Shard {
    records: BTreeMap<Vec<u8>, i64>,
    digest: Digest,
}

#[derive(Clone, Default)]
struct Shards {
    applied: Position,
    shards: [Shard; SHARDS],
}

pub(super) struct Toy {
    inner: Mutex<Shards>,
    fault: Fault,
    instances: Arc<AtomicU64>,
    instance: u64,
}

pub(super) struct ToyRebuild {
    shards: Shards,
    at: [Option<Position>; SHARDS],
    fault: Fault,
    instances: Arc<AtomicU64>,
}

fn record_digest(key: &[u8], value: i64) -> Digest {
    Digest::of_record(&[key, &value.to_le_bytes()].concat())
}

impl Shard {
    fn set(&mut self, key: &[u8], value: Option<i64>, fault: Fault) {
        if let Some(old) = self.records.remove(key)
            && !(value.is_none() && fault == Fault::DigestKeepsWhatIsRemoved)
        {
            self.digest -= record_digest(key, old);
        }
        if let Some(value) = value {
            self.digest += record_digest(key, value);
            self.records.insert(key.to_vec(), value);
        }
    }
}

impl Shards {
    fn check_next(&self, entry: &Entry, fault: Fault) -> Result<(), ApplyError> {
        let (have, expected) = (self.applied.epoch, self.applied.seq + 1);
        let taken = match fault {
            Fault::TakesGaps => entry.seq >= expected,
            Fault::TakesRepetitions => entry.seq <= expected,
            _ => entry.seq == expected,
        };
        if !taken {
            return Err(ApplyError::NotNext { expected, got: entry.seq });
        }
        if entry.epoch < have && fault != Fault::TakesEarlierEpochs {
            return Err(ApplyError::EpochBack { have, got: entry.epoch });
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry, held: &ShardSeqs, fault: Fault) -> Result<(), ApplyError> {
        self.check_next(entry, fault)?;
        match (entry.domain, entry.op_type) {
            (DomainId::ENGINE, OP_EPOCH_START) => {}
            (DomainId::ENGINE, OP_CLEAR_GROUP) => match self.clear_group(entry, held, fault) {
                Err(ApplyError::Decode(_)) if fault == Fault::TakesAnyPayloadOfTheEngine => {}
                done => done?,
            },
            (DomainId::ENGINE, op_type)
                if fault == Fault::TakesUnknownOpsOfTheEngine
                    && op_type > OP_EPOCH_START
                    && op_type != OP_TYPE_NEVER => {}
            (DomainId::METADATA, OP_ADD) => self.add(entry, held, fault)?,
            (DomainId::METADATA, OP_REMOVE) => self.remove(entry, held, fault)?,
            (DomainId::METADATA, OP_CLEAR_GROUP) => self.clear_group(entry, held, fault)?,
            (DomainId::ENGINE | DomainId::METADATA, op_type) => {
                if fault == Fault::RefusedOpMovesOn {
                    self.applied = entry.position();
                }
                return Err(ApplyError::UnknownOp { domain: entry.domain, op_type });
            }
            _ if fault == Fault::TakesUnknownDomains => {}
            _ => return Err(ApplyError::UnknownDomain),
        }
        self.applied = entry.position();
        Ok(())
    }

    fn add(&mut self, entry: &Entry, held: &ShardSeqs, fault: Fault) -> Result<(), ApplyError> {
        let shard = counter_shard(&entry.key);
        if fault == Fault::ChangesBeforeDecoding {
            self.shards[shard].set(&entry.key, Some(0), fault);
        }
        let by: i64 = decode_payload(&entry.payload)?;
        if held[shard] >= entry.seq {
            return Ok(());
        }
        let old = self.shards[shard].records.get(&entry.key[..]).copied();
        self.shards[shard].set(&entry.key, Some(old.unwrap_or(0).wrapping_add(by)), fault);
        self.count(entry.key[0], i64::from(old.is_none()), entry.seq, held, fault);
        Ok(())
    }

    fn remove(&mut self, entry: &Entry, held: &ShardSeqs, fault: Fault) -> Result<(), ApplyError> {
        let () = decode_payload(&entry.payload)?;
        let shard = counter_shard(&entry.key);
        if held[shard] >= entry.seq {
            return Ok(());
        }
        if !self.shards[shard].records.contains_key(&entry.key[..]) {
            let what = format!("no counter {:?}", entry.key);
            return Err(ApplyError::Inconsistent { seq: entry.seq, what });
        }
        self.shards[shard].set(&entry.key, None, fault);
        self.count(entry.key[0], -1, entry.seq, held, fault);
        Ok(())
    }

    fn clear_group(&mut self, entry: &Entry, held: &ShardSeqs, fault: Fault) -> Result<(), ApplyError> {
        let group: u8 = decode_payload(&entry.payload)?;
        for shard in (0..COUNTERS).filter(|shard| held[*shard] < entry.seq) {
            let keys: Vec<_> = self.shards[shard].records.keys().filter(|key| key[0] == group).cloned().collect();
            for key in keys {
                self.shards[shard].set(&key, None, fault);
                self.count(group, -1, entry.seq, held, fault);
            }
        }
        Ok(())
    }

    fn count(&mut self, group: u8, by: i64, seq: u64, held: &ShardSeqs, fault: Fault) {
        if held[DIRECTORY] >= seq || by == 0 {
            return;
        }
        let directory = &mut self.shards[DIRECTORY];
        let count = directory.records.get(&[group][..]).copied().unwrap_or(0) + by;
        directory.set(&[group], (count != 0).then_some(count), fault);
    }
}

fn counter_shard(key: &[u8]) -> usize {
    key.iter().map(|byte| *byte as usize).sum::<usize>() % COUNTERS
}

impl Toy {
    pub(super) fn new(fault: Fault, instances: &Arc<AtomicU64>) -> Toy {
        Toy::with(Shards::default(), fault, instances)
    }

    fn with(shards: Shards, fault: Fault, instances: &Arc<AtomicU64>) -> Toy {
        let instance = instances.fetch_add(1, Ordering::Relaxed);
        Toy { inner: Mutex::new(shards), fault, instances: Arc::clone(instances), instance }
    }
}

impl ReplicatedState for Toy {
    type Rebuild = ToyRebuild;

    fn shards(&self) -> u32 {
        SHARDS as u32
    }

    fn applied(&self) -> Position {
        self.inner.lock().applied
    }

    fn apply(&self, entry: &Entry) -> Result<(), ApplyError> {
        self.inner.lock().apply(entry, &[0; SHARDS], self.fault)
    }

    fn capture(&self, shard: u32) -> ShardImage {
        let inner = self.inner.lock();
        let content = &inner.shards[shard as usize];
        let mut bytes = Vec::new();
        encode_payload(&content.records, &mut bytes);
        let records = content.records.len() as u64;
        ShardImage { shard, at: inner.applied, records, digest: content.digest, bytes: Bytes::from(bytes) }
    }

    fn shard_digest(&self, shard: u32) -> (Position, Digest) {
        let inner = self.inner.lock();
        (inner.applied, inner.shards[shard as usize].digest)
    }

    fn digest(&self) -> (Position, Digest) {
        let inner = self.inner.lock();
        let counted = if self.fault == Fault::DigestLeavesOutDirectory { COUNTERS } else { SHARDS };
        let mut digest: Digest = inner.shards[..counted].iter().map(|shard| shard.digest).sum();
        if self.fault == Fault::DigestDiffersByInstance {
            digest += Digest(self.instance.into());
        }
        (inner.applied, digest)
    }

    fn rebuild(&self) -> ToyRebuild {
        let keeps = self.fault == Fault::RebuildKeepsOldState;
        let shards = if keeps { self.inner.lock().clone() } else { Shards::default() };
        ToyRebuild { shards, at: [None; SHARDS], fault: self.fault, instances: Arc::clone(&self.instances) }
    }
}

impl ToyRebuild {
    fn oldest(&self) -> Position {
        self.at.iter().flatten().min().copied().unwrap_or_default()
    }

    fn newest(&self) -> Position {
        self.at.iter().flatten().max().copied().unwrap_or_default()
    }
}

impl Rebuild for ToyRebuild {
    type State = Toy;

    fn install(&mut self, image: &ShardImage) -> Result<(), InstallError> {
        let shard = image.shard as usize;
        if shard >= SHARDS {
            return Err(InstallError::Inconsistent { what: format!("shard {shard} of {SHARDS}") });
        }
        if self.at[shard].is_some() && self.fault != Fault::InstallTakesTwice {
            return Err(InstallError::ShardTwice { shard: image.shard });
        }
        let records: BTreeMap<Vec<u8>, i64> = decode_payload(&image.bytes)?;
        let found: Digest = records.iter().map(|(key, value)| record_digest(key, *value)).sum();
        if found != image.digest && self.fault != Fault::InstallTrustsBytes {
            return Err(InstallError::DigestMismatch { shard: image.shard, said: image.digest, found });
        }
        if records.len() as u64 != image.records {
            let what = format!("{} records said, {} found", image.records, records.len());
            return Err(InstallError::Inconsistent { what });
        }
        self.shards.shards[shard].digest += found;
        self.shards.shards[shard].records.extend(records);
        self.at[shard] = Some(image.at);
        self.shards.applied = self.oldest();
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let held = match self.fault {
            Fault::RebuildForgetsWhatImagesHold => [0; SHARDS],
            _ => self.at.map(|at| at.unwrap_or_default().seq),
        };
        let fault = if self.fault == Fault::RebuildTakesGaps { Fault::TakesGaps } else { self.fault };
        self.shards.apply(entry, &held, fault)
    }

    fn finish(mut self) -> Result<Toy, InstallError> {
        let missing = self.at.iter().position(Option::is_none);
        if let Some(missing) = missing
            && self.fault != Fault::FinishTakesHoles
        {
            return Err(InstallError::Incomplete { missing: missing as u32 });
        }
        let (reached, newest) = (self.shards.applied, self.newest());
        if reached < newest && self.fault != Fault::FinishTakesShortLog {
            let what = format!("the log ends at {reached}, the newest image is of {newest}");
            return Err(InstallError::Inconsistent { what });
        }
        if self.fault == Fault::AppliedStaysBehindAfterRebuild {
            self.shards.applied = Position::default();
        }
        Ok(Toy::with(self.shards, self.fault, &self.instances))
    }
}
