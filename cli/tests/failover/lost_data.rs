//! A coordinator that is emptied, restored from a backup, or damaged: no second cluster begins, a
//! primary that may answer writes its record again, and what no member may decide waits visibly for
//! an operator.

use std::time::Duration;

use client::{Client, Options, Transport};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::check::nothing_is_lost;
use crate::cluster::{Cluster, Spec, understudy};
use crate::etcd::Etcd;
use crate::load::Load;
use crate::view::{View, epoch};

const RECORD: &str = "/understudy/default/config";
const WRITERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 200;
/// A lease of etcd, as by default: for so long nothing must be there before a cluster is founded.
const AS_USERS: [&str; 2] = ["--found-after-ms", "0"];

async fn cluster(names: &[&str]) -> (Etcd, Cluster) {
    let etcd = Etcd::start().await;
    let spec = Spec { coordinator: etcd.coordinator(), ..Spec::with(&AS_USERS) };
    let cluster = Cluster::start(names, spec).await;
    (etcd, cluster)
}

fn says_lost(view: &View, name: &str) -> bool {
    let cluster = view[name].as_ref().and_then(|status| status.cluster.as_ref());
    cluster.is_some_and(|cluster| !cluster.lost_data.is_empty())
}

/// In the log of some member; and there is no other bad line.
fn lost_data_is_said(cluster: &Cluster) {
    let bad = cluster.bad_lines();
    assert!(bad.iter().any(|line| line.contains("LOST DATA")), "an operator must hear of it");
    let others: Vec<_> = bad.iter().filter(|line| !line.contains("LOST DATA")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

async fn led_on_by(cluster: &Cluster, primary: &str, before: u64) {
    let has_written = |view: &View| view[primary].as_ref().is_some_and(|status| epoch(status) > before);
    cluster.wait_until("the primary has written its record again", has_written).await;
    let (now, epoch) = cluster.in_sync().await;
    assert_eq!((now.as_str(), epoch), (primary, before + 1), "the primary has written its record again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_is_deleted_is_written_again_by_its_primary_under_load() {
    let (etcd, cluster) = cluster(&["a", "b"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(CHANGES_BETWEEN).await;
    let (primary, before) = cluster.in_sync().await;
    for round in 0..3 {
        etcd.ctl(&["del", RECORD]).expect("deleted");
        let next = before + round;
        cluster.wait_until("a later epoch", |view| view.values().flatten().all(|status| epoch(status) > next)).await;
        led_on_by(&cluster, &primary, next).await;
        load.runs(CHANGES_BETWEEN).await;
    }
    let history = load.stop().await;
    lost_data_is_said(&cluster);
    nothing_is_lost(&cluster, &history).await;
}

/// A third member was being started again meanwhile, and finds nothing there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_that_comes_back_empty_makes_no_second_cluster() {
    let (mut etcd, mut cluster) = cluster(&["a", "b", "c"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(CHANGES_BETWEEN).await;
    let (primary, before) = cluster.in_sync().await;
    let third = cluster.names_but(&primary).remove(0);
    cluster.kill(&third);
    cluster
        .wait_until("the pair goes on without it", |view| {
            view[&primary].as_ref().is_some_and(|status| crate::view::count_in_sync(status) == 2)
        })
        .await;
    etcd.kill();
    etcd.forget_all();
    cluster.restart(&third);
    sleep(Duration::from_secs(2)).await;
    etcd.restart().await;
    led_on_by(&cluster, &primary, before).await;
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    lost_data_is_said(&cluster);
    nothing_is_lost(&cluster, &history).await;
}

/// The record is as it was before members left and came, all within one epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_that_is_rolled_back_within_an_epoch_is_put_right_by_the_primary() {
    let (mut etcd, mut cluster) = cluster(&["a", "b"]).await;
    let (primary, before) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    etcd.kill();
    etcd.back_up();
    etcd.restart().await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for _ in 0..2 {
        cluster.kill(&standby);
        cluster.restart(&standby);
        cluster.in_sync().await;
    }
    load.runs(CHANGES_BETWEEN).await;
    etcd.kill();
    etcd.restore();
    etcd.restart().await;
    led_on_by(&cluster, &primary, before).await;
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    lost_data_is_said(&cluster);
    nothing_is_lost(&cluster, &history).await;
}

/// All members end, and the coordinator comes back as it was some epochs ago: what begins there
/// counts from a lower epoch, and is another history to clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_use_what_begins_anew_on_a_coordinator_that_was_rolled_back() {
    let (mut etcd, mut cluster) = cluster(&["a", "b"]).await;
    cluster.in_sync().await;
    etcd.kill();
    etcd.back_up();
    etcd.restart().await;
    let clients = both_ways(&cluster).await;
    let mut epoch = 0;
    for _ in 0..2 {
        let (primary, _) = cluster.in_sync().await;
        let heir = cluster.names_but(&primary).remove(0);
        cluster.transfer(&primary, &heir).await.expect("it is in sync");
        (_, epoch) = cluster.in_sync().await;
    }
    for client in &clients {
        client.exists_one("key").await.expect("it answers");
        assert_eq!(client.epoch_seen(), epoch);
    }
    let before = clients[0].history_seen();
    for name in cluster.names() {
        cluster.kill(&name);
    }
    etcd.kill();
    etcd.restore();
    etcd.restart().await;
    for name in cluster.names() {
        cluster.restart(&name);
    }
    let (_, anew) = cluster.in_sync().await;
    assert!(anew < epoch, "epoch {anew} begins behind {epoch}");
    for client in &clients {
        client.exists_one("key").await.expect("what is there now answers");
        assert!(client.history_seen() != before && client.epoch_seen() == anew);
    }
}

pub(crate) async fn both_ways(cluster: &Cluster) -> Vec<Client> {
    let mut clients = Vec::new();
    for transport in [Transport::Session, Transport::Unary] {
        let mut options = Options::new(cluster.addresses());
        options.transport = transport;
        clients.push(Client::connect(options).await.expect("a member can be reached"));
    }
    clients
}

/// No member may decide: the operator does, and then the survivor's data is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_is_lost_with_the_record_founds_nothing_and_the_operator_names_the_survivor() {
    let (etcd, mut cluster) = cluster(&["a", "b"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(CHANGES_BETWEEN).await;
    let (primary, before) = cluster.in_sync().await;
    let survivor = cluster.names_but(&primary).remove(0);
    let recover = |words: &[&str]| {
        let mut command = understudy();
        let ran = command.args(["recover", "--coordinator", &etcd.coordinator()]).args(words).output();
        let ran = ran.expect("it runs");
        (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
    };
    // Before it could write it again.
    cluster.signal(&primary, Signal::STOP);
    etcd.ctl(&["del", RECORD]).expect("deleted");
    cluster.kill(&primary);
    cluster.restart(&primary);
    // Longer than it takes to found a cluster on an empty coordinator.
    sleep(Duration::from_secs(8)).await;
    let names = cluster.names();
    let view = cluster.wait_until("both say so", |view| names.iter().all(|name| says_lost(view, name))).await;
    assert!(view.values().flatten().all(|status| status.role == "standby"), "{view:#?}");
    let (code, said) = recover(&[]);
    assert!(code == Some(1) && said.contains("LOST DATA"), "{said}");
    assert!(said.contains(&format!("{survivor} at")) && !said.contains(&format!("{primary} at")), "{said}");
    let (code, said) = recover(&["--yes", "--survivor", &survivor]);
    assert_eq!(code, Some(0), "{said}");
    let (leads, epoch) = cluster.in_sync().await;
    assert!(leads == survivor && epoch > before, "{leads} leads {epoch}");
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    lost_data_is_said(&cluster);
    nothing_is_lost(&cluster, &history).await;
}

/// An epoch that has no next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_with_an_impossible_epoch_ends_no_member() {
    let (etcd, cluster) = cluster(&["a", "b"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, before) = cluster.in_sync().await;
    let text = etcd.ctl(&["get", RECORD, "--print-value-only"]).expect("it is there");
    for epoch in [u64::MAX, u64::MAX - 1, 0] {
        let crafted = text.trim().replace(&format!("\"epoch\":{before},"), &format!("\"epoch\":{epoch},"));
        assert_ne!(crafted, text.trim());
        etcd.ctl(&["put", RECORD, &crafted]).expect("put");
        load.runs(CHANGES_BETWEEN).await;
        sleep(Duration::from_secs(2)).await;
    }
    etcd.ctl(&["del", RECORD]).expect("deleted");
    cluster
        .wait_until("a later epoch", |view| view.values().flatten().all(|status| self::epoch(status) > before))
        .await;
    led_on_by(&cluster, &primary, before).await;
    let history = load.stop().await;
    nothing_is_lost(&cluster, &history).await;
}
