//! Tasks: copies and moves that the holder of the source is asked to carry out.

use std::collections::BTreeSet;

use ledger::{
    Answer, Bound, CALL_ITEMS_MAX, Call, CallRefused, ENTRY_ITEMS_MAX, Fingerprint, ITEM_BYTES, Inconsistent, ItemId,
    Who, check_text,
};

use crate::apply::Apply;
use crate::calls::transfer::{TransferItem, check_transfer, fingerprint_transfer};
use crate::calls::{Decide, ItemCall};
use crate::hash::KeyHash;
use crate::object::Object;
use crate::op::{OpType, TaskAssigned, TaskCompleted, TaskCreated};
use crate::state::{Objects, Own};
use crate::tasks::{Task, TaskState};
use crate::types::{Outcome, Refusal, SegmentIx, TaskId, TransferKind};
use ledger::Writer;

/// The tenant of a finished task that it has outlived.
const DELETED: &str = "(deleted)";

#[derive(Clone, Debug)]
pub struct TaskSpec<'a> {
    pub kind: TransferKind,
    pub transfer: TransferItem<'a>,
}

#[derive(Clone, Copy, Debug)]
pub struct TaskDone<'a> {
    pub id: TaskId,
    pub failed: bool,
    pub message: &'a str,
}

/// A task, and the name of its tenant.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    pub task: Task,
    pub tenant: String,
}

/// Some tasks, and where the next ones begin.
#[derive(Clone, Debug)]
pub struct TaskPage {
    pub tasks: Vec<TaskInfo>,
    pub next_after: Option<TaskId>,
}

impl Objects {
    pub fn create_tasks(
        &self,
        call: &Call<'_>,
        items: &[TaskSpec<'_>],
    ) -> Result<Answer<Vec<Outcome<TaskId>>>, CallRefused> {
        self.run(call, &CreateTask, items)
    }

    /// At most `limit` tasks that wait for this client; they are its own from now on.
    pub fn fetch_tasks(&self, call: &Call<'_>, limit: u32) -> Result<Answer<Vec<TaskInfo>>, CallRefused> {
        if limit as usize > CALL_ITEMS_MAX {
            return Err(CallRefused::invalid("limit", format!("{limit} tasks, the limit is {CALL_ITEMS_MAX}")));
        }
        let answer = self.run(call, &FetchTask, &[limit])?;
        let ids: Vec<TaskId> = answer.results.into_iter().flatten().flatten().collect();
        // No ids would mean all.
        let results = if ids.is_empty() { Vec::new() } else { self.tasks(&ids).results };
        Ok(Answer { results, position: answer.position })
    }

    pub fn complete_tasks(
        &self,
        call: &Call<'_>,
        items: &[TaskDone<'_>],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &CompleteTask, items)
    }

    /// Those with these ids; none given: all that are kept.
    pub fn tasks(&self, ids: &[TaskId]) -> Answer<Vec<TaskInfo>> {
        let Answer { results, position } = self.list_tasks(ids, 0, usize::MAX);
        Answer { results: results.tasks, position }
    }

    /// In the order of their ids, each once: those behind `after`, as many as have room in so many bytes, at least one.
    pub fn list_tasks(&self, ids: &[TaskId], after: TaskId, bytes_max: usize) -> Answer<TaskPage> {
        let wanted: BTreeSet<TaskId> = ids.iter().copied().filter(|id| *id > after).collect();
        let mut page = TaskPage { tasks: Vec::new(), next_after: None };
        let (mut after, mut bytes) = (after, 0);
        let mut writer = self.write();
        loop {
            let Writer { accounts, own: Own { dir, .. }, .. } = &**writer;
            let behind = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
            let listed = wanted.range(behind).filter_map(|id| dir.tasks.get(*id));
            let next: Vec<&Task> = match ids.is_empty() {
                true => dir.tasks.after(after).take(ENTRY_ITEMS_MAX).collect(),
                false => listed.take(ENTRY_ITEMS_MAX).collect(),
            };
            let Some(last) = next.last().map(|task| task.id) else { break };
            for task in next {
                let name = accounts.tenants.get(task.tenant).map_or(DELETED, |tenant| &*tenant.name);
                bytes += task.bytes() + name.len();
                if !page.tasks.is_empty() && (bytes > bytes_max || page.tasks.len() == CALL_ITEMS_MAX) {
                    page.next_after = page.tasks.last().map(|info| info.task.id);
                    return Answer { results: page, position: writer.applied() };
                }
                page.tasks.push(TaskInfo { task: task.clone(), tenant: name.to_owned() });
            }
            after = last;
            writer.step_aside();
        }
        Answer { results: page, position: writer.applied() }
    }
}

impl Decide<'_> {
    /// What nobody could carry out later is refused now. Space may come by then; a replica that is whole stays.
    fn check_task_target(&self, name: &str, object: &Object) -> Outcome<()> {
        let named = self.dir.segments.named(name);
        if named.is_empty() {
            return Err(Refusal::SegmentNotFound);
        }
        let holds = |ix: &SegmentIx| object.replicas.iter().any(|r| r.complete && r.place.segment == *ix);
        if named.iter().all(holds) { Err(Refusal::ReplicaExists) } else { Ok(()) }
    }
}

pub(crate) struct CreateTask;

impl ItemCall for CreateTask {
    const OP: OpType = OpType::TaskCreate;
    type Item<'a> = TaskSpec<'a>;
    type Done<'a> = TaskCreated;
    type Result = TaskId;

    fn check(&self, item: &TaskSpec<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_transfer(item.kind, &item.transfer, field)
    }

    fn fingerprint(&self, item: &TaskSpec<'_>, into: &mut Fingerprint) {
        into.number(item.kind as u64);
        fingerprint_transfer(&item.transfer, into);
    }

    fn bytes_max(&self, item: &TaskSpec<'_>) -> usize {
        let targets: usize = item.transfer.targets.iter().map(|target| target.len() + 4).sum();
        2 * ITEM_BYTES + item.transfer.key.len() + targets
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let TaskSpec { kind, transfer } = item;
        // Nobody lives to see the last id.
        let limit = if cx.dir.tasks.next_id() == TaskId::MAX { 0 } else { cx.config.tasks_max };
        cx.check_bound(Bound::Tasks, cx.dir.tasks.len() as u64, limit as u64)?;
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, transfer.key);
        let shard = cx.shards[hash.shard()].lock();
        let object = shard.find(hash, cx.who.tenant, transfer.key).ok_or(Refusal::NotFound)?;
        let source = cx.source_of(object, transfer.source)?.place.segment;
        transfer.targets.iter().try_for_each(|target| cx.check_task_target(target, object))?;
        let holder = cx.dir.segments.get(source).ok_or(Refusal::ReplicaNotFound)?.info.client;
        Ok(TaskCreated {
            kind: *kind,
            tenant: cx.who.tenant,
            key: transfer.key.to_vec(),
            source,
            targets: transfer.targets.iter().map(|target| (*target).to_owned()).collect(),
            assignee: holder.0,
            id: cx.dir.tasks.next_id(),
        })
    }

    fn apply(cx: &mut Apply<'_>, _: Who, _: ItemId, done: &TaskCreated) -> Result<(), Inconsistent> {
        cx.task_create(done)
    }

    fn result(done: &TaskCreated, _: ItemId) -> TaskId {
        done.id
    }
}

pub(crate) struct FetchTask;

impl ItemCall for FetchTask {
    const OP: OpType = OpType::TaskAssign;
    /// The limit.
    type Item<'a> = u32;
    type Done<'a> = TaskAssigned;
    type Result = Vec<TaskId>;

    fn check(&self, _: &u32, _: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        Ok(())
    }

    fn fingerprint(&self, item: &u32, into: &mut Fingerprint) {
        into.number(u64::from(*item));
    }

    fn bytes_max(&self, item: &u32) -> usize {
        ITEM_BYTES + 9 * *item as usize
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let own = cx.dir.owners.get(cx.who.client).map(|owner| &owner.tasks);
        let waiting = |id: &&TaskId| cx.dir.tasks.get(**id).is_some_and(|task| task.state == TaskState::Waiting);
        let ids: Vec<TaskId> = own.into_iter().flatten().filter(waiting).take(*item as usize).copied().collect();
        if ids.is_empty() { Err(Refusal::NotFound) } else { Ok(TaskAssigned { ids }) }
    }

    fn apply(cx: &mut Apply<'_>, _: Who, _: ItemId, done: &TaskAssigned) -> Result<(), Inconsistent> {
        cx.task_assign(done)
    }

    fn result(done: &TaskAssigned, _: ItemId) -> Vec<TaskId> {
        done.ids.clone()
    }
}

pub(crate) struct CompleteTask;

impl ItemCall for CompleteTask {
    const OP: OpType = OpType::TaskComplete;
    type Item<'a> = TaskDone<'a>;
    type Done<'a> = TaskCompleted;
    type Result = ();

    fn check(&self, item: &TaskDone<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_text(&field("message"), item.message)
    }

    fn fingerprint(&self, item: &TaskDone<'_>, into: &mut Fingerprint) {
        into.number(item.id);
        into.number(u64::from(item.failed));
        into.text(item.message.as_bytes());
    }

    fn bytes_max(&self, item: &TaskDone<'_>) -> usize {
        ITEM_BYTES + item.message.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let own = |task: &&Task| task.assignee() == cx.who.client && task.state == TaskState::Assigned;
        cx.dir.tasks.get(item.id).filter(own).ok_or(Refusal::TaskNotFound)?;
        Ok(TaskCompleted { id: item.id, failed: item.failed, message: item.message.to_owned() })
    }

    fn apply(cx: &mut Apply<'_>, _: Who, _: ItemId, done: &TaskCompleted) -> Result<(), Inconsistent> {
        cx.task_complete(done)
    }

    fn result(_: &TaskCompleted, _: ItemId) {}
}
