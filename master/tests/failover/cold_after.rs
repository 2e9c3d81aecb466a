//! Members that nobody can see end, and that do not come back: after a while somebody begins with nothing, and nobody who lives all
//! the same may answer beside it.
//!
//! Deliberately absent: members whose end is proven. They are in `restarts`.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::check::{all_keys, check};
use crate::cluster::Cluster;
use crate::etcd::Etcd;
use crate::etcd_faults::pair;
use crate::load::{Load, connect, key};
use crate::probe::Probe;
use crate::view::epoch;

const WRITERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(2);
const AFTER: Duration = Duration::from_millis(5000);
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
/// As short as it may be.
const ARGS: [&str; 8] =
    ["--cold-after-ms", "5000", "--etcd-lease-ttl-s", "2", "--coordinator-timeout-ms", "400", "--look-every-ms", "400"];

/// A member that was never in the set begins anew; returns its epoch.
async fn another_one_begins_anew(cluster: &mut Cluster, before: u64) -> u64 {
    cluster.plan("c", &[]);
    cluster.restart("c");
    let began = Instant::now();
    let leads = cluster.led_by_one_of(&["c".to_owned()]).await;
    let took = began.elapsed();
    println!("{leads} leads after {took:.1?}");
    assert!(took >= AFTER + CONFIRMED_WITHIN, "after {took:?}: the old primary might have been confirmed right before");
    let status = cluster.status("c").await.expect("it answers");
    assert_eq!((status.objects, status.segments, status.clients), (0, 0, 0), "{status:#?}");
    assert!(epoch(&status) > before, "{status:#?}");
    epoch(&status)
}

async fn cluster_with_something() -> (Etcd, Cluster, u64) {
    let (etcd, cluster) = pair(&ARGS).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    let (_, epoch) = cluster.in_sync().await;
    check(&cluster, &load.stop().await).await;
    (etcd, cluster, epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_nobody_saw_end_are_replaced_after_a_while() {
    let (_etcd, mut cluster, before) = cluster_with_something().await;
    for name in cluster.names() {
        cluster.kill(&name);
    }
    another_one_begins_anew(&mut cluster, before).await;
    let client = connect(&[cluster.address("c")]).await;
    assert!(all_keys(&client).await.is_empty());
    for name in ["a", "b"] {
        cluster.restart(name);
    }
    assert_eq!(cluster.in_sync().await.0, "c");
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    check(&cluster, &load.stop().await).await;
}

/// They only stood still. What they hold is stale: memory that it speaks of may be somebody else's by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_wake_up_after_another_one_has_begun_anew_answer_nobody_and_drop_what_they_hold() {
    let (_etcd, mut cluster, before) = cluster_with_something().await;
    let (primary, _) = cluster.in_sync().await;
    let probe = Probe::start(&cluster.address(&primary), &key(0, 0), 0).await;
    sleep(Duration::from_millis(200)).await;
    for name in ["a", "b"] {
        cluster.signal(name, Signal::STOP);
    }
    let began = another_one_begins_anew(&mut cluster, before).await;
    let woken = Instant::now();
    for name in ["a", "b"] {
        cluster.signal(name, Signal::CONT);
    }
    assert_eq!(cluster.in_sync().await, ("c".to_owned(), began));
    probe.stop().await.check_silent_after(woken);
    assert!(all_keys(&connect(&cluster.addresses()).await).await.is_empty(), "something stale came back");
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    check(&cluster, &load.stop().await).await;
}

/// What it costs: somebody else may begin anew meanwhile, for all that the primary knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_etcd_does_not_confirm_answers_nobody_until_it_does() {
    let (mut etcd, cluster) = pair(&ARGS).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let before = cluster.in_sync().await;
    load.runs(200).await;
    etcd.kill();
    sleep(CONFIRMED_WITHIN + Duration::from_millis(500)).await;
    let (acknowledged, rest) = (load.acknowledged(), Duration::from_secs(2));
    sleep(rest).await;
    assert_eq!(load.acknowledged(), acknowledged, "acknowledged, though nobody has confirmed it");
    etcd.restart().await;
    load.runs(200).await;
    assert_eq!(cluster.in_sync().await, before, "nobody else has led, and nothing is lost");
    check(&cluster, &load.stop().await).await;
}
