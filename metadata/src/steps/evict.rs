//! Eviction: of a few objects drawn at random, the one that was read longest ago goes first.
//!
//! Drawing makes it cost what is evicted: no order has to be kept at every read, and nothing is scanned. What is
//! leased, hard pinned or being written is never taken, and what is soft pinned only when drawing finds nothing else.
//! An object that also lies on disk loses its memory replicas only.

use crate::apply::{Inconsistent, replica_bit};
use crate::object::Object;
use crate::op::{Evicted, EvictionOp, KeyRef, OpType, ReplicaMask};
use crate::segments::SegmentState;
use crate::settings::Settings;
use crate::steps::{STEP_OBJECTS_MAX, Stepping};
use crate::types::{CallRefused, Pin, SegmentKind, TenantIx, extent};

/// Draws for each object that goes.
const DRAWS: usize = 8;
/// Draws in a row that found nothing to evict, after which this step gives up; with soft pins, or for good.
const VAIN_DRAWS_MAX: usize = 64;

struct Candidate {
    tenant: TenantIx,
    key: Box<[u8]>,
    dropped: ReplicaMask,
    /// Memory that becomes free and takes new objects.
    bytes: u64,
    lease_until_ms: u64,
}

impl Stepping<'_, '_> {
    pub(super) fn evict(&mut self) -> Result<(), CallRefused> {
        let goal = self.bytes_to_evict();
        if goal == 0 {
            return Ok(());
        }
        let mut chosen: Vec<Candidate> = Vec::new();
        let mut freed = 0;
        while freed < goal && chosen.len() < STEP_OBJECTS_MAX {
            let Some(candidate) = self.draw(&chosen, false).or_else(|| self.draw(&chosen, true)) else {
                self.writer.evict_to = None;
                break;
            };
            freed += candidate.bytes;
            chosen.push(candidate);
        }
        if chosen.is_empty() {
            return Ok(());
        }
        self.done.more |= chosen.len() == STEP_OBJECTS_MAX;
        let items = chosen.iter().map(|candidate| Evicted {
            object: KeyRef { tenant: candidate.tenant, key: &candidate.key },
            dropped: candidate.dropped,
        });
        let op = EvictionOp { items: items.collect() };
        let op = self.writer.commit_items(OpType::Eviction, op, self.now, None, |op, apply| {
            let mut failed = Ok(());
            op.items.retain(|item| match apply.evict(item) {
                Ok(()) => true,
                Err(Inconsistent::PromisedSince) => false,
                Err(error) => {
                    failed = Err(error);
                    true
                }
            });
            failed
        })?;
        self.done.objects_evicted += op.items.len() as u64;
        Ok(())
    }

    /// Down to the ratio below the watermark, once that is passed; as much below what is used, once a put has found no
    /// space. What takes several steps goes on to where it was to end, also when it has come below the watermark.
    fn bytes_to_evict(&mut self) -> u64 {
        let Settings { eviction_high_watermark: watermark, eviction_ratio: ratio, .. } = self.in_force().settings;
        // What is draining goes by itself, and takes nothing new.
        let open = self.writer.dir.segments.open(SegmentKind::Memory).all();
        let (used_bytes, all) = (open.used_bytes, open.usable_bytes as f64);
        let used = used_bytes as f64;
        let over = used > all * watermark;
        let targets = [over.then_some(all * (watermark - ratio)), self.writer.pressed.then_some(used - all * ratio)];
        let targets = targets.into_iter().flatten().map(|target| target.max(0.0) as u64);
        let target = targets.chain(self.writer.evict_to).min().filter(|target| *target < used_bytes);
        self.writer.pressed = false;
        self.writer.evict_to = target;
        target.map_or(0, |target| used_bytes - target)
    }

    fn draw(&mut self, chosen: &[Candidate], soft_pinned_too: bool) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        let mut hits = 0;
        for _ in 0..VAIN_DRAWS_MAX {
            let Some(candidate) = self.draw_one(soft_pinned_too) else { continue };
            if chosen.iter().any(|other| other.tenant == candidate.tenant && other.key == candidate.key) {
                continue;
            }
            hits += 1;
            if best.as_ref().is_none_or(|best| candidate.lease_until_ms < best.lease_until_ms) {
                best = Some(candidate);
            }
            if hits == DRAWS {
                break;
            }
        }
        best
    }

    fn draw_one(&mut self, soft_pinned_too: bool) -> Option<Candidate> {
        let writer = &mut **self.writer;
        let open = writer.dir.segments.open(SegmentKind::Memory);
        let used_bytes = open.all().used_bytes;
        if used_bytes == 0 {
            return None;
        }
        // By what they hold: one that is full is found beside any number that are empty.
        let ix = open.at_used_byte(writer.rng.below(used_bytes as usize) as u64)?;
        let segment = writer.dir.segments.get(ix)?;
        let holders = segment.holders();
        let at = writer.rng.below(holders.len());
        let holder = holders.get(at)?;
        let shard = self.state.shards[holder.shard()].lock();
        let object = shard.find_by(holder, |object| {
            object.all_replicas().any(|(r, _)| r.place.segment == ix && r.index as usize == at)
        })?;
        self.may_evict(object, soft_pinned_too).then(|| self.candidate(object))
    }

    fn may_evict(&self, object: &Object, soft_pinned_too: bool) -> bool {
        let pinned = match object.pin {
            Pin::None => false,
            Pin::Hard => true,
            Pin::Soft { ttl_ms } => !soft_pinned_too && !self.is_over(object.pinned_at_ms, u64::from(ttl_ms)),
        };
        let lease_ms = self.in_force().kept().object_lease_ms;
        let grace_until = self.writer.grace_from_ms.map_or(0, |from_ms| from_ms + lease_ms);
        let leased = object.lease_until_ms.max(grace_until) > self.now.ttl_ms;
        !pinned && !leased && !object.is_unfinished()
    }

    fn candidate(&self, object: &Object) -> Candidate {
        let segments = &self.writer.dir.segments;
        let in_memory = |ix| segments.get(ix).is_none_or(|segment| segment.info.kind == SegmentKind::Memory);
        let is_open = |ix| segments.get(ix).is_some_and(|segment| segment.info.state == SegmentState::Mounted);
        let goes = || object.replicas.iter().enumerate().filter(|(_, r)| in_memory(r.place.segment));
        let dropped: ReplicaMask = goes().fold(0, |mask, (at, _)| mask | replica_bit(at));
        let counted = goes().filter(|(_, r)| is_open(r.place.segment)).count();
        Candidate {
            tenant: object.tenant,
            key: object.key.clone(),
            dropped,
            bytes: extent(object.size) * counted as u64,
            lease_until_ms: object.lease_until_ms,
        }
    }
}
