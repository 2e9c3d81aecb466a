//! What the commands say, and with which exit code, while something is wrong.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use client::{Client, Error, Options, Reason, Transport};
use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, Spec, understudy};
use crate::etcd::Etcd;
use crate::etcd_faults::pair;

fn command(cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = understudy();
    command.args(words).args(["--address", &cluster.addresses().join(",")]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `health` says so, with all of it. Then `status`, `members` and each `/status` must
/// show the same verdict on top.
pub(crate) async fn health_says(cluster: &Cluster, verdict: &str, code: i32, why: &str) {
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

/// A member that turns the command away may be the primary: the verdict must not be that there is
/// none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_has_no_room_for_the_command_is_not_called_silent() {
    let cluster = Cluster::start(&["a"], Spec::with(&["--connections-per-address-max", "4"])).await;
    let mut clients = Vec::new();
    let is_full = loop {
        let mut options = Options::new(cluster.addresses());
        (options.transport, options.deadline) = (Transport::Unary, Duration::from_millis(500));
        let client = Client::connect(options).await.expect("the port takes it");
        match client.exists_one("key").await {
            Ok(_) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() <= 4, "there is no limit");
    };
    assert!(matches!(is_full, Error::Deadline { reason: Reason::Overloaded, .. }), "{is_full}");
    let output = command(&cluster, &["health"]).output().expect("it can be started");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.starts_with("UNKNOWN"), "{said}");
    assert!(said.contains("turns this command away") && said.contains("connections_per_address_max"), "{said}");
    drop(clients);
    health_says(&cluster, "DEGRADED", 3, "no standby is in sync").await;
}

/// Before, each of these looked as ever, with exit code 0, and `kv ls` said nothing for ten
/// minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_without_a_primary_is_told_and_commands_say_what_they_wait_for() {
    let (etcd, mut cluster) = pair(&[]).await;
    let (primary, _) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    // Without etcd no member takes over.
    etcd.signal(Signal::STOP);
    health_says(&cluster, "DEGRADED", 3, "cannot use the coordinator").await;
    cluster.kill(&primary);
    health_says(&cluster, "NO PRIMARY", 4, &format!("{standby}: nothing was heard of the primary recently")).await;
    let began = Instant::now();
    let output = command(&cluster, &["kv", "ls"]).output().expect("it can be started");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(errors.starts_with("waiting: NO PRIMARY: no member that answers leads"), "{errors}");
    // The only copy can be saved before anything else is tried.
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
    // Otherwise it would write its record again at once.
    cluster.signal(&primary, Signal::STOP);
    etcd.ctl(&["del", "/understudy/", "--prefix"]).expect("etcd answers");
    health_says(&cluster, "LOST DATA", 5, "the coordinator has lost data").await;
    cluster.signal(&primary, Signal::CONT);
    health_says(&cluster, "OK", 0, "").await;
    let (now, epoch) = cluster.in_sync().await;
    assert!(now == primary && epoch > before, "{now} leads {epoch}");
}

fn health_by(etcd: &Etcd, words: &[&str]) -> Output {
    understudy().args(["health", "--etcd", &etcd.url()]).args(words).output().expect("it can be started")
}

/// Each of these once ended with exit code 1 and no verdict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_that_is_empty_frozen_or_shows_no_primary_leads_to_a_verdict_with_its_reason() {
    let says = |output: &Output, verdict: &str, code: i32, why: &str| {
        let said = text(&output.stdout);
        assert!(output.status.code() == Some(code) && said.starts_with(verdict), "{verdict}: {output:?}");
        assert!(said.contains(why) && output.stderr.is_empty(), "{why}: {output:?}");
    };
    let (etcd, mut cluster) = pair(&[]).await;
    let (primary, _) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    says(&health_by(&etcd, &[]), "OK", 0, "");
    let output = health_by(&etcd, &["--cluster-name", "other"]);
    says(&output, "NO PRIMARY", 4, "has no cluster \"other\": neither a record of roles nor a member");
    // The pair goes on serving.
    etcd.signal(Signal::STOP);
    says(&health_by(&etcd, &[]), "UNKNOWN", 6, "the members cannot be found: ");
    // And no operator can hand over to a member that could not take over.
    let output =
        understudy().args(["transfer", "--address", &cluster.address(&primary)]).output().expect("it can be started");
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("goes on as the primary"), "{output:?}");
    says(&health_by(&etcd, &["--address", &cluster.address(&primary)]), "DEGRADED", 3, &etcd.url());
    etcd.signal(Signal::CONT);
    cluster.kill(&standby);
    cluster.kill(&primary);
    // Until their leases are over etcd shows them.
    let began = Instant::now();
    while !text(&health_by(&etcd, &[]).stdout)
        .contains("shows no member of the cluster \"default\", whose record is of epoch")
    {
        assert!(began.elapsed() < PATIENCE, "{:?}", health_by(&etcd, &[]));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // A member is there, and none is announced.
    cluster.restart(&primary);
    cluster.wait_until("it answers", |view| view[&primary].is_some()).await;
    says(&health_by(&etcd, &[]), "NO PRIMARY", 4, &format!("({primary}: "));
    etcd.signal(Signal::STOP);
    says(&health_by(&etcd, &[]), "UNKNOWN", 6, &etcd.url());
    // Members that are named on the command line are asked all the same.
    let output = health_by(&etcd, &["--address", &cluster.address(&primary)]);
    says(&output, "NO PRIMARY", 4, &format!("({primary}: "));
    // Other commands name etcd in their error.
    let output = understudy().args(["status", "--json", "--etcd", &etcd.url()]).output().expect("it can be started");
    let told: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!((output.status.code(), told["error"]["reason"].as_str()), (Some(1), Some("COORDINATOR")), "{told}");
    assert!(told["error"]["message"].as_str().is_some_and(|text| text.contains(&etcd.url())), "{told}");
}

/// For operators who watch one member: a gauge for the coordinator, and for settings with which it
/// was not started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_that_cannot_be_reached_and_settings_that_differ_are_on_the_page_in_health_and_in_metrics() {
    let etcd = Etcd::start().await;
    let mut cluster = Cluster::empty(Spec { coordinator: etcd.coordinator(), ..Spec::default() });
    let ports: Vec<_> = ["a", "b"].map(|_| test_ports::free_port()).into();
    for (name, port) in ["a", "b"].into_iter().zip(&ports) {
        let own = if name == "b" { "--object-lease-ms=77" } else { "--object-lease-ms=10000" };
        cluster.plan(name, &["--admin-listen", &port.addr().to_string(), own]);
        cluster.restart(name);
        cluster.wait_until("it is in sync", |view| crate::view::says_in_sync(view, name)).await;
    }
    let gauge = async |name: &str| crate::throttle::metric(&ports[1], name).await;
    assert_eq!(gauge("understudy_coordinator_reachable").await, Some(1));
    assert_eq!(gauge("understudy_settings_differ").await, Some(1));
    let note =
        "note: b was started with other settings than the cluster has: object_lease_ms 77, the cluster's is 10000.";
    health_says(&cluster, "OK", 0, note).await;
    etcd.signal(Signal::STOP);
    let began = Instant::now();
    while gauge("understudy_coordinator_reachable").await != Some(0) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    etcd.signal(Signal::CONT);
    while gauge("understudy_coordinator_reachable").await != Some(1) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Members and commands use an etcd that asks for a user and a password. The password is in no
/// command line, no log and no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_that_asks_for_a_password_is_used_and_nothing_shows_the_password() {
    const SECRET: &str = "correct-horse";
    let etcd = Etcd::start().await;
    for words in
        [&["user", "add", &format!("root:{SECRET}")][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        etcd.ctl(words).expect("etcd does as it is told");
    }
    let dir = tempfile::tempdir().expect("there is room");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name).to_str().expect("it is text").to_owned();
        std::fs::write(&path, text).expect("there is room");
        path
    };
    let (right, wrong) = (file("right", &format!("{SECRET}\n")), file("wrong", "battery-staple\n"));
    let args = ["--etcd-user", "root", "--etcd-password-file", &right];
    let cluster = Cluster::start(&["a", "b"], Spec { coordinator: etcd.coordinator(), ..Spec::with(&args) }).await;
    for words in [&["health"][..], &["status"], &["members"], &["config", "get"], &["kv", "ls"]] {
        let output = understudy().args(words).args(["--etcd", &etcd.url()]).args(args).output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    let recover = understudy().args(["recover", "--etcd", &etcd.url()]).args(args).output().expect("it runs");
    assert!(text(&recover.stderr).contains("there is nothing to recover"), "{recover:?}");
    for words in [&["health"][..], &["status"], &["recover"]] {
        let args = ["--json", "--etcd", &etcd.url(), "--etcd-user", "root", "--etcd-password-file", &wrong];
        let output = understudy().args(words).args(args).output().expect("it runs");
        let (code, said) = (output.status.code(), text(&output.stderr));
        assert!(code == Some(1) && said.contains("COORDINATOR") && said.contains(&etcd.url()), "{words:?}: {output:?}");
        assert!(!said.contains("battery-staple"), "{said}");
    }
    for name in cluster.names() {
        let pid = cluster.pid(&name).expect("it runs");
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
        assert!(!line.contains(SECRET) && !cluster.log(&name).contains(SECRET), "{line}");
        assert!(cluster.log(&name).contains("etcd_password_file = "), "{}", cluster.log(&name));
    }
}
