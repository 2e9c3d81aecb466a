//! Members of an etcd cluster go and come back: as long as most of them are there, members and
//! clients here do not notice it.

use std::time::Duration;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::etcd::EtcdCluster;
use crate::history::History;
use crate::load::Load;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;

async fn pair() -> (EtcdCluster, Cluster) {
    let etcd = EtcdCluster::start().await;
    let spec = Spec { coordinator: etcd.coordinator(), ..Spec::default() };
    let cluster = Cluster::start(&["a", "b"], spec).await;
    (etcd, cluster)
}

fn check_untroubled(history: &History) {
    let troubles: Vec<_> = history.diaries.iter().flat_map(|diary| &diary.troubles).collect();
    assert!(troubles.is_empty(), "a client saw an error: {troubles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_of_etcd_killed_and_started_again_changes_nothing() {
    let (mut etcd, cluster) = pair().await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let before = cluster.in_sync().await;
    for at in 0..3 {
        load.runs(CHANGES_BETWEEN).await;
        etcd.member(at).kill();
        // Long enough for a lease to end that is not renewed at the others.
        tokio::time::sleep(Duration::from_secs(7)).await;
        etcd.restart(at).await;
    }
    load.runs(CHANGES_BETWEEN).await;
    assert_eq!(cluster.in_sync().await, before, "nobody else leads");
    let history = load.stop().await;
    check_untroubled(&history);
    check(&cluster, &history).await;
}

/// The takeover waits for etcd's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_of_etcd_killed_together_with_the_primary() {
    let (mut etcd, mut cluster) = pair().await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for _ in 0..2 {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        let leader = etcd.leader().await;
        etcd.member(leader).kill();
        let killed = std::time::Instant::now();
        cluster.kill(&primary);
        let goes_on = load.goes_on_after(epoch).await;
        println!("leader of etcd and primary killed: changes go on after {:.1?}", goes_on.since - killed);
        cluster.restart(&primary);
        cluster.in_sync().await;
        etcd.restart(leader).await;
    }
    let history = load.stop().await;
    check(&cluster, &history).await;
}
