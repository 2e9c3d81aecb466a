//! The small types that everything in this crate speaks: ids, sizes, refusals, the time of a call.
//!
//! Deliberately absent: wire types. The `master` converts by hand at its edge.

use bincode::{BorrowDecode, Decode, Encode};
use ledger::{AtBound, TenantKept};
use smallvec::SmallVec;

/// Longest key.
pub const KEY_BYTES_MAX: usize = 4096;
/// Shards of the object table. A power of two; part of the format, since a shard's digest is compared between members.
pub const OBJECT_SHARDS: usize = 1024;
/// Buckets of a shard: what members compare, and repair, once a shard differs. A power of two; part of the format likewise.
pub const SHARD_BUCKETS: usize = 16;
/// Space is handed out in multiples of this, so that a buffer starts on a cache line of its own.
pub(crate) const SPACE_UNIT: u64 = 64;
/// Most replicas of one object, memory and disk each.
pub const REPLICAS_MAX: u32 = 16;
/// Largest object: 1 PiB. Anything above is a mistake, and sums of sizes must not overflow.
pub const OBJECT_BYTES_MAX: u64 = 1 << 50;

/// Largest segment: 1 EiB. How large all together may be, `Segments::have_room` says.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 60;

/// A segment's id as its client made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SegmentId(pub [u8; 16]);

impl std::fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A segment's number in this state: small, given by the primary, never used again.
pub type SegmentIx = u32;
/// A task's number, never used again.
pub type TaskId = u64;

/// Why one item was refused. The numbers are part of the log's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    #[error("not found")]
    NotFound,
    #[error("exists already")]
    AlreadyExists,
    #[error("no space for what was asked")]
    NoSpace,
    #[error("leased by a reader")]
    Leased,
    #[error("client_id: it belongs to another client")]
    NotOwner,
    #[error("segment: there is none of this id or name")]
    SegmentNotFound,
    #[error("id, base, size: another segment has this id, or overlaps this range")]
    SegmentConflict,
    #[error("the segment is being unmounted")]
    SegmentBusy,
    #[error("a put or a transfer of this key is under way")]
    WriteInProgress,
    #[error("key: nothing is being written under it")]
    NotWriting,
    #[error("hard pinned")]
    Pinned,
    #[error("over the tenant's quota")]
    QuotaExceeded,
    #[error("no such task of this client")]
    TaskNotFound,
    #[error("no complete replica there")]
    ReplicaNotFound,
    #[error("a replica is there already")]
    ReplicaExists,
    #[error("another put or transfer of this key has begun since the one with this id")]
    StalePut,
    #[error("{0}")]
    Overloaded(AtBound),
    #[error(
        "it holds {objects} objects, those that are being written counted in, and has {tasks} open tasks; RemoveAll with \
         `force` in that tenant removes the objects"
    )]
    TenantNotEmpty { objects: u64, tasks: u64 },
    #[error("tenant: there is none of this name")]
    TenantNotFound,
}

/// How an item went.
pub type Outcome<T> = Result<T, Refusal>;

/// A pin. The TTL of a soft one runs on the primary's clock only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Pin {
    #[default]
    None,
    Soft {
        ttl_ms: u32,
    },
    Hard,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum SegmentKind {
    #[default]
    Memory,
    Disk,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TransferKind {
    Copy,
    Move,
}

/// Which replicas of a put an end or a revoke speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Scope {
    #[default]
    All,
    Memory,
    Disk,
}

impl Scope {
    pub(crate) fn covers(self, kind: SegmentKind) -> bool {
        match self {
            Scope::All => true,
            Scope::Memory => kind == SegmentKind::Memory,
            Scope::Disk => kind == SegmentKind::Disk,
        }
    }
}

/// Where a replica lies: an absolute address in memory, or a file's number in a disk segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Place {
    pub segment: SegmentIx,
    pub address: u64,
}

/// The places of one object, inline for the usual one or two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places(pub SmallVec<[Place; 2]>);

impl std::ops::Deref for Places {
    type Target = SmallVec<[Place; 2]>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Encode for Places {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.0[..].encode(encoder)
    }
}

impl<'de, C> BorrowDecode<'de, C> for Places {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let count = u64::decode(decoder)?;
        if count > 2 * u64::from(REPLICAS_MAX) {
            return Err(bincode::error::DecodeError::Other("more places than an object can have"));
        }
        (0..count).map(|_| Place::decode(decoder)).collect::<Result<_, _>>().map(Places)
    }
}

/// Bytes that a buffer of `size` takes.
pub(crate) fn extent(size: u64) -> u64 {
    size.next_multiple_of(SPACE_UNIT)
}

impl From<AtBound> for Refusal {
    fn from(at: AtBound) -> Refusal {
        Refusal::Overloaded(at)
    }
}

impl From<TenantKept> for Refusal {
    fn from(kept: TenantKept) -> Refusal {
        match kept {
            TenantKept::NotFound => Refusal::TenantNotFound,
            TenantKept::NotEmpty { items, open } => Refusal::TenantNotEmpty { objects: items, tasks: open },
            TenantKept::Overloaded(at) => Refusal::Overloaded(at),
        }
    }
}
