//! Windows, limits of the wire, and a client whose runtime ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::v1::session_request::Call;
use understudy_client::{Client, Error, Force, PutOptions, PutStartItem, Transport};

use crate::master::{Act, Master, eventually};

#[tokio::test]
async fn no_more_calls_are_in_flight_than_the_window_has_places() {
    for transport in [Transport::Session, Transport::Unary] {
        let open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&open);
        let master = Master::start(move |_| match gate.load(Ordering::Relaxed) {
            false => Act::AnswerAfter(Duration::from_millis(300)),
            true => Act::Answer,
        })
        .await;
        let mut options = master.options();
        options.window_calls = 8;
        options.transport = transport;
        let client = Client::connect(options).await.expect("the master listens");
        let calls: Vec<_> = (0..50_u32)
            .map(|key| {
                let client = client.clone();
                tokio::spawn(async move { client.exists_one(key.to_be_bytes()).await })
            })
            .collect();
        eventually("the window fills", || master.seen().len() >= 8).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(master.seen().len(), 8, "the others wait for a place");
        assert!(client.stats().in_flight <= 8);
        open.store(true, Ordering::Relaxed);
        for call in calls {
            assert_eq!(call.await.expect("no panic"), Ok(true));
        }
        assert_eq!(master.seen().len(), 50);
    }
}

#[tokio::test]
async fn call_without_a_place_in_the_window_ends_at_its_deadline() {
    let master = Master::start(|_| Act::Swallow).await;
    let mut options = master.options();
    options.window_calls = 1;
    let client = Client::connect(options).await.expect("the master listens");
    let holder = client.clone();
    let held = tokio::spawn(async move { holder.exists_one("a").await });
    eventually("the place is taken", || master.seen().len() == 1).await;
    let error = client.with_deadline(Duration::from_millis(50)).remove_one("b", Force::No).await;
    let error = error.expect_err("no place");
    assert!(matches!(error, Error::Deadline { .. }), "nothing was sent: {error}");
    held.abort();
}

#[tokio::test]
async fn deadline_beyond_all_time_is_a_deadline() {
    let master = Master::start(|_| Act::Answer).await;
    for transport in [Transport::Session, Transport::Unary] {
        let mut options = master.options();
        options.transport = transport;
        options.deadline = Duration::MAX;
        let client = Client::connect(options).await.expect("the master listens");
        assert_eq!(client.exists_one("a").await, Ok(true));
    }
}

#[tokio::test]
async fn large_calls_take_several_places() {
    let master = Master::start(|_| Act::Swallow).await;
    let mut options = master.options();
    options.window_calls = 4;
    options.window_bytes = 16 << 20;
    let client = Client::connect(options).await.expect("the master listens");
    // Each is above 8 MiB, so it takes three of four places.
    let keys = || (0..2200_u32).map(|at| [vec![b'k'; 4000], at.to_be_bytes().to_vec()].concat()).collect::<Vec<_>>();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.exists(&keys()).await })
        })
        .collect();
    eventually("the first arrives", || master.seen().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(master.seen().len(), 1, "there is no room for the second");
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn list_beyond_the_limit_is_refused_and_nothing_is_sent() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    let items = vec![PutStartItem::new("k", 1); 10_001];
    let error = client.put_start(&items, PutOptions::default()).await.expect_err("too many");
    assert_eq!(error.to_string(), "items: 10001 items, the limit of one call is 10000");
    let keys: Vec<_> = (0..4100_u32).map(|at| [vec![b'k'; 4092], at.to_be_bytes().to_vec()].concat()).collect();
    for transport in [Transport::Session, Transport::Unary] {
        let mut options = master.options();
        options.transport = transport;
        let client = Client::connect(options).await.expect("the master listens");
        let error = client.exists(&keys).await.expect_err("too large").to_string();
        assert!(error.starts_with("request: ") && error.contains("16777216"), "{error}");
    }
    assert!(master.seen().is_empty());
}

#[tokio::test]
async fn call_just_within_the_limits_arrives_whole() {
    for transport in [Transport::Session, Transport::Unary] {
        let master = Master::start(|_| Act::Answer).await;
        let mut options = master.options();
        options.transport = transport;
        let client = Client::connect(options).await.expect("the master listens");
        let keys: Vec<_> = (0..4088_u32).map(|at| [vec![b'k'; 4092], at.to_be_bytes().to_vec()].concat()).collect();
        assert_eq!(client.exists(&keys).await.expect("answered").exists.len(), 4088);
        let Call::Exists(asked) = master.seen().remove(0).call else { panic!("it is the call") };
        assert!(asked.keys == keys);
    }
}

#[test]
fn client_whose_runtime_has_ended_says_so() {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outer = build().expect("a runtime can be built");
    let master = outer.block_on(Master::start(|_| Act::Swallow));
    let inner = build().expect("a runtime can be built");
    let client = inner.block_on(master.client());
    let waiting = client.clone();
    let call = outer.spawn(async move { waiting.remove_one("a", Force::No).await });
    outer.block_on(eventually("the call arrives", || master.seen().len() == 1));
    inner.shutdown_background();
    let lost = outer.block_on(call).expect("no panic").expect_err("its runtime is gone");
    assert!(matches!(lost, Error::OutcomeUnknown { .. }), "it was sent: {lost}");
    let refused = outer.block_on(client.exists_one("a")).expect_err("its runtime is gone");
    assert!(matches!(refused, Error::Closed { call: "Exists" }), "{refused}");
}

#[tokio::test]
async fn last_handle_takes_the_connection_with_it() {
    let master = Master::start(|_| Act::Answer).await;
    let mut options = master.options();
    options.heartbeat = understudy_client::Heartbeat::Auto;
    let client = Client::connect(options).await.expect("the master listens");
    let handle = client.clone();
    drop(client);
    handle.exists_one("a").await.expect("a clone is a handle");
    drop(handle);
    let before = master.seen().len();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(master.seen().len(), before, "no sign of life after the last handle");
}
