//! Segments and replicas.
//!
//! Deliberately absent: arguments of calls (`items`), their results (`answers`), the types of the
//! wire.

use std::sync::Arc;

use proto::v1::SegmentKind;

use crate::ids::SegmentId;

/// Space that a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// A new one for each mapping.
    pub id: SegmentId,
    /// The name by which placements and transfers refer to it.
    pub name: String,
    /// Memory or disk.
    pub kind: SegmentKind,
    /// Memory: address of the first byte. Disk: 0.
    pub base: u64,
    /// Bytes that may be handed out.
    pub size: u64,
    /// The address at which a transfer engine reaches it, e.g. "10.0.0.7:12345".
    pub endpoint: String,
    /// The protocol of the transfer engine, e.g. "tcp" or "rdma".
    pub protocol: String,
    /// The host that holds it.
    pub host: String,
    /// Disk: the directory.
    pub path: String,
}

impl Segment {
    /// Registered memory that is reached over TCP.
    pub fn memory(name: impl Into<String>, base: u64, size: u64, endpoint: impl Into<String>) -> Segment {
        Segment { base, ..Segment::new(SegmentKind::Memory, name.into(), size, endpoint.into()) }
    }

    /// A directory that is reached over TCP.
    pub fn disk(name: impl Into<String>, path: impl Into<String>, size: u64, endpoint: impl Into<String>) -> Segment {
        Segment { path: path.into(), ..Segment::new(SegmentKind::Disk, name.into(), size, endpoint.into()) }
    }

    fn new(kind: SegmentKind, name: String, size: u64, endpoint: String) -> Segment {
        Segment {
            id: SegmentId::random(),
            name,
            kind,
            base: 0,
            size,
            endpoint,
            protocol: "tcp".to_owned(),
            host: String::new(),
            path: String::new(),
        }
    }
}

/// The segment of a replica: all that is needed to reach its bytes. Shared by all replicas of an
/// answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// Its id.
    pub id: SegmentId,
    /// Its name.
    pub name: String,
    /// Memory or disk.
    pub kind: SegmentKind,
    /// The address at which a transfer engine reaches it.
    pub endpoint: String,
    /// The protocol of the transfer engine.
    pub protocol: String,
    /// The host that holds it.
    pub host: String,
}

/// Where in its segment a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Absolute address of the first byte; the length is the object's size.
    Memory {
        /// The address in the address space of the segment's owner.
        address: u64,
    },
    /// A file.
    Disk {
        /// Below the segment's directory.
        path: String,
    },
}

/// One copy of an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The segment that holds it.
    pub segment: Arc<SegmentRef>,
    /// Where in it.
    pub location: Location,
    /// True once all of its bytes are known to be written.
    pub complete: bool,
}
