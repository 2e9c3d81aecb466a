//! Finding the primary by a directory, and the spare connection to the next member.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proto::status;
use understudy_client::{Announced, Client, Discovered, Discovery, Error, Force, Options, Transport};

use crate::master::{Act, Master, eventually};

const BOTH: [Transport; 2] = [Transport::Session, Transport::Unary];

/// Answers what a test has last told it.
#[derive(Debug, Default)]
struct Directory {
    says: Mutex<Option<Announced>>,
    asked: AtomicU64,
}

impl Directory {
    fn announce(&self, master: &Master) {
        *self.says.lock() = Some(Announced { address: master.address() });
    }
}

impl Discovery for Directory {
    fn primary(&self) -> Discovered<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let says = self.says.lock().clone();
        Box::pin(async move { Ok(says) })
    }
}

fn options(directory: &Arc<Directory>, first: &Master, transport: Transport) -> Options {
    let mut options = first.options();
    options.addresses.clear();
    options.transport = transport;
    options.discovery = Some(Arc::clone(directory) as Arc<dyn Discovery>);
    options
}

async fn primary(epoch: u64) -> Master {
    let master = Master::start(|_| Act::Answer).await;
    master.set_epoch(epoch);
    master
}

#[tokio::test]
async fn primary_is_found_without_an_address_and_again_when_it_has_changed() {
    for transport in BOTH {
        let (mut old, new) = (primary(1).await, primary(2).await);
        let directory = Arc::new(Directory::default());
        directory.announce(&old);
        let client = Client::connect(options(&directory, &old, transport)).await.expect("it is announced");
        assert_eq!(client.remove_one("a", Force::No).await.expect("answered").epoch, 1);
        assert_eq!(directory.asked.load(Ordering::Relaxed), 1, "it is not asked while all is well");
        old.kill();
        directory.announce(&new);
        assert_eq!(client.remove_one("b", Force::No).await.expect("answered by the new primary").epoch, 2);
    }
}

#[tokio::test]
async fn what_an_announced_member_of_a_lower_epoch_answers_does_not_count() {
    for transport in BOTH {
        let (mut new, old) = (primary(5).await, primary(3).await);
        let directory = Arc::new(Directory::default());
        directory.announce(&new);
        let client = Client::connect(options(&directory, &new, transport)).await.expect("it is announced");
        client.remove_one("a", Force::No).await.expect("answered");
        new.kill();
        directory.announce(&old);
        let error =
            client.with_deadline(Duration::from_millis(500)).exists_one("a").await.expect_err("epoch 5 is gone");
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(directory.asked.load(Ordering::Relaxed) > 1, "it was asked");
        assert!(!old.seen().is_empty(), "and followed");
    }
}

#[tokio::test]
async fn without_an_announcement_the_error_says_so() {
    let master = primary(1).await;
    let directory = Arc::new(Directory::default());
    let mut options = options(&directory, &master, Transport::Session);
    options.connect_deadline = Duration::from_millis(100);
    let error = Client::connect(options).await.expect_err("nobody is announced").to_string();
    assert!(error.contains("discovery: no primary is announced"), "{error}");
}

#[tokio::test]
async fn failover_uses_the_connection_that_was_made_before() {
    let (mut old, new) = (primary(1).await, primary(2).await);
    let third = Master::start(|_| Act::Fail(status::not_primary("", 2))).await;
    let mut options = old.options();
    options.addresses = [&old, &new, &third].map(Master::address).into();
    let client = Client::connect(options).await.expect("it listens");
    client.remove_one("a", Force::No).await.expect("answered");
    eventually("a connection to spare", || new.connections() == 1).await;
    assert!(new.seen().is_empty(), "nothing is asked over it");
    assert_eq!(third.connections(), 0, "one to spare is enough");
    old.kill();
    assert_eq!(client.remove_one("b", Force::No).await.expect("answered by the new primary").epoch, 2);
    assert_eq!(new.connections(), 1, "no other one was needed");
}

#[tokio::test]
async fn spare_connection_that_has_broken_is_no_harm() {
    let (mut old, mut new) = (primary(1).await, primary(2).await);
    let mut options = old.options();
    options.addresses = [&old, &new].map(Master::address).into();
    let client = Client::connect(options).await.expect("it listens");
    client.remove_one("a", Force::No).await.expect("answered");
    eventually("a connection to spare", || new.connections() == 1).await;
    new.kill();
    new.restart().await;
    old.kill();
    assert_eq!(client.remove_one("b", Force::No).await.expect("answered by the new primary").epoch, 2);
}
