//! What the commands say, and with which exit code, while something is wrong.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, understudy};
use crate::etcd_faults::pair;

fn command(cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = understudy();
    command.args(words).args(["--address", &cluster.addresses().join(",")]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Until `health` says so; then all of it, and what `status`, `members` and each `/status` have on top is the same verdict.
async fn health_says(cluster: &Cluster, verdict: &str, code: i32, why: &str) {
    let began = Instant::now();
    let output = loop {
        let output = command(cluster, &["health"]).output().expect("it can be started");
        let said = text(&output.stdout);
        if output.status.code() == Some(code) && said.starts_with(verdict) && said.contains(why) {
            break output;
        }
        assert!(began.elapsed() < PATIENCE, "{verdict}, {why}: {output:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("{}", text(&output.stdout));
    let document: Value =
        serde_json::from_slice(&command(cluster, &["health", "--json"]).output().expect("it runs").stdout)
            .expect("JSON");
    assert_eq!(document["exit_code"], code, "{document}");
    for words in [&["members"][..], &["status"]] {
        let Output { stdout, .. } = command(cluster, words).output().expect("it can be started");
        assert!(text(&stdout).starts_with(verdict), "{words:?}: {}", text(&stdout));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_pair_is_ok_and_one_without_its_standby_is_degraded() {
    let (_etcd, mut cluster) = pair(&[]).await;
    let (primary, _) = cluster.in_sync().await;
    health_says(&cluster, "OK", 0, "").await;
    let standby = cluster.names_but(&primary).remove(0);
    cluster.kill(&standby);
    health_says(&cluster, "DEGRADED", 3, "does not answer").await;
    health_says(&cluster, "DEGRADED", 3, "no standby is in sync").await;
    cluster.restart(&standby);
    cluster.in_sync().await;
    health_says(&cluster, "OK", 0, "").await;
}

/// Before, each of these looked as ever, with exit code 0, and `kv ls` said nothing for ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_without_a_primary_is_told_and_commands_say_what_they_wait_for() {
    let (etcd, mut cluster) = pair(&[]).await;
    let (primary, _) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    // Without etcd nobody takes over.
    etcd.signal(Signal::STOP);
    health_says(&cluster, "DEGRADED", 3, "cannot use the coordinator").await;
    cluster.kill(&primary);
    health_says(&cluster, "NO PRIMARY", 4, &format!("{standby}: nothing fresh was heard of the primary")).await;
    let began = Instant::now();
    let output = command(&cluster, &["kv", "ls"]).output().expect("it can be started");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(errors.starts_with("waiting: NO PRIMARY: no member that answers leads"), "{errors}");
    // The only copy there is can be kept before anything else is tried.
    let kept = cluster.dir().join("kept.snapshot");
    let output =
        command(&cluster, &["snapshot", &standby, kept.to_str().unwrap(), "--json"]).output().expect("it runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success() && kept.exists() && told["committed"] == true, "{output:?}");
    etcd.signal(Signal::CONT);
    cluster.led_by_one_of(std::slice::from_ref(&standby)).await;
    health_says(&cluster, "DEGRADED", 3, "no standby is in sync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_record_is_lost_data() {
    let (etcd, mut cluster) = pair(&[]).await;
    let (primary, before) = cluster.in_sync().await;
    // It would write its record again at once.
    cluster.signal(&primary, Signal::STOP);
    etcd.ctl(&["del", "/understudy/", "--prefix"]).expect("etcd answers");
    health_says(&cluster, "LOST DATA", 5, "the coordinator has lost data").await;
    cluster.signal(&primary, Signal::CONT);
    health_says(&cluster, "OK", 0, "").await;
    let (now, epoch) = cluster.in_sync().await;
    assert!(now == primary && epoch > before, "{now} leads {epoch}");
}
