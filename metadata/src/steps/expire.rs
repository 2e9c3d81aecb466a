//! What expired clients leave behind, and puts, transfers and tasks that take too long.

use ledger::{CallRefused, Emptied, ItemId, Stepping, TenantIx, is_over};
use oplog::ClientId;

use crate::op::{DiscardOp, KeyRef, OpType, TaskUpdate, TaskUpdateOp};
use crate::state::Objects;
use crate::steps::STEP_OBJECTS_MAX;
use crate::tasks::TaskState;

/// Of an expired client: its tasks, and its unfinished work. Its segments go like any other.
pub(crate) fn empty(step: &mut Stepping<'_, '_, Objects>, id: ClientId) -> Result<Emptied, CallRefused> {
    let Some(owner) = step.writer.own.dir.owners.get(id) else { return Ok(Emptied::Waits) };
    if owner.tasks.is_empty() && owner.unfinished.is_empty() {
        return Ok(Emptied::Waits);
    }
    let tasks: Vec<_> = owner.tasks.iter().take(STEP_OBJECTS_MAX).copied().collect();
    if !tasks.is_empty() {
        step.done.tasks_updated += tasks.len() as u64;
        let updates = tasks.into_iter().map(TaskUpdate::Fail).collect();
        step.commit(OpType::TaskUpdate, &TaskUpdateOp { updates })?;
    }
    discard_of(step, id, |_| true)?;
    Ok(Emptied::Some)
}

pub(super) fn discard_unfinished(step: &mut Stepping<'_, '_, Objects>) -> Result<(), CallRefused> {
    let timeout_ms = step.in_force().kept().put_start_timeout_ms;
    let is_late = |step: &Stepping<'_, '_, Objects>, since_ms| step.is_over(since_ms, timeout_ms);
    // The oldest of each client decides: ids grow with time.
    let late =
        step.writer.own.dir.owners.iter().filter(|(_, owner)| {
            owner.unfinished.first_key_value().is_some_and(|(_, work)| is_late(step, work.since_ms))
        });
    let Some(id) = late.map(|(id, _)| id).next() else { return Ok(()) };
    step.done.more = true;
    let (now, grace_from_ms) = (step.now, step.writer.grace_from_ms);
    discard_of(step, id, |since_ms| is_over(now, grace_from_ms, since_ms, timeout_ms))
}

fn discard_of(
    step: &mut Stepping<'_, '_, Objects>,
    id: ClientId,
    is_late: impl Fn(u64) -> bool,
) -> Result<(), CallRefused> {
    let Some(owner) = step.writer.own.dir.owners.get(id) else { return Ok(()) };
    let late = owner.unfinished.iter().take_while(|(_, work)| is_late(work.since_ms)).take(STEP_OBJECTS_MAX);
    let found: Vec<(TenantIx, Box<[u8]>, ItemId)> = late
        .filter_map(|(item, work)| {
            let shard = step.domain.shards[work.hash.shard()].lock();
            let object = shard.find_by(work.hash, |object| {
                object.tenant == work.tenant
                    && (object.put == *item
                        || object.replacement().is_some_and(|new| new.put == *item)
                        || object.transfer().is_some_and(|transfer| transfer.id == *item))
            })?;
            Some((work.tenant, object.key.clone(), *item))
        })
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    step.done.puts_discarded += found.len() as u64;
    let items = found.iter().map(|(tenant, key, item)| (KeyRef { tenant: *tenant, key }, *item)).collect();
    step.commit(OpType::Discard, &DiscardOp { client: id.0, items })
}

pub(super) fn update_tasks(step: &mut Stepping<'_, '_, Objects>) -> Result<(), CallRefused> {
    let timeout_ms = step.in_force().kept().task_timeout_ms;
    let tasks = &step.writer.own.dir.tasks;
    let surplus = tasks.finished().len().saturating_sub(step.domain.config.finished_tasks_max);
    let mut updates: Vec<TaskUpdate> =
        tasks.finished().iter().take(surplus.min(STEP_OBJECTS_MAX)).copied().map(TaskUpdate::Forget).collect();
    let late = tasks.iter().filter(|task| task.state == TaskState::Assigned && step.is_over(task.since_ms, timeout_ms));
    updates.extend(late.take(STEP_OBJECTS_MAX).map(|task| TaskUpdate::Requeue(task.id)));
    if updates.is_empty() {
        return Ok(());
    }
    step.done.more |= updates.len() >= STEP_OBJECTS_MAX;
    step.done.tasks_updated += updates.len() as u64;
    step.commit(OpType::TaskUpdate, &TaskUpdateOp { updates })
}
