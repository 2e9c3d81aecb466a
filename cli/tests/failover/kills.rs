//! kill -9 of the primary under load, again and again: nothing acknowledged is lost.

use std::time::{Duration, Instant};

use crate::check::{check, report};
use crate::cluster::{Cluster, Spec};
use crate::load::Load;

const WRITERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(2);
/// Acknowledged changes between a cluster that is whole again and the next kill.
const CHANGES_BETWEEN: u64 = 300;

/// Which process of a member is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kill {
    Unguarded,
    /// Its guard lives on, and ends by itself when it has reported.
    Guarded,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_killed_ten_times_loses_nothing() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    primary_is_killed(cluster, 10, Kill::Unguarded).await;
}

/// Each time the killed member is started again, and is in sync before the next kill.
pub(crate) async fn primary_is_killed(mut cluster: Cluster, times: u32, kill: Kill) {
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (mut kills, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        kills.push((Instant::now(), epoch));
        match kill {
            Kill::Unguarded => cluster.kill(&primary),
            Kill::Guarded => cluster.kill_child(&primary),
        }
        load.goes_on_after(epoch).await;
        if kill == Kill::Guarded {
            let status = cluster.ended(&primary).await;
            assert_eq!(status.code(), Some(128 + 9), "the guard ends as its member did");
        }
        let restarted = Instant::now();
        cluster.restart(&primary);
        cluster.in_sync().await;
        whole.push(restarted.elapsed());
    }
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    let outages = kills.iter().map(|(at, epoch)| history.outage(*at, *epoch).expect("it was waited for"));
    report("kill -9 of the primary to the next acknowledged change", outages.collect());
    report("restart of the killed member until both are in sync", whole);
    check(&cluster, &history).await;
    println!("{times} kills, 0 acknowledged writes lost");
}
