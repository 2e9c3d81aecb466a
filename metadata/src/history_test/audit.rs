//! What the primary does of its own accord, read from its log: was it allowed to, then its effect; and at rest, was
//! anything left undone. Tasks too, since clients and the primary share them.
//!
//! Deliberately absent: whether soft pins are last and the oldest first: eviction draws, so that is a matter of chance.

use std::collections::BTreeMap;

use ledger::{ClientLeftOp, ForgetAnswersOp, SettingsOp, TenantIx};
use oplog::{ClientId, DomainId, Entry};

use super::expect::same;
use super::model::{Model, Name, Object, TaskRow};
use super::request::{From, Reply, Request, client};
use crate::op::{DiscardOp, DropReplicasOp, EvictionOp, ReleaseOp, Retire, SegmentOp, TaskUpdate, TaskUpdateOp};
use crate::*;

type Checked = Result<(), String>;

fn require(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

fn decode<'a, T: bincode::BorrowDecode<'a, ()>>(entry: &'a Entry) -> T {
    oplog::decode_payload(&entry.payload).expect("the primary wrote it")
}

impl Model {
    /// An entry that a step has logged. `tenants`: their names by number.
    pub(super) fn audit(&mut self, entry: &Entry, tenants: &BTreeMap<TenantIx, String>) -> Checked {
        let name = |tenant: TenantIx, key: &[u8]| (tenants[&tenant].clone(), String::from_utf8_lossy(key).into_owned());
        if entry.domain == DomainId::ENGINE {
            return self.audit_ledger(entry);
        }
        match OpType::from_number(entry.op_type).expect("the primary wrote it") {
            OpType::Eviction => {
                let op: EvictionOp<'_> = decode(entry);
                op.items
                    .iter()
                    .try_for_each(|item| self.evicted(&name(item.object.tenant, item.object.key), item.dropped))
            }
            OpType::DropReplicas => {
                let op: DropReplicasOp<'_> = decode(entry);
                same("state of a segment that is emptied", false, self.is_living(op.segment))?;
                op.objects.iter().try_for_each(|object| self.dropped(op.segment, &name(object.tenant, object.key)))
            }
            OpType::Discard => {
                let op: DiscardOp<'_> = decode(entry);
                let mut items = op.items.iter();
                items.try_for_each(|(object, id)| self.discarded(op.client, &name(object.tenant, object.key), *id))
            }
            OpType::Release => {
                let op: ReleaseOp = decode(entry);
                (0..op.count).try_for_each(|_| self.released(op.segment, op.retire))
            }
            OpType::Drain => {
                let SegmentOp { segment } = decode(entry);
                self.drained(segment)
            }
            OpType::SegmentGone => {
                let SegmentOp { segment } = decode(entry);
                same("state of a segment that goes", false, self.is_living(segment))?;
                let left = self.objects.values().flat_map(Object::places).any(|(place, _)| place.segment == segment);
                require(!left, || format!("segment {segment} goes and is not empty"))?;
                let used = self.retired.iter().find(|extent| extent.place.segment == segment);
                require(used.is_none(), || format!("segment {segment} goes, and its space may be in use: {used:?}"))?;
                self.segments.remove(&segment);
                Ok(())
            }
            OpType::TaskUpdate => {
                let op: TaskUpdateOp = decode(entry);
                op.updates.iter().try_for_each(|update| self.task_updated(update))
            }
            other => Err(format!("a step logs {other:?}")),
        }
    }

    fn audit_ledger(&mut self, entry: &Entry) -> Checked {
        match LedgerOp::from_number(entry.op_type).expect("the primary wrote it") {
            LedgerOp::ClientExpire => {
                let ClientLeftOp { client } = decode(entry);
                self.expired(ClientId(client))
            }
            LedgerOp::ClientGone => {
                let ClientLeftOp { client } = decode(entry);
                self.gone(ClientId(client))
            }
            LedgerOp::ForgetAnswers => {
                let op: ForgetAnswersOp = decode(entry);
                require(self.clients.contains_key(&ClientId(op.client)), || format!("answers of nobody: {op:?}"))
            }
            LedgerOp::Settings => {
                let op: SettingsOp = decode(entry);
                let (owed, since_ms) = self.owed.take().ok_or("nothing is owed")?;
                require(self.is_paid(&owed, since_ms), || format!("{owed:?} is still owed"))?;
                same("settings when nothing is owed any more", SettingsOp { settings: self.settings, owed: None }, op)
            }
            other => Err(format!("a step logs {other:?}")),
        }
    }

    fn evicted(&mut self, name: &Name, dropped: u32) -> Checked {
        let object = self.objects.get(name).ok_or_else(|| format!("{name:?} is evicted and not there"))?;
        require(!object.is_unfinished(), || format!("{name:?} is evicted while something is under way"))?;
        require(!self.is_leased(object), || format!("{name:?} is evicted and leased"))?;
        require(object.pin != Pin::Hard, || format!("{name:?} is evicted and hard pinned"))?;
        let in_memory = |place: &Place| self.kind(place.segment) == SegmentKind::Memory;
        let memory = object.replicas.iter().enumerate().filter(|(_, (place, _))| in_memory(place));
        same("evicted replicas", memory.fold(0, |mask, (at, _)| mask | (1 << at)), dropped)?;
        let mut object = object.clone();
        object.replicas.retain(|(place, _)| !in_memory(place));
        self.objects.insert(name.clone(), object);
        self.sweep(name);
        Ok(())
    }

    fn dropped(&mut self, segment: SegmentIx, name: &Name) -> Checked {
        let object =
            self.objects.get(name).ok_or_else(|| format!("{name:?} loses a replica and is not there"))?.clone();
        let there: Vec<_> = object.places().into_iter().filter(|(place, _)| place.segment == segment).collect();
        let lies_there = !there.is_empty();
        // Readers were told of what is whole; all else somebody is writing.
        let is_whole = |(place, _): &(Place, u64)| object.replicas.contains(&(*place, true));
        let (whole, open): (Vec<_>, Vec<_>) = there.into_iter().partition(is_whole);
        self.lose(whole, Retire::AfterLease, object.lease_until_ms);
        self.lose(open, Retire::AfterPut, 0);
        let object = self.objects.get_mut(name).ok_or("it is gone")?;
        object.replicas.retain(|(place, _)| place.segment != segment);
        if let Some(new) = &mut object.new {
            new.places.retain(|place| place.segment != segment);
        }
        if let Some(transfer) = &mut object.transfer {
            transfer.targets.retain(|place| place.segment != segment);
        }
        let (new, transfer) = (object.new.clone(), object.transfer.clone());
        if let Some(new) = new.filter(|new| new.places.is_empty()) {
            object.new = None;
            self.began_ms.remove(&new.put);
        }
        let has_source = |ix| object.replicas.iter().any(|(place, _)| place.segment == ix);
        if transfer.is_some_and(|transfer| transfer.targets.is_empty() || !has_source(transfer.source)) {
            self.drop_extra(name);
        }
        self.settle(name);
        self.sweep(name);
        require(lies_there, || format!("{name:?} loses a replica that it does not have"))
    }

    fn discarded(&mut self, owner: [u8; 16], name: &Name, id: ItemId) -> Checked {
        let object = self.objects.get(name).ok_or_else(|| format!("{name:?} is discarded and not there"))?.clone();
        let began_ms = *self.began_ms.get(&id).ok_or_else(|| format!("{id:?} is discarded and not under way"))?;
        let expired = self.clients[&ClientId(owner)].expired;
        let late = self.is_over(began_ms, self.kept().put_start_timeout_ms);
        require(expired || late, || format!("{name:?} is discarded in time"))?;
        let open: Vec<(Place, u64)> = match (&object.new, &object.transfer) {
            (Some(new), _) if new.put == id => new.places.iter().map(|place| (*place, new.size)).collect(),
            (_, Some(transfer)) if transfer.id == id => {
                let ClientId(other) = transfer.owner;
                self.drop_extra(name);
                return same("owner of a discarded transfer", other, owner);
            }
            _ => {
                same("discarded put", object.put, id)?;
                object.replicas.iter().filter(|(_, whole)| !whole).map(|(place, _)| (*place, object.size)).collect()
            }
        };
        let places: Vec<Place> = open.iter().map(|(place, _)| *place).collect();
        self.lose(open, Retire::AfterPut, 0);
        self.drop_put(name, id, &places);
        Ok(())
    }

    fn wait_ms(&self, retire: Retire) -> u64 {
        let Settings { object_lease_ms, put_release_timeout_ms, .. } = *self.kept();
        if retire == Retire::AfterPut { put_release_timeout_ms } else { object_lease_ms }
    }

    fn released(&mut self, segment: SegmentIx, retire: Retire) -> Checked {
        let at = self.retired.iter().position(|r| r.place.segment == segment && r.retire == retire);
        let extent = self.retired.remove(at.ok_or("more is released than was retired")?);
        let due = self.is_over(extent.since_ms, self.wait_ms(retire)) && self.now_ms >= extent.lease_until_ms;
        require(due, || format!("released too early: {extent:?}"))
    }

    fn drained(&mut self, ix: SegmentIx) -> Checked {
        let now_ms = self.now_ms;
        let SegmentState::Draining { grace_ms } = self.segments[&ix].state else {
            return Err(format!("segment {ix} does not drain"));
        };
        let over = self.is_over(self.segments[&ix].draining_since_ms, grace_ms);
        let segment = self.segments.get_mut(&ix).ok_or("it is gone")?;
        (segment.state, segment.draining_since_ms) = (SegmentState::Unmounting, now_ms);
        require(over, || format!("segment {ix} still drains"))
    }

    fn expired(&mut self, id: ClientId) -> Checked {
        let client = self.clients.get(&id).ok_or_else(|| format!("{id} expires and is not there"))?;
        let over = self.is_over(client.heard_ms, self.kept().client_ttl_ms);
        require(over && !client.expired, || format!("{id} expires and has been heard"))?;
        let client = self.clients.get_mut(&id).ok_or("it is gone")?;
        (client.expired, client.introduced) = (true, false);
        // It has far fewer than go at once.
        let owned = self.segments.values_mut().filter(|segment| segment.client == id);
        owned.for_each(|segment| segment.state = SegmentState::Unmounting);
        Ok(())
    }

    fn gone(&mut self, id: ClientId) -> Checked {
        let client = self.clients.remove(&id).ok_or_else(|| format!("{id} goes and is not there"))?;
        require(client.expired, || format!("{id} goes and lives"))?;
        let segments = self.segments.values().any(|segment| segment.client == id);
        let tasks = self.tasks.values().any(|task| task.assignee == id && is_open(task));
        require(!segments && !tasks, || format!("{id} goes and leaves something"))
    }

    fn task_updated(&mut self, update: &TaskUpdate) -> Checked {
        let (TaskUpdate::Requeue(id) | TaskUpdate::Fail(id) | TaskUpdate::Forget(id)) = update;
        let task = self.tasks.get(id).cloned().ok_or_else(|| format!("{update:?}: not there"))?;
        match update {
            TaskUpdate::Requeue(_) => {
                let late = self.is_over(task.since_ms, self.kept().task_timeout_ms);
                require(task.state == TaskState::Assigned && late, || format!("{update:?} of {task:?}"))?;
                self.tasks.insert(*id, TaskRow { state: TaskState::Waiting, ..task });
            }
            TaskUpdate::Fail(_) => {
                let expired = self.clients[&task.assignee].expired;
                require(expired && is_open(&task), || format!("{update:?} of {task:?}"))?;
                self.finish(*id, TaskState::Failed);
            }
            TaskUpdate::Forget(_) => {
                let surplus = self.finished.len() > self.config.finished_tasks_max;
                require(surplus, || format!("{update:?} of {task:?}"))?;
                same("the oldest finished task", self.finished.remove(0), *id)?;
                self.tasks.remove(id);
            }
        }
        Ok(())
    }

    fn finish(&mut self, id: TaskId, state: TaskState) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.state = state;
            self.finished.push(id);
        }
    }

    pub(super) fn expect_tasks(&mut self, from: From, request: &Request, reply: &Reply) -> Checked {
        let id = client(from.client);
        match (request, reply) {
            (Request::CreateTasks { items }, Reply::Created(results)) => {
                for ((key, source, target), result) in items.iter().zip(results) {
                    let created = self.create_task((from.tenant, key), source, target, result.as_ref().ok());
                    same(&format!("task for {key}"), created, result.map(drop))?;
                }
                Ok(())
            }
            (Request::FetchTasks { limit }, Reply::Fetched(ids)) => {
                let mine = self.tasks.iter().filter(|(_, t)| t.assignee == id && t.state == TaskState::Waiting);
                let expected: Vec<TaskId> = mine.map(|(id, _)| *id).take(*limit as usize).collect();
                same("fetched tasks", &expected, ids)?;
                let now_ms = self.now_ms;
                for task in self.tasks.iter_mut().filter(|(id, _)| ids.contains(id)).map(|(_, task)| task) {
                    (task.state, task.since_ms) = (TaskState::Assigned, now_ms);
                }
                Ok(())
            }
            (Request::CompleteTasks { items }, Reply::Done(results)) => {
                for ((task, failed), result) in items.iter().zip(results) {
                    let mine = |t: &TaskRow| t.assignee == id && t.state == TaskState::Assigned;
                    let expected = self.tasks.get(task).is_some_and(mine);
                    same("completed task", if expected { Ok(()) } else { Err(Refusal::TaskNotFound) }, *result)?;
                    if expected {
                        self.finish(*task, if *failed { TaskState::Failed } else { TaskState::Done });
                    }
                }
                Ok(())
            }
            _ => Err(format!("{reply:?} to {request:?}")),
        }
    }

    fn create_task(
        &mut self,
        (tenant, key): (&str, &str),
        source: &str,
        target: &str,
        id: Option<&TaskId>,
    ) -> Outcome<()> {
        if self.tasks.len() >= self.config.tasks_max {
            let (have, limit) = (self.tasks.len() as u64, self.config.tasks_max as u64);
            return Err(Refusal::Overloaded(AtBound { bound: Bound::Tasks, have, limit }));
        }
        let object = self.objects.get(&(tenant.to_owned(), key.to_owned())).ok_or(Refusal::NotFound)?;
        let fits = |place: &&Place| source.is_empty() || self.segments[&place.segment].spec().name == source;
        let from = *self.readable(object).iter().find(fits).ok_or(Refusal::ReplicaNotFound)?;
        let named = self.named(target);
        if named.is_empty() {
            return Err(Refusal::SegmentNotFound);
        }
        if named.iter().all(|ix| object.replicas.iter().any(|(place, whole)| *whole && place.segment == *ix)) {
            return Err(Refusal::ReplicaExists);
        }
        if let Some(id) = id {
            let assignee = self.segments[&from.segment].client;
            self.tasks.insert(
                *id,
                TaskRow { tenant: tenant.to_owned(), assignee, state: TaskState::Waiting, since_ms: self.now_ms },
            );
        }
        Ok(())
    }

    /// After steps that left nothing to do: nothing is overdue.
    pub(super) fn check_rest(&self) -> Checked {
        let late = |since_ms, duration_ms| self.is_over(since_ms, duration_ms);
        let Settings { client_ttl_ms, put_start_timeout_ms, task_timeout_ms, .. } = *self.kept();
        let unpaid = self.owed.filter(|(owed, since_ms)| self.is_paid(owed, *since_ms));
        require(unpaid.is_none(), || format!("over and still owed: {unpaid:?}"))?;
        // An expired one goes with its last segment.
        let owns = |id: &ClientId| self.segments.values().any(|segment| segment.client == *id);
        let mut clients = self.clients.iter();
        let silent = clients.find(|(id, client)| match client.expired {
            true => !owns(id),
            false => late(client.heard_ms, client_ttl_ms),
        });
        require(silent.is_none(), || format!("silent and still there: {silent:?}"))?;
        let segment = self.segments.iter().find(|(_, segment)| match segment.state {
            SegmentState::Mounted => false,
            SegmentState::Draining { grace_ms } => late(segment.draining_since_ms, grace_ms),
            SegmentState::Unmounting => false,
        });
        require(segment.is_none(), || format!("drained and still there: {segment:?}"))?;
        let is_used = |ix| {
            let lies = |object: &Object| object.places().iter().any(|(place, _)| place.segment == ix);
            self.retired.iter().any(|extent| extent.place.segment == ix) || self.objects.values().any(lies)
        };
        let mut segments = self.segments.iter();
        let segment = segments.find(|(ix, segment)| segment.state == SegmentState::Unmounting && !is_used(**ix));
        require(segment.is_none(), || format!("going and still there: {segment:?}"))?;
        let work = self.began_ms.iter().find(|(_, began_ms)| late(**began_ms, put_start_timeout_ms));
        require(work.is_none(), || format!("late and still under way: {work:?}"))?;
        let retired = self.retired.iter().find(|extent| late(extent.since_ms, self.wait_ms(extent.retire)));
        let retired = retired.filter(|extent| self.now_ms >= extent.lease_until_ms);
        require(retired.is_none(), || format!("due and still retired: {retired:?}"))?;
        let task = self.tasks.iter().find(|(_, t)| t.state == TaskState::Assigned && late(t.since_ms, task_timeout_ms));
        require(task.is_none(), || format!("late and still assigned: {task:?}"))?;
        require(self.finished.len() <= self.config.finished_tasks_max, || {
            format!("{} finished tasks", self.finished.len())
        })
    }
}

pub(super) fn is_open(task: &TaskRow) -> bool {
    matches!(task.state, TaskState::Waiting | TaskState::Assigned)
}
