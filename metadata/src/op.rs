//! The ops of this domain: what the log says. An op carries results; whoever applies it decides nothing.
//!
//! Each is encoded by `oplog::encode_payload`. Types and field order are the log's format: a change of meaning takes a
//! new op number. An item that a client asked for is an [`Outcome`], so that an entry also tells what was refused, and
//! a retry gets the same answer from the entry alone.

use bincode::{BorrowDecode, Decode, Encode};
use ledger::{ItemId, Keep, Op, TenantIx};
use oplog::DomainId;

use crate::types::{Pin, Places, Refusal, SegmentId, SegmentIx, SegmentKind, TaskId, TransferKind};

macro_rules! op_types {
    ($($name:ident = $number:literal,)*) => {
        /// What an entry of this domain is. The numbers are the log's format.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum OpType { $($name = $number,)* }

        impl OpType {
            /// `None`: written by a newer version.
            pub fn from_number(number: u8) -> Option<OpType> {
                match number { $($number => Some(OpType::$name),)* _ => None }
            }
        }
    };
}

op_types! {
    PutStart = 1,
    PutEnd = 2,
    PutRevoke = 3,
    Remove = 4,
    Eviction = 5,
    MountSegment = 6,
    UnmountSegment = 7,
    DropReplicas = 8,
    SegmentGone = 9,
    Pin = 12,
    TransferStart = 13,
    TransferFinish = 14,
    Discard = 15,
    Release = 16,
    TaskCreate = 17,
    TaskAssign = 18,
    TaskComplete = 19,
    TaskUpdate = 20,
    RemoveMany = 22,
    Drain = 23,
    RemountSegments = 24,
}

impl From<OpType> for Op {
    fn from(op: OpType) -> Op {
        Op { domain: DomainId::METADATA, number: op as u8 }
    }
}

impl OpType {
    /// Which parts of its answer are kept.
    pub(crate) const fn keep(self) -> Keep {
        // Each part of these says what came before it; all of them would be every key that was removed.
        if matches!(self, OpType::RemoveMany) { Keep::NewestPart } else { Keep::AllParts }
    }

    /// What a client asked for; the others are the primary's own.
    pub(crate) fn is_of_request(self) -> bool {
        match self {
            OpType::PutStart
            | OpType::PutEnd
            | OpType::PutRevoke
            | OpType::Remove
            | OpType::RemoveMany
            | OpType::Pin
            | OpType::TransferStart
            | OpType::TransferFinish
            | OpType::MountSegment
            | OpType::RemountSegments
            | OpType::UnmountSegment
            | OpType::TaskCreate
            | OpType::TaskAssign
            | OpType::TaskComplete => true,
            OpType::Eviction
            | OpType::DropReplicas
            | OpType::SegmentGone
            | OpType::Discard
            | OpType::Release
            | OpType::TaskUpdate
            | OpType::Drain => false,
        }
    }
}

/// A call of a client, or one part of a long one.
pub(crate) type ClientOp<T> = ledger::ClientOp<T, Refusal>;

/// When the space of something dropped may be handed out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Retire {
    /// Nobody can be using it.
    Now,
    /// A reader may hold a lease.
    AfterLease,
    /// A writer may not have noticed yet.
    AfterPut,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum PutKind {
    Fresh,
    /// Into the buffers that the object has.
    InPlace,
    /// Into new ones, beside the old version.
    Replacement,
}

/// The item's id is the entry's seq and its place in it.
#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct PutStarted<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) size: u64,
    pub(crate) pin: Pin,
    pub(crate) kind: PutKind,
    pub(crate) places: Places,
}

/// Bit n stands for the n-th replica of the put.
pub(crate) type ReplicaMask = u32;

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct PutEnded<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) put: ItemId,
    pub(crate) done: ReplicaMask,
    pub(crate) checksum: Option<u64>,
    /// For the version that this one replaces.
    pub(crate) retire_old: Retire,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct PutRevoked<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) put: ItemId,
    pub(crate) dropped: ReplicaMask,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct Removed<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) retire: Retire,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct Pinned<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) pin: Pin,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct TransferStarted<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) kind: TransferKind,
    /// Told again to a retry; the object has it too.
    pub(crate) size: u64,
    pub(crate) source: crate::types::Place,
    pub(crate) targets: Places,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct TransferFinished<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) id: ItemId,
    pub(crate) ended: bool,
    /// For the source of a move.
    pub(crate) retire_source: Retire,
}

/// Part of a removal by pattern or of all.
#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct RemoveManyOp<'a> {
    pub(crate) client: [u8; 16],
    pub(crate) tenant: TenantIx,
    pub(crate) removed: Vec<Removed<'a>>,
    /// By all parts of the request up to this one.
    pub(crate) removed_so_far: u64,
    /// Of the last part: how many were left, in all.
    pub(crate) refused: u64,
    /// The last part.
    pub(crate) finished: bool,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct KeyRef<'a> {
    pub(crate) tenant: TenantIx,
    pub(crate) key: &'a [u8],
}

#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct EvictionOp<'a> {
    pub(crate) items: Vec<Evicted<'a>>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct Evicted<'a> {
    pub(crate) object: KeyRef<'a>,
    pub(crate) dropped: ReplicaMask,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct DropReplicasOp<'a> {
    pub(crate) segment: SegmentIx,
    pub(crate) objects: Vec<KeyRef<'a>>,
}

/// Puts and transfers that took too long, or whose client is gone.
#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct DiscardOp<'a> {
    pub(crate) client: [u8; 16],
    pub(crate) items: Vec<(KeyRef<'a>, ItemId)>,
}

/// The oldest retired extents of one segment become free.
#[derive(Debug, Encode, Decode)]
pub(crate) struct ReleaseOp {
    pub(crate) segment: SegmentIx,
    pub(crate) retire: Retire,
    pub(crate) count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SegmentRecord {
    pub(crate) id: SegmentId,
    pub(crate) name: String,
    pub(crate) kind: SegmentKind,
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) endpoint: String,
    pub(crate) protocol: String,
    pub(crate) host: String,
    pub(crate) path: String,
}

#[derive(Debug, Encode, Decode)]
pub(crate) enum Mounted {
    New {
        ix: SegmentIx,
        record: SegmentRecord,
    },
    Kept {
        ix: SegmentIx,
    },
    /// It was going and holds nothing any more: it stays, with what is retired in it.
    Again {
        ix: SegmentIx,
    },
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct Unmounted {
    pub(crate) ix: SegmentIx,
    /// 0: at once.
    pub(crate) grace_ms: u64,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct SegmentOp {
    pub(crate) segment: SegmentIx,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct TaskCreated {
    pub(crate) kind: TransferKind,
    pub(crate) tenant: TenantIx,
    pub(crate) key: Vec<u8>,
    pub(crate) source: SegmentIx,
    pub(crate) targets: Vec<String>,
    pub(crate) assignee: [u8; 16],
    pub(crate) id: TaskId,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct TaskAssigned {
    pub(crate) ids: Vec<TaskId>,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct TaskCompleted {
    pub(crate) id: TaskId,
    pub(crate) failed: bool,
    pub(crate) message: String,
}

#[derive(Debug, Encode, Decode)]
pub(crate) enum TaskUpdate {
    /// Assigned for too long: it waits again.
    Requeue(TaskId),
    /// Nobody can do it any more.
    Fail(TaskId),
    /// Finished long ago.
    Forget(TaskId),
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct TaskUpdateOp {
    pub(crate) updates: Vec<TaskUpdate>,
}

#[cfg(test)]
#[path = "op_test.rs"]
mod tests;
