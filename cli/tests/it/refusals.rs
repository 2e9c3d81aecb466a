//! Every reason for which one item is refused, over both transports. Nothing changes by it.

use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::*;

use crate::support::requests::{Client, all, bytes, exists, get, on, segment};
use crate::support::wire::{Wire, answer};
use crate::support::{Running, start, start_with};

const MIB: u64 = 1 << 20;

/// Why each item was refused.
fn reasons(answer: &Answer) -> Vec<Option<Reason>> {
    fn of<T>(results: &[T], refusal: impl Fn(&T) -> &Option<Refusal>) -> Vec<Option<Reason>> {
        let reason = |refusal: &Refusal| {
            assert!(!refusal.message.is_empty(), "people read it");
            refusal.reason()
        };
        results.iter().map(|result| refusal(result).as_ref().map(reason)).collect()
    }
    match answer {
        Answer::MountSegment(answer) => of(&answer.results, |result| &result.refusal),
        Answer::UnmountSegment(answer) => of(&answer.results, |result| &result.refusal),
        Answer::PutStart(answer) => of(&answer.results, |result| &result.refusal),
        Answer::PutEnd(answer) => of(&answer.results, |result| &result.refusal),
        Answer::PutRevoke(answer) => of(&answer.results, |result| &result.refusal),
        Answer::GetReplicas(answer) => of(&answer.results, |result| &result.refusal),
        Answer::Remove(answer) => of(&answer.results, |result| &result.refusal),
        Answer::Pin(answer) => of(&answer.results, |result| &result.refusal),
        Answer::TransferStart(answer) => of(&answer.results, |result| &result.refusal),
        Answer::TransferFinish(answer) => of(&answer.results, |result| &result.refusal),
        Answer::CreateTask(answer) => of(&answer.results, |result| &result.refusal),
        Answer::CompleteTask(answer) => of(&answer.results, |result| &result.refusal),
        other => panic!("{other:?} has no items"),
    }
}

struct Caller {
    wire: Wire,
    client: Client,
}

impl Caller {
    async fn expect(&mut self, call: Call, expected: &[Option<Reason>]) {
        let answer = self.wire.call(call).await.expect("the call as a whole is fine");
        assert_eq!(reasons(&answer), expected, "{answer:?}");
    }

    async fn put(&mut self, key: &str, segment: &str) {
        let start = PutStartRequest { placement: on(segment), ..self.client.put_start(&[key], 1000) };
        self.expect(Call::PutStart(start), &[None]).await;
        let end = self.client.put_end(&[key]);
        self.expect(Call::PutEnd(end), &[None]).await;
    }

    async fn start(&mut self, key: &str) -> u64 {
        let start = self.client.put_start(&[key], 1000);
        answer!(PutStart, self.wire.call(Call::PutStart(start))).results[0].put_id
    }
}

async fn callers(node: &Running) -> [Caller; 2] {
    let mut first = Caller { wire: node.session().await, client: Client::new(1) };
    let second = Caller { wire: node.unary().await, client: Client::new(2) };
    let mount = first.client.mount(vec![segment(1, MIB), segment(2, MIB)]);
    first.expect(mount, &[None, None]).await;
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_are_refused() {
    let node = start().await;
    let [mut one, mut two] = callers(&node).await;
    let put_id = one.start("k").await;
    let start = two.client.put_start(&["k"], 1000);
    two.expect(Call::PutStart(start), &[Some(Reason::WriteInProgress)]).await;
    let end = two.client.put_end(&["k", "none"]);
    two.expect(Call::PutEnd(end), &[Some(Reason::NotOwner), Some(Reason::NotFound)]).await;
    let mut end = one.client.put_end(&["k"]);
    end.items[0].put_id = put_id + 1;
    one.expect(Call::PutEnd(end), &[Some(Reason::StalePut)]).await;
    let end = one.client.put_end(&["k", "k"]);
    one.expect(Call::PutEnd(end), &[None, Some(Reason::NotWriting)]).await;
    let start = one.client.put_start(&["k", "l"], 1000);
    one.expect(Call::PutStart(start), &[Some(Reason::AlreadyExists), None]).await;
    let items = vec![PutRevokeItem { key: bytes("k"), put_id: 0 }];
    let revoke = PutRevokeRequest { caller: one.client.caller(), items, scope: 0 };
    one.expect(Call::PutRevoke(revoke), &[Some(Reason::NotWriting)]).await;
    let start = one.client.put_start(&["large"], 2 * MIB);
    one.expect(Call::PutStart(start), &[Some(Reason::NoSpace)]).await;
    two.expect(get(&["large"]), &[Some(Reason::NotFound)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_and_pins_are_refused() {
    let node = start().await;
    let [mut one, mut two] = callers(&node).await;
    for key in ["leased", "pinned"] {
        one.put(key, "s1").await;
    }
    one.start("writing").await;
    let pin = |client: &Client, key, pin: Pin| {
        Call::Pin(PinRequest { caller: client.caller(), keys: all(&[key]), pin: pin as i32, soft_pin_ttl_ms: 0 })
    };
    two.expect(pin(&two.client, "pinned", Pin::Hard), &[None]).await;
    two.expect(pin(&two.client, "none", Pin::Soft), &[Some(Reason::NotFound)]).await;
    answer!(Exists, two.wire.call(exists(&["leased"])));
    let remove = two.client.remove(&["leased", "pinned", "writing", "none"], false);
    let refused = [Reason::Leased, Reason::Pinned, Reason::WriteInProgress, Reason::NotFound].map(Some);
    two.expect(remove, &refused).await;
    let remove_all = RemoveAllRequest { caller: two.client.caller(), force: false };
    let removed = answer!(RemoveMany, two.wire.call(Call::RemoveAll(remove_all)));
    assert_eq!((removed.removed, removed.refused), (0, 3));
    let remove = two.client.remove(&["leased", "pinned", "writing"], true);
    two.expect(remove, &[None, None, None]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_refused() {
    let node = start_with(master::CommitRule::Alone, |config| config.state.segments_max = 4).await;
    let [mut one, mut two] = callers(&node).await;
    let overlapping = Segment { base: (1 << 40) + MIB / 2, ..segment(3, MIB) };
    let mount = one.client.mount(vec![overlapping, Segment { size: 2 * MIB, ..segment(1, MIB) }]);
    one.expect(mount, &[Some(Reason::SegmentConflict), Some(Reason::SegmentConflict)]).await;
    let mount = two.client.mount(vec![segment(1, MIB)]);
    two.expect(mount, &[Some(Reason::SegmentConflict)]).await;
    let unmount = |client: &Client, numbers: &[u8]| {
        let segment_ids = numbers.iter().map(|number| vec![*number; 16].into()).collect();
        Call::UnmountSegment(UnmountSegmentRequest { caller: client.caller(), segment_ids, grace_ms: 0 })
    };
    two.expect(unmount(&two.client, &[1, 9]), &[Some(Reason::NotOwner), Some(Reason::SegmentNotFound)]).await;
    // Both in one call: the second item finds the segment going, whatever the upkeep does.
    one.expect(unmount(&one.client, &[1, 1]), &[None, Some(Reason::SegmentBusy)]).await;
    let mount = two.client.mount(vec![segment(5, MIB), segment(6, MIB), segment(7, MIB), segment(8, MIB)]);
    let answer = two.wire.call(mount).await.expect("the call as a whole is fine");
    assert_eq!(reasons(&answer).last(), Some(&Some(Reason::Overloaded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_and_tasks_are_refused() {
    let node = start().await;
    let [mut one, mut two] = callers(&node).await;
    one.put("k", "s1").await;
    one.start("writing").await;
    let copies = [("none", "", "s2"), ("k", "s2", "s2"), ("k", "s1", "s9"), ("k", "s1", "s1"), ("writing", "", "s2")];
    let items = copies.map(|(key, source, target)| CopyStartItem {
        key: bytes(key),
        source_segment: source.to_owned(),
        target_segments: vec![target.to_owned()],
    });
    let copy = |client: &Client, items: &[CopyStartItem]| {
        Call::CopyStart(CopyStartRequest { caller: client.caller(), items: items.to_vec() })
    };
    let refused = [
        Reason::NotFound,
        Reason::ReplicaNotFound,
        Reason::SegmentNotFound,
        Reason::ReplicaExists,
        Reason::WriteInProgress,
    ];
    one.expect(copy(&one.client, &items), &refused.map(Some)).await;
    let item = CopyStartItem { target_segments: vec!["s2".to_owned()], ..items[3].clone() };
    one.expect(copy(&one.client, &[item]), &[None]).await;
    let finish = |client: &Client, transfer_id| TransferFinishRequest {
        caller: client.caller(),
        items: vec![TransferFinishItem { key: bytes("k"), transfer_id }],
    };
    two.expect(Call::CopyEnd(finish(&two.client, 0)), &[Some(Reason::NotOwner)]).await;
    one.expect(Call::MoveEnd(finish(&one.client, 0)), &[Some(Reason::NotWriting)]).await;
    one.expect(Call::CopyEnd(finish(&one.client, 1)), &[Some(Reason::StalePut)]).await;
    one.expect(Call::CopyEnd(finish(&one.client, 0)), &[None]).await;
    let complete = CompleteTaskRequest {
        caller: one.client.caller(),
        items: vec![CompleteTaskItem { task_id: 77, ..CompleteTaskItem::default() }],
    };
    one.expect(Call::CompleteTask(complete), &[Some(Reason::TaskNotFound)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_of_a_tenant_refuses() {
    let node = start().await;
    let [mut one, _] = callers(&node).await;
    let mut admin = admin_client::AdminClient::new(crate::support::wire::channel(node.address).await);
    let quota = SetTenantQuotaRequest { tenant: "t".to_owned(), quota_bytes: 4096 };
    admin.set_tenant_quota(quota).await.expect("it is set");
    let mut start = one.client.put_start(&["a", "b"], 4096);
    start.caller = start.caller.map(|caller| proto::v1::Caller { tenant: "t".to_owned(), ..caller });
    one.expect(Call::PutStart(start), &[None, Some(Reason::QuotaExceeded)]).await;
    let listed = admin.list_tenants(ListTenantsRequest {}).await.expect("it is listed").into_inner();
    let t = Tenant { name: "t".to_owned(), used_bytes: 4096, objects: 1, quota_bytes: 4096 };
    assert_eq!(listed.tenants[1], t);
}
