//! Three members: standbys go and come back, then the primary goes; nothing is lost.

use std::time::Duration;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::load::Load;

const WRITERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_standbys_killed_in_turn_and_then_the_primary() {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    let standbys: Vec<_> = cluster.names().into_iter().filter(|name| *name != primary).collect();
    for standby in &standbys {
        load.runs(CHANGES_BETWEEN).await;
        cluster.kill(standby);
        load.runs(CHANGES_BETWEEN).await;
    }
    let lonely = cluster.in_sync().await;
    assert_eq!(lonely, (primary.clone(), epoch), "who leads goes on alone");
    for standby in &standbys {
        cluster.restart(standby);
        load.runs(CHANGES_BETWEEN).await;
    }
    cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    cluster.kill(&primary);
    load.goes_on_after(epoch).await;
    cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    let history = load.stop().await;
    println!("{}", history.summary());
    check(&cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_of_three_killed_until_each_has_led() {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let mut led = std::collections::BTreeSet::new();
    // The first one, another one, and the last one at once after it: nobody waits for whoever is dead already.
    for _ in 0..4 {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        let (second, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN / 3).await;
        cluster.kill(&second);
        load.goes_on_after(epoch).await;
        load.runs(CHANGES_BETWEEN / 3).await;
        cluster.restart(&primary);
        cluster.restart(&second);
        led.extend([primary, second]);
    }
    cluster.in_sync().await;
    println!("led: {led:?}");
    let history = load.stop().await;
    println!("{}", history.summary());
    check(&cluster, &history).await;
}
