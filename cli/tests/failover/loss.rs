//! Links that lose packets. TCP shows loss as time: a packet is sent again after a fifth of a
//! second or more, and a connection that has lost too many ends.
//!
//! If the kernel has network namespaces and netem, the members of one test live in a namespace that
//! loses packets. Otherwise that test says so and checks nothing. The other test does the same with
//! a proxy, everywhere.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::linked::Linked;
use crate::load::Load;
use crate::proxy::Cut;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES: u64 = 300;
/// The least time before Linux sends unconfirmed data again.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);
const LOSES: &str = "netem loss 2% delay 1ms 1ms";

/// A connection loses something every third of a second, and now and then too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_stall_and_break_lose_nothing_that_was_acknowledged() {
    let linked = Linked::start(&["a", "b", "c"], &[]).await;
    let load = Load::start(&linked.cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(CHANGES).await;
    for time in 0..12 {
        let names = linked.cluster.names();
        let name = &names[time % names.len()];
        linked.peer(name).cut(Cut::Both);
        sleep(SENT_AGAIN_AFTER).await;
        linked.peer(name).heal();
        if time % 4 == 3 {
            linked.peer(name).reset();
        }
        sleep(SENT_AGAIN_AFTER / 2).await;
    }
    load.runs(CHANGES).await;
    linked.cluster.in_sync().await;
    let history = load.stop().await;
    check(&linked.cluster, &history).await;
}

/// The test below, in a namespace of its own.
#[test]
fn packets_that_are_lost_lose_nothing_that_was_acknowledged() {
    let lose = format!("ip link set lo up && tc qdisc add dev lo root {LOSES}");
    let try_it = Command::new("unshare").args(["--net", "sh", "-c", &lose]).output();
    let why = match try_it {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(why) => Some(why.to_string()),
    };
    if let Some(why) = why {
        println!("SKIPPED: this machine cannot lose packets (unshare --net, tc qdisc add … {LOSES}): {why}");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let words = format!("{lose} && exec \"$0\" --ignored --nocapture --exact loss::cluster_where_packets_are_lost");
    let status = Command::new("unshare").args(["--net", "sh", "-c", &words]).arg(own).status().unwrap();
    assert!(status.success(), "{status}; what it said stands above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "for a network that loses packets: packets_that_are_lost_lose_nothing_that_was_acknowledged"]
async fn cluster_where_packets_are_lost() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for _ in 0..3 {
        load.runs(CHANGES).await;
        let (primary, epoch) = cluster.in_sync().await;
        let killed = Instant::now();
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        println!("with {LOSES}: changes go on after {:.1?}", killed.elapsed());
        cluster.restart(&primary);
    }
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}
