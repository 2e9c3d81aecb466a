//! The requests of clients, as a member runs them on its state, and the answers, in a form that can
//! be compared.

use metadata::{
    Address, Call, CallRefused, ItemId, Metadata, Now, Outcome, Pin, Place, Placement, PutEndItem, PutRevokeItem,
    PutStart, PutStartItem, Refusal, Scope, SegmentId, SegmentKind, SegmentSpec, TaskDone, TaskSpec, TransferItem,
    TransferKind,
};
use oplog::ClientId;
use proto::v1::CallError;

pub(crate) type Key = [u8; 2];

/// Keys of each client.
pub(crate) const KEYS: u64 = 10;
/// More than one entry holds, which is 256.
const PIN_MANY: u64 = 300;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Remount {
        segment: u8,
        bytes: u64,
    },
    Heartbeat,
    Start {
        key: Key,
        size: u64,
        replace: bool,
    },
    End {
        key: Key,
        put: u64,
    },
    Revoke {
        key: Key,
        put: u64,
    },
    Remove {
        key: Key,
        force: bool,
    },
    Pin {
        key: Key,
        soft: bool,
    },
    /// More items than one entry of the log takes.
    PinMany {
        owner: u8,
        soft: bool,
    },
    /// The lower half of a client's keys, or the upper one.
    RemoveMatching {
        owner: u8,
        upper: bool,
    },
    /// The tenant with this number, whatever tenant the request is in.
    DeleteTenant {
        tenant: u8,
    },
    Lookup {
        key: Key,
    },
    CreateTask {
        key: Key,
        target: u8,
    },
    FetchTasks,
    CompleteTask {
        id: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) client: ClientId,
    /// 0: it changes nothing.
    pub(crate) number: u64,
    /// The client has the answers to all numbers below.
    pub(crate) answered_below: u64,
    /// When its client first asked.
    pub(crate) asked_at: u64,
    /// 0: the default tenant.
    pub(crate) tenant: u8,
    /// The host of its client.
    pub(crate) host: u8,
    pub(crate) ask: Ask,
}

/// The same for the same request, whichever member answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Done(Outcome<()>),
    Mounted(Outcome<()>),
    Known(bool),
    Started { put: u64, size: u64, places: Vec<Place> },
    NotStarted(Refusal),
    Found { size: u64, places: Vec<Place>, lease_ms: u64 },
    NotFound,
    Many(Vec<Outcome<()>>),
    Removed { removed: u64, refused: u64 },
    Created(Outcome<u64>),
    Tasks(Vec<u64>),
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Result<Told, CallError>,
    /// The epoch in which it was given.
    pub(crate) epoch: u64,
}

/// An answer that waits for its seq to be committed.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) told: Told,
    pub(crate) wait_seq: u64,
}

/// Its name.
pub(crate) fn tenant(number: u8) -> String {
    if number == 0 { String::new() } else { format!("t{number}") }
}

fn name(segment: u8) -> String {
    format!("s{segment}")
}

fn one<T>(results: Vec<Outcome<T>>) -> Outcome<T> {
    results.into_iter().next().expect("a call with one item has one result")
}

impl Ask {
    /// The most entries that its answer may consist of.
    pub(crate) fn parts_max(&self) -> usize {
        match self {
            Ask::PinMany { .. } => 2,
            // After an interruption it goes over what is left once more.
            Ask::RemoveMatching { .. } => usize::MAX,
            Ask::Remount { .. }
            | Ask::Heartbeat
            | Ask::Start { .. }
            | Ask::End { .. }
            | Ask::Revoke { .. }
            | Ask::Remove { .. }
            | Ask::Pin { .. }
            | Ask::DeleteTenant { .. }
            | Ask::Lookup { .. }
            | Ask::CreateTask { .. }
            | Ask::FetchTasks
            | Ask::CompleteTask { .. } => 1,
        }
    }
}

impl Request {
    pub(crate) fn run(&self, state: &Metadata, now: Now) -> Result<Ran, CallRefused> {
        let in_tenant = tenant(self.tenant);
        let call = &Call {
            client: self.client,
            number: self.number,
            answered_below: self.answered_below,
            address: Some(Address::new(self.host.into())),
            tenant: &in_tenant,
            now,
        };
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
            Ask::PinMany { owner, soft } => {
                let pin = if *soft { Pin::Soft { ttl_ms: 300 } } else { Pin::None };
                let keys: Vec<Key> = (0..PIN_MANY).map(|at| [*owner, (at % KEYS) as u8]).collect();
                let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                let answer = state.pin(call, pin, &keys)?;
                Ran { told: Told::Many(answer.results), wait_seq: answer.position.seq }
            }
            Ask::RemoveMatching { owner, upper } => {
                let range = if *upper { r"\x05-\x09" } else { r"\x00-\x04" };
                let answer = state.remove_matching(call, &format!(r"(?s-u)^\x{owner:02x}[{range}]$"), false)?;
                let metadata::RemovedMany { removed, refused } = answer.results;
                Ran { told: Told::Removed { removed, refused }, wait_seq: answer.position.seq }
            }
            Ask::DeleteTenant { tenant: number } => done(state.delete_tenant(call, &tenant(*number))?.refused_as()),
            Ask::Lookup { key } => {
                let mut told = Told::NotFound;
                let looked = state.lookup(&in_tenant, [&key[..]].into_iter(), now, |found| {
                    if let Some(found) = found {
                        told = Told::Found { size: found.size(), places: found.places().collect(), lease_ms: 0 };
                    }
                })?;
                if let Told::Found { lease_ms, .. } = &mut told {
                    *lease_ms = looked.lease_ms;
                }
                Ran { told, wait_seq: looked.wait_seq }
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
