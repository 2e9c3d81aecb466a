//! Members that were started with different settings use the cluster's, and an operator changes
//! those for all of them.

use std::process::Output;
use std::time::{Duration, Instant};

use client::{Client, Heartbeat, Options, Segment};
use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, Spec, understudy};
use crate::view::says_in_sync;

/// Settings with which the first member founds the cluster: a takeover waits for longer, and silent
/// clients expire soon.
const OF_A: [&str; 6] = ["--tenure-ms", "2000", "--drop-after-ms", "1200", "--client-ttl-ms", "1000"];
/// Settings of the second member, which do not count.
const OF_B: [&str; 4] = ["--tombstones-max", "2", "--object-lease-ms", "77"];
const BEACON: Duration = Duration::from_millis(50);

fn config(cluster: &Cluster, words: &[&str]) -> Output {
    let mut command = understudy();
    command.arg("config").args(words).args(["--address", &cluster.addresses().join(",")]);
    command.output().expect("it can be started")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Until each member says so by itself.
async fn all_go_by(cluster: &Cluster, name: &str, value: &str) {
    for member in cluster.names() {
        let began = Instant::now();
        loop {
            let output =
                understudy().args(["status", "--json", "--address", &cluster.address(&member)]).output().unwrap();
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let settings = status["settings"].as_array().cloned().unwrap_or_default();
            let found = settings.iter().find(|setting| setting["name"] == name).map(|setting| setting["value"].clone());
            if status["node"] == member && found == Some(Value::from(value)) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{member}: {name} is {found:?}, not {value}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn unlike_pair() -> Cluster {
    let mut cluster = Cluster::empty(Spec::default());
    for (name, args) in [("a", &OF_A[..]), ("b", &OF_B)] {
        cluster.plan(name, args);
        cluster.restart(name);
        cluster.wait_until("it is in sync", |view| says_in_sync(view, name)).await;
    }
    cluster.in_sync().await;
    cluster
}

/// Otherwise two primaries would answer half-way through a change of flags: the standby would wait
/// by its own, shorter tenure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeover_waits_by_the_tenure_of_the_cluster_whatever_the_standby_was_started_with() {
    let mut cluster = unlike_pair().await;
    assert_eq!(cluster.said("b", "tenure_ms 2000, not 500"), 1, "{}", cluster.log("b"));
    let output = config(&cluster, &["diff"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for (name, cluster_s, own) in
        [("tenure_ms", "2000", "500"), ("object_lease_ms", "10000", "77"), ("tombstones_max", "65536", "2")]
    {
        let line = said(&output).lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, [name, cluster_s, own, "b"], "{}", said(&output));
    }
    cluster.signal("a", Signal::STOP);
    let stopped = Instant::now();
    cluster.led_by_one_of(&["b".to_owned()]).await;
    let waited = stopped.elapsed();
    println!("taken over after {waited:?}");
    assert!(waited > Duration::from_millis(2000) - 2 * BEACON, "after {waited:?} the first one may still answer");
    cluster.signal("a", Signal::CONT);
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_changes_what_all_members_go_by_and_what_makes_no_sense_changes_nothing() {
    let mut cluster = unlike_pair().await;
    for (words, what) in [
        (&["set", "tenure_ms=100"][..], "drop_after_ms < tenure_ms must hold"),
        (&["set", "tenure_ms=soon"], "\"soon\" is not a whole number"),
        (&["set", "object_lease_ms=1", "object_lease_ms=2"], "twice"),
        (&["set", "eviction_ratio=2"], "eviction_ratio"),
        (&["set", "eviction_ratio=1e-300"], "must be 0, or 0.001 to 1"),
        (&["set", "tenure_ms=49"], "tenure_ms is 49, must be 50 to 60000"),
        (&["set", "tail_entries=5"], "tail_entries"),
        (&["get", "tail_entries"], "is no setting of the cluster"),
        // One of them breaks a rule: neither is changed.
        (&["set", "soft_pin_ttl_ms=5", "tenure_ms=100"], "must hold"),
    ] {
        let output = config(&cluster, words);
        assert!(!output.status.success() && said(&output).contains(what), "{words:?}: {}", said(&output));
    }
    all_go_by(&cluster, "tenure_ms", "2000").await;
    all_go_by(&cluster, "soft_pin_ttl_ms", "1800000").await;
    let output = config(&cluster, &["set", "tenure-ms=800", "drop_after_ms=500", "object_lease_ms=4000"]);
    assert!(output.status.success(), "{output:?}");
    assert!(said(&output).contains("tenure_ms is 800 for all members from now on; it was 2000"), "{}", said(&output));
    for (name, value) in [("tenure_ms", "800"), ("drop_after_ms", "500"), ("object_lease_ms", "4000")] {
        all_go_by(&cluster, name, value).await;
    }
    let output = config(&cluster, &["get", "object_lease_ms"]);
    let shown = said(&output);
    let kept = shown.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert_eq!(kept[..3], ["object_lease_ms", "4000", "10000"], "leases of before are still kept: {shown}");
    // They survive the member that set them, and every member that was there then.
    cluster.kill("a");
    cluster.led_by_one_of(&["b".to_owned()]).await;
    cluster.restart("a");
    cluster.in_sync().await;
    cluster.kill("b");
    cluster.led_by_one_of(&["a".to_owned()]).await;
    cluster.restart("b");
    cluster.in_sync().await;
    for (name, value) in [("tenure_ms", "800"), ("object_lease_ms", "4000"), ("tombstones_max", "65536")] {
        all_go_by(&cluster, name, value).await;
    }
    cluster.check_logs();
}

/// With its own bound a standby would forget other clients than its primary, and differ from it for
/// ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_forget_the_same_clients_whatever_they_were_started_with() {
    let cluster = unlike_pair().await;
    for at in 0..6 {
        let mut options = Options::new(cluster.addresses());
        options.heartbeat = Heartbeat::Off;
        let client = Client::connect(options).await.expect("the pair serves");
        let segment = Segment::memory(format!("s{at}"), 1 << 40, 1 << 20, format!("10.0.0.{at}:1"));
        client.mount_segment(&segment).await.expect("it is new");
    }
    let gone = |view: &crate::view::View| view.values().flatten().all(|status| status.clients == 0);
    cluster.wait_until("silent clients are gone", gone).await;
    cluster.converged().await;
    let verified =
        understudy().args(["verify", "--full", "--address", &cluster.addresses().join(",")]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

/// To set a value twice is to set it: so the next member is asked if the first one does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_changed_though_the_member_that_is_named_first_stands_still() {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::default()).await;
    let (primary, _) = cluster.in_sync().await;
    let stopped = cluster.names_but(&primary).remove(0);
    cluster.signal(&stopped, Signal::STOP);
    let addresses = [cluster.address(&stopped), cluster.address(&primary)].join(",");
    let output = understudy()
        .args(["config", "set", "object_lease_ms=4000", "slow_pause_ms=1500", "--address", &addresses])
        .output()
        .expect("it can be started");
    assert!(output.status.success() && said(&output).contains("object_lease_ms is 4000 for all members"), "{output:?}");
    cluster.signal(&stopped, Signal::CONT);
    cluster.in_sync().await;
    all_go_by(&cluster, "object_lease_ms", "4000").await;
    all_go_by(&cluster, "slow_pause_ms", "1500").await;
    // What is too much for the transport is refused with a reason, too.
    let client = Client::connect(Options::new([cluster.address(&primary)])).await.expect("it serves");
    let much = [("object_lease_ms".to_owned(), "1".repeat(5 << 20))];
    let refused = client.set_settings(&much).await.expect_err("it is too much");
    assert_eq!(refused.reason(), Some(proto::v1::Reason::InvalidArgument), "{refused}");
    assert!(refused.to_string().contains("the limit is"), "{refused}");
}
