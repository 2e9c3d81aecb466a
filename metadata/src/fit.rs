//! What an entry or an image must fit before it is believed: shapes that no primary makes, and that would break the
//! state later.
//!
//! A checksum says that bytes are those that were written, not that they were written in their right mind. A member that
//! falls over an entry falls over it again after every restart, and so does every other member: so whatever does not fit
//! is refused with a clear error, here or where it is applied.
//!
//! Deliberately absent: whether an entry is the right one. Only the digests of other members can tell that.

use crate::apply::Inconsistent;
use crate::apply_op::OpError;
use crate::calls::ItemCall;
use crate::calls::pin::SetPin;
use crate::calls::put::{PutEnd, PutRevoke, PutStart};
use crate::calls::remove::Remove;
use crate::calls::segment::{Mount, SEGMENT_BYTES_MAX, Unmount};
use crate::calls::task::{CompleteTask, CreateTask, FetchTask};
use crate::calls::tenant::DeleteTenant;
use crate::calls::transfer::{TransferFinish, TransferStart};
use crate::object::{Object, Replicas};
use crate::op::{ClientOp, OpType, RemoveManyOp, SegmentRecord};
use crate::types::{ENTRY_ITEMS_MAX, KEY_BYTES_MAX, OBJECT_BYTES_MAX, REPLICAS_MAX, SPACE_UNIT};

/// Last seq that is taken from outside: half of what an [`ItemId`](crate::types::ItemId) can count, so that a state can always go on.
pub(crate) const SEQ_MAX: u64 = 1 << 51;
/// Replicas of one object, its transfer's targets counted in.
pub(crate) const PLACES_MAX: usize = 2 * REPLICAS_MAX as usize;

pub(crate) fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), Inconsistent> {
    if holds { Ok(()) } else { Err(Inconsistent::Other(what())) }
}

pub(crate) fn check_key(key: &[u8]) -> Result<(), Inconsistent> {
    require(!key.is_empty() && key.len() <= KEY_BYTES_MAX, || format!("a key of {} bytes", key.len()))
}

pub(crate) fn check_size(size: u64) -> Result<(), Inconsistent> {
    require((1..=OBJECT_BYTES_MAX).contains(&size), || format!("an object of {size} bytes"))
}

pub(crate) fn check_segment(record: &SegmentRecord) -> Result<(), Inconsistent> {
    let SegmentRecord { base, size, .. } = record;
    let fits = (SPACE_UNIT..=SEGMENT_BYTES_MAX).contains(size) && base.checked_add(*size).is_some();
    require(fits, || format!("a segment of {size} bytes at {base:#x}"))
}

/// Part of the kept answer to a request; the result is how many of its items it tells of.
pub(crate) fn check_answer(op: OpType, payload: &[u8]) -> Result<u64, OpError> {
    fn items<C: ItemCall>(payload: &[u8]) -> Result<u64, OpError> {
        let op: ClientOp<C::Done<'_>> = oplog::decode_payload(payload)?;
        require(op.items.len() <= ENTRY_ITEMS_MAX, || format!("{} items in one answer", op.items.len()))?;
        Ok(op.items.len() as u64)
    }
    match op {
        OpType::PutStart => items::<PutStart<'_>>(payload),
        OpType::PutEnd => items::<PutEnd>(payload),
        OpType::PutRevoke => items::<PutRevoke>(payload),
        OpType::Remove => items::<Remove>(payload),
        OpType::Pin => items::<SetPin>(payload),
        OpType::TransferStart => items::<TransferStart>(payload),
        OpType::TransferFinish => items::<TransferFinish>(payload),
        OpType::MountSegment => items::<Mount<false>>(payload),
        OpType::RemountSegments => items::<Mount<true>>(payload),
        OpType::UnmountSegment => items::<Unmount>(payload),
        OpType::TaskCreate => items::<CreateTask>(payload),
        OpType::TaskAssign => items::<FetchTask>(payload),
        OpType::TaskComplete => items::<CompleteTask>(payload),
        OpType::TenantDelete => items::<DeleteTenant>(payload),
        OpType::RemoveMany => {
            let op: RemoveManyOp<'_> = oplog::decode_payload(payload)?;
            Ok(u64::from(op.finished))
        }
        OpType::Eviction
        | OpType::DropReplicas
        | OpType::SegmentGone
        | OpType::ClientExpire
        | OpType::ClientGone
        | OpType::Discard
        | OpType::Release
        | OpType::TaskUpdate
        | OpType::Tenant
        | OpType::Drain
        | OpType::ForgetAnswers
        | OpType::Settings => Err(Inconsistent::Other(format!("{op:?} is nobody's request")).into()),
    }
}

/// An object of an image that was captured at `seq`.
pub(crate) fn check_object(object: &Object, seq: u64) -> Result<(), Inconsistent> {
    let unfit = |what: &str| Inconsistent::Other(format!("object {:?} has {what}", object.key));
    check_key(&object.key)?;
    check_size(object.size)?;
    if object.seq > seq {
        return Err(unfit("a change that is still to come"));
    }
    if object.is_empty() || object.all_replicas().count() > PLACES_MAX {
        return Err(unfit("no replica, or too many"));
    }
    let put = (!object.put.is_none()).then_some(object.put);
    let replacement = object.replacement().map(|new| new.put);
    let transfer = object.transfer().map(|transfer| transfer.id);
    let mut begun = [put, replacement, transfer].into_iter().flatten();
    if begun.next().is_some_and(|id| id.is_none() || id.seq() > seq) || begun.next().is_some() {
        return Err(unfit("work that nobody began, or more than one work under way"));
    }
    if put.is_none() != object.replicas.iter().all(|replica| replica.complete) {
        return Err(unfit("a put without an open replica, or an open replica without a put"));
    }
    let is_open = |replicas: &Replicas| !replicas.is_empty() && replicas.iter().all(|replica| !replica.complete);
    if let Some(new) = object.replacement() {
        check_size(new.size)?;
        require(is_open(&new.replicas), || format!("object {:?} has a replacement that is none", object.key))?;
    }
    if let Some(transfer) = object.transfer() {
        let fits = is_open(&transfer.targets) && !object.replicas.is_empty();
        require(fits, || format!("object {:?} has a transfer that is none", object.key))?;
    }
    Ok(())
}
