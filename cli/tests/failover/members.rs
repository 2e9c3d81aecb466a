//! Three members and more: standbys go and come back, then the primary goes, and nothing is lost.

use std::time::Duration;

use rustix::process::Signal;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::load::Load;
use crate::view::View;

const WRITERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_standbys_killed_in_turn_and_then_the_primary() {
    standbys_and_then_the_primary_are_killed(Cluster::start(&["a", "b", "c"], Spec::default()).await).await;
}

pub(crate) async fn standbys_and_then_the_primary_are_killed(mut cluster: Cluster) {
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    let standbys: Vec<_> = cluster.names().into_iter().filter(|name| *name != primary).collect();
    for standby in &standbys {
        load.runs(CHANGES_BETWEEN).await;
        cluster.kill(standby);
        load.runs(CHANGES_BETWEEN).await;
    }
    let lonely = cluster.in_sync().await;
    assert_eq!(lonely, (primary.clone(), epoch), "the primary goes on alone");
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
    check(&cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_standbys_follow_and_the_primary_is_killed_twice() {
    let mut cluster = Cluster::start(&["a", "b", "c", "d", "e", "f"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for _ in 0..2 {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        load.runs(CHANGES_BETWEEN / 3).await;
        cluster.restart(&primary);
    }
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}

/// Its address is not told any more, and it is not asked any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_was_stopped_for_good_disappears_from_the_list() {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::default()).await;
    let (primary, _) = cluster.in_sync().await;
    let leaver = cluster.names_but(&primary).remove(0);
    cluster.signal(&leaver, Signal::TERM);
    cluster.ended(&leaver).await;
    let listed = |view: &View, by: &str| {
        let members = view[by].iter().flat_map(|status| &status.cluster).flat_map(|cluster| &cluster.members);
        members.filter(|member| member.name == leaver).count()
    };
    let left = cluster.names_but(&leaver);
    cluster
        .wait_until("it is forgotten", |view| left.iter().all(|by| view[by].is_some() && listed(view, by) == 0))
        .await;
    cluster.restart(&leaver);
    cluster.wait_until("it is back", |view| left.iter().all(|by| listed(view, by) == 1)).await;
    cluster.in_sync().await;
    cluster.check_logs();
}

/// A standby that has an entry says so at once, and that is enough. Beacons are so rare here that a
/// call that needed one would end without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_waits_for_a_beacon() {
    const RARE: [&str; 10] = [
        "--beacon-ms",
        "19000",
        "--silence-ms",
        "58000",
        "--drop-after-ms",
        "58000",
        "--lag-ms-max",
        "58000",
        "--tenure-ms",
        "60000",
    ];
    let cluster = Cluster::start(&["a", "b"], Spec::with(&RARE)).await;
    let load = Load::start(&cluster.addresses(), 1, Duration::ZERO).await;
    load.runs(5000).await;
    let history = load.stop().await;
    let troubles: Vec<_> = history.diaries.iter().flat_map(|diary| &diary.troubles).collect();
    assert!(troubles.is_empty(), "a client saw an error: {troubles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_a_members_log_says_whose_it_is_and_in_which_epoch() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&["--log-format", "json"])).await;
    let (primary, epoch) = cluster.in_sync().await;
    let other = cluster.names_but(&primary).remove(0);
    cluster.kill(&primary);
    cluster.led_by_one_of(std::slice::from_ref(&other)).await;
    for name in cluster.names() {
        let log = cluster.log(&name);
        let lines = log.lines().filter(|line| line.starts_with('{'));
        let lines: Vec<serde_json::Value> =
            lines.map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line["node"] == name.as_str()), "{log}");
        let knows = lines.iter().filter_map(|line| line["epoch"].as_u64());
        assert_eq!(knows.max(), Some(if name == other { epoch + 1 } else { epoch }), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_of_three_killed_until_each_has_led() {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let mut led = std::collections::BTreeSet::new();
    // The first one, another one, and the last one right after it: the dead member is not waited
    // for.
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
    check(&cluster, &history).await;
}
