//! The `etcd` coordinator against a real etcd: the promises, and the faults that an etcd can have.

mod server;

use std::time::{Duration, Instant};

use etcd_client::{CompactionOptions, Permission, PermissionType};
use understudy_coordinator::conformance::{self, eventually, info, who};
use understudy_coordinator::{
    Coordinator, Error, EtcdCoordinator, EtcdOptions, EtcdTls, EtcdUser, MemberInfo, Presence, Swap,
};

use election::{ConfigRecord, Versioned};
use server::Etcd;
use test_ports::free_port;

const PATIENCE: Duration = Duration::from_secs(60);
/// What a call may take beyond its limit on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

fn options(etcd: &Etcd, cluster: &str) -> EtcdOptions {
    EtcdOptions { endpoints: vec![etcd.endpoint()], cluster: cluster.to_owned(), ..EtcdOptions::default() }
}

async fn connect(options: &EtcdOptions) -> EtcdCoordinator {
    EtcdCoordinator::connect(options.clone()).await.expect("these options can work")
}

fn record() -> ConfigRecord {
    ConfigRecord::first(9, who(1, 1), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_promises() {
    let etcd = Etcd::running().await;
    // Sixteen at once, on a machine that does other work, too: the limit is not what is tested
    // here.
    let patient = |place| EtcdOptions { request_timeout_ms: 30_000, ..options(&etcd, place) };
    conformance::run(async |place| connect(&patient(place)).await).await;
}

/// With a short time limit a busy etcd may be too late.
async fn join_at_last(place: &EtcdCoordinator, me: MemberInfo) -> Box<dyn Presence> {
    let begun = Instant::now();
    loop {
        match place.join(me.clone()).await {
            Ok(presence) => return presence,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every kind of call fails as unavailable, and within its limit.
async fn nothing_is_answered(place: &EtcdCoordinator, limit: Duration) {
    async fn timed<T: std::fmt::Debug>(limit: Duration, answer: impl Future<Output = Result<T, Error>>) {
        let begun = Instant::now();
        let answer = answer.await;
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
        assert!(begun.elapsed() < limit + SLACK, "it took {:?}", begun.elapsed());
    }
    timed(limit, place.read()).await;
    timed(limit, place.swap(None, record())).await;
    timed(limit, place.join(info(3, 3))).await;
    timed(limit, place.members()).await;
    timed(limit, place.is_dead(who(1, 1))).await;
    timed(limit, place.report_dead(who(9, 9))).await;
    timed(limit, place.announced()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_come_late_stop_and_come_back() {
    let mut etcd = Etcd::new();
    let limit = Duration::from_millis(500);
    let options = EtcdOptions { request_timeout_ms: 500, lease_ttl_s: 1, ..options(&etcd, "late") };
    let place = connect(&options).await;
    let mut changes = place.changes();
    nothing_is_answered(&place, limit).await;

    etcd.start();
    eventually("it works", async || place.swap(None, record()).await.is_ok()).await;
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("told to look again").expect("there");
    let mut presence = join_at_last(&place, info(1, 5)).await;

    etcd.kill();
    let stopped = Instant::now();
    nothing_is_answered(&place, limit).await;
    tokio::time::timeout(PATIENCE, presence.lost()).await.expect("it cannot be seen any more");
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(stopped.elapsed())).await;
    changes.mark_unchanged();
    etcd.start();

    eventually("the record is as it was", async || {
        place.read().await.is_ok_and(|found| found.record.expect("not lost").record == record())
    })
    .await;
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("told to look again").expect("there");
    // The lease still exists in etcd, and the key on it is its own.
    let mut again = join_at_last(&place, info(1, 5)).await;
    drop(presence);
    let lost = tokio::time::timeout(Duration::from_secs(2), again.lost()).await;
    assert!(lost.is_err(), "the end of the first lease does not take the second one's key");
    eventually("it is here", async || place.members().await.is_ok_and(|members| members == [info(1, 5)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_hang() {
    let etcd = Etcd::running().await;
    let limit = Duration::from_millis(500);
    let place = connect(&EtcdOptions { request_timeout_ms: 500, lease_ttl_s: 1, ..options(&etcd, "hang") }).await;
    eventually("it works", async || place.swap(None, record()).await.is_ok()).await;
    let mut presence = join_at_last(&place, info(1, 5)).await;

    etcd.stop();
    nothing_is_answered(&place, limit).await;
    tokio::time::timeout(PATIENCE, presence.lost()).await.expect("it cannot be seen any more");
    let begun = Instant::now();
    drop(presence);
    assert!(begun.elapsed() < SLACK + Duration::from_secs(1), "the drop took {:?}", begun.elapsed());
    etcd.go_on();
    eventually("it works again", async || place.read().await.is_ok()).await;
    let _again = join_at_last(&place, info(1, 6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_presence_is_lost_with_its_lease_or_its_key() {
    let etcd = Etcd::running().await;
    let place = connect(&EtcdOptions { lease_ttl_s: 1, request_timeout_ms: 5000, ..options(&etcd, "lost") }).await;
    let mut client = etcd.client().await;

    let mut presence = place.join(info(1, 5)).await.expect("joined");
    // Longer than the lease: it is renewed.
    assert!(tokio::time::timeout(Duration::from_secs(4), presence.lost()).await.is_err(), "nothing has happened");
    for lease in client.leases().await.expect("the leases").leases() {
        client.lease_revoke(lease.id()).await.expect("revoked");
    }
    assert_eq!(place.members().await.expect("members"), []);
    tokio::time::timeout(PATIENCE, presence.lost()).await.expect("its lease is gone");
    let announce = presence.announce(1).await;
    assert!(matches!(announce, Err(Error::Unavailable { .. })), "{announce:?}");

    let mut again = place.join(info(1, 5)).await.expect("joined again");
    again.announce(2).await.expect("announced");
    client.delete("/understudy/lost/members/1", None).await.expect("deleted");
    assert_eq!(place.announced().await.expect("announced"), None, "the leader's key is there, and no member behind it");
    tokio::time::timeout(PATIENCE, again.lost()).await.expect("its key is gone");
    assert!(!place.is_dead(who(1, 5)).await.expect("answered"), "all that proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guards_word_frees_the_name_at_once() {
    let etcd = Etcd::running().await;
    let options = EtcdOptions { lease_ttl_s: 60, request_timeout_ms: 5000, ..options(&etcd, "guard") };
    let place = connect(&options).await;
    let presence = place.join(info(1, 5)).await.expect("joined");
    presence.announce(7).await.expect("announced");
    place.report_dead(who(1, 5)).await.expect("reported");
    assert!(place.is_dead(who(1, 5)).await.expect("answered"));
    assert_eq!(place.members().await.expect("members"), []);
    assert_eq!(place.announced().await.expect("announced"), None);
    let next = place.join(info(1, 6)).await.expect("the one before is dead");
    next.announce(8).await.expect("announced");
    assert_eq!(place.announced().await.expect("announced"), Some((8, info(1, 6))));
    drop(presence);
    assert_eq!(place.members().await.expect("members"), [info(1, 6)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_under_the_watch_is_survived() {
    let etcd = Etcd::running().await;
    let place = connect(&EtcdOptions { request_timeout_ms: 5000, ..options(&etcd, "compact") }).await;
    let mut client = etcd.client().await;
    let mut changes = place.changes();
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("the watch is open").expect("there");
    let Swap::Done { mut revision } = place.swap(None, record()).await.expect("answered") else { panic!("refused") };
    for _ in 0..5 {
        let known = Versioned { record: record(), revision };
        let options = CompactionOptions::new().with_physical();
        client.compact(i64::try_from(revision).expect("small"), Some(options)).await.expect("compacted");
        tokio::time::sleep(Duration::from_millis(100)).await;
        changes.mark_unchanged();
        let swap = place.swap(Some(known), record()).await.expect("answered");
        let Swap::Done { revision: next } = swap else { panic!("refused") };
        revision = next;
        tokio::time::timeout(PATIENCE, changes.changed()).await.expect("told of the change").expect("there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_says_nothing_is_opened_anew_and_a_quiet_one_is_not() {
    let etcd = Etcd::running().await;
    let place = connect(&options(&etcd, "silent")).await;
    let mut changes = place.changes();
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("the watch is open").expect("there");
    let quiet = tokio::time::timeout(Duration::from_secs(8), changes.changed()).await;
    assert!(quiet.is_err(), "nothing happens, and etcd says so when it is asked");

    etcd.stop();
    // Longer than it takes to give the watch up. What a stopped etcd sends later is on a watch that
    // is not read any more.
    tokio::time::sleep(Duration::from_secs(8)).await;
    changes.mark_unchanged();
    etcd.go_on();
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("told to look again").expect("there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_costs_nothing() {
    let etcd = Etcd::running().await;
    let down = free_port();
    let both = EtcdOptions {
        endpoints: vec![format!("127.0.0.1:{down}"), etcd.endpoint()],
        request_timeout_ms: 5000,
        ..options(&etcd, "down")
    };
    let mut expect = None;
    for _ in 0..20 {
        // A new one each time: all endpoints are untried.
        let place = connect(&both).await;
        for _ in 0..3 {
            let found = place.read().await.expect("the other one answers").record;
            assert_eq!(found, expect);
            match place.swap(expect, record()).await.expect("the other one answers") {
                Swap::Done { revision } => expect = Some(Versioned { record: record(), revision }),
                Swap::Refused => panic!("a swap was sent twice"),
            }
        }
        drop(place.join(info(1, 5)).await.expect("the other one answers"));
    }
}

#[tokio::test]
async fn an_old_server_is_warned_of() {
    let etcd = Etcd::running().await;
    let version = etcd.client().await.status().await.expect("answered").version().to_owned();
    let logged = tempfile::NamedTempFile::new().expect("a file");
    let file = logged.reopen().expect("opened");
    let log = tracing_subscriber::fmt().with_writer(file).with_max_level(tracing::Level::WARN).finish();
    let _log = tracing::subscriber::set_default(log);
    let place = connect(&options(&etcd, "old")).await;
    let is_old = ["3.3.", "3.4."].iter().any(|line| version.starts_with(line));
    let warned = || std::fs::read_to_string(logged.path()).expect("read").contains("3.5.28 or later is better");
    if is_old {
        eventually("it is warned of", async || warned()).await;
    } else {
        eventually("the watch is open", async || *place.changes().borrow() > 0).await;
        assert!(!warned(), "{version} is no 3.4");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_named_and_never_overwritten() {
    let etcd = Etcd::running().await;
    let place = connect(&EtcdOptions { request_timeout_ms: 5000, ..options(&etcd, "damaged") }).await;
    etcd.client().await.put("/understudy/damaged/config", "{\"format\":1", None).await.expect("put");
    match place.read().await {
        Err(Error::Damaged { place, .. }) => assert!(place.contains("/understudy/damaged/config"), "{place}"),
        read => panic!("{read:?}"),
    }
    assert_eq!(place.swap(None, record()).await.expect("answered"), Swap::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_passwords() {
    let mut etcd = Etcd::running().await;
    let mut client = etcd.client().await;
    client.user_add("root", "r", None).await.expect("added");
    client.user_grant_role("root", "root").await.expect("granted");
    client.user_add("us", "secret", None).await.expect("added");
    client.role_add("ours").await.expect("added");
    let below = Permission::new(PermissionType::Readwrite, "/understudy/users/").with_prefix();
    client.role_grant_permission("ours", below).await.expect("granted");
    client.user_grant_role("us", "ours").await.expect("granted");
    client.auth_enable().await.expect("enabled");

    let with = |cluster: &str, name: &str, password: &str| {
        let user = Some(EtcdUser { name: name.to_owned(), password: password.to_owned() });
        EtcdOptions { user, request_timeout_ms: 5000, ..options(&etcd, cluster) }
    };
    for denied in [options(&etcd, "users"), with("users", "us", "wrong"), with("others", "us", "secret")] {
        let read = connect(&denied).await.read().await;
        assert!(matches!(read, Err(Error::Denied { .. })), "{denied:?}: {read:?}");
    }
    let place = connect(&with("users", "us", "secret")).await;
    assert_eq!(place.read().await.expect("let in").record, None);
    let _presence = place.join(info(1, 5)).await.expect("let in");
    let mut changes = place.changes();
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("let watch, too").expect("there");

    // It forgets which client has logged in.
    etcd.kill();
    etcd.start();
    eventually("let in again", async || place.swap(None, record()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_certificates_on_both_sides() {
    let mut etcd = Etcd::with_tls();
    etcd.start();
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| etcd.path().join(name));
    let tls = EtcdTls { ca_file: ca, cert_file: Some(cert.clone()), key_file: Some(key), domain: None };
    let with = |tls: EtcdTls| EtcdOptions { tls: Some(tls), request_timeout_ms: 5000, ..options(&etcd, "tls") };
    let place = connect(&with(tls.clone())).await;
    eventually("it works", async || place.read().await.is_ok()).await;
    let _presence = place.join(info(1, 5)).await.expect("joined");
    assert_eq!(place.members().await.expect("members"), [info(1, 5)]);

    let nobody = EtcdTls { cert_file: None, key_file: None, ..tls.clone() };
    let foreign = EtcdTls { ca_file: cert, ..tls.clone() };
    let elsewhere = EtcdTls { domain: Some("somewhere.else".to_owned()), ..tls };
    for (tls, why) in [(nobody, ""), (foreign, "certificate"), (elsewhere, "certificate")] {
        match connect(&with(tls.clone())).await.read().await {
            Err(error) => assert!(error.to_string().contains(why), "{error}"),
            Ok(found) => panic!("{tls:?} was let in: {found:?}"),
        }
    }
}
