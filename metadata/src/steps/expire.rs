//! Clients that are silent, what they leave behind, and puts, transfers and tasks that take too long.

use ledger::{CallRefused, ClientLeftOp, ForgetAnswersOp, ItemId, LedgerOp, TenantIx};
use oplog::ClientId;

use crate::op::{DiscardOp, KeyRef, OpType, TaskUpdate, TaskUpdateOp};
use crate::owners::Owner;
use crate::steps::{STEP_OBJECTS_MAX, Stepping, is_over};
use crate::tasks::TaskState;

/// Clients looked at or expired at a time.
const CLIENTS_MAX: usize = 64;
/// Of a client that goes, so many bytes of answers are forgotten at a time.
const ANSWER_BYTES_MAX: usize = 256 << 10;

impl Stepping<'_, '_> {
    pub(super) fn expire_clients(&mut self) -> Result<(), CallRefused> {
        let ttl_ms = self.in_force().kept().client_ttl_ms;
        let clients = self.writer.accounts.clients.iter();
        let silent = clients.filter(|(_, client)| !client.expired && self.is_over(client.heard_ms, ttl_ms));
        let silent: Vec<ClientId> = silent.map(|(id, _)| id).take(CLIENTS_MAX).collect();
        self.done.more |= silent.len() == CLIENTS_MAX;
        for client in silent {
            self.writer.commit_op(LedgerOp::ClientExpire, &ClientLeftOp { client: client.0 }, self.now)?;
            self.done.clients_expired += 1;
        }
        Ok(())
    }

    /// Unfinished work of expired clients, then their tasks, then the answers kept for them, then themselves. Their segments go like any other.
    pub(super) fn clean_up_after_clients(&mut self) -> Result<(), CallRefused> {
        let expired: Vec<ClientId> = self.writer.accounts.clients.expired.iter().take(CLIENTS_MAX).copied().collect();
        for id in expired {
            let Some(client) = self.writer.accounts.clients.get(id) else { continue };
            let owner = self.writer.own.dir.owners.get(id);
            if owner.is_some_and(|owner| !owner.living.is_empty()) {
                self.writer.commit_op(LedgerOp::ClientExpire, &ClientLeftOp { client: id.0 }, self.now)?;
                self.done.more = true;
                break;
            }
            // Tens of MB, maybe: what gives them back at once holds everybody up.
            let is_bare = owner.is_none_or(Owner::is_bare);
            if is_bare && client.answer_bytes > ANSWER_BYTES_MAX {
                let Some(below) = client.oldest_answers(STEP_OBJECTS_MAX, ANSWER_BYTES_MAX) else { continue };
                let op = ForgetAnswersOp { client: id.0, below };
                self.writer.commit_op(LedgerOp::ForgetAnswers, &op, self.now)?;
                self.done.more = true;
                break;
            }
            let Some(owner) = owner.filter(|_| !is_bare) else {
                self.writer.commit_op(LedgerOp::ClientGone, &ClientLeftOp { client: id.0 }, self.now)?;
                self.done.more |= !self.writer.accounts.clients.expired.is_empty();
                continue;
            };
            if owner.tasks.is_empty() && owner.unfinished.is_empty() {
                continue;
            }
            let tasks: Vec<_> = owner.tasks.iter().take(STEP_OBJECTS_MAX).copied().collect();
            if !tasks.is_empty() {
                self.done.tasks_updated += tasks.len() as u64;
                let updates = tasks.into_iter().map(TaskUpdate::Fail).collect();
                self.writer.commit_op(OpType::TaskUpdate, &TaskUpdateOp { updates }, self.now)?;
            }
            self.discard_of(id, |_| true)?;
            // One client's worth of work, and whatever is left of it comes next.
            self.done.more = true;
            break;
        }
        Ok(())
    }

    pub(super) fn discard_unfinished(&mut self) -> Result<(), CallRefused> {
        let timeout_ms = self.in_force().kept().put_start_timeout_ms;
        let is_late = |step: &Self, since_ms| step.is_over(since_ms, timeout_ms);
        // The oldest of each client decides: ids grow with time.
        let late = self.writer.own.dir.owners.iter().filter(|(_, owner)| {
            owner.unfinished.first_key_value().is_some_and(|(_, work)| is_late(self, work.since_ms))
        });
        let Some(id) = late.map(|(id, _)| id).next() else { return Ok(()) };
        self.done.more = true;
        let (now, grace_from_ms) = (self.now, self.writer.grace_from_ms);
        self.discard_of(id, |since_ms| is_over(now, grace_from_ms, since_ms, timeout_ms))
    }

    fn discard_of(&mut self, id: ClientId, is_late: impl Fn(u64) -> bool) -> Result<(), CallRefused> {
        let Some(owner) = self.writer.own.dir.owners.get(id) else { return Ok(()) };
        let late = owner.unfinished.iter().take_while(|(_, work)| is_late(work.since_ms)).take(STEP_OBJECTS_MAX);
        let found: Vec<(TenantIx, Box<[u8]>, ItemId)> = late
            .filter_map(|(item, work)| {
                let shard = self.state.shards[work.hash.shard()].lock();
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
        self.done.puts_discarded += found.len() as u64;
        let items = found.iter().map(|(tenant, key, item)| (KeyRef { tenant: *tenant, key }, *item)).collect();
        self.writer.commit_op(OpType::Discard, &DiscardOp { client: id.0, items }, self.now)
    }

    pub(super) fn update_tasks(&mut self) -> Result<(), CallRefused> {
        let timeout_ms = self.in_force().kept().task_timeout_ms;
        let tasks = &self.writer.own.dir.tasks;
        let surplus = tasks.finished().len().saturating_sub(self.state.config.finished_tasks_max);
        let mut updates: Vec<TaskUpdate> =
            tasks.finished().iter().take(surplus.min(STEP_OBJECTS_MAX)).copied().map(TaskUpdate::Forget).collect();
        let late =
            tasks.iter().filter(|task| task.state == TaskState::Assigned && self.is_over(task.since_ms, timeout_ms));
        updates.extend(late.take(STEP_OBJECTS_MAX).map(|task| TaskUpdate::Requeue(task.id)));
        if updates.is_empty() {
            return Ok(());
        }
        self.done.more |= updates.len() >= STEP_OBJECTS_MAX;
        self.done.tasks_updated += updates.len() as u64;
        self.writer.commit_op(OpType::TaskUpdate, &TaskUpdateOp { updates }, self.now)
    }
}
