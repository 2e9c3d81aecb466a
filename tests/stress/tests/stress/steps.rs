//! The single things that an honest client does.
//!
//! Deliberately absent: a model of the right answers. The property tests of the state have one;
//! here it is enough that every answer has a reason.

use std::time::Duration;

use bytes::Bytes;
use client::{
    Client, CopyStartItem, Force, IfExists, ListKeys, MoveStartItem, NewTask, Pin, PutEndItem, PutOptions,
    PutRevokeItem, PutStartItem, ReplicaScope, Segment, TaskKind, TaskResult, TransferFinishItem,
};

use crate::dice::Dice;
use crate::honest::{TENANTS, count, count_items};
use crate::tally::Tally;

/// Keys that all clients use.
const KEYS: u64 = 3000;

pub(crate) struct Steps<'a> {
    client: &'a Client,
    which: usize,
    segments: Vec<Segment>,
}

fn key(dice: &mut Dice) -> Bytes {
    match dice.below(50) {
        0 => Bytes::from(vec![b'x'; 4096]),
        1 => Bytes::from(dice.bytes(16)),
        _ => Bytes::from(format!("k{}", dice.below(KEYS))),
    }
}

fn keys(dice: &mut Dice) -> Vec<Bytes> {
    let count = match dice.below(40) {
        // More than what runs between other calls.
        0 => 2500,
        1..4 => 300,
        _ => 1 + dice.below(20),
    };
    (0..count).map(|_| key(dice)).collect()
}

fn force(dice: &mut Dice) -> Force {
    if dice.once_in(3) { Force::Yes } else { Force::No }
}

impl<'a> Steps<'a> {
    pub(crate) fn new(client: &'a Client, which: usize, segments: Vec<Segment>) -> Steps<'a> {
        Steps { client, which, segments }
    }

    pub(crate) async fn step(&mut self, dice: &mut Dice, tally: &mut Tally) {
        match dice.below(100) {
            0..25 => self.put_one(dice, tally).await,
            25..40 => self.put_many(dice, tally).await,
            40..50 => drop(count("GetReplicas", self.client.get_replicas(&keys(dice)).await, tally)),
            50..58 => drop(count("Exists", self.client.exists(&keys(dice)).await, tally)),
            58..68 => drop(count_items("Remove", self.client.remove(&keys(dice), force(dice)).await, tally)),
            68..74 => self.pins(dice, tally).await,
            74..84 => self.transfers(dice, tally).await,
            84..92 => self.tasks(dice, tally).await,
            92..95 => self.lists(dice, tally).await,
            95..97 => self.removals(dice, tally).await,
            97..99 => self.segments(dice, tally).await,
            _ => self.operators(dice, tally).await,
        }
    }

    fn options(&self, dice: &mut Dice) -> PutOptions {
        PutOptions {
            replicas: dice.below(3) as u32,
            disk_replicas: u32::from(dice.once_in(6)),
            preferred_segments: if dice.once_in(3) { vec![self.own_segment(dice)] } else { Vec::new() },
            same_host: dice.once_in(4),
            best_effort: dice.once_in(3),
            if_exists: if dice.once_in(2) { IfExists::Replace } else { IfExists::Fail },
            pin: *dice.pick(&[Pin::None, Pin::None, Pin::None, Pin::Soft, Pin::Hard]),
            soft_pin_ttl: dice.once_in(2).then_some(Duration::from_millis(200)),
        }
    }

    fn own_segment(&self, dice: &mut Dice) -> String {
        dice.pick(&self.segments).name.clone()
    }

    fn some_segment(&self, dice: &mut Dice) -> String {
        match dice.below(3) {
            0 => String::new(),
            1 => self.own_segment(dice),
            _ => crate::COMMON_SEGMENT.to_owned(),
        }
    }

    async fn put_one(&self, dice: &mut Dice, tally: &mut Tally) {
        let put = self.client.put(key(dice), 1 + dice.below(20_000), self.options(dice)).await;
        let Some(put) = count("put", put, tally) else { return };
        match dice.below(8) {
            0 => drop(put),
            1 => drop(count("put.revoke", put.revoke().await, tally)),
            _ => drop(count("put.end", put.end(Some(dice.next())).await, tally)),
        }
    }

    async fn put_many(&self, dice: &mut Dice, tally: &mut Tally) {
        let keys = keys(dice);
        let items: Vec<_> = keys.iter().map(|key| PutStartItem::new(key, 1 + dice.below(2000))).collect();
        let started = self.client.put_start(&items, self.options(dice)).await;
        let Some(started) = count("PutStart", started, tally) else { return };
        let (mut ends, mut revokes) = (Vec::new(), Vec::new());
        for (key, result) in keys.into_iter().zip(started.results) {
            match result {
                // A writer that hangs: the node discards its put.
                Ok(_) if dice.once_in(30) => {}
                Ok(put) if dice.once_in(10) => revokes.push(PutRevokeItem { key, put_id: put.put_id }),
                Ok(put) => ends.push(PutEndItem { key, put_id: put.put_id, checksum: None }),
                Err(refused) => tally.refused("PutStart", refused.reason, &refused.message),
            }
        }
        let scope =
            *dice.pick(&[ReplicaScope::All, ReplicaScope::All, ReplicaScope::OnlyMemory, ReplicaScope::OnlyDisk]);
        count_items("PutEnd", self.client.put_end(&ends, scope).await, tally);
        count_items("PutRevoke", self.client.put_revoke(&revokes, ReplicaScope::All).await, tally);
    }

    async fn pins(&self, dice: &mut Dice, tally: &mut Tally) {
        let keys = keys(dice);
        let ttl = dice.once_in(2).then_some(Duration::from_millis(300));
        let pin = *dice.pick(&[Pin::Soft, Pin::Hard]);
        match dice.below(2) {
            0 => drop(count_items("Pin", self.client.pin(&keys, pin, ttl).await, tally)),
            _ => drop(count_items("Unpin", self.client.unpin(&keys).await, tally)),
        }
    }

    async fn transfers(&self, dice: &mut Dice, tally: &mut Tally) {
        let (key, source, target) = (key(dice), self.some_segment(dice), self.own_segment(dice));
        let ends = !dice.once_in(4);
        let finish = |transfer_id| [TransferFinishItem { key: key.clone(), transfer_id }];
        if dice.once_in(2) {
            let item = CopyStartItem { key: key.clone(), source_segment: source, target_segments: vec![target] };
            let Some(started) = count_items("CopyStart", self.client.copy_start(&[item]).await, tally).pop() else {
                return;
            };
            match ends {
                true => count_items("CopyEnd", self.client.copy_end(&finish(started.transfer_id)).await, tally),
                false => count_items("CopyRevoke", self.client.copy_revoke(&finish(started.transfer_id)).await, tally),
            };
        } else {
            let item = MoveStartItem { key: key.clone(), source_segment: source, target_segment: target };
            let Some(started) = count_items("MoveStart", self.client.move_start(&[item]).await, tally).pop() else {
                return;
            };
            match ends {
                true => count_items("MoveEnd", self.client.move_end(&finish(started.transfer_id)).await, tally),
                false => count_items("MoveRevoke", self.client.move_revoke(&finish(started.transfer_id)).await, tally),
            };
        }
    }

    async fn tasks(&self, dice: &mut Dice, tally: &mut Tally) {
        match dice.below(4) {
            0 => {
                let kind = *dice.pick(&[TaskKind::Copy, TaskKind::Move]);
                let task = |dice: &mut Dice| NewTask {
                    kind,
                    key: key(dice),
                    source_segment: self.some_segment(dice),
                    target_segments: vec![self.own_segment(dice)],
                };
                let tasks: Vec<_> = (0..1 + dice.below(5)).map(|_| task(dice)).collect();
                count_items("CreateTask", self.client.create_tasks(&tasks).await, tally);
            }
            1 | 2 => {
                let fetched = count("FetchTasks", self.client.fetch_tasks(dice.below(20) as u32).await, tally);
                let report = |task: client::Task, dice: &mut Dice| TaskResult {
                    task_id: task.task_id,
                    failed: dice.once_in(3).then(|| "no time".to_owned()),
                };
                let tasks = fetched.into_iter().flat_map(|list| list.tasks).filter(|_| !dice.once_in(4));
                let done: Vec<_> = tasks.collect::<Vec<_>>().into_iter().map(|task| report(task, dice)).collect();
                count_items("CompleteTask", self.client.complete_tasks(&done).await, tally);
            }
            _ => drop(count("ListTasks", self.client.list_tasks(&[dice.below(1000)]).await, tally)),
        }
    }

    async fn lists(&self, dice: &mut Dice, tally: &mut Tally) {
        let mut list = ListKeys {
            prefix: Bytes::from_static(dice.pick::<&[u8]>(&[b"", b"k1", b"x"])),
            regex: (*dice.pick(&["", "^k[0-4]+$", "7"])).to_owned(),
            limit: dice.below(400) as u32,
            page_token: Bytes::new(),
        };
        for _ in 0..4 {
            let Some(page) = count("ListKeys", self.client.list_keys(list.clone()).await, tally) else { return };
            let Some(next) = page.next_page_token else { return };
            list.page_token = next;
        }
    }

    async fn removals(&self, dice: &mut Dice, tally: &mut Tally) {
        let pattern = format!("^k{}", dice.below(100));
        match dice.below(20) {
            0 => drop(count("RemoveAll", self.client.remove_all(force(dice)).await, tally)),
            _ => drop(count("RemoveMatching", self.client.remove_matching(&pattern, force(dice)).await, tally)),
        }
    }

    /// One of them is unmounted and mounted again.
    async fn segments(&mut self, dice: &mut Dice, tally: &mut Tally) {
        match dice.below(4) {
            0 => {
                let which = dice.below(self.segments.len() as u64) as usize;
                let grace = Duration::from_millis(dice.below(200));
                let id = self.segments[which].id;
                count_items("UnmountSegment", self.client.unmount_segments(&[id], grace).await, tally);
                // Another mapping of the same memory, whose old segment may still be going.
                self.segments[which].id = client::SegmentId(std::array::from_fn(|_| dice.next() as u8));
                let segment = self.segments[which].clone();
                count_items("MountSegment", self.client.mount_segments(&[segment]).await, tally);
            }
            1 => drop(count_items("RemountSegments", self.client.remount_segments(&self.segments).await, tally)),
            2 => drop(count("Heartbeat", self.client.heartbeat().await, tally)),
            _ => {
                let name = self.some_segment(dice);
                let client = dice.once_in(2).then(|| self.client.id());
                drop(count("ListSegments", self.client.list_segments(client, &name).await, tally));
            }
        }
    }

    async fn operators(&self, dice: &mut Dice, tally: &mut Tally) {
        match dice.below(4) {
            0 => drop(count("Status", self.client.status().await, tally)),
            1 => drop(count("ListTenants", self.client.list_tenants().await, tally)),
            2 => {
                let name = if self.which.is_multiple_of(2) { "quota" } else { dice.pick(&TENANTS[1..]) };
                count("DeleteTenant", self.client.delete_tenant(name).await, tally);
            }
            _ => {
                let name = if self.which.is_multiple_of(2) { "quota" } else { dice.pick(&TENANTS) };
                let quota = dice.once_in(3).then(|| 1 << (16 + dice.below(10)));
                count("SetTenantQuota", self.client.set_tenant_quota(name, quota).await, tally);
            }
        }
    }
}
