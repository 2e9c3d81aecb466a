//! From an entry's payload to [`Apply`]: one arm for each op. An op that is not known is refused, never skipped.

use ledger::{ENTRY_ITEMS_MAX, Inconsistent, ItemId, Mode, OpError, require};
use oplog::{ClientId, DomainId};

use crate::apply::Apply;
use crate::calls::ItemCall;
use crate::calls::pin::SetPin;
use crate::calls::put::{PutEnd, PutRevoke, PutStart};
use crate::calls::remove::Remove;
use crate::calls::segment::{Mount, Unmount};
use crate::calls::task::{CompleteTask, CreateTask, FetchTask};
use crate::calls::transfer::{TransferFinish, TransferStart};
use crate::fit::check_segment;
use crate::op::{
    ClientOp, DiscardOp, DropReplicasOp, EvictionOp, Mounted, OpType, ReleaseOp, RemoveManyOp, SegmentOp, TaskAssigned,
    TaskCompleted, TaskCreated, TaskUpdate, TaskUpdateOp, Unmounted,
};
use crate::segments::{Segment, SegmentState};
use crate::tasks::{Task, TaskState};
use crate::types::SegmentIx;

impl Apply<'_> {
    /// Applies one op; the answer is how many items of a request it did.
    pub(crate) fn op(&mut self, op: OpType, payload: &[u8]) -> Result<u64, OpError> {
        match op {
            OpType::PutStart => self.items::<PutStart<'_>>(payload),
            OpType::PutEnd => self.items::<PutEnd>(payload),
            OpType::PutRevoke => self.items::<PutRevoke>(payload),
            OpType::Remove => self.items::<Remove>(payload),
            OpType::Pin => self.items::<SetPin>(payload),
            OpType::TransferStart => self.items::<TransferStart>(payload),
            OpType::TransferFinish => self.items::<TransferFinish>(payload),
            OpType::Eviction => {
                let op: EvictionOp<'_> = oplog::decode_payload(payload)?;
                op.items.iter().try_for_each(|item| self.evict(item))?;
                Ok(0)
            }
            OpType::DropReplicas => {
                let op: DropReplicasOp<'_> = oplog::decode_payload(payload)?;
                op.objects.iter().try_for_each(|object| self.drop_replicas(op.segment, object))?;
                Ok(0)
            }
            OpType::Discard => {
                let op: DiscardOp<'_> = oplog::decode_payload(payload)?;
                op.items.iter().try_for_each(|(object, id)| self.discard(object, *id))?;
                Ok(0)
            }
            OpType::RemoveMany => {
                let op: RemoveManyOp<'_> = oplog::decode_payload(payload)?;
                op.removed.iter().try_for_each(|item| self.remove(op.tenant, item))?;
                Ok(u64::from(op.finished))
            }
            // From here on the directory alone. While it is rebuilt, its image holds all of this already.
            OpType::MountSegment
            | OpType::RemountSegments
            | OpType::UnmountSegment
            | OpType::TaskCreate
            | OpType::TaskAssign
            | OpType::TaskComplete
            | OpType::Drain
            | OpType::SegmentGone
            | OpType::Release
            | OpType::TaskUpdate
                if self.accounts.mode == Mode::Rebuilding =>
            {
                Ok(0)
            }
            OpType::MountSegment => self.items::<Mount<false>>(payload),
            OpType::RemountSegments => self.items::<Mount<true>>(payload),
            OpType::UnmountSegment => self.items::<Unmount>(payload),
            OpType::TaskCreate => self.items::<CreateTask>(payload),
            OpType::TaskAssign => self.items::<FetchTask>(payload),
            OpType::TaskComplete => self.items::<CompleteTask>(payload),
            OpType::Drain => {
                let op: SegmentOp = oplog::decode_payload(payload)?;
                self.set_state(op.segment, SegmentState::Unmounting)?;
                Ok(0)
            }
            OpType::SegmentGone => {
                let op: SegmentOp = oplog::decode_payload(payload)?;
                self.segment_gone(op.segment)?;
                Ok(0)
            }
            OpType::Release => {
                let op: ReleaseOp = oplog::decode_payload(payload)?;
                self.dir.segments.release(op.segment, op.retire, op.count).map_err(Inconsistent::from)?;
                Ok(0)
            }
            OpType::TaskUpdate => {
                let op: TaskUpdateOp = oplog::decode_payload(payload)?;
                op.updates.iter().try_for_each(|update| self.task_update(update))?;
                Ok(0)
            }
        }
    }

    fn items<C: ItemCall>(&mut self, payload: &[u8]) -> Result<u64, OpError> {
        let op: ClientOp<C::Done<'_>> = oplog::decode_payload(payload)?;
        require(op.items.len() <= ENTRY_ITEMS_MAX, || format!("{} items in one entry", op.items.len()))?;
        let who = op.who();
        self.accounts.begin(who, C::INTRODUCES, self.source);
        for (at, outcome) in op.items.iter().enumerate() {
            if let Ok(done) = outcome {
                C::apply(self, who, ItemId::new(self.seq, at), done)?;
            }
        }
        Ok(op.items.len() as u64)
    }

    pub(crate) fn mount(&mut self, client: ClientId, mounted: &Mounted) -> Result<(), Inconsistent> {
        self.accounts.clients.ensure(client, self.source.now_ms());
        let owner = self.dir.owners.ensure(client);
        match mounted {
            Mounted::Kept { .. } => Ok(()),
            Mounted::New { ix, record } => {
                check_segment(record)?;
                require(*ix >= self.dir.segments.next_ix(), || format!("segment {ix} has been there before"))?;
                let from = self.source.from();
                self.dir.segments.mount(*ix, client, record.clone(), SegmentState::Mounted, from)?;
                owner.segments.insert(*ix);
                owner.living.insert(*ix);
                owner.segment_bytes += record.size;
                if owner.host.is_empty() {
                    owner.host.clone_from(&record.host);
                }
                self.dir.view_stale = true;
                Ok(())
            }
            Mounted::Again { ix } => {
                let is_empty = |segment: &Segment| !segment.info.is_living() && segment.holders().is_empty();
                require(self.dir.segments.get(*ix).is_some_and(is_empty), || format!("segment {ix} is not going"))?;
                require(owner.segments.contains(ix), || format!("segment {ix} is not of client {client}"))?;
                owner.living.insert(*ix);
                self.set_state(*ix, SegmentState::Mounted)
            }
        }
    }

    pub(crate) fn unmount(&mut self, unmounted: &Unmounted) -> Result<(), Inconsistent> {
        let state = match unmounted.grace_ms {
            0 => SegmentState::Unmounting,
            grace_ms => SegmentState::Draining { grace_ms },
        };
        // One that is going does not come back to drain.
        let is_going = self.dir.segments.get(unmounted.ix).is_some_and(|segment| !segment.info.is_living());
        require(!is_going, || format!("segment {} is going already", unmounted.ix))?;
        self.set_state(unmounted.ix, state)
    }

    fn set_state(&mut self, ix: SegmentIx, state: SegmentState) -> Result<(), Inconsistent> {
        self.dir.view_stale = true;
        let segment = self.dir.segments.get(ix);
        if state == SegmentState::Unmounting
            && let Some(owner) =
                segment.map(|segment| segment.info.client).and_then(|client| self.dir.owners.get_mut(client))
        {
            owner.living.remove(&ix);
        }
        Ok(self.dir.segments.set_state(ix, state, self.source.now_ms())?)
    }

    fn segment_gone(&mut self, ix: SegmentIx) -> Result<(), Inconsistent> {
        let lives = self.dir.segments.get(ix).is_some_and(|segment| segment.info.is_living());
        require(!lives, || format!("segment {ix} is not going"))?;
        let info = self.dir.segments.remove(ix)?;
        if let Some(owner) = self.dir.owners.get_mut(info.client) {
            owner.segments.remove(&ix);
            owner.segment_bytes -= info.size;
        }
        self.dir.view_stale = true;
        Ok(())
    }

    /// So many of its segments can't be read from now on; the op comes again while there are more. Dropping what lies in
    /// them follows in steps.
    pub(crate) fn client_expired(&mut self, id: ClientId) -> Result<(), Inconsistent> {
        let living = self.dir.owners.get(id).into_iter().flat_map(|owner| &owner.living);
        let segments: Vec<SegmentIx> = living.take(ENTRY_ITEMS_MAX).copied().collect();
        segments.into_iter().try_for_each(|ix| self.set_state(ix, SegmentState::Unmounting))
    }

    pub(crate) fn task_create(&mut self, created: &TaskCreated) -> Result<(), Inconsistent> {
        let source = self.dir.segments.get(created.source);
        let task = Task {
            id: created.id,
            kind: created.kind,
            tenant: created.tenant,
            key: created.key.clone(),
            source: created.source,
            source_name: source.map_or_else(String::new, |segment| segment.info.name.clone()),
            targets: created.targets.clone(),
            assignee: created.assignee,
            state: TaskState::Waiting,
            message: String::new(),
            since_ms: self.now_ms(),
        };
        require(self.accounts.tenants.get(task.tenant).is_some(), || format!("no tenant {}", task.tenant))?;
        self.accounts.tenants.count(task.tenant, DomainId::METADATA, |usage| usage.open += 1);
        self.accounts.clients.ensure(task.assignee(), 0);
        self.dir.owners.ensure(task.assignee()).tasks.insert(task.id);
        require(self.dir.tasks.insert(task), || format!("task {} is there already", created.id))
    }

    pub(crate) fn task_assign(&mut self, assigned: &TaskAssigned) -> Result<(), Inconsistent> {
        let now_ms = self.now_ms();
        for &id in &assigned.ids {
            let waits = self.dir.tasks.get(id).is_some_and(|task| task.state == TaskState::Waiting);
            require(waits, || format!("no task {id} that waits"))?;
            self.dir.tasks.edit(id, |task| {
                task.state = TaskState::Assigned;
                task.since_ms = now_ms;
            });
        }
        Ok(())
    }

    pub(crate) fn task_complete(&mut self, done: &TaskCompleted) -> Result<(), Inconsistent> {
        let state = if done.failed { TaskState::Failed } else { TaskState::Done };
        self.task_finish(done.id, state, &done.message)
    }

    fn task_finish(&mut self, id: u64, state: TaskState, message: &str) -> Result<(), Inconsistent> {
        let open = self.dir.tasks.get(id).is_some_and(|task| !task.is_finished());
        require(open, || format!("no task {id} that is open"))?;
        let task = self.dir.tasks.edit(id, |task| {
            task.state = state;
            task.message = message.to_owned();
        });
        let Some(task) = task else { return Err(Inconsistent::Other(format!("no task {id}"))) };
        if let Some(owner) = self.dir.owners.get_mut(task.assignee()) {
            owner.tasks.remove(&id);
        }
        self.accounts.tenants.count(task.tenant, DomainId::METADATA, |usage| usage.open -= 1);
        Ok(())
    }

    fn task_update(&mut self, update: &TaskUpdate) -> Result<(), Inconsistent> {
        match update {
            TaskUpdate::Requeue(id) => {
                let assigned = self.dir.tasks.get(*id).is_some_and(|task| task.state == TaskState::Assigned);
                require(assigned, || format!("no task {id} that is assigned"))?;
                self.dir.tasks.edit(*id, |task| task.state = TaskState::Waiting);
                Ok(())
            }
            TaskUpdate::Fail(id) => self.task_finish(*id, TaskState::Failed, "the client that held the source is gone"),
            TaskUpdate::Forget(id) => {
                let finished = self.dir.tasks.get(*id).is_some_and(Task::is_finished);
                require(finished, || format!("no task {id} that is finished"))?;
                self.dir.tasks.remove(*id);
                Ok(())
            }
        }
    }
}

/// Part of the kept answer to a request; the result is how many of its items it tells of.
pub(crate) fn check_answer(op: OpType, payload: &[u8]) -> Result<u64, OpError> {
    fn items<C: ItemCall>(payload: &[u8]) -> Result<u64, OpError> {
        let op: ClientOp<C::Done<'_>> = oplog::decode_payload(payload)?;
        require(op.items.len() <= ENTRY_ITEMS_MAX, || format!("{} items in one answer", op.items.len()))?;
        Ok(op.items.len() as u64)
    }
    match op {
        OpType::PutStart => items::<PutStart<'_>>(payload),
        OpType::PutEnd => items::<PutEnd>(payload),
        OpType::PutRevoke => items::<PutRevoke>(payload),
        OpType::Remove => items::<Remove>(payload),
        OpType::Pin => items::<SetPin>(payload),
        OpType::TransferStart => items::<TransferStart>(payload),
        OpType::TransferFinish => items::<TransferFinish>(payload),
        OpType::MountSegment => items::<Mount<false>>(payload),
        OpType::RemountSegments => items::<Mount<true>>(payload),
        OpType::UnmountSegment => items::<Unmount>(payload),
        OpType::TaskCreate => items::<CreateTask>(payload),
        OpType::TaskAssign => items::<FetchTask>(payload),
        OpType::TaskComplete => items::<CompleteTask>(payload),
        OpType::RemoveMany => {
            let op: RemoveManyOp<'_> = oplog::decode_payload(payload)?;
            Ok(u64::from(op.finished))
        }
        OpType::Eviction
        | OpType::DropReplicas
        | OpType::SegmentGone
        | OpType::Discard
        | OpType::Release
        | OpType::TaskUpdate
        | OpType::Drain => Err(Inconsistent::Other(format!("{op:?} is nobody's request")).into()),
    }
}
