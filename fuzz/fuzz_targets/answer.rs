//! A member's answers as the SDK reads them: refused or understood, never a panic. Each input
//! spoils a valid answer, or is one by itself.

#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use client::fuzzing::understand;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, ExistsResponse, FetchTasksResponse, GetReplicasResponse, GetReplicasResult, ListSegmentsResponse,
    ListTasksResponse, MountSegmentResponse, MountSegmentResult, Position, PutEndResponse, PutEndResult,
    PutStartResponse, PutStartResult, Refusal, Replica, Segment, SegmentRef, SegmentStatus, SessionResponse, Task,
    TransferStartResponse, TransferStartResult,
};
use shared::heap;
use shared::input::Input;

/// Items of each valid answer.
const ITEMS: usize = 2;
/// The result takes a few times the size of the message.
const HEAP_PER_BYTE: usize = 64;
const HEAP_FREE: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let kind = usize::from(input.u8());
    let message = match answers().get(kind) {
        Some(valid) => {
            assert!(understand(valid, ITEMS).is_some(), "a valid answer says nothing");
            input.edited(valid)
        }
        None => input.rest().to_vec(),
    };
    let before = heap::bytes();
    let understood = understand(&message, ITEMS);
    let grown = heap::bytes().saturating_sub(before);
    assert!(grown <= HEAP_FREE + message.len() * HEAP_PER_BYTE, "{grown} bytes are left of {} read", message.len());
    drop(understood);
});

fn answers() -> &'static [Vec<u8>] {
    static ANSWERS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        let answers = valid().into_iter().zip(1..);
        answers.map(|(answer, id)| SessionResponse { id, answer: Some(answer) }.encode_to_vec()).collect()
    })
}

fn valid() -> Vec<Answer> {
    let id = || Bytes::from_static(&[7; 16]);
    let position = Some(Position { epoch: 2, seq: 9 });
    let segments = || vec![SegmentRef { id: id(), name: "s".to_owned(), ..SegmentRef::default() }];
    let replica = || Replica { address: 4096, complete: true, ..Replica::default() };
    let refusal = Some(Refusal { reason: 2, message: "no".to_owned() });
    let found = GetReplicasResult { size: 5, replicas: vec![replica()], checksum: Some(1), refusal: None };
    let missing = GetReplicasResult { refusal: refusal.clone(), ..GetReplicasResult::default() };
    let started = PutStartResult { put_id: 3, replicas: vec![replica()], refusal: None };
    let transfer = || TransferStartResult {
        transfer_id: 3,
        size: 5,
        source: Some(replica()),
        targets: vec![replica()],
        refusal: None,
    };
    let status = SegmentStatus {
        segment: Some(Segment { id: id(), ..Segment::default() }),
        client_id: id(),
        ..SegmentStatus::default()
    };
    let task = || Task { task_id: 4, assigned_to: id(), ..Task::default() };
    vec![
        Answer::GetReplicas(GetReplicasResponse {
            position,
            results: vec![found, missing],
            segments: segments(),
            lease_ms: 10,
            from_standby: true,
        }),
        Answer::PutStart(PutStartResponse {
            position,
            results: vec![started, PutStartResult { refusal, ..PutStartResult::default() }],
            segments: segments(),
            put_start_timeout_ms: 9,
        }),
        Answer::TransferStart(TransferStartResponse {
            position,
            results: vec![transfer(), transfer()],
            segments: segments(),
        }),
        Answer::ListSegments(ListSegmentsResponse { position, segments: vec![status], from_standby: false }),
        Answer::MountSegment(MountSegmentResponse { position, results: vec![MountSegmentResult::default(); ITEMS] }),
        Answer::FetchTasks(FetchTasksResponse { position, tasks: vec![task()] }),
        Answer::ListTasks(ListTasksResponse { position, tasks: vec![task(), task()], next_after: 4 }),
        Answer::PutEnd(PutEndResponse { position, results: vec![PutEndResult::default(); ITEMS] }),
        Answer::Exists(ExistsResponse { position, exists: vec![true; ITEMS], lease_ms: 1, from_standby: false }),
        Answer::Error(CallError { code: 14, reason: 11, message: "x".to_owned(), ..CallError::default() }),
    ]
}
