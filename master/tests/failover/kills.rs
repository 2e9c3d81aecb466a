//! kill -9 of the primary under load, again and again: nothing acknowledged is lost.

use std::time::{Duration, Instant};

use crate::check::{check, report};
use crate::cluster::{Cluster, Spec};
use crate::load::Load;

const WRITERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(2);
/// Acknowledged changes between a cluster that is whole again and the next kill.
const CHANGES_BETWEEN: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_killed_ten_times_loses_nothing() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    primary_is_killed(cluster, 10).await;
}

/// Each time the one that was killed is started again, and is in sync before the next kill.
pub(crate) async fn primary_is_killed(mut cluster: Cluster, times: usize) {
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let mut kills = Vec::new();
    for _ in 0..times {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        kills.push((Instant::now(), epoch));
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        cluster.restart(&primary);
    }
    cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    println!("{}", history.summary());
    let outages = kills.iter().map(|(at, epoch)| history.outage(*at, *epoch).expect("it was waited for"));
    report("kill -9 of the primary to the next acknowledged change", outages.collect());
    check(&cluster, &history).await;
}
