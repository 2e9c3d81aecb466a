//! Members whose end is not proven, and that do not come back: after a while another member begins
//! with nothing, and none that lives all the same may answer beside it.
//!
//! Deliberately absent: members whose end is proven. They are in `restarts`.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::check::{all_keys, check};
use crate::cluster::{Cluster, PATIENCE};
use crate::etcd::Etcd;
use crate::etcd_faults::pair;
use crate::linked::Linked;
use crate::load::{Load, connect, key};
use crate::probe::Probe;
use crate::proxy::Cut;
use crate::view::epoch;

const WRITERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(2);
const AFTER: Duration = Duration::from_millis(5000);
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
const RECORD: &str = "/understudy/default/config";
/// As short as it may be. And a member that begins anew hands out space after a second.
const ARGS: [&str; 12] = [
    "--cold-after-ms",
    "5000",
    "--etcd-lease-ttl-s",
    "2",
    "--coordinator-timeout-ms",
    "400",
    "--look-every-ms",
    "400",
    "--object-lease-ms",
    "1000",
    "--put-start-timeout-ms",
    "1000",
];

/// Until the record says that an epoch after the first has begun with nothing.
async fn claimed_anew(etcd: &Etcd) {
    let is_anew = |record: &String| record.contains("born") && !record.contains(r#""born":1,"#);
    let began = Instant::now();
    while !etcd.ctl(&["get", RECORD, "--print-value-only"]).as_ref().is_some_and(is_anew) {
        assert!(began.elapsed() < PATIENCE, "nobody begins anew");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A member that was never in the set begins anew. Returns its epoch.
async fn another_one_begins_anew(etcd: &Etcd, cluster: &mut Cluster, before: u64) -> u64 {
    cluster.plan("c", &[]);
    cluster.restart("c");
    let began = Instant::now();
    claimed_anew(etcd).await;
    let claimed = began.elapsed();
    assert!(claimed >= AFTER, "claimed after {claimed:?}: that is too early to know");
    let leads = cluster.led_by_one_of(&["c".to_owned()]).await;
    let waited = began.elapsed() - claimed;
    println!("{leads} claims after {claimed:.1?}, and leads {waited:.1?} later");
    // It is seen somewhat later than it happens.
    let waits = CONFIRMED_WITHIN - Duration::from_millis(200);
    assert!(waited >= waits, "after {waited:?}: the old primary might have been confirmed right before the claim");
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
    let (etcd, mut cluster, before) = cluster_with_something().await;
    for name in cluster.names() {
        cluster.kill(&name);
    }
    another_one_begins_anew(&etcd, &mut cluster, before).await;
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

/// They only stood still. What they hold is stale: memory in it may belong to another object by
/// now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_wake_up_after_another_one_has_begun_anew_answer_nobody_and_drop_what_they_hold() {
    let (etcd, mut cluster, before) = cluster_with_something().await;
    let (primary, _) = cluster.in_sync().await;
    let probe = Probe::start(&cluster.address(&primary), &key(0, 0), 0).await;
    sleep(Duration::from_millis(200)).await;
    for name in ["a", "b"] {
        cluster.signal(name, Signal::STOP);
    }
    let began = another_one_begins_anew(&etcd, &mut cluster, before).await;
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

/// The price: as far as the pair knows, another member may begin anew meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pair_that_etcd_does_not_confirm_answers_nobody_until_it_does() {
    let (mut etcd, cluster) = pair(&ARGS).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (_, before) = cluster.in_sync().await;
    load.runs(200).await;
    etcd.kill();
    sleep(CONFIRMED_WITHIN + Duration::from_millis(500)).await;
    let (acknowledged, rest) = (load.acknowledged(), Duration::from_secs(2));
    sleep(rest).await;
    assert_eq!(load.acknowledged(), acknowledged, "acknowledged, though etcd has not confirmed it");
    etcd.restart().await;
    load.runs(200).await;
    let (_, epoch) = cluster.in_sync().await;
    assert_eq!(epoch, before + 1, "the quicker member has taken over in the usual way");
    check(&cluster, &load.stop().await).await;
}

/// The member that etcd does confirm takes over, although it has heard the primary all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_alone_is_cut_off_from_etcd_makes_way_for_its_standby() {
    let linked = Linked::start(&["a", "b"], &ARGS).await;
    let load = Load::start(&linked.cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, before) = linked.cluster.in_sync().await;
    let standby = linked.cluster.names_but(&primary);
    load.runs(200).await;
    let cut = Instant::now();
    linked.way_to_etcd(&primary).cut(Cut::Both);
    linked.cluster.led_by_one_of(&standby).await;
    load.runs(200).await;
    let took = cut.elapsed();
    assert!(took >= CONFIRMED_WITHIN - Duration::from_millis(800), "after {took:?}: it was confirmed then");
    linked.heal();
    assert_eq!(linked.cluster.in_sync().await, (standby[0].clone(), before + 1));
    let history = load.stop().await;
    println!("longest pause {:.1?}", history.longest_pause(cut, Instant::now()));
    check(&linked.cluster, &history).await;
}

/// The primary writes it again, like one that is not bound. A member that is started then does not
/// take this for a new cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_is_lost_is_written_again_by_its_primary() {
    let (etcd, mut cluster) = pair(&ARGS).await;
    let (primary, before) = cluster.in_sync().await;
    etcd.ctl(&["del", "/understudy/", "--prefix"]).expect("etcd answers");
    cluster.wait_until("a later epoch", |view| view.values().flatten().all(|status| epoch(status) > before)).await;
    let standby = cluster.names_but(&primary).remove(0);
    cluster.kill(&standby);
    cluster.restart(&standby);
    assert_eq!(cluster.in_sync().await, (primary, before + 1), "no other cluster has begun beside it");
}
