//! etcd has no room left: it answers reads, and refuses every write until an operator has made
//! room.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::check::check;
use crate::cluster::{Cluster, PATIENCE, Spec};
use crate::etcd::Etcd;
use crate::load::Load;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;
const QUOTA: &str = "8388608";
/// About as much as one argument of a command may have.
const VALUE_BYTES: usize = 120_000;

/// Writes one key again and again until etcd says that it is full.
fn fill(etcd: &Etcd) {
    let (value, began) = ("x".repeat(VALUE_BYTES), Instant::now());
    while etcd.ctl(&["put", "/junk", &value]).is_some() {
        assert!(began.elapsed() < PATIENCE, "etcd never gets full");
    }
    let alarms = etcd.ctl(&["alarm", "list"]).expect("etcd answers");
    assert!(alarms.contains("NOSPACE"), "{alarms:?}");
}

/// As its manual says: compact, defragment, disarm the alarm.
fn make_room(etcd: &Etcd) {
    let found = etcd.ctl(&["get", "/junk", "--keys-only", "-w", "json"]).expect("etcd answers reads");
    let found: serde_json::Value = serde_json::from_str(&found).expect("it is JSON");
    let revision = found["header"]["revision"].as_u64().expect("it has a revision").to_string();
    for words in [&["compact", revision.as_str()][..], &["defrag"], &["alarm", "disarm"]] {
        etcd.ctl(words).unwrap_or_else(|| panic!("etcdctl {words:?} failed"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_etcd_costs_a_pair_nothing_until_a_member_fails_and_then_no_more_than_the_wait_for_room() {
    let etcd = Etcd::start_with(&["--quota-backend-bytes", QUOTA]).await;
    let spec = Spec { coordinator: etcd.coordinator(), ..Spec::with(&["--unclean", "wait"]) };
    let mut cluster = Cluster::start(&["a", "b"], spec).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    fill(&etcd);
    load.runs(CHANGES_BETWEEN).await;
    // Longer than a lease.
    sleep(Duration::from_secs(7)).await;
    load.runs(CHANGES_BETWEEN).await;
    assert_eq!(cluster.in_sync().await, (primary.clone(), epoch), "nobody else leads");

    let standby = cluster.names_but(&primary).remove(0);
    cluster.kill(&standby);
    sleep(Duration::from_secs(1)).await;
    let before = load.acknowledged();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(load.acknowledged(), before, "acknowledged alone, though the record cannot say so");
    make_room(&etcd);
    load.runs(CHANGES_BETWEEN).await;
    assert_eq!(cluster.in_sync().await, (primary.clone(), epoch), "nobody else leads");

    cluster.restart(&standby);
    cluster.in_sync().await;
    cluster.kill(&primary);
    load.goes_on_after(epoch).await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}
