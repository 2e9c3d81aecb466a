//! What clients ask, as a member runs it on its state, and what they are told: in a form that can be compared.

use metadata::{
    Call, CallRefused, ItemId, Metadata, Now, Outcome, Pin, Place, Placement, PutEndItem, PutRevokeItem, PutStart,
    PutStartItem, Refusal, Scope, SegmentId, SegmentKind, SegmentSpec, TaskDone, TaskSpec, TransferItem, TransferKind,
};
use oplog::ClientId;
use proto::v1::CallError;

pub(crate) type Key = [u8; 2];

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Remount { segment: u8, bytes: u64 },
    Heartbeat,
    Start { key: Key, size: u64, replace: bool },
    End { key: Key, put: u64 },
    Revoke { key: Key, put: u64 },
    Remove { key: Key, force: bool },
    Pin { key: Key, soft: bool },
    Lookup { key: Key },
    CreateTask { key: Key, target: u8 },
    FetchTasks,
    CompleteTask { id: u64 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) client: ClientId,
    /// 0: it changes nothing.
    pub(crate) number: u64,
    /// When its client first asked.
    pub(crate) asked_at: u64,
    pub(crate) ask: Ask,
}

/// The same for the same request, whoever gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Done(Outcome<()>),
    Mounted(Outcome<()>),
    Known(bool),
    Started { put: u64, size: u64, places: Vec<Place> },
    NotStarted(Refusal),
    Found { size: u64, places: Vec<Place> },
    NotFound,
    Created(Outcome<u64>),
    Tasks(Vec<u64>),
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Result<Told, CallError>,
    /// In which it was given.
    pub(crate) epoch: u64,
}

/// An answer that waits for its seq to be committed.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) told: Told,
    pub(crate) wait_seq: u64,
}

fn name(segment: u8) -> String {
    format!("s{segment}")
}

fn one<T>(results: Vec<Outcome<T>>) -> Outcome<T> {
    results.into_iter().next().expect("a call with one item has one result")
}

impl Request {
    pub(crate) fn run(&self, state: &Metadata, now: Now) -> Result<Ran, CallRefused> {
        let call = &Call { client: self.client, number: self.number, answered_below: self.number, tenant: "", now };
        let done = |answer: metadata::Answer<Vec<Outcome<()>>>| Ran {
            told: Told::Done(one(answer.results)),
            wait_seq: answer.position.seq,
        };
        Ok(match &self.ask {
            Ask::Remount { segment, bytes } => {
                let name = name(*segment);
                let answer = state.remount(call, &[spec(*segment, &name, *bytes)])?;
                let told = Told::Mounted(one(answer.results).map(|_| ()));
                Ran { told, wait_seq: answer.position.seq }
            }
            Ask::Heartbeat => {
                let beat = state.heartbeat(call, "")?;
                Ran { told: Told::Known(beat.known), wait_seq: beat.position.seq }
            }
            Ask::Start { key, size, replace } => {
                let placement = Placement { memory_replicas: 1, ..Placement::default() };
                let how = PutStart { placement, replace: *replace, ..PutStart::default() };
                let answer = state.put_start(call, &how, &[PutStartItem { key, size: *size }])?;
                let told = match one(answer.results) {
                    Ok(at) => Told::Started { put: at.put.0, size: *size, places: at.places.to_vec() },
                    Err(refusal) => Told::NotStarted(refusal),
                };
                Ran { told, wait_seq: answer.position.seq }
            }
            Ask::End { key, put } => {
                done(state.put_end(call, Scope::All, &[PutEndItem { key, put: ItemId(*put), checksum: None }])?)
            }
            Ask::Revoke { key, put } => {
                done(state.put_revoke(call, Scope::All, &[PutRevokeItem { key, put: ItemId(*put) }])?)
            }
            Ask::Remove { key, force } => done(state.remove(call, *force, &[&key[..]])?),
            Ask::Pin { key, soft } => {
                let pin = if *soft { Pin::Soft { ttl_ms: 300 } } else { Pin::None };
                done(state.pin(call, pin, &[&key[..]])?)
            }
            Ask::Lookup { key } => {
                let mut told = Told::NotFound;
                let wait_seq = state.lookup("", [&key[..]].into_iter(), now, |found| {
                    if let Some(found) = found {
                        told = Told::Found { size: found.size(), places: found.places().collect() };
                    }
                })?;
                Ran { told, wait_seq }
            }
            Ask::CreateTask { key, target } => {
                let target = name(*target);
                let transfer = TransferItem { key, source: "", targets: vec![&target] };
                let answer = state.create_tasks(call, &[TaskSpec { kind: TransferKind::Copy, transfer }])?;
                Ran { told: Told::Created(one(answer.results)), wait_seq: answer.position.seq }
            }
            Ask::FetchTasks => {
                let answer = state.fetch_tasks(call, 2)?;
                let ids = answer.results.iter().map(|info| info.task.id).collect();
                Ran { told: Told::Tasks(ids), wait_seq: answer.position.seq }
            }
            Ask::CompleteTask { id } => {
                done(state.complete_tasks(call, &[TaskDone { id: *id, failed: false, message: "" }])?)
            }
        })
    }
}

fn spec(segment: u8, name: &str, bytes: u64) -> SegmentSpec<'_> {
    SegmentSpec {
        id: SegmentId([segment + 1; 16]),
        name,
        kind: SegmentKind::Memory,
        base: u64::from(segment + 1) << 32,
        size: bytes,
        endpoint: "10.0.0.1:1",
        protocol: "tcp",
        host: "",
        path: "",
    }
}
