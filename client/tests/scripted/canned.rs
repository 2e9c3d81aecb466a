//! The scripted master's default answers: everything succeeds.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::*;

use crate::master::Shared;

fn segment_ref() -> SegmentRef {
    SegmentRef {
        id: Bytes::from_static(&[1; 16]),
        name: "seg".into(),
        endpoint: "host:1".into(),
        protocol: "tcp".into(),
        ..Default::default()
    }
}

fn replica(address: u64) -> Replica {
    Replica { address, ..Default::default() }
}

fn task() -> Task {
    let (key, assigned_to) = (Bytes::from_static(b"k"), Bytes::from_static(&[9; 16]));
    Task { task_id: 4, key, assigned_to, state: TaskState::Assigned as i32, ..Default::default() }
}

/// A plausible answer: everything succeeds. The size of an object is the length of its key.
pub(crate) fn canned(shared: &Shared, call: &Call) -> Answer {
    let seq = shared.seq.fetch_add(1, Ordering::Relaxed) + 1;
    let position = Some(Position { epoch: shared.epoch.load(Ordering::Relaxed), seq });
    let segments = vec![segment_ref()];
    let finish = |asked: &TransferFinishRequest| {
        let results = vec![TransferFinishResult::default(); asked.items.len()];
        Answer::TransferFinish(TransferFinishResponse { position, results })
    };
    let transfers = |asked: usize| {
        let one = TransferStartResult {
            transfer_id: 3,
            size: 10,
            source: Some(replica(100)),
            targets: vec![replica(200)],
            refusal: None,
        };
        TransferStartResponse { position, results: vec![one; asked], segments: vec![segment_ref()] }
    };
    match call {
        Call::Heartbeat(_) => {
            Answer::Heartbeat(HeartbeatResponse { position, client_ttl_ms: 300, ..Default::default() })
        }
        Call::MountSegment(asked) => Answer::MountSegment(MountSegmentResponse {
            position,
            results: vec![MountSegmentResult::default(); asked.segments.len()],
        }),
        Call::RemountSegments(asked) => Answer::MountSegment(MountSegmentResponse {
            position,
            results: vec![MountSegmentResult { kept: true, refusal: None }; asked.segments.len()],
        }),
        Call::UnmountSegment(asked) => Answer::UnmountSegment(UnmountSegmentResponse {
            position,
            results: vec![UnmountSegmentResult::default(); asked.segment_ids.len()],
        }),
        Call::ListSegments(_) => {
            let segment = Some(Segment { id: Bytes::from_static(&[1; 16]), name: "seg".into(), ..Default::default() });
            let client_id = Bytes::from_static(&[9; 16]);
            let one = SegmentStatus { segment, client_id, used_bytes: 5, ..Default::default() };
            Answer::ListSegments(ListSegmentsResponse { position, segments: vec![one], from_standby: false })
        }
        Call::PutStart(asked) => {
            let one = PutStartResult { put_id: seq, replicas: vec![replica(4096)], refusal: None };
            let results = vec![one; asked.items.len()];
            Answer::PutStart(PutStartResponse { position, results, segments, put_start_timeout_ms: 30_000 })
        }
        Call::PutEnd(asked) => {
            Answer::PutEnd(PutEndResponse { position, results: vec![PutEndResult::default(); asked.items.len()] })
        }
        Call::PutRevoke(asked) => Answer::PutRevoke(PutRevokeResponse {
            position,
            results: vec![PutRevokeResult::default(); asked.items.len()],
        }),
        Call::GetReplicas(asked) => {
            let one = |key: &Bytes| GetReplicasResult {
                size: key.len() as u64,
                replicas: vec![replica(4096)],
                checksum: Some(7),
                refusal: None,
            };
            let results = asked.keys.iter().map(one).collect();
            Answer::GetReplicas(GetReplicasResponse {
                position,
                results,
                segments,
                lease_ms: 10_000,
                from_standby: false,
            })
        }
        Call::Exists(asked) => Answer::Exists(ExistsResponse {
            position,
            exists: vec![true; asked.keys.len()],
            lease_ms: 10_000,
            from_standby: false,
        }),
        Call::Remove(asked) => {
            Answer::Remove(RemoveResponse { position, results: vec![RemoveResult::default(); asked.keys.len()] })
        }
        Call::RemoveMatching(_) | Call::RemoveAll(_) => {
            Answer::RemoveMany(RemoveManyResponse { position, removed: 2, refused: 1 })
        }
        Call::ListKeys(_) => {
            let one = KeyInfo { key: Bytes::from_static(b"k"), size: 10, replicas: 1, complete: true, pin: 1 };
            let next_page_token = Bytes::from_static(b"next");
            Answer::ListKeys(ListKeysResponse { position, keys: vec![one], next_page_token, from_standby: false })
        }
        Call::Pin(PinRequest { keys, .. }) | Call::Unpin(UnpinRequest { keys, .. }) => {
            Answer::Pin(PinResponse { position, results: vec![PinResult::default(); keys.len()] })
        }
        Call::CopyStart(asked) => Answer::TransferStart(transfers(asked.items.len())),
        Call::MoveStart(asked) => Answer::TransferStart(transfers(asked.items.len())),
        Call::CopyEnd(asked) | Call::CopyRevoke(asked) | Call::MoveEnd(asked) | Call::MoveRevoke(asked) => {
            finish(asked)
        }
        Call::CreateTask(asked) => {
            let one = CreateTaskResult { task_id: 4, refusal: None };
            Answer::CreateTask(CreateTaskResponse { position, results: vec![one; asked.items.len()] })
        }
        Call::FetchTasks(_) => Answer::FetchTasks(FetchTasksResponse { position, tasks: vec![task()] }),
        Call::CompleteTask(asked) => Answer::CompleteTask(CompleteTaskResponse {
            position,
            results: vec![CompleteTaskResult::default(); asked.items.len()],
        }),
        Call::ListTasks(_) => Answer::ListTasks(ListTasksResponse { position, tasks: vec![task()], next_after: 0 }),
    }
}
