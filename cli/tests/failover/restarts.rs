//! Members that start when they should not, or when no other one is left.

use std::time::{Duration, Instant};

use client::{Client, Options, PutOptions, PutStartItem};
use tokio::time::sleep;

use crate::check::{all_keys, check};
use crate::cluster::{Cluster, PATIENCE, Spec};
use crate::health::health_says;
use crate::load::{Load, connect};
use crate::lost_data::both_ways;
use crate::view::epoch;

const WRITERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_copy_of_a_member_is_refused_by_name() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let before = cluster.in_sync().await;
    for name in ["a", "b"] {
        let port = test_ports::free_port();
        let mut copy = cluster.copy(name, &port);
        let status = copy.ended_within(PATIENCE).await;
        let log = copy.log();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.lines().any(|line| line.starts_with("error: ")), "{log}");
        for needed in [format!("{name:?}"), cluster.address(name)] {
            assert!(log.contains(&needed), "{needed} is not named: {log}");
        }
    }
    assert_eq!(cluster.in_sync().await, before, "nobody else noticed");
    cluster.check_logs();
}

/// Kills all members of a cluster that holds something, the primary last. Returns the primary and
/// its epoch.
async fn all_killed(cluster: &mut Cluster) -> (String, u64) {
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    let (primary, epoch) = cluster.in_sync().await;
    let _ = load.stop().await;
    // As nearly at the same moment as possible: the set still has both.
    for name in cluster.names() {
        cluster.kill(&name);
    }
    (primary, epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_whose_members_are_all_killed_begins_anew_with_nothing() {
    // So that a member that begins anew hands out space after a second.
    let args = ["--unclean", "cold", "--object-lease-ms", "1000", "--put-start-timeout-ms", "1000"];
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&args)).await;
    let (primary, before) = all_killed(&mut cluster).await;
    cluster.restart(&primary);
    let (name, epoch) = cluster.in_sync().await;
    assert!(name == primary && epoch > before, "{name} leads in epoch {epoch}; {primary} did in {before}");
    let status = cluster.status(&primary).await.expect("it answers");
    assert_eq!((status.objects, status.segments, status.clients), (0, 0, 0), "{status:#?}");
    assert!(all_keys(&connect(&cluster.addresses()).await).await.is_empty());
    for name in cluster.names().into_iter().filter(|name| *name != primary) {
        cluster.restart(&name);
    }
    let (_, epoch) = cluster.in_sync().await;
    health_says(&cluster, "OK", 0, &format!("note: the cluster began anew with no objects in epoch {epoch}")).await;
    cluster.in_sync().await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    check(&cluster, &load.stop().await).await;
}

/// What was promised before holds for a while, whichever member leads then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_takes_over_from_one_that_began_anew_hands_out_no_space_either() {
    let args = ["--unclean", "cold", "--object-lease-ms", "1000", "--put-start-timeout-ms", "20000"];
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&args)).await;
    let (primary, _) = all_killed(&mut cluster).await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    for name in cluster.names_but(&primary) {
        cluster.restart(&name);
    }
    let (first, _) = cluster.in_sync().await;
    cluster.kill(&first);
    cluster.led_by_one_of(&cluster.names_but(&first)).await;
    let options = Options { deadline: Duration::from_millis(500), ..Options::new(cluster.addresses()) };
    let client = Client::connect(options).await.expect("one of them leads");
    let put = client.put_start(&[PutStartItem::new("key", 64)], PutOptions::default()).await;
    let refused = put.expect_err("it is too early").to_string();
    assert!(refused.contains("this cluster began anew with nothing"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_that_waits_stays_down_when_all_are_killed_and_says_so() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&["--unclean", "wait"])).await;
    let (_, before) = all_killed(&mut cluster).await;
    for name in cluster.names() {
        cluster.restart(&name);
    }
    let view = cluster.wait_until("both answer", |view| view.values().all(Option::is_some)).await;
    assert!(view.values().flatten().all(|status| status.role == "standby"), "{view:#?}");
    // Long enough for every wait of an election, several times over.
    sleep(Duration::from_secs(3)).await;
    let view = cluster.view().await;
    for status in view.values() {
        let status = status.as_ref().expect("it answered before");
        let told = status.cluster.as_ref().expect("it is in a cluster");
        assert_eq!((status.role.as_str(), epoch(status), told.promotable), ("standby", before, false), "{view:#?}");
        assert!(!told.not_promotable.is_empty(), "{told:#?}");
    }
    let options = Options { deadline: Duration::from_millis(500), ..Options::new(cluster.addresses()) };
    let client = Client::connect(options).await.expect("they listen");
    let refused = client.get("client-00/00000000").await;
    assert!(refused.is_err(), "somebody answered: {refused:?}");
}

/// A client of the old cluster has seen higher epochs, which must not stop it: another cluster
/// counts from 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_cluster_that_is_gone_use_the_one_that_is_founded_at_its_place() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let clients = both_ways(&cluster).await;
    let (primary, _) = cluster.in_sync().await;
    cluster.kill(&primary);
    let second = cluster.led_by_one_of(&cluster.names_but(&primary)).await;
    for client in &clients {
        client.exists_one("key").await.expect("it answers");
        assert!(client.epoch_seen() >= 2);
    }
    let seen = clients[0].history_seen().expect("members say it");
    assert_eq!(clients[1].history_seen(), Some(seen));
    cluster.kill(&second);
    std::fs::remove_dir_all(cluster.dir().join("coordinator")).expect("all that is known of the cluster");
    for name in ["a", "b"] {
        cluster.restart(name);
    }
    cluster.in_sync().await;
    for client in &clients {
        let began = Instant::now();
        client.exists_one("key").await.expect("the new cluster answers it");
        println!("used after {:.1?}", began.elapsed());
        assert_ne!(client.history_seen(), Some(seen));
        assert_eq!(client.epoch_seen(), 1);
    }
}
