//! Requests of a client of a small node: some that make a world, then one of every kind that makes
//! sense in it, which the fuzzer spoils.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{
    Caller, CompleteTaskItem, CompleteTaskRequest, CopyStartItem, CopyStartRequest, CreateTaskItem, CreateTaskRequest,
    ExistsRequest, FetchTasksRequest, GetReplicasRequest, HeartbeatRequest, ListKeysRequest, ListSegmentsRequest,
    ListTasksRequest, MountSegmentRequest, MoveStartItem, MoveStartRequest, PinRequest, Placement, PutEndItem,
    PutEndRequest, PutRevokeItem, PutRevokeRequest, PutStartItem, PutStartRequest, Refusal, RemountSegmentsRequest,
    RemoveAllRequest, RemoveMatchingRequest, RemoveRequest, Segment, SegmentKind, SessionRequest, TransferFinishItem,
    TransferFinishRequest, UnmountSegmentRequest, UnpinRequest,
};

/// Sent before every input, in this order.
pub fn world() -> &'static [Bytes] {
    static WORLD: OnceLock<Vec<Bytes>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let segments =
            [segment(1, SegmentKind::Memory), segment(2, SegmentKind::Memory), segment(3, SegmentKind::Disk)];
        let mount = Call::MountSegment(MountSegmentRequest { caller: caller(1, 1), segments: segments.to_vec() });
        let mount_other = MountSegmentRequest { caller: caller(2, 1), segments: vec![segment(4, SegmentKind::Memory)] };
        let calls = [
            mount,
            Call::MountSegment(mount_other),
            put_start(1, 2, &["a", "b", "c", "d", "moving"]),
            put_end(1, 3, &["a", "b", "c", "d", "moving"]),
            put_start(2, 2, &["open"]),
            Call::CreateTask(CreateTaskRequest { caller: caller(2, 3), items: vec![new_task()] }),
        ];
        encoded(calls)
    })
}

/// One of each kind, and more of those with options.
pub fn templates() -> &'static [Bytes] {
    static TEMPLATES: OnceLock<Vec<Bytes>> = OnceLock::new();
    TEMPLATES.get_or_init(|| encoded(objects().into_iter().chain(segments()).chain(transfers()).chain(tasks())))
}

fn encoded(calls: impl IntoIterator<Item = Call>) -> Vec<Bytes> {
    let numbered = calls.into_iter().zip(1..);
    numbered.map(|(call, id)| SessionRequest { id, call: Some(call) }.encode_to_vec().into()).collect()
}

fn caller(client: u8, request_number: u64) -> Option<Caller> {
    let client_id = Bytes::copy_from_slice(&[client; 16]);
    Some(Caller { client_id, request_number, answered_below: 1, ..Caller::default() })
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn keys(names: &[&str]) -> Vec<Bytes> {
    names.iter().map(|name| key(name)).collect()
}

fn segment(number: u8, kind: SegmentKind) -> Segment {
    Segment {
        id: Bytes::copy_from_slice(&[number; 16]),
        name: format!("s{number}"),
        kind: kind as i32,
        base: u64::from(number) << 20,
        size: 1 << 16,
        endpoint: "10.0.0.7:1".to_owned(),
        protocol: "tcp".to_owned(),
        host: "h".to_owned(),
        path: format!("/d/{number}"),
    }
}

fn put_start(client: u8, number: u64, names: &[&str]) -> Call {
    Call::PutStart(PutStartRequest {
        caller: caller(client, number),
        items: names.iter().map(|name| PutStartItem { key: key(name), size: 100 }).collect(),
        placement: Some(Placement { replicas: 1, ..Placement::default() }),
        if_exists: 0,
        pin: 0,
        soft_pin_ttl_ms: 0,
    })
}

fn put_end(client: u8, number: u64, names: &[&str]) -> Call {
    let items = names.iter().map(|name| PutEndItem { key: key(name), put_id: 0, checksum: Some(5) }).collect();
    Call::PutEnd(PutEndRequest { caller: caller(client, number), items, scope: 0 })
}

fn new_task() -> CreateTaskItem {
    let target_segments = vec!["s2".to_owned()];
    CreateTaskItem { kind: 0, key: key("a"), source_segment: String::new(), target_segments }
}

fn objects() -> Vec<Call> {
    let placement = Placement {
        replicas: 1,
        disk_replicas: 1,
        preferred_segments: vec!["s4".to_owned()],
        same_host: true,
        best_effort: true,
    };
    let replace = PutStartRequest {
        caller: caller(1, 9),
        items: vec![PutStartItem { key: key("a"), size: 200 }],
        placement: Some(placement),
        if_exists: 1,
        pin: 1,
        soft_pin_ttl_ms: 50,
    };
    let revoke = vec![PutRevokeItem { key: key("open"), put_id: 0 }];
    let list = ListKeysRequest {
        caller: caller(1, 0),
        prefix: key("m"),
        regex: "^[a-o]+$".to_owned(),
        limit: 2,
        page_token: Bytes::from_static(b"\x01\x00m"),
        standby: None,
    };
    vec![
        put_start(1, 10, &["e", "f"]),
        Call::PutStart(replace),
        put_end(2, 10, &["open"]),
        Call::PutRevoke(PutRevokeRequest { caller: caller(2, 11), items: revoke, scope: 1 }),
        Call::GetReplicas(GetReplicasRequest { caller: caller(1, 0), keys: keys(&["a", "x"]), standby: None }),
        Call::Exists(ExistsRequest { caller: caller(1, 0), keys: keys(&["b", "open"]), standby: None }),
        Call::Remove(RemoveRequest { caller: caller(1, 12), keys: keys(&["b", "c"]), force: true }),
        Call::RemoveMatching(RemoveMatchingRequest { caller: caller(1, 13), regex: "[cd]".to_owned(), force: false }),
        Call::RemoveAll(RemoveAllRequest { caller: caller(2, 14), force: true }),
        Call::ListKeys(list),
        Call::Pin(PinRequest { caller: caller(1, 15), keys: keys(&["a"]), pin: 2, soft_pin_ttl_ms: 9 }),
        Call::Unpin(UnpinRequest { caller: caller(1, 16), keys: keys(&["a"]) }),
    ]
}

fn segments() -> Vec<Call> {
    let ids = || vec![Bytes::from_static(&[1; 16]), Bytes::from_static(&[3; 16])];
    let again = vec![segment(1, SegmentKind::Memory), segment(5, SegmentKind::Disk)];
    vec![
        Call::Heartbeat(HeartbeatRequest { caller: caller(1, 0), host: "h".to_owned() }),
        Call::MountSegment(MountSegmentRequest { caller: caller(1, 20), segments: again.clone() }),
        Call::RemountSegments(RemountSegmentsRequest { caller: caller(1, 21), segments: again }),
        Call::UnmountSegment(UnmountSegmentRequest { caller: caller(1, 22), segment_ids: ids(), grace_ms: 0 }),
        Call::UnmountSegment(UnmountSegmentRequest { caller: caller(1, 23), segment_ids: ids(), grace_ms: 7 }),
        Call::ListSegments(ListSegmentsRequest {
            client_id: Bytes::from_static(&[2; 16]),
            name: "s4".to_owned(),
            standby: None,
        }),
    ]
}

fn transfers() -> Vec<Call> {
    let finish = || {
        let items = vec![TransferFinishItem { key: key("moving"), transfer_id: 0 }];
        TransferFinishRequest { caller: caller(1, 32), items }
    };
    let targets = || vec!["s4".to_owned(), "s3".to_owned()];
    let copy = CopyStartItem { key: key("a"), source_segment: String::new(), target_segments: targets() };
    let to = |target: &str| MoveStartItem {
        key: key("moving"),
        source_segment: String::new(),
        target_segment: target.to_owned(),
    };
    vec![
        Call::CopyStart(CopyStartRequest { caller: caller(1, 30), items: vec![copy] }),
        Call::MoveStart(MoveStartRequest { caller: caller(1, 31), items: vec![to("s4"), to("s3")] }),
        Call::CopyEnd(finish()),
        Call::CopyRevoke(finish()),
        Call::MoveEnd(finish()),
        Call::MoveRevoke(finish()),
    ]
}

fn tasks() -> Vec<Call> {
    let done = CompleteTaskItem { task_id: 1, failed: true, message: "no".to_owned() };
    vec![
        Call::CreateTask(CreateTaskRequest { caller: caller(1, 40), items: vec![new_task(), new_task()] }),
        Call::FetchTasks(FetchTasksRequest { caller: caller(1, 41), limit: 5 }),
        Call::CompleteTask(CompleteTaskRequest { caller: caller(1, 42), items: vec![done] }),
        Call::ListTasks(ListTasksRequest { task_ids: vec![1, 2], after: 0 }),
        Call::ListTasks(ListTasksRequest::default()),
    ]
}

/// The refusals of an answer's items.
pub fn refusals(answer: Answer) -> Vec<Refusal> {
    let refusals: Vec<Option<Refusal>> = match answer {
        Answer::MountSegment(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::UnmountSegment(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::PutStart(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::PutEnd(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::PutRevoke(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::GetReplicas(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::Remove(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::Pin(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::TransferStart(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::TransferFinish(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::CreateTask(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::CompleteTask(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::Error(_)
        | Answer::Heartbeat(_)
        | Answer::ListSegments(_)
        | Answer::Exists(_)
        | Answer::RemoveMany(_)
        | Answer::ListKeys(_)
        | Answer::FetchTasks(_)
        | Answer::ListTasks(_) => Vec::new(),
    };
    refusals.into_iter().flatten().collect()
}
