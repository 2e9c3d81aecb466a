//! Every mutating call of the state as a value, and its answer as one: so that a request can be drawn, sent, sent again,
//! and its answers compared.
//!
//! Deliberately absent: which requests make sense (`draw`), and what should become of them (`model`).

use oplog::ClientId;

use crate::*;

/// A segment that some client may mount. Some overlap, share a name, or are of an odd size at an odd address.
pub(super) const SEGMENTS: [SegmentSpec<'static>; 8] = [
    memory(0, "m0", 1000, 4096),
    memory(1, "m1", 8192, 6000),
    memory(2, "m2", 0, 5000),
    memory(3, "m0", 5096, 640),
    memory(4, "m4", 9000, 2048),
    disk(5, "d5", "/a", 4500),
    disk(6, "d6", "/b/", 2000),
    disk(7, "d7", "/a/", 1000),
];

const fn memory(n: u8, name: &'static str, base: u64, size: u64) -> SegmentSpec<'static> {
    let host = if n.is_multiple_of(2) { "even" } else { "odd" };
    let kind = SegmentKind::Memory;
    SegmentSpec { id: SegmentId([n + 1; 16]), name, kind, base, size, endpoint: "e", protocol: "tcp", host, path: "" }
}

const fn disk(n: u8, name: &'static str, path: &'static str, size: u64) -> SegmentSpec<'static> {
    SegmentSpec { kind: SegmentKind::Disk, path, ..memory(n, name, 0, size) }
}

pub(super) fn client(n: u8) -> ClientId {
    ClientId([n + 1; 16])
}

/// Who sends, without the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    pub(super) client: u8,
    pub(super) tenant: &'static str,
    pub(super) number: u64,
    pub(super) answered_below: u64,
}

impl From {
    pub(super) fn call(self, now_ms: u64) -> Call<'static> {
        let From { client: who, tenant, number, answered_below } = self;
        Call {
            client: client(who),
            number,
            answered_below,
            address: None,
            tenant,
            now: Now { ttl_ms: now_ms, wall_ms: now_ms },
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Mount { remount: bool, segments: Vec<usize> },
    Unmount { segments: Vec<usize>, grace_ms: u64 },
    PutStart { how: PutStart<'static>, items: Vec<(String, u64)> },
    PutEnd { scope: Scope, items: Vec<(String, ItemId, Option<u64>)> },
    PutRevoke { scope: Scope, items: Vec<(String, ItemId)> },
    Remove { force: bool, keys: Vec<String> },
    RemoveMatching { force: bool, regex: &'static str },
    Pin { pin: Pin, keys: Vec<String> },
    TransferStart { kind: TransferKind, items: Vec<(String, &'static str, Vec<&'static str>)> },
    TransferFinish { kind: TransferKind, ended: bool, items: Vec<(String, ItemId)> },
    CreateTasks { items: Vec<(String, &'static str, &'static str)> },
    FetchTasks { limit: u32 },
    CompleteTasks { items: Vec<(TaskId, bool)> },
    DeleteTenant { name: &'static str },
}

/// Id, size, source, targets.
pub(super) type Transferring = (ItemId, u64, Place, Vec<Place>);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Kept.
    Mounted(Vec<Outcome<bool>>),
    Started(Vec<Outcome<(ItemId, Vec<Place>)>>),
    Done(Vec<Outcome<()>>),
    Transfers(Vec<Outcome<Transferring>>),
    Created(Vec<Outcome<TaskId>>),
    Fetched(Vec<TaskId>),
    Many(RemovedMany),
}

fn bytes(keys: &[String]) -> Vec<&[u8]> {
    keys.iter().map(String::as_bytes).collect()
}

fn transfer<'a>(key: &'a str, source: &'a str, targets: &[&'a str]) -> TransferItem<'a> {
    TransferItem { key: key.as_bytes(), source, targets: targets.to_vec() }
}

/// Sends a request; the position is the one that its answer waits for.
pub(super) fn send(
    state: &Metadata,
    request: &Request,
    call: &Call<'_>,
) -> Result<(Reply, oplog::Position), CallRefused> {
    match request {
        Request::Mount { remount, segments } => {
            let specs: Vec<_> = segments.iter().map(|at| SEGMENTS[*at]).collect();
            let answer = if *remount { state.remount(call, &specs) } else { state.mount(call, &specs) }?;
            let results = answer.results.into_iter().map(|result| result.map(|mounted| mounted.kept));
            Ok((Reply::Mounted(results.collect()), answer.position))
        }
        Request::Unmount { segments, grace_ms } => {
            let ids: Vec<_> = segments.iter().map(|at| SEGMENTS[*at].id).collect();
            done(state.unmount(call, *grace_ms, &ids))
        }
        Request::PutStart { how, items } => {
            let items: Vec<_> =
                items.iter().map(|(key, size)| PutStartItem { key: key.as_bytes(), size: *size }).collect();
            let answer = state.put_start(call, how, &items)?;
            let results = answer.results.into_iter().map(|result| result.map(|at| (at.put, at.places.to_vec())));
            Ok((Reply::Started(results.collect()), answer.position))
        }
        Request::PutEnd { scope, items } => {
            let item = |(key, put, checksum): &(String, ItemId, Option<u64>)| (key.clone(), *put, *checksum);
            let items: Vec<_> = items.iter().map(item).collect();
            let items = items.iter().map(|(key, put, checksum)| PutEndItem {
                key: key.as_bytes(),
                put: *put,
                checksum: *checksum,
            });
            done(state.put_end(call, *scope, &items.collect::<Vec<_>>()))
        }
        Request::PutRevoke { scope, items } => {
            let items = items.iter().map(|(key, put)| PutRevokeItem { key: key.as_bytes(), put: *put });
            done(state.put_revoke(call, *scope, &items.collect::<Vec<_>>()))
        }
        Request::Remove { force, keys } => done(state.remove(call, *force, &bytes(keys))),
        Request::RemoveMatching { force, regex } => {
            let answer = match *regex {
                "" => state.remove_all(call, *force)?,
                regex => state.remove_matching(call, regex, *force)?,
            };
            Ok((Reply::Many(answer.results), answer.position))
        }
        Request::Pin { pin, keys } => done(state.pin(call, *pin, &bytes(keys))),
        Request::TransferStart { kind, items } => {
            let items: Vec<_> = items.iter().map(|(key, from, to)| transfer(key, from, to)).collect();
            let answer = state.transfer_start(call, *kind, &items)?;
            let results = answer.results.into_iter();
            let results = results.map(|result| result.map(|at| (at.id, at.size, at.source, at.targets.to_vec())));
            Ok((Reply::Transfers(results.collect()), answer.position))
        }
        Request::TransferFinish { kind, ended, items } => {
            let items = items.iter().map(|(key, id)| TransferFinishItem { key: key.as_bytes(), id: *id });
            let items: Vec<_> = items.collect();
            done(if *ended {
                state.transfer_end(call, *kind, &items)
            } else {
                state.transfer_revoke(call, *kind, &items)
            })
        }
        Request::CreateTasks { items } => {
            let kind = TransferKind::Copy;
            let items: Vec<_> =
                items.iter().map(|(key, from, to)| TaskSpec { kind, transfer: transfer(key, from, &[*to]) }).collect();
            let answer = state.create_tasks(call, &items)?;
            Ok((Reply::Created(answer.results), answer.position))
        }
        Request::FetchTasks { limit } => {
            let answer = state.fetch_tasks(call, *limit)?;
            let ids = answer.results.iter().map(|info| info.task.id);
            Ok((Reply::Fetched(ids.collect()), answer.position))
        }
        Request::CompleteTasks { items } => {
            let items = items.iter().map(|(id, failed)| TaskDone { id: *id, failed: *failed, message: "done" });
            done(state.complete_tasks(call, &items.collect::<Vec<_>>()))
        }
        Request::DeleteTenant { name } => done(state.delete_tenant(call, name).map(Answer::refused_as)),
    }
}

fn done(answer: Result<Answer<Vec<Outcome<()>>>, CallRefused>) -> Result<(Reply, oplog::Position), CallRefused> {
    answer.map(|answer| (Reply::Done(answer.results), answer.position))
}
