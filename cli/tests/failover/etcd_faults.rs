//! The same kills with a real etcd, and etcd's own faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Client, EtcdDiscovery, EtcdOptions, Heartbeat, Options};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::check::check;
use crate::cluster::{Cluster, PATIENCE, Spec, understudy};
use crate::etcd::Etcd;
use crate::kills::{Kill, primary_is_killed};
use crate::load::Load;
use crate::members::standbys_and_then_the_primary_are_killed;
use crate::pauses::primary_stands_still;
use crate::transfers::there_and_back;
use crate::view::{View, epoch};

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const LEADER: &str = "/understudy/default/leader";
const CHANGES_BETWEEN: u64 = 300;

pub(crate) async fn pair(args: &[&str]) -> (Etcd, Cluster) {
    let etcd = Etcd::start().await;
    let spec = Spec { coordinator: etcd.coordinator(), ..Spec::with(args) };
    let cluster = Cluster::start(&["a", "b"], spec).await;
    (etcd, cluster)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_killed_under_etcd_loses_nothing() {
    let (_etcd, cluster) = pair(&[]).await;
    primary_is_killed(cluster, 10, Kill::Unguarded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_primary_killed_under_load_loses_nothing() {
    let (_etcd, cluster) = pair(&["--guarded"]).await;
    primary_is_killed(cluster, 10, Kill::Guarded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_primary_under_etcd_answers_nobody_when_it_wakes_up() {
    let (_etcd, cluster) = pair(&[]).await;
    primary_stands_still(cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_under_etcd_show_no_client_an_error() {
    let (_etcd, cluster) = pair(&[]).await;
    there_and_back(cluster, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_knows_etcd_alone_finds_the_primary_and_the_one_after_it() {
    let (etcd, mut cluster) = pair(&[]).await;
    let (primary, epoch) = cluster.in_sync().await;
    let known = EtcdOptions { endpoints: vec![etcd.url()], ..EtcdOptions::default() };
    let mut options = Options::new::<String>([]);
    options.discovery = Some(Arc::new(EtcdDiscovery::connect(known).await.expect("it is an address")));
    // Heartbeats would tell the members' addresses.
    options.heartbeat = Heartbeat::Off;
    options.deadline = PATIENCE;
    let client = Client::connect(options).await.expect("the primary has announced itself");
    assert_eq!(client.exists_one("k").await, Ok(false));
    assert_eq!(client.epoch_seen(), epoch);
    let status = client.status().await.expect("it answers");
    assert_eq!(status.node, primary);
    cluster.kill(&primary);
    assert_eq!(client.exists_one("k").await, Ok(false));
    assert!(client.epoch_seen() > epoch, "epoch {} after {epoch}", client.epoch_seen());
    let output = understudy().args(["status", "--json", "--etcd", &etcd.url()]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(r#""role": "primary""#), "{output:?}");
}

/// As long as both members see each other, they do not need etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_away_for_ten_seconds_costs_a_pair_that_waits_nothing() {
    etcd_is_away(Duration::from_secs(10)).await;
}

pub(crate) async fn etcd_is_away(lasting: Duration) {
    let (mut etcd, cluster) = pair(&["--unclean", "wait"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let before = cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    let stopped = Instant::now();
    etcd.kill();
    sleep(lasting).await;
    let started = Instant::now();
    etcd.restart().await;
    load.runs(CHANGES_BETWEEN).await;
    // Its members join again, and everything goes on as before.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.in_sync().await, before, "nobody else leads");
    let history = load.stop().await;
    println!("etcd away for {lasting:?}: longest pause {:.1?}", history.longest_pause(stopped, started));
    let troubles: Vec<_> = history.diaries.iter().flat_map(|diary| &diary.troubles).collect();
    assert!(troubles.is_empty(), "a client saw an error: {troubles:?}");
    check(&cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_standbys_and_then_the_primary_killed_under_etcd() {
    let etcd = Etcd::start().await;
    let spec = Spec { coordinator: etcd.coordinator(), ..Spec::default() };
    standbys_and_then_the_primary_are_killed(Cluster::start(&["a", "b", "c"], spec).await).await;
}

/// The kernel of this host knows that the previous process has ended, so it need not wait until its
/// lease has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_member_that_is_started_again_does_not_wait_for_its_old_lease() {
    let (_etcd, mut cluster) = pair(&["--etcd-lease-ttl-s", "600"]).await;
    for _ in 0..2 {
        let (primary, _) = cluster.in_sync().await;
        cluster.kill(&primary);
        cluster.restart(&primary);
        cluster.in_sync().await;
    }
    cluster.check_logs();
}

/// The standby dies while etcd is away: the primary cannot change the set, and answers no client
/// until it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_killed_while_etcd_is_away() {
    let (mut etcd, mut cluster) = pair(&["--unclean", "wait"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    load.runs(CHANGES_BETWEEN).await;
    etcd.kill();
    sleep(Duration::from_millis(200)).await;
    cluster.kill(&standby);
    sleep(Duration::from_secs(1)).await;
    let (before, rest) = (load.acknowledged(), Duration::from_secs(2));
    sleep(rest).await;
    assert_eq!(load.acknowledged(), before, "acknowledged alone, though another member may be promoted");
    etcd.restart().await;
    load.runs(CHANGES_BETWEEN).await;
    assert_eq!(cluster.in_sync().await, (primary, epoch));
    cluster.restart(&standby);
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}

/// The primary dies while etcd is away: the standby cannot be promoted before etcd is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_killed_while_etcd_is_away() {
    let (mut etcd, mut cluster) = pair(&["--unclean", "wait"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    etcd.kill();
    sleep(Duration::from_millis(200)).await;
    cluster.kill(&primary);
    let before = load.acknowledged();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(load.acknowledged(), before, "a member leads without a claim");
    etcd.restart().await;
    load.goes_on_after(epoch).await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}

/// The key is for discovery, and the record says which member leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_key_deleted_by_hand_changes_nothing() {
    let (etcd, cluster) = pair(&[]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let before = cluster.in_sync().await;
    for _ in 0..3 {
        load.runs(CHANGES_BETWEEN).await;
        let deleted = etcd.ctl(&["del", LEADER]).expect("etcd answers");
        assert_eq!(deleted.trim(), "1", "there was a leader key");
        let began = Instant::now();
        while etcd.ctl(&["get", LEADER, "--keys-only"]).is_none_or(|found| found.trim().is_empty()) {
            assert!(began.elapsed() < PATIENCE, "the leader key is not written again");
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(cluster.in_sync().await, before, "nobody else leads");
    let history = load.stop().await;
    let troubles: Vec<_> = history.diaries.iter().flat_map(|diary| &diary.troubles).collect();
    assert!(troubles.is_empty(), "a client saw an error: {troubles:?}");
    check(&cluster, &history).await;
}

/// The revisions at which a watch would begin are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_under_the_watches_changes_nothing() {
    let (etcd, mut cluster) = pair(&[]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for _ in 0..3 {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        let status = etcd.ctl(&["get", "/understudy/", "--prefix", "-w", "json"]).expect("etcd answers");
        let status: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
        let revision = status["header"]["revision"].as_u64().expect("it has a revision").to_string();
        etcd.ctl(&["compact", "--physical", &revision]).expect("etcd answers");
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        cluster.restart(&primary);
    }
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}

/// A member that is started while etcd is away waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_started_while_etcd_is_away_wait_for_it() {
    let (mut etcd, mut cluster) = pair(&["--unclean", "cold"]).await;
    let (primary, _) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    cluster.signal(&standby, Signal::TERM);
    cluster.ended(&standby).await;
    etcd.kill();
    cluster.restart(&standby);
    sleep(Duration::from_secs(3)).await;
    etcd.restart().await;
    cluster.in_sync().await;
    cluster.check_logs();
}

/// A guard has seen the member end, so no standby waits until its tenure must be over: that would
/// take longer than this test may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_primary_that_is_killed_is_not_waited_for() {
    let (_etcd, mut cluster) = pair(&["--guarded", "--tenure-ms", "60000"]).await;
    let (primary, before) = cluster.in_sync().await;
    let began = Instant::now();
    cluster.kill_child(&primary);
    cluster.led_by_one_of(&cluster.names_but(&primary)).await;
    println!("guarded: another one leads after {:?}", began.elapsed());
    let status = cluster.ended(&primary).await;
    assert_eq!(status.code(), Some(128 + 9), "the guard ends as its member did");
    // Its name is free at once.
    cluster.restart(&primary);
    let (_, epoch) = cluster.in_sync().await;
    assert_eq!(epoch, before + 1);
}

/// Their end is not proven, so no member goes on until an operator declares them dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_nobody_saw_end_are_declared_dead_by_a_person() {
    let (etcd, mut cluster) = pair(&[]).await;
    let (_, before) = cluster.in_sync().await;
    let recover = |words: &[&str]| {
        let mut command = understudy();
        command.args(["recover", "--coordinator", &etcd.coordinator()]).args(words);
        let ran = command.output().expect("it runs");
        (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
    };
    let (code, said) = recover(&["--yes"]);
    assert!(code == Some(1) && said.contains("is running"), "{said}");
    for name in cluster.names() {
        cluster.kill(&name);
    }
    cluster.restart("a");
    // Longer than every wait of an election.
    cluster.wait_until("a answers", |view| view["a"].is_some()).await;
    sleep(Duration::from_secs(2)).await;
    let status = cluster.status("a").await.expect("it answers");
    assert_eq!(status.role, "standby", "{status:#?}");
    // As long as the other member's lease lasts, etcd shows it as running.
    let began = Instant::now();
    let (code, said) = loop {
        let (code, said) = recover(&[]);
        if !said.contains("nothing to recover") {
            break (code, said);
        }
        assert!(began.elapsed() < PATIENCE, "{said}");
        sleep(Duration::from_millis(200)).await;
    };
    assert!(code == Some(1) && said.contains("NO objects") && said.contains("--yes"), "{said}");
    // By name: which members would be declared dead, and which are there, with what they hold. A
    // member knows by the kernel's word that its own last process has ended.
    let (of_a, of_b) = (cluster.address("a"), cluster.address("b"));
    let says =
        |start: &str, end: &str| said.lines().any(|line| line.trim_start().starts_with(start) && line.ends_with(end));
    assert!(says(&format!("b ({of_b})"), ": NOT known to have ended"), "{said}");
    assert!(
        says(&format!("a ({of_a})"), ": known to have ended") && says(&format!("a ({of_a}): "), "nothing"),
        "{said}"
    );
    assert!(said.contains(", the primary of epoch"), "{said}");
    let (code, said) = recover(&["--yes"]);
    assert!(code == Some(0) && said.contains(&format!("Declared dead: b ({of_b}).")), "{said}");
    let leads =
        |view: &View| view["a"].as_ref().is_some_and(|status| status.role == "primary" && epoch(status) > before);
    cluster.wait_until("a begins anew", leads).await;
}
