//! The bytes of one payload of each op. They are the log's format: logs on disk and members of another build have them,
//! so they must not move by accident. A new meaning takes a new op number.

use ledger::{AtBound, Bound};

use super::*;
use crate::types::{Outcome, Place, Refusal};

fn place(segment: SegmentIx, address: u64) -> Place {
    Place { segment, address }
}

fn places(count: u64) -> Places {
    Places((0..count).map(|n| place(n as u32, 4096 * n)).collect())
}

fn client_op<T>(items: Vec<Outcome<T>>) -> ClientOp<T> {
    ClientOp { client: [7; 16], tenant: 3, items }
}

const KEY: &[u8] = b"key";

/// The payload of an op with something in every field.
fn sample(op: OpType) -> Vec<u8> {
    let mut out = Vec::new();
    macro_rules! encoded {
        ($value:expr) => {
            oplog::encode_payload(&$value, &mut out)
        };
    }
    let key_ref = || KeyRef { tenant: 3, key: KEY };
    let record = SegmentRecord {
        id: SegmentId([9; 16]),
        name: "n".to_owned(),
        kind: SegmentKind::Disk,
        base: 4096,
        size: 1 << 40,
        endpoint: "e".to_owned(),
        protocol: "p".to_owned(),
        host: "h".to_owned(),
        path: "/d".to_owned(),
    };
    match op {
        OpType::PutStart => {
            let started = |kind, pin| Ok(PutStarted { key: KEY, size: 300, pin, kind, places: places(2) });
            encoded!(client_op(vec![
                started(PutKind::Fresh, Pin::None),
                started(PutKind::InPlace, Pin::Soft { ttl_ms: 500 }),
                started(PutKind::Replacement, Pin::Hard),
                Err(Refusal::NoSpace),
            ]))
        }
        OpType::PutEnd => {
            let ended = |checksum, retire_old| {
                Ok(PutEnded { key: KEY, put: ItemId(1 << 20), done: 0b101, checksum, retire_old })
            };
            encoded!(client_op(vec![
                ended(None, Retire::Now),
                ended(Some(u64::MAX), Retire::AfterLease),
                ended(Some(1), Retire::AfterPut),
                Err(Refusal::StalePut),
            ]))
        }
        OpType::PutRevoke => {
            encoded!(client_op(vec![Ok(PutRevoked { key: KEY, put: ItemId(5), dropped: 2 }), Err(Refusal::NotOwner)]))
        }
        OpType::Remove => {
            encoded!(client_op(vec![Ok(Removed { key: KEY, retire: Retire::Now }), Err(Refusal::Leased)]))
        }
        OpType::Eviction => {
            encoded!(EvictionOp { items: vec![Evicted { object: key_ref(), dropped: 1 }] })
        }
        OpType::MountSegment | OpType::RemountSegments => {
            let new = Mounted::New { ix: 6, record };
            encoded!(client_op(vec![
                Ok(new),
                Ok(Mounted::Kept { ix: 6 }),
                Ok(Mounted::Again { ix: 6 }),
                Err(Refusal::SegmentConflict)
            ]))
        }
        OpType::UnmountSegment => {
            encoded!(client_op(vec![Ok(Unmounted { ix: 6, grace_ms: 1000 }), Err(Refusal::SegmentBusy)]))
        }
        OpType::DropReplicas => encoded!(DropReplicasOp { segment: 6, objects: vec![key_ref()] }),
        OpType::SegmentGone | OpType::Drain => encoded!(SegmentOp { segment: 6 }),
        OpType::Pin => {
            encoded!(client_op(vec![Ok(Pinned { key: KEY, pin: Pin::Soft { ttl_ms: 500 } }), Err(Refusal::NotFound)]))
        }
        OpType::TransferStart => {
            let start = |kind| TransferStarted { key: KEY, kind, size: 300, source: place(6, 64), targets: places(1) };
            let refused = Err(Refusal::ReplicaExists);
            encoded!(client_op(vec![Ok(start(TransferKind::Copy)), Ok(start(TransferKind::Move)), refused]))
        }
        OpType::TransferFinish => {
            let retire_source = Retire::AfterLease;
            encoded!(client_op(vec![
                Ok(TransferFinished { key: KEY, id: ItemId(5), ended: true, retire_source }),
                Err(Refusal::NotWriting)
            ]))
        }
        OpType::Discard => encoded!(DiscardOp { client: [7; 16], items: vec![(key_ref(), ItemId(5))] }),
        OpType::Release => encoded!(ReleaseOp { segment: 6, retire: Retire::AfterPut, count: 9 }),
        OpType::TaskCreate => {
            let created = TaskCreated {
                kind: TransferKind::Move,
                tenant: 3,
                key: KEY.to_vec(),
                source: 6,
                targets: vec!["t".to_owned()],
                assignee: [8; 16],
                id: 77,
            };
            encoded!(client_op(vec![
                Ok(created),
                Err(Refusal::Overloaded(AtBound { bound: Bound::Tasks, have: 300, limit: 300 }))
            ]))
        }
        OpType::TaskAssign => encoded!(client_op(vec![Ok(TaskAssigned { ids: vec![77, 78] }), Err(Refusal::NotFound)])),
        OpType::TaskComplete => {
            let done = TaskCompleted { id: 77, failed: true, message: "m".to_owned() };
            encoded!(client_op(vec![Ok(done), Err(Refusal::TaskNotFound)]))
        }
        OpType::TaskUpdate => {
            let updates = vec![TaskUpdate::Requeue(77), TaskUpdate::Fail(78), TaskUpdate::Forget(79)];
            encoded!(TaskUpdateOp { updates })
        }
        OpType::RemoveMany => {
            let removed = vec![Removed { key: KEY, retire: Retire::AfterLease }];
            encoded!(RemoveManyOp {
                client: [7; 16],
                tenant: 3,
                removed,
                removed_so_far: 300,
                refused: 2,
                finished: true,
            })
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By number.
#[rustfmt::skip]
const GOLDEN: [&str; 27] = [
    // PutStart
    "0107070707070707070707070707070707030400036b6579fb2c01000002000001fb001000036b6579fb2c0101fbf4010102000001fb001000036b6579fb2c01020202000001fb00100102",
    // PutEnd
    "0107070707070707070707070707070707030400036b6579fc0000100005000000036b6579fc000010000501fdffffffffffffffff0100036b6579fc0000100005010102010f",
    // PutRevoke
    "0107070707070707070707070707070707030200036b657905020104",
    // Remove
    "0107070707070707070707070707070707030200036b6579000103",
    // Eviction
    "010103036b657901",
    // MountSegment
    "0107070707070707070707070707070707030400000609090909090909090909090909090909016e01fb0010fd0000000000010000016501700168022f640001060002060106",
    // UnmountSegment
    "010707070707070707070707070707070703020006fbe8030107",
    // DropReplicas
    "01060103036b6579",
    // SegmentGone
    "0106",
    // The ledger's now: never given again.
    "",
    // The ledger's now: never given again.
    "",
    // Pin
    "0107070707070707070707070707070707030200036b657901fbf4010100",
    // TransferStart
    "0107070707070707070707070707070707030300036b657900fb2c01064001000000036b657901fb2c010640010000010e",
    // TransferFinish
    "0107070707070707070707070707070707030200036b65790501010109",
    // Discard
    "01070707070707070707070707070707070103036b657905",
    // Release
    "01060209",
    // TaskCreate
    "01070707070707070707070707070707070302000103036b657906010174080808080808080808080808080808084d011005fb2c01fb2c01",
    // TaskAssign
    "0107070707070707070707070707070707030200024d4e0100",
    // TaskComplete
    "01070707070707070707070707070707070302004d01016d010c",
    // TaskUpdate
    "0103004d014e024f",
    // The ledger's now: never given again.
    "",
    // RemoveMany
    "01070707070707070707070707070707070301036b657901fb2c010201",
    // Drain
    "0106",
    // RemountSegments
    "0107070707070707070707070707070707030400000609090909090909090909090909090909016e01fb0010fd0000000000010000016501700168022f640001060002060106",
    // The ledger's now: never given again.
    "",
    // The ledger's now: never given again.
    "",
    // The ledger's now: never given again.
    "",
];

#[test]
fn the_payload_of_every_op_is_pinned() {
    for (at, golden) in GOLDEN.iter().enumerate() {
        let op = OpType::from_number(at as u8 + 1);
        assert_eq!(op.is_none(), golden.is_empty(), "op {}", at + 1);
        let Some(op) = op else { continue };
        assert_eq!(hex(&sample(op)), *golden, "{op:?}");
    }
    assert_eq!(OpType::from_number(0), None);
    assert_eq!(OpType::from_number(GOLDEN.len() as u8 + 1), None, "a new op needs its bytes here");
}

/// A refusal goes into the log by its place in the list.
#[test]
fn refusals_keep_their_numbers() {
    let refusals = [
        Refusal::NotFound,
        Refusal::AlreadyExists,
        Refusal::NoSpace,
        Refusal::Leased,
        Refusal::NotOwner,
        Refusal::SegmentNotFound,
        Refusal::SegmentConflict,
        Refusal::SegmentBusy,
        Refusal::WriteInProgress,
        Refusal::NotWriting,
        Refusal::Pinned,
        Refusal::QuotaExceeded,
        Refusal::TaskNotFound,
        Refusal::ReplicaNotFound,
        Refusal::ReplicaExists,
        Refusal::StalePut,
        Refusal::Overloaded(AtBound { bound: Bound::Objects, have: 0, limit: 0 }),
        Refusal::TenantNotEmpty { objects: 0, tasks: 0 },
        Refusal::TenantNotFound,
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        let mut out = Vec::new();
        oplog::encode_payload(&refusal, &mut out);
        assert_eq!(out[..2], [oplog::PAYLOAD_VERSION, number as u8], "{refusal:?}");
    }
}

/// So does a bound that an item met.
#[test]
fn bounds_keep_their_numbers() {
    let settings = Bound::ALL.iter().map(|bound| bound.setting().unwrap_or("-"));
    let golden = "objects_max segments_max client_segments_max client_segment_bytes_max - tasks_max - clients_max \
                  clients_per_address_max client_puts_max retired_extents_max tenants_max tenants_per_address_max \
                  client_answers_max client_answer_bytes_max answer_bytes_total_max tail_entries tail_bytes \
                  segments_per_address_max extents_per_address_max";
    assert_eq!(settings.collect::<Vec<_>>().join(" "), golden);
    for (number, bound) in Bound::ALL.iter().enumerate() {
        let mut out = Vec::new();
        oplog::encode_payload(bound, &mut out);
        assert_eq!(out, [oplog::PAYLOAD_VERSION, number as u8], "{bound:?}");
    }
}
