//! A member that comes when the log alone does not help any more: it gets the whole state, whatever
//! happens meanwhile.

use std::time::{Duration, Instant};

use client::{Client, PutEndItem, PutOptions, PutStartItem, ReplicaScope, Segment};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::check::{all_keys, check};
use crate::cluster::{Cluster, PATIENCE, Spec};
use crate::load::{Load, SEGMENT_BYTES, connect};
use crate::standby_reads::get;
use crate::view::{View, epoch, leader};

const OBJECTS: usize = 50_000;
/// Objects of one call: so few that the log has far more entries than the tail keeps.
const AT_ONCE: usize = 10;
const CALLS_IN_FLIGHT: usize = 64;
/// A log that holds one second of the load.
const SHORT_LOG: [&str; 6] = ["--tail-entries", "1000", "--window-entries", "400", "--join-lag-ops", "100"];
const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(4);
/// Calls at once, of two entries each, while the log has room for fewer.
const BURST: usize = 800;
/// Calls of many objects with long names, so many that their entries are more than 16 MiB.
#[cfg(feature = "faults")]
const LARGE: usize = 1000;
#[cfg(feature = "faults")]
const LARGE_CALLS: usize = 60;
/// So slow that a test can observe it: some seconds for all objects.
const SLOW: &str = "2000000";

/// Members with a short log and many objects, and one that comes later. The client keeps the
/// objects alive.
async fn full(names: &[&str], later: &str, args: &[&str]) -> (Cluster, Client) {
    let args = [&SHORT_LOG, args].concat();
    let mut cluster = Cluster::start(names, Spec::with(&args)).await;
    cluster.plan(later, &[]);
    let client = connect(&cluster.addresses()).await;
    let segment = Segment::memory("full", 1 << 60, SEGMENT_BYTES, "10.0.1.1:1");
    client.mount_segment(&segment).await.expect("the segment is new");
    let mut puts = JoinSet::new();
    for call in 0..OBJECTS / AT_ONCE {
        if puts.len() == CALLS_IN_FLIGHT {
            puts.join_next().await.expect("there are some").expect("a put does not panic");
        }
        puts.spawn(put_some(client.clone(), call));
    }
    puts.join_all().await;
    (cluster, client)
}

async fn put_some(client: Client, call: usize) {
    put(&client, "full", call * AT_ONCE, AT_ONCE).await;
}

async fn put(client: &Client, prefix: &str, from: usize, count: usize) {
    let items: Vec<_> = (from..from + count).map(|at| PutStartItem::new(format!("{prefix}/{at:08}"), 4096)).collect();
    let options = PutOptions { preferred_segments: vec!["full".to_owned()], ..PutOptions::default() };
    let answer = client.put_start(&items, options).await.expect("there is room");
    let ends: Vec<_> = items
        .iter()
        .zip(answer.results)
        .map(|(item, started)| PutEndItem::new(&item.key, started.expect("it is new").put_id, None))
        .collect();
    let ended = client.put_end(&ends, ReplicaScope::All).await.expect("they were started");
    ended.all().expect("they were started");
}

/// How far the full sync of a member is, by the primary's word.
fn shards_synced(view: &View, name: &str) -> Option<u32> {
    let members = view.values().flatten().filter(|status| status.role == "primary").flat_map(|status| &status.cluster);
    let member = members.flat_map(|cluster| &cluster.members).find(|member| member.name == name)?;
    (member.sync_shards > 0).then_some(member.sync_shards_done)
}

async fn half_synced(cluster: &Cluster, name: &str) -> u32 {
    let view = cluster.wait_until("a full sync", |view| shards_synced(view, name).is_some_and(|done| done > 200)).await;
    shards_synced(&view, name).expect("that was waited for")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_behind_the_log_gets_the_whole_state() {
    let (mut cluster, client) = full(&["a"], "b", &[]).await;
    let began = Instant::now();
    cluster.restart("b");
    cluster.in_sync().await;
    println!("full sync of {OBJECTS} objects, with the start of the process: {:.1?}", began.elapsed());
    assert!(cluster.log("b").contains("full sync is complete"), "{}", cluster.log("b"));
    cluster.converged().await;
    cluster.kill("a");
    cluster.led_by_one_of(&["b".to_owned()]).await;
    assert_eq!(all_keys(&client).await.len(), OBJECTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_sync_while_writes_go_on_then_the_primary_is_killed() {
    let (mut cluster, client) = full(&["a"], "b", &[]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    cluster.restart("b");
    cluster.in_sync().await;
    load.runs(500).await;
    let (primary, epoch) = cluster.in_sync().await;
    assert!(cluster.log("b").contains("full sync is complete"), "{}", cluster.log("b"));
    cluster.kill(&primary);
    cluster.restart(&primary);
    let (_, later) = cluster.in_sync().await;
    assert!(later > epoch, "epoch {later} after {epoch}");
    load.runs(500).await;
    full_is_there(&client).await;
    check_with_full(&cluster, load, client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_killed_twice_in_the_middle_of_its_full_sync() {
    let (mut cluster, client) = full(&["a"], "b", &["--full-sync-bytes-per-s", SLOW]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    cluster.restart("b");
    for _ in 0..2 {
        let done = half_synced(&cluster, "b").await;
        println!("killed after {done} shards");
        cluster.kill("b");
        load.runs(100).await;
        cluster.restart("b");
    }
    cluster.in_sync().await;
    assert!(cluster.log("b").contains("full sync is complete"), "{}", cluster.log("b"));
    full_is_there(&client).await;
    check_with_full(&cluster, load, client).await;
}

/// It reads nothing, and its connection lives: the primary does not hold images for it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_that_stands_still_in_the_middle_of_its_full_sync_is_given_up() {
    let (mut cluster, client) = full(&["a"], "b", &["--full-sync-bytes-per-s", SLOW, "--window-bytes", "300000"]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    cluster.restart("b");
    half_synced(&cluster, "b").await;
    cluster.signal("b", Signal::STOP);
    let began = Instant::now();
    while !cluster.log("a").contains("has answered nothing") {
        assert!(began.elapsed() < PATIENCE, "{}", cluster.log("a"));
        sleep(Duration::from_millis(50)).await;
    }
    cluster.signal("b", Signal::CONT);
    cluster.in_sync().await;
    full_is_there(&client).await;
    check_with_full(&cluster, load, client).await;
}

/// As with very many objects. Meanwhile it says that it is at work, so what was sent is not sent
/// again.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_whose_last_step_takes_long_is_not_given_up() {
    let (mut cluster, client) = full(&["a"], "b", &["--full-sync-bytes-per-s", SLOW]).await;
    let admin = test_ports::free_port();
    cluster.plan("b", &["--admin-listen", &admin.addr().to_string()]);
    cluster.restart("b");
    half_synced(&cluster, "b").await;
    crate::verification::inflict(&admin, "LongSync");
    let began = Instant::now();
    while !cluster.log("a").contains("all images are sent") {
        assert!(began.elapsed() < PATIENCE, "{}", cluster.log("a"));
        sleep(Duration::from_millis(20)).await;
    }
    // Few entries, so that the short log still reaches back, but more bytes than the transport
    // takes while no process reads.
    let prefix = "more".repeat(25);
    for call in 0..LARGE_CALLS {
        put(&client, &prefix, call * LARGE, LARGE).await;
    }
    cluster.in_sync().await;
    assert!(began.elapsed() > Duration::from_secs(6), "it was over before it could take long: {:?}", began.elapsed());
    let (a, b) = (cluster.log("a"), cluster.log("b"));
    assert!(!a.contains("has answered nothing") && !a.contains("is gone"), "{a}");
    let said = |what: &str| cluster.said("b", what);
    assert_eq!((said("connected to the primary"), said("full sync is complete")), (1, 1), "{b}");
    cluster.converged().await;
    cluster.kill("a");
    cluster.led_by_one_of(&["b".to_owned()]).await;
    assert_eq!(all_keys(&client).await.len(), OBJECTS + LARGE_CALLS * LARGE);
    cluster.check_logs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_killed_in_the_middle_of_a_full_sync_that_the_next_one_ends() {
    let (mut cluster, client) = full(&["a", "b"], "c", &["--full-sync-bytes-per-s", SLOW]).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    cluster.restart("c");
    half_synced(&cluster, "c").await;
    let view = cluster.view().await;
    let (primary, status) = leader(&view).expect("it sends the images");
    let (primary, epoch) = (primary.to_owned(), epoch(status));
    cluster.kill(&primary);
    let next = load.goes_on_after(epoch).await;
    println!("epoch {} goes on; the full sync of c begins anew, or goes on", next.epoch);
    cluster.in_sync().await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    full_is_there(&client).await;
    check_with_full(&cluster, load, client).await;
}

/// A read that allows any age must not get half a state, nor the state from before the sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_tells_nothing_while_its_full_sync_is_under_way() {
    let (mut cluster, _client) = full(&["a"], "b", &["--full-sync-bytes-per-s", SLOW]).await;
    cluster.restart("b");
    let address = cluster.address("b");
    let any_age = || Some(proto::v1::StandbyRead::default());
    half_synced(&cluster, "b").await;
    let refused = get(&address, "full/00000000", any_age()).await.expect_err("half a state tells nothing");
    assert_eq!(refused.reason(), proto::v1::Reason::StaleRead, "{refused:?}");
    assert!(refused.message.starts_with("a full sync is under way: "), "{}", refused.message);
    cluster.in_sync().await;
    let found = get(&address, "full/00000000", any_age()).await.expect("it has all of it now");
    assert!(found.from_standby && found.results[0].refusal.is_none(), "{found:?}");
    cluster.check_logs();
}

/// Half a state is no state: no member can be promoted with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lonely_primary_killed_in_the_middle_of_a_full_sync_leaves_nothing() {
    let (mut cluster, _client) = full(&["a"], "b", &["--full-sync-bytes-per-s", SLOW]).await;
    cluster.restart("b");
    half_synced(&cluster, "b").await;
    cluster.kill("a");
    cluster.in_sync().await;
    let status = cluster.status("b").await.expect("it leads");
    assert_eq!((status.role.as_str(), status.objects, status.used_bytes), ("primary", 0, 0), "{status:#?}");
    cluster.check_logs();
}

/// More is on its way than the standby's log has room for: it accepts the rest when it has applied
/// what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_with_a_short_log_keeps_up_with_bursts() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&SHORT_LOG)).await;
    let client = connect(&cluster.addresses()).await;
    let segment = Segment::memory("full", 1 << 60, SEGMENT_BYTES, "10.0.1.1:1");
    client.mount_segment(&segment).await.expect("the segment is new");
    for burst in 0..10 {
        let puts: JoinSet<()> = (0..BURST).map(|call| put_some(client.clone(), burst * BURST + call)).collect();
        puts.join_all().await;
    }
    let (primary, epoch) = cluster.in_sync().await;
    cluster.converged().await;
    cluster.kill(&primary);
    cluster.led_by_one_of(&cluster.names_but(&primary)).await;
    assert_eq!(all_keys(&client).await.len(), 10 * BURST * AT_ONCE, "after epoch {epoch}");
}

async fn full_is_there(client: &Client) {
    let keys = all_keys(client).await;
    assert_eq!(keys.iter().filter(|key| key.starts_with("full/")).count(), OBJECTS);
}

/// As `check`, after the many objects are removed, which no history mentions.
async fn check_with_full(cluster: &Cluster, load: Load, client: Client) {
    let history = load.stop().await;
    let removed = client.remove_matching("^full/", client::Force::Yes).await.expect("a healthy pair removes");
    assert_eq!((removed.removed, removed.refused), (OBJECTS as u64, 0));
    check(cluster, &history).await;
}
