//! A primary that may not answer, for longer than its clients may be silent: their heartbeats do
//! not count, so neither may the time.
//!
//! Each test has a client that holds a segment with objects in it and calls all the time. The
//! primary is cut off from what its right to answer rests on, and comes back in the same epoch: the
//! client is still known, and its objects are there.

use std::time::Duration;

use client::{Client, PutEndItem, PutOptions, PutStartItem, ReplicaScope, Segment};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::check::all_keys;
use crate::cluster::{Cluster, PATIENCE};
use crate::etcd_faults::pair;
use crate::linked::Linked;
use crate::load::connect;
use crate::proxy::Cut;
use crate::view::epoch;

const OBJECTS: usize = 50;
const TTL: [&str; 2] = ["--client-ttl-ms", "1500"];
/// The shortest possible bound by etcd, and no member begins anew.
const BOUND: [&str; 8] = [
    "--cold-after-ms",
    "60000",
    "--etcd-lease-ttl-s",
    "2",
    "--coordinator-timeout-ms",
    "400",
    "--look-every-ms",
    "400",
];
/// Several times as long as the primary may answer, and its clients may be silent.
const AWAY: Duration = Duration::from_millis(7500);

async fn client_with_objects(cluster: &Cluster) -> Client {
    let client = connect(&cluster.addresses()).await.with_deadline(PATIENCE);
    let segment = Segment::memory("held", 1 << 44, 1 << 30, "10.0.0.1:1");
    client.mount_segment(&segment).await.expect("the segment is new");
    let keys: Vec<String> = (0..OBJECTS).map(|number| format!("object-{number}")).collect();
    let starts: Vec<_> = keys.iter().map(|key| PutStartItem::new(key.as_bytes(), 64)).collect();
    let started = client.put_start(&starts, PutOptions::default()).await.expect("there is room");
    let puts = started.results.into_iter().map(|put| put.expect("there is room").put_id);
    let ends: Vec<_> = keys.iter().zip(puts).map(|(key, put)| PutEndItem::new(key.as_bytes(), put, None)).collect();
    client.put_end(&ends, ReplicaScope::All).await.and_then(|answer| Ok(answer.all()?)).expect("they were started");
    client
}

/// The member leads the same epoch, and has forgotten no client.
async fn nobody_has_expired(cluster: &Cluster, client: &Client, primary: &str, led: u64) {
    assert_eq!(all_keys(client).await.len(), OBJECTS);
    let status = cluster.status(primary).await.expect("it answers");
    assert_eq!(epoch(&status), led, "{status:#?}");
    assert!(!cluster.log(primary).contains("have expired"), "{}", cluster.log(primary));
}

/// A client that is really silent still expires, so the clock runs again.
async fn silence_counts_again(cluster: &Cluster, client: Client, primary: &str) {
    drop(client);
    let began = std::time::Instant::now();
    while !cluster.log(primary).contains("have expired") {
        assert!(began.elapsed() < PATIENCE, "no client expires any more:\n{}", cluster.log(primary));
        sleep(Duration::from_millis(50)).await;
    }
    assert!(
        cluster.log(primary).contains("could not answer its clients; every time-out is extended by that"),
        "{}",
        cluster.log(primary)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_expires_while_etcd_and_the_standby_are_away() {
    let (mut etcd, mut cluster) = pair(&TTL).await;
    let (primary, led) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    let client = client_with_objects(&cluster).await;
    etcd.kill();
    cluster.signal(&standby, Signal::STOP);
    sleep(AWAY).await;
    etcd.restart().await;
    nobody_has_expired(&cluster, &client, &primary, led).await;
    cluster.signal(&standby, Signal::CONT);
    cluster.in_sync().await;
    silence_counts_again(&cluster, client, &primary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_of_a_lone_primary_expires_while_etcd_does_not_confirm_it() {
    let linked = Linked::start(&["a"], &[&BOUND[..], &TTL].concat()).await;
    let (primary, led) = linked.cluster.in_sync().await;
    let client = client_with_objects(&linked.cluster).await;
    linked.way_to_etcd(&primary).cut(Cut::Both);
    sleep(AWAY).await;
    linked.heal();
    nobody_has_expired(&linked.cluster, &client, &primary, led).await;
    silence_counts_again(&linked.cluster, client, &primary).await;
}

/// The standby hears its primary all the time, so it claims nothing; the primary hears no other
/// member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_expires_while_the_primary_is_heard_and_hears_nobody() {
    let linked = Linked::start(&["a", "b"], &TTL).await;
    let (primary, led) = linked.cluster.in_sync().await;
    let client = client_with_objects(&linked.cluster).await;
    linked.peer(&primary).cut(Cut::Requests);
    linked.way_to_etcd(&primary).cut(Cut::Both);
    sleep(AWAY / 2).await;
    linked.heal();
    nobody_has_expired(&linked.cluster, &client, &primary, led).await;
    linked.cluster.in_sync().await;
    silence_counts_again(&linked.cluster, client, &primary).await;
}
