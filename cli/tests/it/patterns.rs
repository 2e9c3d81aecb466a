//! Patterns that take long: they end with their caller, and by themselves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use master::CommitRule;
use proto::v1::session_request::Call;
use proto::v1::{ListKeysRequest, Reason, RemoveMatchingRequest};
use tokio::time::{sleep, timeout};

use crate::support::requests::{Client, list_all, segment};
use crate::support::wire::{Session, answer};
use crate::support::{Running, start_with};

const PATIENCE: Duration = Duration::from_secs(20);
/// Tens of milliseconds for each of the keys here: in random letters no state of it recurs.
const SLOW: &str = "a[ab]{900}c";

async fn with_slow_keys(count: usize, pattern_ms_max: u64) -> Running {
    let node = start_with(CommitRule::Alone, |config| {
        // The client stays silent afterwards, and ends none of its puts.
        config.state.client_ttl_ms = 600_000;
        config.state.put_start_timeout_ms = 600_000;
        config.serving.long_calls_max = 1;
        config.serving.pattern_ms_max = pattern_ms_max;
    })
    .await;
    let client = Client::new(1);
    let mut wire = node.session().await;
    answer!(MountSegment, wire.call(client.mount(vec![segment(1, 1 << 30)])));
    let keys: Vec<String> = (0..count).map(|at| format!("{at:06}{}", letters(at as u64 + 1))).collect();
    for keys in keys.chunks(500) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        answer!(PutStart, wire.call(Call::PutStart(client.put_start(&keys, 64))));
    }
    node
}

/// 4,000 letters "a" and "b", as if at random.
fn letters(seed: u64) -> String {
    let mut rng = oplog::Rng::new(seed);
    (0..4000).map(|_| ['a', 'b'][rng.below(2)]).collect()
}

fn list(regex: &str, page_token: Bytes) -> Call {
    Call::ListKeys(ListKeysRequest { regex: regex.to_owned(), page_token, ..ListKeysRequest::default() })
}

fn remove(client: &Client, regex: &str) -> Call {
    Call::RemoveMatching(RemoveMatchingRequest { caller: client.caller(), regex: regex.to_owned(), force: true })
}

/// The only place for long calls is free.
async fn place_is_free(node: &Running) -> bool {
    node.unary().await.call(list_all()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_call_ends_when_its_caller_has_gone() {
    let node = with_slow_keys(1000, 600_000).await;
    let client = Client::new(2);
    for call in [list(SLOW, Bytes::new()), remove(&client, SLOW)] {
        for over_session in [true, false] {
            if over_session {
                let mut session = Session::open(node.address).await.expect("it is opened");
                session.send(call.clone()).await;
                sleep(Duration::from_millis(200)).await;
                assert!(!place_is_free(&node).await, "it is under way");
                drop(session);
            } else {
                let mut wire = node.unary().await;
                let given_up = timeout(Duration::from_millis(200), wire.call(call.clone())).await;
                assert!(given_up.is_err(), "it takes long");
            }
            let began = Instant::now();
            while !place_is_free(&node).await {
                assert!(began.elapsed() < PATIENCE, "its place is not given back");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_whose_pattern_takes_too_long_ends_its_page_and_goes_on() {
    let node = with_slow_keys(60, 100).await;
    let mut wire = node.session().await;
    let (mut token, mut pages, mut keys) = (Bytes::new(), 0, Vec::new());
    loop {
        let page = timeout(PATIENCE, wire.call(list("a[ab]{700}b", token)));
        let page = answer!(ListKeys, async { page.await.expect("it is answered in time") });
        keys.extend(page.keys.into_iter().map(|info| info.key));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 60, "in {pages} pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_whose_pattern_takes_too_long_is_refused_by_the_name_of_the_setting() {
    let node = with_slow_keys(100, 100).await;
    let mut wire = node.session().await;
    let removed = timeout(PATIENCE, wire.call(remove(&Client::new(2), SLOW))).await.expect("it is answered in time");
    let refused = removed.expect_err("it takes too long");
    assert_eq!(refused.reason(), Reason::InvalidArgument, "{refused:?}");
    assert!(refused.message.contains("pattern_ms_max"), "{refused:?}");
    assert!(place_is_free(&node).await);
}
