//! Every method once, over both transports, with the required answer.

use std::time::Duration;

use crate::support::requests::{Client, all, bytes, exists, get, list_all, on, segment};
use crate::support::wire::{Wire, answer};
use crate::support::{Running, start};
use proto::v1::heartbeat_response::ClientState;
use proto::v1::session_request::Call;
use proto::v1::*;

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_over_unary() {
    let node = start().await;
    let wire = node.unary().await;
    every_method(&node, wire).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_over_a_session() {
    let node = start().await;
    let wire = node.session().await;
    every_method(&node, wire).await;
}

async fn every_method(node: &Running, mut wire: Wire) {
    let client = Client::new(7);
    segments_come(&mut wire, &client).await;
    objects_are_written_and_read(&mut wire, &client).await;
    replicas_are_copied_and_moved(&mut wire, &client).await;
    tasks_are_carried_out(&mut wire, &client).await;
    everything_goes(&mut wire, &client).await;
    node.node.state().check().expect("the state is consistent");
}

async fn segments_come(wire: &mut Wire, client: &Client) {
    let heartbeat = || Call::Heartbeat(HeartbeatRequest { caller: client.caller(), host: "host1".to_owned() });
    let heard = answer!(Heartbeat, wire.call(heartbeat()));
    assert_eq!(heard.state(), ClientState::NeedsRemount);
    assert_eq!(heard.client_ttl_ms, 10_000);

    let segments = vec![segment(1, MIB), segment(2, MIB)];
    let remount = Call::RemountSegments(RemountSegmentsRequest { caller: client.caller(), segments });
    let mounted = answer!(MountSegment, wire.call(remount));
    assert_eq!(
        mounted.results.iter().map(|result| (result.refusal.is_none(), result.kept)).collect::<Vec<_>>(),
        [(true, false), (true, false)]
    );
    let disk = Segment { kind: SegmentKind::Disk as i32, base: 0, path: "/data".to_owned(), ..segment(3, MIB) };
    let mounted = answer!(MountSegment, wire.call(client.mount(vec![segment(1, MIB), disk])));
    assert_eq!(mounted.results.iter().map(|result| result.kept).collect::<Vec<_>>(), [true, false]);
    assert_eq!(answer!(Heartbeat, wire.call(heartbeat())).state(), ClientState::Ok);

    let list = |client_id, name: &str| {
        Call::ListSegments(ListSegmentsRequest { client_id, name: name.to_owned(), standby: None })
    };
    let listed = answer!(ListSegments, wire.call(list(bytes(""), "")));
    assert_eq!(listed.segments.len(), 3);
    let listed = answer!(ListSegments, wire.call(list(client.id.to_vec().into(), "s2")));
    let status = &listed.segments[0];
    assert_eq!(status.segment, Some(segment(2, MIB)));
    assert_eq!((status.state(), status.used_bytes, status.objects), (SegmentState::Mounted, 0, 0));
    assert_eq!(status.client_id, client.id.to_vec());
}

async fn objects_are_written_and_read(wire: &mut Wire, client: &Client) {
    let placement = Some(Placement { replicas: 2, disk_replicas: 1, ..Placement::default() });
    let start = PutStartRequest { placement, ..client.put_start(&["a", "b"], 1000) };
    let started = answer!(PutStart, wire.call(Call::PutStart(start)));
    assert_eq!(started.put_start_timeout_ms, 30_000);
    assert_eq!(started.segments.len(), 3);
    for result in &started.results {
        assert!(result.refusal.is_none() && result.put_id > 0);
        assert_eq!(result.replicas.len(), 3);
        for replica in &result.replicas {
            let of = &started.segments[replica.segment as usize];
            assert_eq!(of.endpoint, format!("10.0.0.{}:9000", &of.name[1..]));
            assert_eq!(replica.path.starts_with("/data/"), of.kind() == SegmentKind::Disk);
            assert_eq!(replica.address > 0, of.kind() == SegmentKind::Memory);
            assert!(!replica.complete);
        }
    }
    let exist = answer!(Exists, wire.call(exists(&["a", "b"])));
    assert_eq!(exist.exists, [false, false], "no reader sees what is being written");

    let mut end = client.put_end(&["a"]);
    end.items[0].put_id = started.results[0].put_id;
    end.items[0].checksum = Some(99);
    assert_eq!(answer!(PutEnd, wire.call(Call::PutEnd(end))).results, [PutEndResult { refusal: None }]);
    let revoke = PutRevokeRequest {
        caller: client.caller(),
        items: vec![PutRevokeItem { key: bytes("b"), put_id: 0 }],
        scope: ReplicaScope::All as i32,
    };
    assert_eq!(answer!(PutRevoke, wire.call(Call::PutRevoke(revoke))).results, [PutRevokeResult { refusal: None }]);

    let exist = answer!(Exists, wire.call(exists(&["a", "b"])));
    assert_eq!((exist.exists, exist.lease_ms), (vec![true, false], 10_000));
    let got = answer!(GetReplicas, wire.call(get(&["b", "a"])));
    assert_eq!(got.results[0].refusal.as_ref().map(Refusal::reason), Some(Reason::NotFound));
    assert_eq!((got.results[1].size, got.results[1].checksum), (1000, Some(99)));
    assert_eq!(got.results[1].replicas.len(), 3);
    assert!(got.results[1].replicas.iter().all(|replica| replica.complete));
    let position = got.position.expect("every answer has one");
    assert!(position.epoch == 1 && position.seq > 0);

    let listed = answer!(ListKeys, wire.call(list_all()));
    let a = KeyInfo { key: bytes("a"), size: 1000, replicas: 3, complete: true, pin: Pin::None as i32 };
    assert_eq!(listed.keys, std::slice::from_ref(&a));
    assert!(listed.next_page_token.is_empty());

    let pin = PinRequest { caller: client.caller(), keys: all(&["a"]), pin: Pin::Hard as i32, soft_pin_ttl_ms: 0 };
    assert_eq!(answer!(Pin, wire.call(Call::Pin(pin))).results, [PinResult { refusal: None }]);
    let listed = answer!(ListKeys, wire.call(list_all()));
    assert_eq!(listed.keys, [KeyInfo { pin: Pin::Hard as i32, ..a }]);
    let unpin = UnpinRequest { caller: client.caller(), keys: all(&["a"]) };
    assert_eq!(answer!(Pin, wire.call(Call::Unpin(unpin))).results, [PinResult { refusal: None }]);
    let removed = answer!(Remove, wire.call(client.remove(&["a"], true)));
    assert_eq!(removed.results, [RemoveResult { refusal: None }]);
}

async fn put_on(wire: &mut Wire, client: &Client, key: &str, segment: &str) {
    let start = PutStartRequest { placement: on(segment), ..client.put_start(&[key], 1000) };
    let started = answer!(PutStart, wire.call(Call::PutStart(start)));
    assert_eq!(started.segments[0].name, segment);
    let ended = answer!(PutEnd, wire.call(Call::PutEnd(client.put_end(&[key]))));
    assert_eq!(ended.results, [PutEndResult { refusal: None }]);
}

async fn segments_of(wire: &mut Wire, key: &str) -> Vec<String> {
    let got = answer!(GetReplicas, wire.call(get(&[key])));
    let replicas = &got.results[0].replicas;
    let mut names: Vec<_> = replicas.iter().map(|r| got.segments[r.segment as usize].name.clone()).collect();
    names.sort();
    names
}

async fn replicas_are_copied_and_moved(wire: &mut Wire, client: &Client) {
    put_on(wire, client, "k", "s1").await;
    let copy = |targets: &[&str]| {
        let target_segments = targets.iter().map(|target| (*target).to_owned()).collect();
        let item = CopyStartItem { key: bytes("k"), source_segment: String::new(), target_segments };
        Call::CopyStart(CopyStartRequest { caller: client.caller(), items: vec![item] })
    };
    let finish = |transfer_id| TransferFinishRequest {
        caller: client.caller(),
        items: vec![TransferFinishItem { key: bytes("k"), transfer_id }],
    };
    let started = answer!(TransferStart, wire.call(copy(&["s2"])));
    let result = &started.results[0];
    assert_eq!((result.size, result.targets.len()), (1000, 1));
    let source = result.source.as_ref().expect("it has one");
    assert_eq!(started.segments[source.segment as usize].name, "s1");
    let done = [TransferFinishResult { refusal: None }];
    assert_eq!(answer!(TransferFinish, wire.call(Call::CopyRevoke(finish(result.transfer_id)))).results, done);
    assert_eq!(segments_of(wire, "k").await, ["s1"]);
    answer!(TransferStart, wire.call(copy(&["s2"])));
    assert_eq!(answer!(TransferFinish, wire.call(Call::CopyEnd(finish(0)))).results, done);
    assert_eq!(segments_of(wire, "k").await, ["s1", "s2"]);

    let item = MoveStartItem { key: bytes("k"), source_segment: "s2".to_owned(), target_segment: "s3".to_owned() };
    let start = || Call::MoveStart(MoveStartRequest { caller: client.caller(), items: vec![item.clone()] });
    answer!(TransferStart, wire.call(start()));
    assert_eq!(answer!(TransferFinish, wire.call(Call::MoveRevoke(finish(0)))).results, done);
    answer!(TransferStart, wire.call(start()));
    assert_eq!(answer!(TransferFinish, wire.call(Call::MoveEnd(finish(0)))).results, done);
    assert_eq!(segments_of(wire, "k").await, ["s1", "s3"]);
}

async fn tasks_are_carried_out(wire: &mut Wire, client: &Client) {
    let create = CreateTaskRequest {
        caller: client.caller(),
        items: vec![CreateTaskItem {
            kind: TaskKind::Copy as i32,
            key: bytes("k"),
            source_segment: "s1".to_owned(),
            target_segments: vec!["s2".to_owned()],
        }],
    };
    let created = answer!(CreateTask, wire.call(Call::CreateTask(create)));
    let task_id = created.results[0].task_id;
    let heartbeat = Call::Heartbeat(HeartbeatRequest { caller: client.caller(), host: String::new() });
    assert!(answer!(Heartbeat, wire.call(heartbeat)).tasks_waiting);
    let fetch = Call::FetchTasks(FetchTasksRequest { caller: client.caller(), limit: 0 });
    let fetched = answer!(FetchTasks, wire.call(fetch));
    let task = Task {
        task_id,
        kind: TaskKind::Copy as i32,
        tenant: String::new(),
        key: bytes("k"),
        source_segment: "s1".to_owned(),
        target_segments: vec!["s2".to_owned()],
        state: TaskState::Assigned as i32,
        message: String::new(),
        assigned_to: client.id.to_vec().into(),
    };
    assert_eq!(fetched.tasks, std::slice::from_ref(&task));
    let complete = CompleteTaskRequest {
        caller: client.caller(),
        items: vec![CompleteTaskItem { task_id, failed: true, message: "no route".to_owned() }],
    };
    let completed = answer!(CompleteTask, wire.call(Call::CompleteTask(complete)));
    assert_eq!(completed.results, [CompleteTaskResult { refusal: None }]);
    let listed = answer!(ListTasks, wire.call(Call::ListTasks(ListTasksRequest { task_ids: vec![task_id], after: 0 })));
    let failed = Task { state: TaskState::Failed as i32, message: "no route".to_owned(), ..task };
    assert_eq!(listed.tasks, [failed]);
}

async fn everything_goes(wire: &mut Wire, client: &Client) {
    put_on(wire, client, "x1", "s1").await;
    put_on(wire, client, "x2", "s2").await;
    let matching = RemoveMatchingRequest { caller: client.caller(), regex: "^x".to_owned(), force: true };
    let removed = answer!(RemoveMany, wire.call(Call::RemoveMatching(matching)));
    assert_eq!((removed.removed, removed.refused), (2, 0));
    let remove_all = RemoveAllRequest { caller: client.caller(), force: true };
    let removed = answer!(RemoveMany, wire.call(Call::RemoveAll(remove_all)));
    assert_eq!((removed.removed, removed.refused), (1, 0));

    let unmount = UnmountSegmentRequest {
        caller: client.caller(),
        segment_ids: (1..=3).map(|number| vec![number; 16].into()).collect(),
        grace_ms: 0,
    };
    let gone = answer!(UnmountSegment, wire.call(Call::UnmountSegment(unmount)));
    assert_eq!(gone.results, vec![UnmountSegmentResult { refusal: None }; 3]);
    let list = || Call::ListSegments(ListSegmentsRequest::default());
    while !answer!(ListSegments, wire.call(list())).segments.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
