//! Copies and moves that wait for a client to carry them out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bincode::{Decode, Encode};
use ledger::{RecordHash, TenantIx, digest_of_numbers, same};
use oplog::{ClientId, Digest};

use crate::hash::table;
use crate::types::{SegmentIx, TaskId, TransferKind};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TaskState {
    Waiting,
    Assigned,
    Done,
    Failed,
}

#[derive(Clone, Debug, Encode, Decode)]
pub struct Task {
    pub id: TaskId,
    pub kind: TransferKind,
    pub tenant: TenantIx,
    pub key: Vec<u8>,
    pub source: SegmentIx,
    /// Name of the source, for whoever reads the task after the segment is gone.
    pub source_name: String,
    pub targets: Vec<String>,
    pub assignee: [u8; 16],
    pub state: TaskState,
    pub message: String,
    /// Volatile: when it was assigned. 0 in an image.
    pub since_ms: u64,
}

impl Task {
    pub fn assignee(&self) -> ClientId {
        ClientId(self.assignee)
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, TaskState::Done | TaskState::Failed)
    }

    fn digest(&self) -> Digest {
        let mut hash = RecordHash::new(table::TASKS);
        hash.number(self.id)
            .number(self.kind as u64)
            .number(u64::from(self.tenant))
            .text(&self.key)
            .number(u64::from(self.source))
            .text(self.source_name.as_bytes())
            .text(&self.assignee)
            .number(self.state as u64)
            .text(self.message.as_bytes())
            .number(self.targets.len() as u64);
        for target in &self.targets {
            hash.text(target.as_bytes());
        }
        hash.finish()
    }

    /// About what it takes in an answer.
    pub(crate) fn bytes(&self) -> usize {
        let targets: usize = self.targets.iter().map(|target| target.len() + 4).sum();
        128 + self.key.len() + self.source_name.len() + targets + self.message.len()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tasks {
    by_id: BTreeMap<TaskId, Task>,
    /// In the order in which they were finished.
    finished: VecDeque<TaskId>,
    next_id: TaskId,
    digest: Digest,
}

impl Tasks {
    pub(crate) fn digest(&self) -> Digest {
        self.digest + digest_of_numbers(table::COUNTERS, [1, self.next_id])
    }

    pub(crate) fn counted_digest(&self) -> Digest {
        let counter = digest_of_numbers(table::COUNTERS, [1, self.next_id]);
        self.by_id.values().map(Task::digest).sum::<Digest>() + counter
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn next_id(&self) -> TaskId {
        self.next_id.max(1)
    }

    /// As the digest has it: 0 until the first task.
    pub(crate) fn next_id_given(&self) -> TaskId {
        self.next_id
    }

    pub(crate) fn set_next_id(&mut self, next: TaskId) {
        self.next_id = self.next_id.max(next);
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.by_id.values()
    }

    /// With higher ids than this one.
    pub(crate) fn after(&self, id: TaskId) -> impl Iterator<Item = &Task> {
        self.by_id.range((Bound::Excluded(id), Bound::Unbounded)).map(|(_, task)| task)
    }

    pub(crate) fn finished(&self) -> &VecDeque<TaskId> {
        &self.finished
    }

    /// `false`: the id is taken, or the last one.
    pub(crate) fn insert(&mut self, task: Task) -> bool {
        if task.id == TaskId::MAX || self.by_id.contains_key(&task.id) {
            return false;
        }
        self.digest += task.digest();
        self.next_id = self.next_id.max(task.id + 1);
        if task.is_finished() {
            self.finished.push_back(task.id);
        }
        self.by_id.insert(task.id, task);
        true
    }

    pub(crate) fn edit(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) -> Option<&Task> {
        let task = self.by_id.get_mut(&id)?;
        let was_finished = task.is_finished();
        self.digest -= task.digest();
        change(task);
        self.digest += task.digest();
        if task.is_finished() && !was_finished {
            self.finished.push_back(id);
        }
        Some(task)
    }

    /// What is kept twice, compared.
    pub(crate) fn check(&self) -> Result<(), String> {
        same("digest of the tasks", self.by_id.values().map(Task::digest).sum(), self.digest)?;
        let mut finished: Vec<TaskId> = self.finished.iter().copied().collect();
        finished.sort_unstable();
        let counted = self.by_id.values().filter(|task| task.is_finished()).map(|task| task.id);
        same("finished tasks", counted.collect(), finished)?;
        same("a task with an id to come", self.by_id.last_key_value().is_some_and(|(id, _)| *id >= self.next_id), false)
    }

    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let task = self.by_id.remove(&id)?;
        self.digest -= task.digest();
        if self.finished.front() == Some(&id) {
            self.finished.pop_front();
        } else {
            self.finished.retain(|other| *other != id);
        }
        Some(task)
    }
}
