//! Tests that take too long for every run: for figures, and for faults that show once in a hundred
//! times.
//!
//! `./x failover` runs these without a time limit, one after the other, and shows their output.
//!
//! Deliberately absent: scenarios of their own. Each repeats another test more often or for longer.

use std::time::Duration;

use crate::cluster::{Cluster, Spec};
use crate::etcd_faults::{etcd_is_away, pair};
use crate::kills::{Kill, primary_is_killed};
use crate::soak::finds_nothing;
use crate::transfers::there_and_back;

/// How often, or for how many seconds.
fn asked() -> u32 {
    let number = std::env::var("FAILOVER_NUMBER").expect("`./x failover` says how often");
    number.parse().unwrap_or_else(|_| panic!("FAILOVER_NUMBER is {number:?}, must be a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./x failover --kills N"]
async fn kills() {
    let (_etcd, cluster) = pair(&[]).await;
    primary_is_killed(cluster, asked(), Kill::Unguarded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./x failover --guarded-kills N"]
async fn guarded_kills() {
    let (_etcd, cluster) = pair(&["--guarded"]).await;
    primary_is_killed(cluster, asked(), Kill::Guarded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./x failover --file-kills N"]
async fn file_kills() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    primary_is_killed(cluster, asked(), Kill::Unguarded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./x failover --transfers N"]
async fn transfers() {
    let (_etcd, cluster) = pair(&[]).await;
    there_and_back(cluster, asked()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./x failover --etcd-away SECONDS"]
async fn etcd_away() {
    etcd_is_away(Duration::from_secs(asked().into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ./x failover --soak SECONDS"]
async fn soak() {
    finds_nothing(Duration::from_secs(asked().into())).await;
}
