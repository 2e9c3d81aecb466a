//! Which member the client goes to, and which epochs it does not follow.

use std::sync::Arc;
use std::time::Duration;

use proto::status;
use understudy_client::{Client, Error, Force, Transport};

use crate::master::{Act, Master};

const BOTH: [Transport; 2] = [Transport::Session, Transport::Unary];

async fn primary(epoch: u64) -> Master {
    let master = Master::start(|_| Act::Answer).await;
    master.set_epoch(epoch);
    master
}

async fn pointing_to(address: String, epoch: u64) -> Master {
    Master::start(move |_| Act::Fail(status::not_primary(address.clone(), epoch))).await
}

async fn connect(members: &[&Master], transport: Transport) -> Client {
    let mut options = members[0].options();
    options.addresses = members.iter().map(|member| member.address()).collect();
    options.transport = transport;
    Client::connect(options).await.expect("one of them listens")
}

#[tokio::test]
async fn redirect_is_followed_with_the_same_number() {
    for transport in BOTH {
        let primary = primary(4).await;
        let standby = pointing_to(primary.address(), 4).await;
        let client = connect(&[&standby], transport).await;
        let position = client.remove_one("a", Force::No).await.expect("answered by the primary");
        assert_eq!(position.epoch, 4);
        assert_eq!(standby.seen()[0].caller.request_number, 1);
        assert_eq!(primary.seen()[0].caller.request_number, 1);
        client.exists_one("a").await.expect("answered");
        assert_eq!((primary.seen().len(), standby.seen().len()), (2, 1), "it stays at the primary");
    }
}

#[tokio::test]
async fn member_without_a_hint_is_left_for_the_next_one() {
    for transport in BOTH {
        let primary = primary(4).await;
        let standby = pointing_to(String::new(), 4).await;
        let client = connect(&[&standby, &primary], transport).await;
        client.remove_one("a", Force::No).await.expect("answered by the primary");
    }
}

#[tokio::test]
async fn redirect_of_a_lower_epoch_is_not_followed() {
    for transport in BOTH {
        let old = primary(3).await;
        let standby = pointing_to(old.address(), 3).await;
        let new = primary(5).await;
        let client = connect(&[&new, &standby], transport).await;
        assert_eq!(client.exists_one("a").await, Ok(true));
        assert_eq!(client.epoch_seen(), 5);
        drop(new);
        let error = client.with_deadline(Duration::from_millis(1000)).remove_one("a", Force::No).await;
        let error = error.expect_err("the primary of epoch 5 is gone");
        assert!(matches!(error, Error::Deadline { .. } | Error::OutcomeUnknown { .. }), "{error}");
        assert!(!standby.seen().is_empty(), "the standby was asked");
        assert!(old.seen().is_empty(), "the primary of epoch 3 was not");
    }
}

#[tokio::test]
async fn answer_of_a_lower_epoch_does_not_count() {
    for transport in BOTH {
        let old = primary(3).await;
        let new = primary(5).await;
        let client = connect(&[&new, &old], transport).await;
        assert_eq!(client.exists_one("a").await, Ok(true));
        drop(new);
        let error = client.with_deadline(Duration::from_millis(1000)).remove_one("a", Force::No).await;
        let error = error.expect_err("only the deposed one answers");
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "it may have run there: {error}");
        assert!(!old.seen().is_empty());
        assert_eq!(client.epoch_seen(), 5);
    }
}

#[tokio::test]
async fn epoch_of_a_redirect_counts_as_seen() {
    let old = primary(3).await;
    let standby = pointing_to(String::new(), 6).await;
    let client = connect(&[&standby, &old], Transport::Session).await;
    let error = client.with_deadline(Duration::from_millis(300)).exists_one("a").await.expect_err("epoch 3 is over");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn two_members_that_point_at_each_other_are_asked_with_pauses() {
    for transport in BOTH {
        let left_port = Arc::new(parking_lot::Mutex::new(String::new()));
        let told = Arc::clone(&left_port);
        let right = Master::start(move |_| Act::Fail(status::not_primary(told.lock().clone(), 1))).await;
        let left = pointing_to(right.address(), 1).await;
        *left_port.lock() = left.address();
        let client = connect(&[&left, &right], transport).await.with_deadline(Duration::from_millis(500));
        let error = client.remove_one("a", Force::No).await.expect_err("nobody is primary");
        // Unknown, if the deadline falls into an attempt.
        assert!(matches!(error, Error::Deadline { .. } | Error::OutcomeUnknown { .. }), "{error}");
        let asked = left.seen().len() + right.seen().len();
        assert!((4..60).contains(&asked), "{asked} attempts");
    }
}

#[tokio::test]
async fn dead_primary_is_left_for_the_standby_that_took_over() {
    for transport in BOTH {
        let mut old = primary(1).await;
        let new = primary(2).await;
        let client = connect(&[&old, &new], transport).await;
        client.remove_one("a", Force::No).await.expect("answered");
        old.kill();
        let position = client.remove_one("b", Force::No).await.expect("answered by the new primary");
        assert_eq!(position.epoch, 2);
    }
}

#[tokio::test]
async fn connecting_names_every_address_and_why_it_failed() {
    let (first, second) = (test_ports::free_port(), test_ports::free_port());
    let mut options = understudy_client::Options::new([format!("127.0.0.1:{first}"), format!("127.0.0.1:{second}")]);
    options.connect_deadline = Duration::from_millis(100);
    let error = Client::connect(options).await.expect_err("nobody listens").to_string();
    for what in [first.to_string(), second.to_string(), "refused".to_owned()] {
        assert!(error.contains(&what), "{what}: {error}");
    }
}

#[tokio::test]
async fn connecting_waits_for_a_master_that_comes_up() {
    let mut master = Master::start(|_| Act::Answer).await;
    master.kill();
    let options = master.options();
    let connecting = tokio::spawn(Client::connect(options));
    tokio::time::sleep(Duration::from_millis(100)).await;
    master.restart().await;
    let client = connecting.await.expect("no panic").expect("it came up");
    assert_eq!(client.exists_one("a").await, Ok(true));
}
