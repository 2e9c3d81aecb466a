//! What comes out of a call, in types of its own.
//!
//! Invariants: an answer has one result for each item, in order; times that the master gives as lengths are kept as the
//! moment they end at, counted from when the call began, so that neither a retry nor the network makes them longer.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use proto::v1::{Pin, SegmentState, TaskKind, TaskState};

use crate::error::{Error, Refused};
use crate::ids::{ClientId, Position};
use crate::types::{Replica, Segment};

/// The answer to a list of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<T> {
    /// What the answer is true at.
    pub position: Position,
    /// One for each item, in order.
    pub results: Vec<Result<T, Refused>>,
}

impl<T> Items<T> {
    /// All results, or the first refusal.
    pub fn all(self) -> Result<Vec<T>, Refused> {
        self.results.into_iter().collect()
    }
}

impl<T> Items<T> {
    /// Of a call with one item. The number of results was compared with the number of items before.
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

/// A value that belongs to the cluster: all members go by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As the flag is called.
    pub name: String,
    /// In force, as far as the member knows that was asked. None: it does not know it yet.
    pub value: Option<String>,
    /// What that member was started with.
    pub started_with: String,
    /// A longer one that is still kept for what it was promised to. None: there is none.
    pub owed: Option<String>,
}

/// A segment as the master sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStatus {
    /// As it was mounted.
    pub segment: Segment,
    /// Who mounted it.
    pub client_id: ClientId,
    /// Mounted, draining or unmounting.
    pub state: SegmentState,
    /// Bytes handed out.
    pub used_bytes: u64,
    /// Objects with a replica here.
    pub objects: u64,
    /// Bytes of what was dropped while somebody may still read or write it; free after a delay.
    pub retired_bytes: u64,
}

/// The segments that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentList {
    /// What the answer is true at.
    pub position: Position,
    /// A standby has answered: nothing in it is leased (see [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// In the master's order.
    pub segments: Vec<SegmentStatus>,
}

/// The answer to a list of puts to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutsStarted {
    /// What the answer is true at.
    pub position: Position,
    /// End or revoke before this, or the puts are discarded.
    pub finish_by: Instant,
    /// One for each item, in order.
    pub results: Vec<Result<PutStarted, Refused>>,
}

/// Where to write an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutStarted {
    /// Names this put; never used again.
    pub put_id: u64,
    /// All of them are to be written.
    pub replicas: Vec<Replica>,
}

/// The answer to a list of keys to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookups {
    /// What the answer is true at.
    pub position: Position,
    /// The bytes named here stay where they are until then.
    pub leased_until: Instant,
    /// A standby has answered: nothing in it is leased (see [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// One for each key, in order.
    pub results: Vec<Result<Object, Refused>>,
}

/// An object that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// In bytes.
    pub size: u64,
    /// Complete ones on living segments.
    pub replicas: Vec<Replica>,
    /// As its writer gave it.
    pub checksum: Option<u64>,
}

/// An object that can be read, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What the answer is true at.
    pub position: Position,
    /// The bytes stay where they are until then.
    pub leased_until: Instant,
    /// A standby has answered: nothing in it is leased (see [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// The object.
    pub object: Object,
}

/// Which keys have a complete object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// What the answer is true at.
    pub position: Position,
    /// What exists stays until then.
    pub leased_until: Instant,
    /// A standby has answered: nothing in it is leased (see [`crate::ReadOptions`]).
    pub from_standby: bool,
    /// One for each key, in order.
    pub exists: Vec<bool>,
}

/// What a removal of many has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// What the answer is true at.
    pub position: Position,
    /// Objects removed.
    pub removed: u64,
    /// Objects left, since leased, pinned or being written.
    pub refused: u64,
}

/// Some of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// What the answer is true at.
    pub position: Position,
    /// In the master's order.
    pub keys: Vec<KeyInfo>,
    /// For the next page. None: that was all.
    pub next_page_token: Option<Bytes>,
    /// A standby has answered: nothing in it is leased (see [`crate::ReadOptions`]).
    pub from_standby: bool,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key.
    pub key: Bytes,
    /// Bytes of the object.
    pub size: u64,
    /// How many it has.
    pub replicas: u32,
    /// Whether it can be read.
    pub complete: bool,
    /// Its pin.
    pub pin: Pin,
}

/// Where to read and where to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferStarted {
    /// Names this transfer; never used again.
    pub transfer_id: u64,
    /// Bytes of the object.
    pub size: u64,
    /// To read from.
    pub source: Replica,
    /// All of them are to be written.
    pub targets: Vec<Replica>,
}

/// A copy or a move that a client is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Names it; never used again.
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
    /// How far it is.
    pub state: TaskState,
    /// Of a failed one, in the words of the client that had it.
    pub message: String,
    /// Who has it.
    pub assigned_to: Option<ClientId>,
}

/// Tasks, with what the answer is true at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskList {
    /// What the answer is true at.
    pub position: Position,
    /// In the master's order.
    pub tasks: Vec<Task>,
}

/// The answer to a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// What the answer is true at.
    pub position: Position,
    /// The master does not know (any more) what this client has mounted.
    pub needs_remount: bool,
    /// Be heard again within this time.
    pub client_ttl: Duration,
    /// Tasks wait for this client.
    pub tasks_waiting: bool,
}

/// How a master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub node: String,
    /// Its version.
    pub version: String,
    /// What it is in the cluster.
    pub role: String,
    /// The last op in its state.
    pub applied: Position,
    /// The last op that is committed.
    pub committed_seq: u64,
    /// All that this says of objects, segments, clients and tasks is committed, and the member may say so to clients at this
    /// moment. Else it is what the member holds, and a failover may take it back.
    pub committed: bool,
    /// Since its start.
    pub uptime: Duration,
    /// Objects in all tenants.
    pub objects: u64,
    /// Of them, with a put or a transfer under way.
    pub objects_unfinished: u64,
    /// Mounted segments.
    pub segments: u64,
    /// Living clients.
    pub clients: u64,
    /// Bytes of all segments.
    pub capacity_bytes: u64,
    /// Bytes handed out.
    pub used_bytes: u64,
    /// Bytes of what was dropped while somebody may still read or write it.
    pub retired_bytes: u64,
    /// Pieces that these stand in.
    pub retired_extents: u64,
    /// Bounds of all clients together that the primary has met, each with its setting and both figures.
    pub full: Vec<String>,
    /// Tenants, the default one counted in.
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
    /// Of the whole state at `applied`.
    pub digest: Bytes,
    /// Longest time that a lock of the state was held since the start.
    pub lock_held_max: Duration,
    /// Of the process.
    pub memory_resident_bytes: u64,
    /// What all members go by, as this one knows it.
    pub settings: Vec<Setting>,
    /// The members and their roles, as this one knows them. None: it is alone.
    pub cluster: Option<Cluster>,
    /// Whether it is what its log says.
    pub verification: Verification,
}

/// Whether a member is what its log says. Counts are since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// `sound`, `diverged`, or `lost` where it waits for a full sync.
    pub condition: String,
    /// What is the matter.
    pub what: String,
    /// The newest op at which it was the same as its primary.
    pub verified: Option<u64>,
    /// Comparisons of everything.
    pub compared: u64,
    /// Of them, those that found a difference.
    pub differed: u64,
    /// Samples of records that were compared.
    pub samples: u64,
    /// Records that were repaired.
    pub repaired: u64,
    /// Shards whose records had changed without an op.
    pub rotten: u64,
    /// Times that the primary was the suspect.
    pub alarms: u64,
    /// Times that it has looked at all of its records.
    pub scrub_cycles: u64,
    /// What was found lately, oldest first: when, and what.
    pub findings: Vec<(SystemTime, String)>,
}

/// The members of a cluster, as one of them knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// The same for all members, for good; empty as long as none of them was ever the primary.
    pub id: Bytes,
    /// Of the record of roles.
    pub epoch: u64,
    /// The name of the member that the record calls the primary.
    pub primary: String,
    /// Of the record.
    pub revision: u64,
    /// How long the member may answer as the primary, for all that it knows. None: without end, or it is not the primary.
    pub tenure_left: Option<Duration>,
    /// Why the member would not come up whole if it were promoted now. None: it would.
    pub not_promotable: Option<String>,
    /// By member.
    pub members: Vec<Member>,
    /// Times that this process became the primary.
    pub takeovers: u64,
    /// Full syncs that it has begun to send.
    pub full_syncs: u64,
    /// Questions to the coordinator without an answer.
    pub coordinator_errors: u64,
    /// What the coordinator shows and what this member has seen, where the coordinator has lost data. None: it has not.
    pub lost_data: Option<String>,
    /// Of the newest record that this member knows of; 0: it has seen none.
    pub version: u64,
    /// Why the member cannot use the coordinator. None: it can.
    pub coordinator_trouble: Option<String>,
    /// The member hears the primary freshly; or it is the primary, and may answer at this moment.
    pub has_primary: bool,
    /// The epoch in which the cluster began with no objects: 1, or a later one where every member of its set had ended. 0: the member has
    /// seen no record.
    pub born: u64,
}

/// One member. What is not known, or not freshly, is None.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub name: String,
    /// For clients.
    pub address: String,
    /// `primary` or `standby`.
    pub role: String,
    /// Whether it holds every acknowledged write, and so may be promoted.
    pub in_sync: bool,
    /// `in sync`, `catching up`, `full sync`, `not connected`, or `unknown` where only the primary could tell.
    pub state: String,
    /// The last op that it holds.
    pub received: Option<u64>,
    /// The last op in its state.
    pub applied: Option<u64>,
    /// Ops that it lacks.
    pub lag_ops: Option<u64>,
    /// For how long it has lacked something.
    pub lag: Option<Duration>,
    /// Shards of a full sync that are done, of how many.
    pub sync_shards: Option<(u32, u32)>,
    /// The newest op at which it was the same as the primary.
    pub verified: Option<u64>,
    /// It was not found to differ from the primary, or it is repaired.
    pub sound: bool,
}

/// Who is the primary after a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Its name.
    pub to: String,
    /// For clients.
    pub address: String,
    /// The epoch that began.
    pub epoch: u64,
    /// From the first call that was not taken until the new primary was seen to lead.
    pub took: Duration,
}

/// A tenant, with what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// "" is the default one.
    pub name: String,
    /// Bytes of its objects.
    pub used_bytes: u64,
    /// Its objects.
    pub objects: u64,
    /// None: no limit.
    pub quota_bytes: Option<u64>,
}
