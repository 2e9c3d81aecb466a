//! Conversions between the types of the wire and those of the API.
//!
//! Invariants: everything from a member is checked before it is used: counts, ids, indices into the
//! answer's segments. A mismatch is [`Error::Protocol`], never a panic.
//!
//! Deliberately absent: defaults and limits that the primary decides.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::limits::BATCH_ITEMS_MAX;
use proto::v1;

use crate::answers::{Items, Task};
use crate::error::{Error, Refused};
use crate::ids::{ClientId, Position, SegmentId};
use crate::types::{Location, Replica, Segment, SegmentRef};

/// Refuses a list that the primary would refuse.
pub(crate) fn check_items(field: &'static str, have: usize) -> Result<(), Error> {
    match have {
        0..=BATCH_ITEMS_MAX => Ok(()),
        _ => Err(Error::invalid(field, format!("{have} items, the limit of one call is {BATCH_ITEMS_MAX}"))),
    }
}

/// All keys in one piece of memory, of which each is a slice.
pub(crate) fn keys<K: AsRef<[u8]>>(keys: &[K]) -> Vec<Bytes> {
    let bytes = keys.iter().map(|key| key.as_ref().len()).sum();
    let mut all = BytesMut::with_capacity(bytes);
    for key in keys {
        all.extend_from_slice(key.as_ref());
    }
    let mut all = all.freeze();
    keys.iter().map(|key| all.split_to(key.as_ref().len())).collect()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn position(position: Option<v1::Position>) -> Position {
    let v1::Position { epoch, seq } = position.unwrap_or_default();
    Position { epoch, seq }
}

/// A result that is either a refusal or what was asked for.
pub(crate) trait Refusable {
    fn take_refusal(&mut self) -> Option<v1::Refusal>;
}

macro_rules! refusable {
    ($($result:ident)*) => {
        $(impl Refusable for v1::$result {
            fn take_refusal(&mut self) -> Option<v1::Refusal> {
                self.refusal.take()
            }
        })*
    };
}

refusable! {
    MountSegmentResult UnmountSegmentResult PutStartResult PutEndResult PutRevokeResult GetReplicasResult RemoveResult
    PinResult TransferStartResult TransferFinishResult CreateTaskResult CompleteTaskResult
}

/// One result for each item.
pub(crate) fn results<R: Refusable, T>(
    call: &'static str,
    asked: usize,
    raw: Vec<R>,
    mut convert: impl FnMut(R) -> Result<T, Error>,
) -> Result<Vec<Result<T, Refused>>, Error> {
    check_count(call, asked, raw.len())?;
    let one = |mut result: R| match result.take_refusal() {
        Some(refusal) => Ok(Err(refusal.into())),
        None => convert(result).map(Ok),
    };
    raw.into_iter().map(one).collect()
}

/// Results that are either a refusal or nothing.
pub(crate) fn items<R: Refusable>(
    call: &'static str,
    asked: usize,
    at: Option<v1::Position>,
    raw: Vec<R>,
) -> Result<Items<()>, Error> {
    Ok(Items { position: position(at), results: results(call, asked, raw, |_| Ok(()))? })
}

pub(crate) fn check_count(call: &'static str, asked: usize, have: usize) -> Result<(), Error> {
    match have == asked {
        true => Ok(()),
        false => Err(Error::protocol(call, format!("{have} results for {asked} items"))),
    }
}

pub(crate) fn segment_to_wire(segment: &Segment) -> v1::Segment {
    v1::Segment {
        id: segment.id.to_wire(),
        name: segment.name.clone(),
        kind: segment.kind as i32,
        base: segment.base,
        size: segment.size,
        endpoint: segment.endpoint.clone(),
        protocol: segment.protocol.clone(),
        host: segment.host.clone(),
        path: segment.path.clone(),
    }
}

pub(crate) fn segment(call: &'static str, segment: v1::Segment) -> Result<Segment, Error> {
    Ok(Segment {
        id: SegmentId::from_wire(call, &segment.id)?,
        kind: kind(call, segment.kind)?,
        name: segment.name,
        base: segment.base,
        size: segment.size,
        endpoint: segment.endpoint,
        protocol: segment.protocol,
        host: segment.host,
        path: segment.path,
    })
}

/// The segments that an answer names, which its replicas refer to by index.
#[derive(Debug)]
pub(crate) struct Segments {
    call: &'static str,
    list: Vec<Arc<SegmentRef>>,
}

impl Segments {
    pub(crate) fn new(call: &'static str, list: Vec<v1::SegmentRef>) -> Result<Segments, Error> {
        let list = list.into_iter().map(|segment| segment_ref(call, segment).map(Arc::new));
        Ok(Segments { call, list: list.collect::<Result<_, _>>()? })
    }

    pub(crate) fn replicas(&self, replicas: Vec<v1::Replica>) -> Result<Vec<Replica>, Error> {
        replicas.into_iter().map(|replica| self.replica(replica)).collect()
    }

    pub(crate) fn replica(&self, replica: v1::Replica) -> Result<Replica, Error> {
        let Some(segment) = self.list.get(replica.segment as usize) else {
            let what = format!("a replica on segment {} of {}", replica.segment, self.list.len());
            return Err(Error::protocol(self.call, what));
        };
        let location = match segment.kind {
            v1::SegmentKind::Memory => Location::Memory { address: replica.address },
            v1::SegmentKind::Disk => Location::Disk { path: replica.path },
        };
        Ok(Replica { segment: Arc::clone(segment), location, complete: replica.complete })
    }
}

fn segment_ref(call: &'static str, segment: v1::SegmentRef) -> Result<SegmentRef, Error> {
    Ok(SegmentRef {
        id: SegmentId::from_wire(call, &segment.id)?,
        kind: kind(call, segment.kind)?,
        name: segment.name,
        endpoint: segment.endpoint,
        protocol: segment.protocol,
        host: segment.host,
    })
}

/// A kind of a later version is not taken for memory, since its address would mean nothing.
fn kind(call: &'static str, kind: i32) -> Result<v1::SegmentKind, Error> {
    v1::SegmentKind::try_from(kind).map_err(|_| Error::protocol(call, format!("segment kind {kind} is not known here")))
}

pub(crate) fn tasks(call: &'static str, tasks: Vec<v1::Task>) -> Result<Vec<Task>, Error> {
    tasks.into_iter().map(|each| task(call, each)).collect()
}

fn task(call: &'static str, task: v1::Task) -> Result<Task, Error> {
    let assigned_to = match task.assigned_to.is_empty() {
        true => None,
        false => Some(ClientId::from_wire(call, &task.assigned_to)?),
    };
    Ok(Task {
        kind: task.kind(),
        state: task.state(),
        task_id: task.task_id,
        tenant: task.tenant,
        key: task.key,
        source_segment: task.source_segment,
        target_segments: task.target_segments,
        message: task.message,
        assigned_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_bytes() {
        let given = [&b"a"[..], b"", b"long key", &[0, 255]];
        assert_eq!(keys(&given), given.map(Bytes::copy_from_slice));
    }

    #[test]
    fn lists_beyond_the_limit_are_refused_with_both_numbers() {
        assert_eq!(check_items("keys", 1), Ok(()));
        assert_eq!(check_items("keys", 10_000), Ok(()));
        let refused = check_items("keys", 10_001).expect_err("over the limit").to_string();
        assert_eq!(refused, "keys: 10001 items, the limit of one call is 10000");
    }

    #[test]
    fn replica_on_a_segment_that_is_not_named_is_refused() {
        let named = v1::SegmentRef { id: Bytes::from_static(&[7; 16]), ..Default::default() };
        let segments = Segments::new("PutStart", vec![named]).expect("one segment");
        let on = |segment| v1::Replica { segment, address: 42, ..Default::default() };
        let replica = segments.replica(on(0)).expect("is named");
        assert_eq!((replica.location, replica.segment.id.0), (Location::Memory { address: 42 }, [7; 16]));
        let refused = segments.replica(on(1)).expect_err("is not named");
        assert!(refused.to_string().contains("segment 1 of 1"), "{refused}");
    }

    #[test]
    fn answer_with_another_number_of_results_is_refused() {
        let refused = items("Remove", 2, None, vec![v1::RemoveResult::default()]).expect_err("one is missing");
        assert!(refused.to_string().contains("1 results for 2 items"), "{refused}");
    }

    #[test]
    fn ids_of_another_length_are_refused() {
        let short = v1::SegmentRef { id: Bytes::from_static(b"short"), ..Default::default() };
        assert!(Segments::new("PutStart", vec![short]).is_err());
    }

    #[test]
    fn segment_of_a_kind_that_is_not_known_is_refused() {
        let odd = v1::SegmentRef { id: Bytes::from_static(&[7; 16]), kind: 9, ..Default::default() };
        assert!(Segments::new("PutStart", vec![odd]).expect_err("odd").to_string().contains("kind 9"));
    }
}
