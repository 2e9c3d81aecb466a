//! The primary stands still past its tenure, another member takes over, and the old one wakes up:
//! it answers no client, and comes back as a standby.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::load::{Load, key};
use crate::probe::Probe;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const STANDS_STILL: Duration = Duration::from_secs(2);
/// The default tenure, less the time between two beacons and what a busy machine adds. The message
/// that the standby last answered was sent after that.
const TENURE_LEFT_AT_LEAST: Duration = Duration::from_millis(500 - 2 * 50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_primary_answers_nobody_when_it_wakes_up() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    primary_stands_still(cluster, 2).await;
}

pub(crate) async fn primary_stands_still(mut cluster: Cluster, times: usize) {
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for round in 0..times {
        let (primary, epoch) = cluster.in_sync().await;
        let probe = Probe::start(&cluster.address(&primary), &key(0, 0), round).await;
        load.runs(300).await;
        cluster.signal(&primary, Signal::STOP);
        let stopped = Instant::now();
        cluster.led_by_one_of(&cluster.names_but(&primary)).await;
        let waited = stopped.elapsed();
        let taken = load.goes_on_after(epoch).await;
        let (goes_on, stopped_for) = (taken.since - stopped, STANDS_STILL);
        println!(
            "stopped for {stopped_for:?}: another one leads after {waited:.1?}, changes go on after {goes_on:.1?}"
        );
        assert!(waited >= TENURE_LEFT_AT_LEAST, "taken over after {waited:?}: its tenure may have lasted");
        sleep(STANDS_STILL.saturating_sub(stopped.elapsed())).await;
        let woken = Instant::now();
        cluster.signal(&primary, Signal::CONT);
        cluster.in_sync().await;
        load.runs(300).await;
        let answers = probe.stop().await;
        answers.check_waited_over(woken);
        answers.check_silent_after(woken);
    }
    let history = load.stop().await;
    check(&cluster, &history).await;
}
