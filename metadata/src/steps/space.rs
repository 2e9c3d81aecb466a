//! Segments that are going, and retired space that becomes free.

use ledger::{CallRefused, Stepping, TenantIx};

use crate::holders::Holders;
use crate::op::{DropReplicasOp, KeyRef, OpType, ReleaseOp, Retire, SegmentOp};
use crate::segments::SegmentState;
use crate::state::Objects;
use crate::steps::STEP_OBJECTS_MAX;
use crate::steps::evict::lies_at;
use crate::steps::round::next_of;
use crate::types::SegmentIx;

pub(super) fn unmount(step: &mut Stepping<'_, '_, Objects>) -> Result<(), CallRefused> {
    if let Some(segment) = next_drained(step) {
        step.commit(OpType::Drain, &SegmentOp { segment })?;
    }
    let Some(ix) = next_to_empty(step) else { return Ok(()) };
    step.done.more = true;
    unmount_step(step, ix)
}

fn next_drained(step: &mut Stepping<'_, '_, Objects>) -> Option<SegmentIx> {
    let segments = &step.writer.own.dir.segments;
    let mut last = step.writer.own.rounds.draining;
    let looked_at = next_of(&segments.draining, last).inspect(|ix| last = *ix);
    let drained = looked_at.into_iter().find(|ix| {
        segments.get(*ix).is_some_and(|segment| match segment.info.state {
            SegmentState::Draining { grace_ms } => step.is_over(segment.draining_since_ms, grace_ms),
            SegmentState::Mounted | SegmentState::Unmounting => false,
        })
    });
    step.writer.own.rounds.draining = last;
    drained
}

/// One that is going and that holds something, or that no client can be using any more.
fn next_to_empty(step: &mut Stepping<'_, '_, Objects>) -> Option<SegmentIx> {
    let segments = &step.writer.own.dir.segments;
    let mut last = step.writer.own.rounds.unmounting;
    let looked_at = next_of(&segments.unmounting, last).inspect(|ix| last = *ix);
    let next = looked_at.into_iter().find(|ix| {
        segments.get(*ix).is_some_and(|segment| !segment.holders().is_empty() || segment.retired_bytes() == 0)
    });
    step.writer.own.rounds.unmounting = last;
    next
}

/// The newest holders go first: the list shrinks from its end, and no holder has to move.
fn unmount_step(step: &mut Stepping<'_, '_, Objects>, segment: SegmentIx) -> Result<(), CallRefused> {
    let holders = step.writer.own.dir.segments.get(segment).map(|segment| segment.holders());
    let count = holders.map_or(0, Holders::len);
    if count == 0 {
        step.done.segments_gone += 1;
        return step.commit(OpType::SegmentGone, &SegmentOp { segment });
    }
    let mut found: Vec<(TenantIx, Box<[u8]>)> = Vec::with_capacity(STEP_OBJECTS_MAX);
    for at in (count.saturating_sub(STEP_OBJECTS_MAX)..count).rev() {
        let Some(holder) = holders.and_then(|holders| holders.get(at)) else { continue };
        let shard = step.domain.shards[holder.shard()].lock();
        let object = shard.find_by(holder, |object| lies_at(object, segment, at));
        // One object may hold two places here, its own and its replacement's. One drop takes both.
        if let Some(object) = object
            && !found.iter().rev().take(8).any(|(tenant, key)| *tenant == object.tenant && *key == object.key)
        {
            found.push((object.tenant, object.key.clone()));
        }
    }
    found.sort_unstable();
    found.dedup();
    step.done.replicas_dropped += found.len() as u64;
    let objects = found.iter().map(|(tenant, key)| KeyRef { tenant: *tenant, key }).collect();
    step.commit(OpType::DropReplicas, &DropReplicasOp { segment, objects })
}

pub(super) fn release(step: &mut Stepping<'_, '_, Objects>) -> Result<(), CallRefused> {
    let in_force = step.in_force();
    let kept = in_force.kept();
    let waits = [(Retire::AfterLease, kept.object_lease_ms), (Retire::AfterPut, kept.put_release_timeout_ms)];
    let mut due: Vec<ReleaseOp> = Vec::new();
    let mut budget = STEP_OBJECTS_MAX;
    let segments = &step.writer.own.dir.segments;
    let mut last = step.writer.own.rounds.retiring;
    for ix in next_of(&segments.retiring, last) {
        let Some(segment) = segments.get(ix).filter(|_| budget > 0) else { break };
        last = ix;
        for (retire, wait_ms) in waits {
            let over = segment.retired(retire).iter().take_while(|extent| step.is_over(extent.since_ms, wait_ms));
            let count = over.take(budget).count();
            budget -= count;
            if count > 0 {
                due.push(ReleaseOp { segment: segment.info.ix, retire, count: count as u32 });
            }
        }
    }
    step.writer.own.rounds.retiring = last;
    step.done.more |= budget == 0;
    for op in due {
        step.done.extents_released += u64::from(op.count);
        step.commit(OpType::Release, &op)?;
    }
    Ok(())
}
