//! What a node answers that is stopping, or that is not the primary.

use std::time::{Duration, Instant};

use master::{CommitRule, Standing};
use proto::v1::session_request::Call;
use proto::v1::*;
use tokio::time::timeout;

use crate::support::requests::{Client, exists, segment};
use crate::support::wire::{Session, answer};
use crate::support::{start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn node_that_is_not_the_primary_redirects_and_keeps_sessions() {
    let node = start().await;
    let mut wires = [node.session().await, node.unary().await];
    let hint = "10.0.0.9:7400".to_owned();
    node.node.gate().set(Standing::NotPrimary { hint: hint.clone(), epoch: 4 });
    for wire in &mut wires {
        let error = wire.call(exists(&["k"])).await.expect_err("it is not the primary");
        assert_eq!((error.reason(), error.primary_address, error.epoch), (Reason::NotPrimary, hint.clone(), 4));
    }
    let refused = Session::open(node.address).await.err().expect("no new session either");
    assert_eq!(proto::status::from_status(&refused).reason(), Reason::NotPrimary);
    node.node.gate().set(Standing::Serving);
    for wire in &mut wires {
        answer!(Exists, wire.call(exists(&["k"])));
    }
}

/// Its answer was waiting for a commit when the node lost its right to answer.
#[tokio::test(flavor = "multi_thread")]
async fn deposed_node_says_of_no_mutation_that_it_did_not_run() {
    let node = start_with(CommitRule::Peers, |_| {}).await;
    let client = Client::new(1);
    let mut session = Session::open(node.address).await.expect("it is opened");
    session.send(client.mount(vec![segment(1, 1 << 20)])).await;
    let mut unary = node.unary().await;
    let mount = client.mount(vec![segment(2, 1 << 20)]);
    let waits = tokio::spawn(async move { unary.call(mount).await });
    while node.node.tail().appended().get() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.node.gate().set(Standing::NotPrimary { hint: String::new(), epoch: 9 });
    node.node.tail().committed().close(oplog::CloseReason::Deposed { epoch: 9 });
    let (_, over_session) = session.next().await.expect("it goes on").expect("it goes on");
    let over_unary = waits.await.expect("it ends");
    for answered in [over_session, over_unary] {
        let error = answered.expect_err("nobody knows");
        assert_eq!((error.reason(), error.epoch), (Reason::OutcomeUnknown, 9));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_answers_what_is_under_way_and_refuses_the_rest() {
    let node = start_with(CommitRule::Peers, |config| config.serving.stop_linger_ms = 400).await;
    let client = Client::new(1);
    let mut session = Session::open(node.address).await.expect("it is opened");
    let mut late = node.unary().await;
    let under_way = session.send(client.mount(vec![segment(1, 1 << 20)])).await;
    let tail = node.node.tail();
    while tail.appended().get() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gate = node.node.clone();
    let began = Instant::now();
    let stopped = node.stop();
    while gate.gate().standing() != Standing::Stopping {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = session.send(exists(&["k"])).await;
    let (id, error) = session.next().await.expect("it goes on").expect("it goes on");
    assert_eq!((id, error.expect_err("it stops").reason()), (refused, Reason::ShuttingDown));
    let error = late.call(exists(&["k"])).await.expect_err("it stops");
    assert_eq!((error.reason(), error.code), (Reason::ShuttingDown, tonic::Code::Unavailable as i32));
    tail.committed().advance(3);
    let (id, answer) = session.next().await.expect("it goes on").expect("it goes on");
    assert_eq!(id, under_way);
    answer.expect("what is under way is answered");
    let end = session.next().await.expect_err("then the session ends");
    assert_eq!(end.reason(), Reason::ShuttingDown);
    timeout(Duration::from_secs(2), stopped).await.expect("it ends in time").expect("it ends well");
    assert!(began.elapsed() >= Duration::from_millis(400));
}

/// A commit that never comes does not delay the stop.
#[tokio::test(flavor = "multi_thread")]
async fn stop_does_not_wait_for_ever() {
    let node = start_with(CommitRule::Peers, |config| config.serving.stop_timeout_ms = 500).await;
    let client = Client::new(1);
    let mut unary = node.unary().await;
    let call: Call = client.mount(vec![segment(1, 1 << 20)]);
    let waits = tokio::spawn(async move { unary.call(call).await });
    while node.node.tail().appended().get() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    timeout(Duration::from_secs(2), node.stop()).await.expect("it ends in time").expect("it ends well");
    let error = waits.await.expect("it ends").expect_err("its connection is cut off");
    assert_eq!(error.reason(), Reason::OutcomeUnknown);
}
