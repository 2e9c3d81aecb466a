//! What an entry or an image must fit before it is believed: shapes that no primary makes, and that would break the
//! state later.
//!
//! A checksum says that bytes are those that were written, not that they were written in their right mind. A member that
//! falls over an entry falls over it again after every restart, and so does every other member: so whatever does not fit
//! is refused with a clear error, here or where it is applied.
//!
//! Deliberately absent: whether an entry is the right one. Only the digests of other members can tell that.

use ledger::{Inconsistent, require};

use crate::object::{Object, Replicas};
use crate::op::SegmentRecord;
use crate::types::{KEY_BYTES_MAX, OBJECT_BYTES_MAX, REPLICAS_MAX, SEGMENT_BYTES_MAX, SPACE_UNIT};

/// Replicas of one object, its transfer's targets counted in.
pub(crate) const PLACES_MAX: usize = 2 * REPLICAS_MAX as usize;

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
