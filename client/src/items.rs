//! The arguments of calls.
//!
//! Deliberately absent: their results (`answers`), and the types of the wire.

use std::time::Duration;

use bytes::Bytes;
use proto::v1::{IfExists, Pin, TaskKind};

/// How an object is placed and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOptions {
    /// Replicas in memory, each in another segment. 0 means 1, unless there are disk replicas.
    /// Default: 1.
    pub replicas: u32,
    /// Replicas on disk, each in another segment. Default: 0.
    pub disk_replicas: u32,
    /// Names of the segments to try first.
    pub preferred_segments: Vec<String>,
    /// Try the segments of the client's own host first (see `Options::host`).
    pub same_host: bool,
    /// Place as many replicas as there is room for, at least one. Default: all of them, or
    /// `NO_SPACE`.
    pub best_effort: bool,
    /// Default: `Fail`.
    pub if_exists: IfExists,
    /// Default: `None`.
    pub pin: Pin,
    /// For a soft pin. None: the setting `soft_pin_ttl_ms`.
    pub soft_pin_ttl: Option<Duration>,
}

impl Default for PutOptions {
    fn default() -> PutOptions {
        PutOptions {
            replicas: 1,
            disk_replicas: 0,
            preferred_segments: Vec::new(),
            same_host: false,
            best_effort: false,
            if_exists: IfExists::Fail,
            pin: Pin::None,
            soft_pin_ttl: None,
        }
    }
}

/// An object to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutStartItem {
    /// 1 to 4096 bytes.
    pub key: Bytes,
    /// Bytes of the object.
    pub size: u64,
}

impl PutStartItem {
    /// A copy of the key, and the size.
    pub fn new(key: impl AsRef<[u8]>, size: u64) -> PutStartItem {
        PutStartItem { key: Bytes::copy_from_slice(key.as_ref()), size }
    }
}

/// A put whose bytes are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutEndItem {
    /// The key.
    pub key: Bytes,
    /// From the PutStart. 0: this client's current put of the key.
    pub put_id: u64,
    /// Stored with the object and returned to readers.
    pub checksum: Option<u64>,
}

impl PutEndItem {
    /// A copy of the key, and the put to end.
    pub fn new(key: impl AsRef<[u8]>, put_id: u64, checksum: Option<u64>) -> PutEndItem {
        PutEndItem { key: Bytes::copy_from_slice(key.as_ref()), put_id, checksum }
    }
}

/// A put that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRevokeItem {
    /// The key.
    pub key: Bytes,
    /// From the PutStart. 0: this client's current put of the key.
    pub put_id: u64,
}

impl PutRevokeItem {
    /// A copy of the key, and the put to revoke.
    pub fn new(key: impl AsRef<[u8]>, put_id: u64) -> PutRevokeItem {
        PutRevokeItem { key: Bytes::copy_from_slice(key.as_ref()), put_id }
    }
}

/// Whether to remove objects that are leased or hard pinned, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Force {
    /// Leases and hard pins protect objects.
    #[default]
    No,
    /// They do not. The space is reused only after the lease.
    Yes,
}

impl Force {
    pub(crate) fn is_yes(self) -> bool {
        self == Force::Yes
    }
}

/// Which keys to list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListKeys {
    /// Keys that begin with this; empty: all.
    pub prefix: Bytes,
    /// Keys that match anywhere. Empty: all.
    pub regex: String,
    /// Keys of one page, at most 10,000. 0: 1,000.
    pub limit: u32,
    /// The token that the previous page returned. Empty: the list begins at the start.
    pub page_token: Bytes,
}

/// A copy to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStartItem {
    /// The key.
    pub key: Bytes,
    /// Name of the segment to read from; empty: any complete replica.
    pub source_segment: String,
    /// Names of the segments to copy to.
    pub target_segments: Vec<String>,
}

/// A move to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveStartItem {
    /// The key.
    pub key: Bytes,
    /// Name of the segment to move from.
    pub source_segment: String,
    /// Name of the segment to move to.
    pub target_segment: String,
}

/// A transfer whose bytes are written, or that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferFinishItem {
    /// The key.
    pub key: Bytes,
    /// From the start of the transfer. 0: this client's current transfer of the key.
    pub transfer_id: u64,
}

/// A copy or a move that another client is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Copy or move.
    pub kind: TaskKind,
    /// The key.
    pub key: Bytes,
    /// Name of the segment to read from. Empty: any segment with a complete replica.
    pub source_segment: String,
    /// Names of the segments to write to. A move has exactly one.
    pub target_segments: Vec<String>,
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// The id that the fetched task has.
    pub task_id: u64,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}
