//! Clients that hold more than their share: answers that are not read, and requests that do not
//! come completely. What they can take is bounded, they lose it again, and other clients go on
//! meanwhile.

use std::time::{Duration, Instant};

use attack::raw::{Raw, beginning, framed};
use bytes::Bytes;
use master::CommitRule;
use proto::v1::session_request::Call;
use proto::v1::{ExistsRequest, ListKeysRequest};
use tokio::time::{sleep, timeout};

use crate::support::requests::{Client, exists, segment};
use crate::support::wire::answer;
use crate::support::{Running, start_with};

const PATIENCE: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

/// Its answer takes this many times 4 KiB.
fn page(keys: u32) -> ListKeysRequest {
    ListKeysRequest { limit: keys, ..ListKeysRequest::default() }
}

/// A node whose lists are long.
async fn with_long_keys(set: impl FnOnce(&mut master::config::Config)) -> Running {
    let node = start_with(CommitRule::Alone, |config| {
        // The client stays silent afterwards, and ends none of its puts.
        config.state.client_ttl_ms = 600_000;
        config.state.put_start_timeout_ms = 600_000;
        config.serving.long_calls_max = 64;
        config.serving.unread_bytes_max = 40 * MIB;
        config.serving.connection_unread_bytes_max = 17 * MIB;
        set(config);
    })
    .await;
    let client = Client::new(1);
    let mut wire = node.session().await;
    answer!(MountSegment, wire.call(client.mount(vec![segment(1, 1 << 30)])));
    let keys: Vec<String> = (0..2000).map(|at| format!("{at:04096}")).collect();
    for keys in keys.chunks(500) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        answer!(PutStart, wire.call(Call::PutStart(client.put_start(&keys, 64))));
    }
    node
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Calls one after the other, over either transport, and a long list now and then: none is refused,
/// none is cut off.
async fn stays_polite(node: &Running, until: impl Fn() -> bool) -> u64 {
    let mut wires = [node.unary().await, node.session().await];
    let mut calls = 0;
    while !until() {
        for wire in &mut wires {
            answer!(Exists, wire.call(exists(&["a"])));
        }
        if calls % 50 == 0 {
            let listed = answer!(ListKeys, wires[0].call(Call::ListKeys(page(1000))));
            assert_eq!(listed.keys.len(), 1000);
        }
        calls += 1;
        sleep(Duration::from_millis(2)).await;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_reads_nothing_holds_its_share_only_and_is_closed() {
    let node = with_long_keys(|config| config.serving.unread_ms_max = 1500).await;
    for window_bytes in [0, 1] {
        let mut greedy = Raw::open(node.address, window_bytes).await.expect("it is let in");
        for _ in 0..40 {
            greedy.send("Metadata/ListKeys", framed(&page(1000)), true).await;
        }
        until("it holds something", || node.node.unread_bytes() > 4 * MIB).await;
        let began = Instant::now();
        let calls = stays_polite(&node, || {
            assert!(node.node.unread_bytes() <= 40 * MIB);
            greedy.is_over()
        });
        assert!(timeout(PATIENCE, calls).await.expect("it is closed") > 0);
        assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        until("all is given back", || node.node.unread_bytes() == 0).await;
    }
}

/// Together they could hold more than there is.
#[tokio::test(flavor = "multi_thread")]
async fn many_connections_that_read_nothing_cost_no_other_one_its_call() {
    let node = with_long_keys(|_| {}).await;
    let mut greedy = Vec::new();
    for _ in 0..6 {
        let mut raw = Raw::open(node.address, 0).await.expect("it is let in");
        for _ in 0..5 {
            raw.send("Metadata/ListKeys", framed(&page(900)), true).await;
        }
        greedy.push(raw);
    }
    until("all is taken", || node.node.unread_bytes() > 24 * MIB || greedy.iter().any(Raw::is_over)).await;
    let began = Instant::now();
    let calls = stays_polite(&node, || {
        assert!(node.node.unread_bytes() <= 60 * MIB, "{} bytes", node.node.unread_bytes());
        began.elapsed() > Duration::from_secs(3)
    });
    assert!(calls.await > 0);
    assert!(greedy.iter().any(Raw::is_over), "some have lost what they held");
}

/// 40 prefixes announce 640 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_only_announced_take_no_memory_from_others() {
    let node = start_with(CommitRule::Alone, |config| config.serving.request_bytes_max = 17 * MIB).await;
    let mut greedy = Raw::open(node.address, 65_535).await.expect("it is let in");
    for _ in 0..40 {
        assert!(greedy.send("Metadata/Exists", beginning(16 << 20, 100), false).await);
    }
    sleep(Duration::from_millis(300)).await;
    assert!(node.node.request_bytes() < MIB, "{} bytes", node.node.request_bytes());
    let keys = vec![Bytes::from(vec![b'k'; 4096]); 2000];
    for mut wire in [node.session().await, node.unary().await] {
        let call = Call::Exists(ExistsRequest { caller: None, keys: keys.clone(), standby: None });
        assert_eq!(answer!(Exists, wire.call(call)).exists.len(), 2000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_are_given_up_in_time() {
    let node = start_with(CommitRule::Alone, |config| config.serving.request_ms_max = 300).await;
    let mut slow = Raw::open(node.address, 65_535).await.expect("it is let in");
    for method in ["Metadata/Exists", "Metadata/Session"] {
        assert!(slow.send(method, beginning(1000, 100), false).await);
    }
    until("both have begun", || node.node.request_bytes() > 0).await;
    for (response, _stream) in slow.kept.drain(..) {
        let response = timeout(PATIENCE, response).await.expect("it is answered").expect("it is not cut off");
        let (head, mut body) = response.into_parts();
        let mut trailers = head.headers;
        if !trailers.contains_key("grpc-status") {
            while timeout(PATIENCE, body.data()).await.expect("it ends").is_some() {}
            trailers = body.trailers().await.expect("it is not cut off").expect("it says how it ended");
        }
        assert_eq!(trailers["grpc-status"], "3", "{trailers:?}");
        assert!(trailers["grpc-message"].to_str().is_ok_and(|text| text.contains("request_ms_max")), "{trailers:?}");
    }
    until("memory is given back", || node.node.request_bytes() == 0).await;
}
