//! The small types that everything in this crate speaks: ids, sizes, refusals, the time of a call.
//!
//! Deliberately absent: wire types. The `master` converts by hand at its edge.

use std::collections::BTreeMap;

use bincode::{BorrowDecode, Decode, Encode};
use oplog::ClientId;
use smallvec::SmallVec;

/// Longest key.
pub const KEY_BYTES_MAX: usize = 4096;
/// Most items of one call.
pub const CALL_ITEMS_MAX: usize = 10_000;
/// Most items of one entry. A longer call becomes several entries, with the writer lock given back in between.
pub(crate) const ENTRY_ITEMS_MAX: usize = 256;
/// Shards of the object table. A power of two; part of the format, since a shard's digest is compared between members.
pub(crate) const OBJECT_SHARDS: usize = 1024;
/// Buckets of a shard: what members compare, and repair, once a shard differs. A power of two; part of the format likewise.
pub const SHARD_BUCKETS: usize = 16;
/// Space is handed out in multiples of this, so that a buffer starts on a cache line of its own.
pub(crate) const SPACE_UNIT: u64 = 64;
/// Longest name, endpoint, host, path or pattern.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Most replicas of one object, memory and disk each.
pub const REPLICAS_MAX: u32 = 16;
/// Largest object: 1 PiB. Anything above is a mistake, and sums of sizes must not overflow.
pub const OBJECT_BYTES_MAX: u64 = 1 << 50;

/// Largest segment: 1 EiB. How large all together may be, `Segments::have_room` says.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 60;

/// Bits of an [`ItemId`] that count the item within its entry.
const ITEM_BITS: u32 = 12;

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
/// A tenant's number in this state. 0 is the default tenant.
pub(crate) type TenantIx = u32;
/// A task's number, never used again.
pub type TaskId = u64;

/// Names a put or a transfer: the seq of the entry that started it and its place in it, so it is never used again and
/// grows with time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct ItemId(pub u64);

impl ItemId {
    /// Nothing is under way; in a request: the caller's current one.
    pub const NONE: ItemId = ItemId(0);

    pub(crate) fn new(seq: u64, item: usize) -> ItemId {
        assert!(item < 1 << ITEM_BITS && seq < 1 << (64 - ITEM_BITS), "item {item} of seq {seq} has no id");
        ItemId((seq << ITEM_BITS) | item as u64)
    }

    /// `None`: from an entry that no primary wrote.
    pub(crate) fn checked(seq: u64, item: usize) -> Option<ItemId> {
        (item < 1 << ITEM_BITS && seq < 1 << (64 - ITEM_BITS)).then(|| ItemId::new(seq, item))
    }

    /// Of the entry that began it.
    pub(crate) fn seq(self) -> u64 {
        self.0 >> ITEM_BITS
    }

    pub(crate) fn is_none(self) -> bool {
        self == ItemId::NONE
    }
}

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
    #[error("put_id: another put or transfer of this key has begun since")]
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

macro_rules! bounds {
    ($($name:ident: $setting:expr, $what:literal;)*) => {
        /// A bound that a call or an item can meet. The order is the log's format.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
        pub enum Bound { $($name,)* }

        impl Bound {
            pub const ALL: &'static [Bound] = &[$(Bound::$name,)*];

            /// As members' flags are called; a limit of the format has none.
            pub fn setting(self) -> Option<&'static str> {
                match self { $(Bound::$name => $setting,)* }
            }

            fn what(self) -> &'static str {
                match self { $(Bound::$name => $what,)* }
            }
        }
    };
}

bounds! {
    Objects: Some("objects_max"), "objects are there";
    Segments: Some("segments_max"), "segments are there";
    ClientSegments: Some("client_segments_max"), "segments of this client are there";
    ClientSegmentBytes: Some("client_segment_bytes_max"), "bytes would be in the segments of this client";
    SegmentBytes: None, "bytes would be in all segments";
    Tasks: Some("tasks_max"), "tasks are there";
    Replicas: None, "replicas would be of this object";
    Clients: Some("clients_max"), "clients are known";
    ClientsPerAddress: Some("clients_per_address_max"), "clients of this address are known";
    ClientPuts: Some("client_puts_max"), "puts and transfers of this client would be under way";
    RetiredExtents: Some("retired_extents_max"), "pieces of space wait until nobody can be using them any more";
    Tenants: Some("tenants_max"), "tenants are known, and each holds an object, has an open task or a quota";
    TenantsPerAddress: Some("tenants_per_address_max"), "tenants that are not empty were made from this address";
    ClientAnswers: Some("client_answers_max"), "answers are kept that this client has not said it has";
    ClientAnswerBytes: Some("client_answer_bytes_max"), "bytes of answers are kept that this client has not said it has";
    AnswerBytes: Some("answer_bytes_total_max"), "bytes of answers are kept for retries";
    TailEntries: Some("tail_entries"), "entries are in the log, and peers need them";
    TailBytes: Some("tail_bytes"), "bytes would be in the log, and peers need them";
}

/// Which bound, what was there, and what is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AtBound {
    pub bound: Bound,
    pub have: u64,
    pub limit: u64,
}

impl std::fmt::Display for AtBound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let AtBound { bound, have, limit } = self;
        if let Some(setting) = bound.setting() {
            write!(f, "{setting}: ")?;
        }
        write!(f, "{have} {}, the limit is {limit}", bound.what())
    }
}

/// Why a whole call was refused. Nothing has changed, but for [`CallRefused::InPart`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallRefused {
    #[error("{field}: {what}")]
    Invalid { field: String, what: String },
    /// `at`: nothing, where it is no bound of the state that was met.
    #[error("overloaded: {what}")]
    Overloaded { what: String, at: Option<AtBound>, retry_after_ms: u32 },
    #[error("this member is not the primary")]
    NotPrimary,
    /// A retry with the same number goes on from there, or tells that it cannot.
    #[error("the first {done} items have run, and then: {why}")]
    InPart { done: u64, why: Box<CallRefused> },
    /// It would be again.
    #[error("regex: matching it with the keys takes too long")]
    Slow,
    #[error("request {number} was sent before with another body")]
    RequestReused { number: u64 },
    #[error("request {number} is older than the answers kept for this client (they start at {kept_from})")]
    RequestExpired { number: u64, kept_from: u64 },
}

impl CallRefused {
    pub(crate) fn invalid(field: impl Into<String>, what: impl Into<String>) -> CallRefused {
        CallRefused::Invalid { field: field.into(), what: what.into() }
    }

    pub(crate) fn at_bound(bound: Bound, have: u64, limit: u64, retry_after_ms: u32) -> CallRefused {
        let at = AtBound { bound, have, limit };
        CallRefused::Overloaded { what: at.to_string(), at: Some(at), retry_after_ms }
    }

    /// Of a call of which so many items had run before: nobody may say that it did not run.
    pub(crate) fn after(self, done: u64) -> CallRefused {
        match self {
            CallRefused::Overloaded { .. } | CallRefused::NotPrimary | CallRefused::Slow if done > 0 => {
                CallRefused::InPart { done, why: Box::new(self) }
            }
            _ => self,
        }
    }
}

impl From<oplog::Overloaded> for CallRefused {
    fn from(full: oplog::Overloaded) -> CallRefused {
        let of = |bound, have: usize, max: usize| Some(AtBound { bound, have: have as u64, limit: max as u64 });
        let at = match full.bound {
            oplog::Bound::TailEntries { entries, max, .. } => of(Bound::TailEntries, entries, max),
            oplog::Bound::TailBytes { bytes, needed, max, .. } => of(Bound::TailBytes, bytes + needed, max),
            oplog::Bound::EntryBytes { needed, max } => of(Bound::TailBytes, needed, max),
            oplog::Bound::Waiters { .. } => None,
        };
        CallRefused::Overloaded { retry_after_ms: full.retry_after_ms, what: full.to_string(), at }
    }
}

/// The two times of a call, both given by the shell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Runs only while the master is well: its own stalls are left out. All deadlines are measured on it.
    pub ttl_ms: u64,
    /// For people who read the log. Decides nothing.
    pub wall_ms: u64,
}

/// Where a client calls from, as far as callers can be told apart: one host, or one network of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address(pub u128);

/// Addresses of which nothing is known any more take no memory.
pub(crate) fn forget_one(counts: &mut BTreeMap<Address, usize>, address: Address) {
    match counts.get_mut(&address) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(&address)),
    }
}

/// Who calls, and when.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub client: ClientId,
    /// `None`: from within, where no bound by address counts.
    pub address: Option<Address>,
    /// 0: not protected against running twice.
    pub number: u64,
    pub answered_below: u64,
    pub tenant: &'a str,
    pub now: Now,
}

/// An answer and the seq that must be committed before it may go out.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    pub results: T,
    pub position: oplog::Position,
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
