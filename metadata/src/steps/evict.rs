//! Eviction: of a few objects drawn at random, the one that was read longest ago goes first.
//!
//! Drawing makes it cost what is evicted: no order has to be kept at every read, and nothing is scanned. A step draws a
//! bounded number of objects, and of each [`DRAWS`] of them one goes. What is leased, hard pinned or being written is
//! never taken, and what is soft pinned only when drawing finds nothing else. An object that also lies on disk loses its
//! memory replicas only.

use ledger::{CallRefused, Inconsistent, Settings, Stepping, TenantIx, is_over};

use crate::apply::{Apply, replica_bit};
use crate::hash::KeyHash;
use crate::object::Object;
use crate::op::{Evicted, EvictionOp, KeyRef, OpType, ReplicaMask};
use crate::segments::SegmentState;
use crate::state::Objects;
use crate::steps::STEP_OBJECTS_MAX;
use crate::types::{Pin, SegmentIx, SegmentKind, extent};

/// Draws for each object that goes.
const DRAWS: usize = 8;
/// In one step.
const STEP_DRAWS: usize = STEP_OBJECTS_MAX * DRAWS;

/// What was drawn and may go: the replica in the segment's list of holders at that place. The rest is looked up again only for what
/// is chosen.
struct Drawn {
    segment: SegmentIx,
    at: usize,
    holder: KeyHash,
    soft_pinned: bool,
    lease_until_ms: u64,
}

struct Candidate {
    tenant: TenantIx,
    key: Box<[u8]>,
    holder: KeyHash,
    dropped: ReplicaMask,
    /// Memory that becomes free and takes new objects.
    bytes: u64,
}

pub(super) fn evict(step: &mut Stepping<'_, '_, Objects>) -> Result<(), CallRefused> {
    let pressed = step.writer.own.pressed;
    let goal = bytes_to_evict(step);
    if goal == 0 {
        return Ok(());
    }
    let chosen = choose(step, goal);
    if chosen.is_empty() {
        step.writer.own.evict_to = None;
        return Ok(());
    }
    let more = chosen.iter().map(|candidate| candidate.bytes).sum::<u64>() < goal;
    step.done.more |= more;
    step.done.urgent |= more && pressed;
    let items = chosen.iter().map(|candidate| Evicted {
        object: KeyRef { tenant: candidate.tenant, key: &candidate.key },
        dropped: candidate.dropped,
    });
    let op = EvictionOp { items: items.collect() };
    let (domain, now) = (step.domain, step.now);
    let op = step.writer.commit_items(domain, OpType::Eviction.into(), op, now, None, |op, cx| {
        let apply = &mut Apply::of(domain, cx);
        let mut failed = Ok(());
        op.items.retain(|item| match apply.evict(item) {
            Ok(()) => true,
            Err(Inconsistent::DecideAnew) => false,
            Err(error) => {
                failed = Err(error);
                true
            }
        });
        failed
    })?;
    step.done.objects_evicted += op.items.len() as u64;
    Ok(())
}

/// No more than frees so much.
fn choose(step: &mut Stepping<'_, '_, Objects>, goal: u64) -> Vec<Candidate> {
    let mut drawn = draw(step);
    // What is soft pinned goes only where there is nothing else.
    let unpinned = drawn.iter().filter(|drawn| !drawn.soft_pinned).count();
    if unpinned > 0 {
        drawn.retain(|drawn| !drawn.soft_pinned);
    }
    let count = drawn.len().div_ceil(DRAWS);
    drawn.sort_unstable_by_key(|drawn| drawn.lease_until_ms);
    let mut chosen: Vec<Candidate> = Vec::with_capacity(count);
    let mut freed = 0;
    for drawn in drawn {
        if freed >= goal || chosen.len() == count {
            break;
        }
        let Some(candidate) = candidate(step, &drawn) else { continue };
        let is_it = |other: &Candidate| {
            other.holder == candidate.holder && other.tenant == candidate.tenant && other.key == candidate.key
        };
        // It may have been drawn twice, by one of its places or by two.
        if !chosen.iter().any(is_it) {
            freed += candidate.bytes;
            chosen.push(candidate);
        }
    }
    chosen
}

/// Down to the ratio below the watermark, once that is passed; as much below what is used, once a put has found no
/// space. What takes several steps goes on to where it was to end, also when it has come below the watermark.
fn bytes_to_evict(step: &mut Stepping<'_, '_, Objects>) -> u64 {
    let Settings { eviction_high_watermark: watermark, eviction_ratio: ratio, .. } = step.in_force().settings;
    // What is draining goes by itself, and takes nothing new.
    let open = step.writer.own.dir.segments.open(SegmentKind::Memory).all();
    let (used_bytes, all) = (open.used_bytes, open.usable_bytes as f64);
    let used = used_bytes as f64;
    let over = used > all * watermark;
    let targets = [over.then_some(all * (watermark - ratio)), step.writer.own.pressed.then_some(used - all * ratio)];
    let targets = targets.into_iter().flatten().map(|target| target.max(0.0) as u64);
    let target = targets.chain(step.writer.own.evict_to).min().filter(|target| *target < used_bytes);
    step.writer.own.pressed = false;
    step.writer.own.evict_to = target;
    target.map_or(0, |target| used_bytes - target)
}

fn draw(step: &mut Stepping<'_, '_, Objects>) -> Vec<Drawn> {
    let Stepping { domain: state, writer, now, .. } = step;
    let grace_from_ms = writer.grace_from_ms;
    let in_force = writer.in_force();
    let lease_grace_until_ms = grace_from_ms.map_or(0, |from_ms| from_ms + in_force.kept().object_lease_ms);
    let writer = &mut ***writer;
    let open = writer.own.dir.segments.open(SegmentKind::Memory);
    let used_bytes = open.all().used_bytes;
    let mut found = Vec::with_capacity(if used_bytes == 0 { 0 } else { STEP_DRAWS });
    for _ in 0..found.capacity() {
        // By what they hold: one that is full is found beside any number that are empty.
        let segment = open.at_used_byte(writer.own.rng.below(used_bytes as usize) as u64);
        let Some(segment) = segment.and_then(|ix| writer.own.dir.segments.get(ix)) else { continue };
        let at = writer.own.rng.below(segment.holders().len());
        let Some(holder) = segment.holders().get(at) else { continue };
        let shard = state.shards[holder.shard()].lock();
        let Some(object) = shard.find_by(holder, |object| lies_at(object, segment.info.ix, at)) else { continue };
        let soft_pinned = match object.pin {
            Pin::None => false,
            Pin::Hard => continue,
            Pin::Soft { ttl_ms } => !is_over(*now, grace_from_ms, object.pinned_at_ms, u64::from(ttl_ms)),
        };
        if object.lease_until_ms.max(lease_grace_until_ms) > now.ttl_ms || object.is_unfinished() {
            continue;
        }
        let lease_until_ms = object.lease_until_ms;
        found.push(Drawn { segment: segment.info.ix, at, holder, soft_pinned, lease_until_ms });
    }
    found
}

fn candidate(step: &Stepping<'_, '_, Objects>, drawn: &Drawn) -> Option<Candidate> {
    let shard = step.domain.shards[drawn.holder.shard()].lock();
    let object = shard.find_by(drawn.holder, |object| lies_at(object, drawn.segment, drawn.at))?;
    let segments = &step.writer.own.dir.segments;
    let in_memory = |ix| segments.get(ix).is_none_or(|segment| segment.info.kind == SegmentKind::Memory);
    let is_open = |ix| segments.get(ix).is_some_and(|segment| segment.info.state == SegmentState::Mounted);
    let goes = || object.replicas.iter().enumerate().filter(|(_, r)| in_memory(r.place.segment));
    let dropped: ReplicaMask = goes().fold(0, |mask, (at, _)| mask | replica_bit(at));
    let counted = goes().filter(|(_, r)| is_open(r.place.segment)).count();
    Some(Candidate {
        tenant: object.tenant,
        key: object.key.clone(),
        holder: drawn.holder,
        dropped,
        bytes: extent(object.size) * counted as u64,
    })
}

/// Whether this object is the holder at that place of the segment's list.
pub(super) fn lies_at(object: &Object, segment: SegmentIx, at: usize) -> bool {
    object.all_replicas().any(|(r, _)| r.place.segment == segment && r.index as usize == at)
}
