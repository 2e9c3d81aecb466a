//! The guard of one put: ended, revoked, dropped, and dropped when nothing can be sent any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::status;
use proto::v1::Reason;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{PutStartResponse, PutStartResult};
use understudy_client::{Client, Error, Force, Location, PutOptions, Transport};

use crate::master::{Act, Master, eventually};

fn names(master: &Master) -> Vec<&'static str> {
    master.seen().iter().map(|seen| seen.name).collect()
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn ended_put_is_not_revoked() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    let put = client.put("key", 10, PutOptions::default()).await.expect("started");
    assert_eq!((put.key(), put.size(), put.replicas().len()), (&b"key"[..], 10, 1));
    assert_eq!(put.replicas()[0].location, Location::Memory { address: 4096 });
    let put_id = put.put_id();
    put.end(Some(42)).await.expect("ended");
    settle().await;
    assert_eq!(names(&master), ["PutStart", "PutEnd"]);
    let Call::PutEnd(end) = master.seen().remove(1).call else { panic!("it is the end") };
    assert_eq!((end.items[0].put_id, end.items[0].checksum), (put_id, Some(42)));
}

#[tokio::test]
async fn dropped_put_is_revoked_in_the_background() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    let put = client.put("key", 10, PutOptions::default()).await.expect("started");
    let put_id = put.put_id();
    drop(put);
    eventually("the revoke arrives", || master.seen().len() == 2).await;
    let Call::PutRevoke(revoke) = master.seen().remove(1).call else { panic!("it is the revoke") };
    assert_eq!((revoke.items[0].key.as_ref(), revoke.items[0].put_id), (&b"key"[..], put_id));
}

#[tokio::test]
async fn put_that_outlives_its_client_is_revoked_all_the_same() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    let put = client.put("key", 10, PutOptions::default()).await.expect("started");
    drop(client);
    drop(put);
    eventually("the revoke arrives", || names(&master) == ["PutStart", "PutRevoke"]).await;
}

#[tokio::test]
async fn revoked_put_is_revoked_once() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    let put = client.put("key", 10, PutOptions::default()).await.expect("started");
    put.revoke().await.expect("revoked");
    settle().await;
    assert_eq!(names(&master), ["PutStart", "PutRevoke"]);
}

#[tokio::test]
async fn end_of_unknown_outcome_is_not_followed_by_a_revoke() {
    let master = Master::start(|seen| if seen.name == "PutEnd" { Act::Swallow } else { Act::Answer }).await;
    let client = master.client().await.with_deadline(Duration::from_millis(800));
    let put = client.put("key", 10, PutOptions::default()).await.expect("started");
    let error = put.end(None).await.expect_err("no answer");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    settle().await;
    assert_eq!(names(&master), ["PutStart", "PutEnd"]);
}

#[tokio::test]
async fn end_that_certainly_did_not_run_is_followed_by_a_revoke() {
    let overloaded = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&overloaded);
    let master = Master::start(move |seen| match seen.name {
        "PutEnd" if gate.load(Ordering::Relaxed) => Act::Fail(status::overloaded(60_000)),
        _ => Act::Answer,
    })
    .await;
    let client = master.client().await;
    let put = client.put("key", 10, PutOptions::default()).await.expect("started");
    let error = put.end(None).await.expect_err("overloaded");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    eventually("the revoke arrives", || names(&master).contains(&"PutRevoke")).await;
}

#[tokio::test]
async fn refused_start_is_an_error() {
    let refusal = Some(status::refusal(Reason::NoSpace, "10 bytes asked, 3 free"));
    let results = vec![PutStartResult { refusal, ..Default::default() }];
    let answer = Answer::PutStart(PutStartResponse { results, ..Default::default() });
    let master = Master::start(move |_| Act::AnswerWith(Box::new(answer.clone()))).await;
    let error = master.client().await.put("key", 10, PutOptions::default()).await.expect_err("refused");
    assert_eq!(error.reason(), Some(Reason::NoSpace));
    settle().await;
    assert_eq!(names(&master), ["PutStart"], "there is nothing to revoke");
}

#[test]
fn put_that_outlives_its_runtime_is_dropped_without_harm() {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outer = build().expect("a runtime can be built");
    let master = outer.block_on(Master::start(|_| Act::Answer));
    let inner = build().expect("a runtime can be built");
    let put =
        inner.block_on(async { master.client().await.put("key", 10, PutOptions::default()).await.expect("started") });
    inner.shutdown_background();
    drop(put);
    outer.block_on(settle());
    assert_eq!(names(&master), ["PutStart"]);
}

#[tokio::test]
async fn many_dropped_puts_revoke_within_their_bound() {
    let master = Master::start(|seen| match seen.name {
        "PutRevoke" => Act::AnswerAfter(Duration::from_millis(500)),
        _ => Act::Answer,
    })
    .await;
    let client = master.client().await;
    let mut puts = Vec::new();
    for key in 0..300_u32 {
        puts.push(client.put(key.to_be_bytes(), 1, PutOptions::default()).await.expect("started"));
    }
    drop(puts);
    settle().await;
    let revokes = || master.seen_of("PutRevoke").len();
    eventually("revokes arrive", || revokes() == 256).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(revokes(), 256, "the others are left to their time-out");
}

#[tokio::test]
async fn start_that_is_dropped_while_it_is_under_way_is_revoked_once_it_has_run() {
    for transport in [Transport::Session, Transport::Unary] {
        let master = Master::start(|seen| match seen.name {
            "PutStart" => Act::AnswerAfter(Duration::from_millis(200)),
            _ => Act::Answer,
        })
        .await;
        let mut options = master.options();
        options.transport = transport;
        let client = Client::connect(options).await.expect("the master listens");
        let asks = client.clone();
        let starting = tokio::spawn(async move { asks.put("key", 10, PutOptions::default()).await.map(drop) });
        eventually("the start arrives", || names(&master) == ["PutStart"]).await;
        starting.abort();
        assert!(starting.await.expect_err("given up").is_cancelled());
        drop(client);
        eventually("the revoke arrives", || names(&master) == ["PutStart", "PutRevoke"]).await;
        let Call::PutRevoke(revoke) = master.seen().remove(1).call else { panic!("it is the revoke") };
        assert_eq!((revoke.items[0].key.as_ref(), revoke.items[0].put_id), (&b"key"[..], 1));
    }
}

#[tokio::test]
async fn start_of_unknown_outcome_is_asked_for_again_and_revoked() {
    let master = Master::start(|seen| match (seen.name, seen.attempt) {
        ("PutStart", 1) => Act::Swallow,
        _ => Act::Answer,
    })
    .await;
    let client = master.client().await.with_deadline(Duration::from_millis(300));
    let error = client.put("key", 10, PutOptions::default()).await.expect_err("no answer");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    eventually("the revoke arrives", || names(&master) == ["PutStart", "PutStart", "PutRevoke"]).await;
    let seen = master.seen();
    assert_eq!(seen[0].caller.request_number, seen[1].caller.request_number, "it is the same call");
    assert!(seen[2].caller.answered_below <= seen[1].caller.request_number + 1);
}

#[tokio::test]
async fn start_that_was_never_sent_is_not_sent_after_its_caller_gave_up() {
    let master = Master::start(|seen| if seen.name == "Exists" { Act::Swallow } else { Act::Answer }).await;
    let mut options = master.options();
    options.window_calls = 1;
    let client = Client::connect(options).await.expect("the master listens");
    let holder = client.clone();
    let held = tokio::spawn(async move { holder.exists_one("a").await });
    eventually("the window is full", || names(&master) == ["Exists"]).await;
    let asks = client.clone();
    let starting = tokio::spawn(async move { asks.put("key", 10, PutOptions::default()).await.map(drop) });
    settle().await;
    starting.abort();
    held.abort();
    assert_eq!(client.remove_one("b", Force::No).await.map(|_| ()), Ok(()));
    settle().await;
    assert_eq!(names(&master), ["Exists", "Remove"]);
}
