//! The results of calls, in types of their own.
//!
//! Invariants: an answer has one result for each item, in order. If the primary names a length of
//! time, it is kept as the moment at which it ends, counted from when the call began, so that
//! neither a retry nor the network makes it longer.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use proto::v1::{Pin, SegmentState, TaskKind, TaskState};

use crate::error::{Error, Refused};
use crate::ids::{ClientId, Position};
use crate::types::{Replica, Segment};

/// The answer to a list of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<T> {
    /// The position of the state that answered.
    pub position: Position,
    /// One for each item, in order.
    pub results: Vec<Result<T, Refused>>,
}

impl<T> Items<T> {
    /// Returns all results, or the first refusal.
    pub fn all(self) -> Result<Vec<T>, Refused> {
        self.results.into_iter().collect()
    }
}

impl<T> Items<T> {
    /// For a call with one item. The number of results has been compared with the number of items.
    pub(crate) fn one(self) -> Result<T, Error> {
        Ok(self.results.into_iter().next().expect("one item has one result")?)
    }
}

/// Whether the segment was mounted already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mounted {
    /// It is new and empty.
    New,
    /// It was mounted and keeps its objects.
    Kept,
}

/// A setting of the cluster: all members go by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name, as in the flag.
    pub name: String,
    /// The value in force, as far as the asked member knows. None: it does not know it yet.
    pub value: Option<String>,
    /// What that member was started with.
    pub started_with: String,
    /// A longer value that is still kept for earlier promises. None: there is none.
    pub owed: Option<String>,
}

/// A segment as the primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStatus {
    /// The segment as it was mounted.
    pub segment: Segment,
    /// The client that mounted it.
    pub client_id: ClientId,
    /// Mounted, draining or unmounting.
    pub state: SegmentState,
    /// Bytes handed out.
    pub used_bytes: u64,
    /// Objects with a replica here.
    pub objects: u64,
    /// Bytes of dropped replicas that a client may still read or write. They become free after a
    /// delay.
    pub retired_bytes: u64,
}

/// The segments that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentList {
    /// The position of the state that answered.
    pub position: Position,
    /// A standby has answered: no lease protects anything in this answer (see
    /// [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// The segments, in the order of the answer.
    pub segments: Vec<SegmentStatus>,
}

/// The answer to a list of puts to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutsStarted {
    /// The position of the state that answered.
    pub position: Position,
    /// Puts that are not ended or revoked before this are discarded.
    pub finish_by: Instant,
    /// One for each item, in order.
    pub results: Vec<Result<PutStarted, Refused>>,
}

/// Where to write an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutStarted {
    /// Identifies this put. Never used again.
    pub put_id: u64,
    /// The client must write all of them.
    pub replicas: Vec<Replica>,
}

/// The answer to a list of keys to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookups {
    /// The position of the state that answered.
    pub position: Position,
    /// The bytes of these replicas stay where they are until then.
    pub leased_until: Instant,
    /// A standby has answered: no lease protects anything in this answer (see
    /// [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// One for each key, in order.
    pub results: Vec<Result<Object, Refused>>,
}

/// An object that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The size in bytes.
    pub size: u64,
    /// Only complete replicas, in segments that can be read.
    pub replicas: Vec<Replica>,
    /// The checksum that its writer gave.
    pub checksum: Option<u64>,
}

/// One object that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The position of the state that answered.
    pub position: Position,
    /// The bytes stay where they are until then.
    pub leased_until: Instant,
    /// A standby has answered: no lease protects anything in this answer (see
    /// [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// The object.
    pub object: Object,
}

/// Which keys have a complete object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The position of the state that answered.
    pub position: Position,
    /// Objects that exist stay until then.
    pub leased_until: Instant,
    /// A standby has answered: no lease protects anything in this answer (see
    /// [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// One for each key, in order.
    pub exists: Vec<bool>,
}

/// The result of a removal of many objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// The position of the state that answered.
    pub position: Position,
    /// Objects removed.
    pub removed: u64,
    /// Objects that were not removed, because they are leased, pinned or being written.
    pub refused: u64,
}

/// Some of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// The position of the state that answered.
    pub position: Position,
    /// The keys, in the order of the answer.
    pub keys: Vec<KeyInfo>,
    /// For the next page. None: this was the last page.
    pub next_page_token: Option<Bytes>,
    /// A standby has answered: no lease protects anything in this answer (see
    /// [`crate::ReadOptions`]).
    pub from_standby: bool,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key.
    pub key: Bytes,
    /// Bytes of the object.
    pub size: u64,
    /// The number of its replicas.
    pub replicas: u32,
    /// Whether it can be read.
    pub complete: bool,
    /// Its pin.
    pub pin: Pin,
}

/// Where to read and where to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferStarted {
    /// Identifies this transfer. Never used again.
    pub transfer_id: u64,
    /// Bytes of the object.
    pub size: u64,
    /// The replica to read.
    pub source: Replica,
    /// The client must write all of them.
    pub targets: Vec<Replica>,
}

/// A copy or a move that a client is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Identifies the task. Never used again.
    pub task_id: u64,
    /// Copy or move.
    pub kind: TaskKind,
    /// The tenant of the key.
    pub tenant: String,
    /// The key.
    pub key: Bytes,
    /// Name of the segment to read from; empty: any complete replica.
    pub source_segment: String,
    /// Names of the segments to write to.
    pub target_segments: Vec<String>,
    /// The state of the task.
    pub state: TaskState,
    /// Why a failed task failed, in the words of the client that ran it.
    pub message: String,
    /// The client that has the task.
    pub assigned_to: Option<ClientId>,
}

/// Tasks, with the position of the state that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskList {
    /// The position of the state that answered.
    pub position: Position,
    /// The tasks, in the order of the answer.
    pub tasks: Vec<Task>,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The position of the state that answered.
    pub position: Position,
    /// The primary may not know all that this client has mounted.
    pub needs_remount: bool,
    /// The next heartbeat must arrive within this time.
    pub client_ttl: Duration,
    /// Tasks wait for this client.
    pub tasks_waiting: bool,
}

/// The status of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub node: String,
    /// Its version.
    pub version: String,
    /// Its role.
    pub role: String,
    /// The last op in its state.
    pub applied: Position,
    /// The last op that is committed.
    pub committed_seq: u64,
    /// True: what this says of objects, segments, clients and tasks is committed, and the member
    /// may tell clients so at this moment. False: it is what the member holds, and a failover may
    /// take it back.
    pub committed: bool,
    /// Time since its start.
    pub uptime: Duration,
    /// Objects in all tenants.
    pub objects: u64,
    /// Objects with a put or a transfer under way.
    pub objects_unfinished: u64,
    /// Mounted segments.
    pub segments: u64,
    /// Living clients.
    pub clients: u64,
    /// Bytes of all segments.
    pub capacity_bytes: u64,
    /// Bytes handed out.
    pub used_bytes: u64,
    /// Bytes of dropped replicas that a client may still read or write.
    pub retired_bytes: u64,
    /// Number of pieces that `retired_bytes` consists of.
    pub retired_extents: u64,
    /// Bounds of all clients together that the primary has met, each with its setting and both
    /// figures.
    pub full: Vec<String>,
    /// Tenants, counting the default one.
    pub tenants: u64,
    /// Tasks that are kept.
    pub tasks: u64,
    /// Objects evicted since the start.
    pub evicted_total: u64,
    /// Oldest entry of the log in memory.
    pub tail_first_seq: u64,
    /// Entries of the log in memory.
    pub tail_entries: u64,
    /// Bytes of the log in memory.
    pub tail_bytes: u64,
    /// Digest of the whole state at `applied`.
    pub digest: Bytes,
    /// Longest time that a lock of the state was held since the start.
    pub lock_held_max: Duration,
    /// Memory of the process.
    pub memory_resident_bytes: u64,
    /// The settings of the cluster, as this member knows them.
    pub settings: Vec<Setting>,
    /// The members and their roles, as this member knows them. None: it has no coordinator and is
    /// alone.
    pub cluster: Option<Cluster>,
    /// Whether its state is what its log says.
    pub verification: Verification,
}

/// Whether a member's state is what its log says. The counts are since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// `sound`, `diverged`, or `lost` if it waits for a full sync.
    pub condition: String,
    /// The reason, in words.
    pub what: String,
    /// The newest seq at which its digests were equal to the primary's.
    pub verified: Option<u64>,
    /// Comparisons of the whole state.
    pub compared: u64,
    /// Comparisons that found a difference.
    pub differed: u64,
    /// Samples of records that were compared.
    pub samples: u64,
    /// Records that were repaired.
    pub repaired: u64,
    /// Shards whose records had changed in memory without an entry of the log.
    pub rotten: u64,
    /// How often the primary itself was suspected to be wrong.
    pub alarms: u64,
    /// How often it has recomputed the digests of all of its records.
    pub scrub_cycles: u64,
    /// Recent findings, oldest first: when, and what.
    pub findings: Vec<(SystemTime, String)>,
}

/// The members of a cluster, as one of them knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// The same for all members, and for good. Empty until a member has led.
    pub id: Bytes,
    /// The epoch of the config record.
    pub epoch: u64,
    /// The primary in the config record.
    pub primary: String,
    /// The revision of the config record.
    pub revision: u64,
    /// How long the member may still answer as the primary, as far as it knows. None: its tenure
    /// does not end, or it is not the primary.
    pub tenure_left: Option<Duration>,
    /// Why the member would not serve with a complete state if it were promoted now. None: it
    /// would.
    pub not_promotable: Option<String>,
    /// All members of the cluster.
    pub members: Vec<Member>,
    /// How often this process became the primary.
    pub takeovers: u64,
    /// Full syncs that it has begun to send.
    pub full_syncs: u64,
    /// Requests to the coordinator without an answer.
    pub coordinator_errors: u64,
    /// What the coordinator shows and what this member has seen, if the coordinator has lost data.
    /// `None`: it has not.
    pub lost_data: Option<String>,
    /// The version of the newest config record that this member knows of. 0: it has seen none.
    pub version: u64,
    /// Why the member cannot use the coordinator. None: it can.
    pub coordinator_trouble: Option<String>,
    /// A standby: it has heard from the primary recently. The primary: it may answer at this
    /// moment.
    pub has_primary: bool,
    /// The epoch in which the cluster began with no objects: 1, or a later one if every member of
    /// the set had ended. 0: the member has seen no config record.
    pub born: u64,
}

/// One member, as the asked member knows it. What it does not know, or not recently, is None.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The address for clients.
    pub address: String,
    /// `primary` or `standby`.
    pub role: String,
    /// Whether it holds every acknowledged write, and so may be promoted.
    pub in_sync: bool,
    /// `in sync`, `catching up`, `full sync`, `not connected`, or `unknown` where only the primary
    /// could tell.
    pub state: String,
    /// The last seq that it has received.
    pub received: Option<u64>,
    /// The last seq in its state.
    pub applied: Option<u64>,
    /// How many entries it lacks.
    pub lag_ops: Option<u64>,
    /// For how long the member has lacked an entry.
    pub lag: Option<Duration>,
    /// Shards of its full sync that are done, and how many there are.
    pub sync_shards: Option<(u32, u32)>,
    /// The newest seq at which its digests were equal to the primary's.
    pub verified: Option<u64>,
    /// No difference from the primary is known.
    pub sound: bool,
}

/// The new primary after a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Its name.
    pub to: String,
    /// The address for clients.
    pub address: String,
    /// The epoch that began.
    pub epoch: u64,
    /// From the first refused call until the new primary was seen to lead.
    pub took: Duration,
}

/// A tenant, with what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// "" is the default tenant.
    pub name: String,
    /// Bytes of its objects.
    pub used_bytes: u64,
    /// Its objects.
    pub objects: u64,
    /// `None`: there is no limit.
    pub quota_bytes: Option<u64>,
}
