//! Every call is sent as what it is and returns the API's types, on the session and as a unary
//! call.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::v1::session_request::Call;
use understudy_client::{
    Client, CopyStartItem, Error, Force, ListKeys, Location, Mounted, MoveStartItem, NewTask, Pin, PutEndItem,
    PutOptions, PutRevokeItem, PutStartItem, Reason, ReplicaScope, Segment, SegmentId, TaskKind, TaskResult, TaskState,
    TransferFinishItem, Transport,
};

use crate::master::{Act, Master};
use crate::service::LOSES_ITS_ANSWER;

#[tokio::test]
async fn every_call_comes_back_over_the_session() {
    every_call(Transport::Session).await;
}

#[tokio::test]
async fn every_call_comes_back_as_a_unary_call() {
    every_call(Transport::Unary).await;
}

async fn every_call(transport: Transport) {
    let master = Master::start(|_| Act::Answer).await;
    let mut options = master.options();
    options.transport = transport;
    let client = Client::connect(options).await.expect("the master listens");
    segments(&client).await;
    objects(&client).await;
    transfers(&client).await;
    tasks(&client).await;

    let seen = master.seen();
    let kinds: BTreeSet<_> = seen.iter().map(|seen| seen.name).collect();
    assert_eq!(kinds.len(), 26, "all calls of the contract were made: {kinds:?}");
    assert!(seen.iter().all(|seen| (seen.stream == 0) == (transport == Transport::Unary)));
    assert!(seen.iter().all(|seen| seen.attempt == 1), "nothing was sent twice");
    numbers_rise_by_one_on_what_changes_something(&master);
}

fn numbers_rise_by_one_on_what_changes_something(master: &Master) {
    let reads = ["Heartbeat", "ListSegments", "GetReplicas", "Exists", "ListKeys", "ListTasks"];
    let (read, changed): (Vec<_>, Vec<_>) = master.seen().into_iter().partition(|seen| reads.contains(&seen.name));
    assert!(read.iter().all(|seen| seen.caller.request_number == 0));
    let numbers: Vec<u64> = changed.iter().map(|seen| seen.caller.request_number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(changed.iter().all(|seen| seen.caller.answered_below == seen.caller.request_number), "one at a time");
}

async fn segments(client: &Client) {
    let segment = Segment::memory("seg", 4096, 1 << 20, "host:1");
    assert_eq!(client.mount_segment(&segment).await, Ok(Mounted::New));
    let again = client.remount_segments(std::slice::from_ref(&segment)).await.expect("answered");
    assert_eq!(again.results, [Ok(Mounted::Kept)]);
    let listed = client.list_segments(Some(client.id()), "seg").await.expect("answered");
    assert_eq!((listed.segments[0].segment.id, listed.segments[0].used_bytes), (SegmentId([1; 16]), 5));
    let heard = client.heartbeat().await.expect("answered");
    assert_eq!((heard.client_ttl, heard.needs_remount), (Duration::from_millis(300), false));
    let unmounted = client.unmount_segments(&[segment.id], Duration::from_secs(1)).await.expect("answered");
    assert_eq!(unmounted.results, [Ok(())]);
}

async fn objects(client: &Client) {
    let began = Instant::now();
    let items = [PutStartItem::new("a", 10), PutStartItem::new("b", 20)];
    let started = client.put_start(&items, PutOptions::default()).await.expect("answered");
    assert_eq!(started.results.len(), 2);
    assert!(started.finish_by >= began + Duration::from_secs(30));
    let put = started.results[0].as_ref().expect("not refused");
    let replica = &put.replicas[0];
    assert_eq!((replica.segment.name.as_str(), &replica.location), ("seg", &Location::Memory { address: 4096 }));

    let ends = [PutEndItem::new("a", put.put_id, Some(7)), PutEndItem::new("b", 0, None)];
    assert_eq!(client.put_end(&ends, ReplicaScope::All).await.expect("answered").results, [Ok(()), Ok(())]);
    let revokes = [PutRevokeItem::new("c", 3)];
    assert_eq!(client.put_revoke(&revokes, ReplicaScope::OnlyDisk).await.expect("answered").results, [Ok(())]);

    let found = client.get("a").await.expect("answered").expect("is there");
    assert_eq!((found.object.size, found.object.checksum), (1, Some(7)));
    assert!(found.leased_until >= began + Duration::from_secs(10) && found.position.epoch == 1);
    assert_eq!(client.exists(&["a", "b"]).await.expect("answered").exists, [true, true]);
    assert_eq!(client.exists_one("a").await, Ok(true));

    assert_eq!(client.pin(&["a"], Pin::Hard, None).await.expect("answered").results, [Ok(())]);
    assert_eq!(client.unpin(&["a"]).await.expect("answered").results, [Ok(())]);
    let list = ListKeys { prefix: Bytes::from_static(b"k"), ..Default::default() };
    let page = client.list_keys(list).await.expect("answered");
    assert_eq!((page.keys[0].pin, page.next_page_token.as_deref()), (Pin::Soft, Some(&b"next"[..])));
    assert!(client.remove_one("a", Force::No).await.expect("answered").seq > 0);
    assert_eq!(client.remove_matching("a.*", Force::Yes).await.expect("answered").removed, 2);
    assert_eq!(client.remove_all(Force::No).await.expect("answered").refused, 1);
}

async fn transfers(client: &Client) {
    let key = Bytes::from_static(b"a");
    let (source_segment, target) = (String::new(), "other".to_owned());
    let copy = CopyStartItem {
        key: key.clone(),
        source_segment: source_segment.clone(),
        target_segments: vec![target.clone()],
    };
    let started = client.copy_start(&[copy]).await.expect("answered").all().expect("not refused");
    assert_eq!((started[0].transfer_id, started[0].targets.len()), (3, 1));
    let finish = [TransferFinishItem { key: key.clone(), transfer_id: 3 }];
    assert_eq!(client.copy_end(&finish).await.expect("answered").results, [Ok(())]);
    assert_eq!(client.copy_revoke(&finish).await.expect("answered").results, [Ok(())]);
    let item = MoveStartItem { key, source_segment, target_segment: target };
    assert_eq!(client.move_start(&[item]).await.expect("answered").results.len(), 1);
    assert_eq!(client.move_end(&finish).await.expect("answered").results, [Ok(())]);
    assert_eq!(client.move_revoke(&finish).await.expect("answered").results, [Ok(())]);
}

async fn tasks(client: &Client) {
    let task = NewTask {
        kind: TaskKind::Move,
        key: Bytes::from_static(b"a"),
        source_segment: "seg".into(),
        target_segments: vec!["other".into()],
    };
    assert_eq!(client.create_tasks(&[task]).await.expect("answered").results, [Ok(4)]);
    let fetched = client.fetch_tasks(0).await.expect("answered").tasks;
    assert_eq!((fetched[0].task_id, fetched[0].state), (4, TaskState::Assigned));
    let done = [TaskResult { task_id: 4, failed: Some("no room".into()) }];
    assert_eq!(client.complete_tasks(&done).await.expect("answered").results, [Ok(())]);
    assert_eq!(client.list_tasks(&[4]).await.expect("answered").tasks.len(), 1);
}

#[tokio::test]
async fn what_operators_ask_comes_back() {
    for transport in [Transport::Session, Transport::Unary] {
        let mut master = Master::start(|_| Act::Answer).await;
        let mut options = master.options();
        options.transport = transport;
        let client = Client::connect(options).await.expect("the master listens");
        let status = client.status().await.expect("answered");
        assert_eq!((status.node.as_str(), status.applied.seq, status.uptime), ("fake", 9, Duration::from_millis(1500)));
        assert_eq!(client.list_tenants().await.expect("answered")[0].quota_bytes, None);
        assert_eq!(client.set_tenant_quota("t", Some(77)).await.expect("answered").seq, 10);
        master.kill();
        master.restart().await;
        assert_eq!(client.list_tenants().await.expect("answered after a restart")[0].quota_bytes, Some(77));
        let refused = client.set_tenant_quota("t", Some(0)).await.expect_err("0 stands for none");
        assert!(matches!(refused, Error::Invalid { field: "quota_bytes", .. }));
        client.set_tenant_quota("t", Some(LOSES_ITS_ANSWER)).await.expect("answered");
        let unknown = client.set_tenant_quota("t", Some(5)).await.expect_err("its answer is lost");
        assert!(matches!(unknown, Error::OutcomeUnknown { .. }), "not sent again: {unknown}");
        client.set_tenant_quota("t", None).await.expect("answered");
        assert_eq!(client.delete_tenant("t").await.expect("its first answer is lost, and it is sent again").seq, 11);
        let refused = client.delete_tenant("full").await.expect_err("it is not empty");
        assert_eq!(refused.reason(), Some(Reason::TenantNotEmpty));
        assert_eq!(client.list_tenants().await.expect("answered")[0].quota_bytes, None);
    }
}

#[tokio::test]
async fn tenant_of_a_handle_goes_with_its_calls() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    let other = client.with_tenant("other").expect("is short");
    other.exists_one("a").await.expect("answered");
    client.exists_one("a").await.expect("answered");
    let tenants: Vec<_> = master.seen().into_iter().map(|seen| seen.caller.tenant).collect();
    assert_eq!(tenants, ["other", ""]);
    assert!(matches!(client.with_tenant(&"t".repeat(257)), Err(Error::Invalid { field: "tenant", .. })));
}

#[tokio::test]
async fn refusal_of_an_item_leaves_the_others_alone() {
    use proto::v1::session_response::Answer;
    use proto::v1::{RemoveResponse, RemoveResult};
    let refusal = Some(proto::status::refusal(Reason::Leased, "for 3 s more"));
    let results = vec![RemoveResult { refusal }, RemoveResult::default()];
    let answer = Answer::Remove(RemoveResponse { position: None, results });
    let master = Master::start(move |_| Act::AnswerWith(Box::new(answer.clone()))).await;
    let results = master.client().await.remove(&["a", "b"], Force::No).await.expect("answered").results;
    assert_eq!(results[0].as_ref().expect_err("leased").reason, Reason::Leased);
    assert_eq!(results[1], Ok(()));
}

#[tokio::test]
async fn missing_object_is_none() {
    use proto::v1::session_response::Answer;
    use proto::v1::{GetReplicasResponse, GetReplicasResult};
    let refusal = Some(proto::status::refusal(Reason::NotFound, "a"));
    let results = vec![GetReplicasResult { refusal, ..Default::default() }];
    let answer = Answer::GetReplicas(GetReplicasResponse { results, ..Default::default() });
    let master = Master::start(move |_| Act::AnswerWith(Box::new(answer.clone()))).await;
    assert_eq!(master.client().await.get("a").await, Ok(None));
}

#[tokio::test]
async fn answer_to_another_call_is_an_error_and_no_panic() {
    use proto::v1::RemoveManyResponse;
    use proto::v1::session_response::Answer;
    let other = Answer::RemoveMany(RemoveManyResponse::default());
    let master = Master::start(move |_| Act::AnswerWith(Box::new(other.clone()))).await;
    let refused = master.client().await.exists_one("a").await.expect_err("makes no sense");
    assert!(matches!(refused, Error::Protocol { call: "Exists", .. }), "{refused}");
}

#[tokio::test]
async fn put_options_reach_the_master() {
    let master = Master::start(|_| Act::Answer).await;
    let options = PutOptions {
        replicas: 2,
        disk_replicas: 1,
        preferred_segments: vec!["x".into()],
        same_host: true,
        best_effort: true,
        if_exists: understudy_client::IfExists::Replace,
        pin: Pin::Soft,
        soft_pin_ttl: Some(Duration::from_secs(2)),
    };
    master.client().await.put_start(&[PutStartItem::new("k", 9)], options).await.expect("answered");
    let Call::PutStart(seen) = master.seen().remove(0).call else { panic!("a put was started") };
    let placement = seen.placement.clone().expect("is set");
    assert_eq!((placement.replicas, placement.disk_replicas, placement.same_host), (2, 1, true));
    assert!(placement.best_effort && placement.preferred_segments == ["x"]);
    assert_eq!((seen.pin(), seen.if_exists(), seen.soft_pin_ttl_ms), (Pin::Soft, proto::v1::IfExists::Replace, 2000));
    assert_eq!((seen.items[0].key.as_ref(), seen.items[0].size), (&b"k"[..], 9));
}
