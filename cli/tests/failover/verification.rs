//! A member whose state is not what its log says: whatever was done to it is found and repaired,
//! and the member is not promoted meanwhile.
//!
//! Deliberately absent: every kind of record. `metadata/tests/state/verify.rs` has those.
#![cfg(feature = "faults")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::{Client, Force, Pin, PutOptions, Segment};
use proto::v1::{StatusResponse, VerificationStatus};
use rustix::process::Signal;
use serde_json::Value;
use test_ports::Port;

use crate::cluster::{Cluster, PATIENCE, Spec, understudy};
use crate::load::{Load, SEGMENT_BYTES, connect};
use crate::view::{View, says_in_sync};

/// So short that a test sees all of them.
const OFTEN: [&str; 6] = ["--digest-interval-ms", "100", "--verify-interval-ms", "300", "--scrub-cycle-ms", "1500"];
/// So rare that no test sees any of them.
const RARELY: [&str; 6] = ["--digest-interval-ms", "600000", "--verify-interval-ms", "600000", "--scrub-cycle-ms", "0"];
const OBJECTS: usize = 300;
const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(4);

struct Verified {
    cluster: Cluster,
    client: Client,
    /// Where each member serves its admin HTTP.
    admin: Vec<(String, Port)>,
}

impl Verified {
    /// "a" leads, "b" is its standby, and there are some objects, one of them pinned.
    async fn start(args: &[&str]) -> Verified {
        let mut cluster = Cluster::empty(Spec::with(args));
        let mut admin = Vec::new();
        for name in ["a", "b"] {
            let port = test_ports::free_port();
            cluster.plan(name, &["--admin-listen", &port.addr().to_string()]);
            admin.push((name.to_owned(), port));
            cluster.restart(name);
            cluster.wait_until("it is in sync", |view| says_in_sync(view, name)).await;
        }
        assert_eq!(cluster.in_sync().await.0, "a");
        let client = connect(&cluster.addresses()).await;
        client.mount_segment(&Segment::memory("verified", 1 << 60, SEGMENT_BYTES, "10.0.1.1:1")).await.unwrap();
        for at in 0..OBJECTS {
            let options = PutOptions { preferred_segments: vec!["verified".to_owned()], ..PutOptions::default() };
            client.put(&name(at), 4096, options).await.unwrap().end(None).await.unwrap();
        }
        client.pin(&[&name(7)], Pin::Hard, None).await.unwrap().all().unwrap();
        Verified { cluster, client, admin }
    }

    fn inflict(&self, member: &str, fault: &str) -> String {
        let port = &self.admin.iter().find(|(name, _)| name == member).unwrap().1;
        inflict(port, fault)
    }

    /// A fault of the standby that it finds and repairs. Returns how many full syncs it took.
    async fn is_found_and_repaired(&self, fault: &str, then: impl AsyncFnOnce()) -> u64 {
        let before = of(&self.cluster.view().await, "b");
        let sound_before = sound_again(&self.cluster, "b");
        let what = self.inflict("b", fault);
        let began = Instant::now();
        then().await;
        let found = |view: &View| {
            let now = of(view, "b");
            now.differed + now.rotten + now.full_syncs > before.differed + before.rotten + before.full_syncs
        };
        self.cluster.wait_until("it is found", found).await;
        let found_after = began.elapsed();
        let sound = |view: &View| of(view, "b").condition == "sound" && says_in_sync(view, "b");
        let view = self.cluster.wait_until("it is repaired", sound).await;
        println!("{fault} ({what}): found after {found_after:.1?}, repaired after {:.1?}", began.elapsed());
        // The election was told, both times: between them the member could not have been promoted.
        let told = |_: &View| sound_again(&self.cluster, "b") > sound_before;
        self.cluster.wait_until("it says that it may be promoted again", told).await;
        self.cluster.converged().await;
        of(&view, "b").full_syncs - before.full_syncs
    }
}

/// On the member that serves its admin HTTP there. Returns what was done.
pub(crate) fn inflict(admin: &Port, fault: &str) -> String {
    let mut stream = TcpStream::connect(admin.addr()).unwrap();
    write!(stream, "GET /faults/{fault} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{fault}: {answer}");
    answer.rsplit("\r\n\r\n").next().unwrap().trim().to_owned()
}

fn name(at: usize) -> String {
    format!("tenant-a/model/{at}")
}

fn of(view: &View, member: &str) -> VerificationStatus {
    view.get(member).and_then(|status| status.as_ref()?.verification.clone()).unwrap_or_default()
}

/// How often a member was found to be sound again.
fn sound_again(cluster: &Cluster, member: &str) -> usize {
    cluster.said(member, "it may be promoted again")
}

fn seq(status: &StatusResponse) -> u64 {
    status.applied.map_or(0, |at| at.seq)
}

/// How often a member applied entries wrongly, as it was asked to.
fn done_wrongly(cluster: &Cluster, member: &str) -> usize {
    cluster.said(member, "applied in the wrong way")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_to_a_standby_is_found_and_repaired_without_a_full_sync() {
    let verified = Verified::start(&OFTEN).await;
    let few = [
        "RecordBit",
        "RecordChanged",
        "RecordLost",
        "PinReset",
        "FreeRangeBit",
        "FreeRangeLost",
        "AnswerBit",
        "AnswerLost",
    ];
    for fault in few {
        let full_syncs = verified.is_found_and_repaired(fault, async || {}).await;
        assert_eq!(full_syncs, 0, "{fault}: {}", verified.cluster.log("b"));
        if fault == "PinReset" {
            verified.client.pin(&[&name(7)], Pin::Hard, None).await.unwrap().all().unwrap();
        }
    }
    // An entry that is not applied, and two in the wrong order: pins, so that the rest still fits.
    // Two requests in the wrong order may also not fit what is kept of their client: then a full
    // sync follows.
    for (fault, pins, full_syncs_max) in
        [("SkipEntry", &[Pin::Hard][..], 0), ("SwapEntries", &[Pin::Soft, Pin::Hard], 1)]
    {
        let before = done_wrongly(&verified.cluster, "b");
        let began = Instant::now();
        let then = async || {
            // A digest may come with them, and then they are not the next entries.
            while done_wrongly(&verified.cluster, "b") == before {
                assert!(began.elapsed() < PATIENCE, "{}", verified.cluster.log("b"));
                for pin in pins {
                    verified.client.pin(&[&name(11)], *pin, None).await.unwrap().all().unwrap();
                }
                let pinned = verified.cluster.status("a").await.expect("it leads").committed_seq;
                let has = |view: &View| view["b"].as_ref().is_some_and(|status| seq(status) >= pinned);
                verified.cluster.wait_until("it has come by them", has).await;
            }
        };
        let full_syncs = verified.is_found_and_repaired(fault, then).await;
        assert!(full_syncs <= full_syncs_max, "{fault}: {}", verified.cluster.log("b"));
        verified.client.unpin(&[&name(11)]).await.unwrap().all().unwrap();
        verified.cluster.converged().await;
    }
    // What is left is what the primary has: it can lead.
    let mut cluster = verified.cluster;
    cluster.kill("a");
    cluster.led_by_one_of(&["b".to_owned()]).await;
    assert_eq!(crate::check::all_keys(&verified.client).await.len(), OBJECTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_standby_costs_it_a_full_sync_and_not_its_life() {
    let verified = Verified::start(&OFTEN).await;
    let load = Load::start(&verified.cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(200).await;
    for fault in ["ShardLost", "ApplyTwice", "SkipEntry", "SwapEntries"] {
        verified.is_found_and_repaired(fault, async || load.runs(50).await).await;
        load.runs(100).await;
    }
    let history = load.stop().await;
    assert!(history.diaries.iter().all(|diary| diary.faults.is_empty()), "{}", history.summary());
    verified.cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_has_changed_without_an_entry_is_named_and_repairs_nobody() {
    // Only a sample of the record's own bucket shows it, and there are 16: each has its turn within
    // seconds.
    let verified = Verified::start(&[&OFTEN[..], &["--sample-ratio", "0.5"]].concat()).await;
    let what = verified.inflict("a", "RecordBit");
    let shard = what.rsplit(' ').next().unwrap();
    let named = |view: &View| {
        let found = of(view, "a");
        found.findings.iter().any(|finding| finding.what.starts_with(&format!("shard {shard} has changed")))
    };
    verified.cluster.wait_until("the scrub finds it", named).await;
    // The standby has what the primary's digests say: two against one. It stays as it is, and may
    // take over.
    let alarmed = |view: &View| of(view, "b").alarms > 0 && of(view, "b").condition == "sound";
    let view = verified.cluster.wait_until("the standby says who is the suspect", alarmed).await;
    assert_eq!(of(&view, "b").repaired, 0, "{view:#?}");
    let moved = verified.cluster.transfer("a", "b").await.expect("b is sound");
    assert_eq!(moved.to, "b");
    // Now the old primary is repaired.
    let repaired = |view: &View| of(view, "a").repaired > 0 && of(view, "a").condition == "sound";
    verified.cluster.wait_until("the old primary is repaired", repaired).await;
}

/// The difference was not found before: the transfer finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_that_differs_gets_the_place_of_the_primary_only_once_it_is_repaired() {
    let verified = Verified::start(&RARELY).await;
    verified.inflict("b", "RecordChanged");
    let moved = verified.cluster.transfer("a", "b").await.expect("a record is soon repaired");
    assert_eq!(moved.to, "b");
    // The record changes before the new primary has said that it leads.
    verified.cluster.converged().await;
    let log = verified.cluster.log("b");
    let said = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what:?} is not in the log of b:\n{log}"));
    assert!(said("it may be promoted again") < said("this member is the primary"), "{log}");
    // What cannot be repaired in so short a time needs a full sync. Until then the other one stays
    // the primary.
    (0..40).for_each(|_| drop(verified.inflict("a", "RecordLost")));
    let refused = verified.cluster.transfer("b", "a").await.expect_err("a has lost too much");
    assert!(refused.message().contains("This member goes on as the primary"), "{refused}");
    verified.cluster.wait_until("a has taken a full sync", |view| of(view, "a").full_syncs == 1).await;
    assert_eq!(verified.cluster.in_sync().await.0, "b");
    verified.cluster.transfer("b", "a").await.expect("a is the same");
    verified.cluster.converged().await;
    assert_eq!(crate::check::all_keys(&verified.client).await.len(), OBJECTS);
}

/// It ends all the same, and neither its log nor its exit code says that it goes on, or that all is
/// well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_ends_without_having_handed_over_says_so_with_its_exit_code() {
    let mut verified = Verified::start(&RARELY).await;
    (0..40).for_each(|_| drop(verified.inflict("b", "RecordLost")));
    verified.cluster.signal("a", Signal::TERM);
    let status = verified.cluster.ended("a").await;
    let log = verified.cluster.log("a");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("error: not handed over before the stop: \"b\" "), "{log}");
    assert!(log.contains("This member has ended as the primary") && !log.contains("goes on as the primary"), "{log}");
}

/// A support engineer gets two files, and compares them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_tell_what_differs_wherever_they_are_compared() {
    let mut verified = Verified::start(&RARELY).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (one, other, later) = (path("a.snapshot"), path("b.snapshot"), path("later.snapshot"));
    let addresses = verified.cluster.addresses().join(",");
    let run = |args: &[&str]| {
        let ran = understudy().args(args).args(["--json", "--address", &addresses]).output().unwrap();
        let document = serde_json::from_slice::<Value>(if ran.stdout.is_empty() { &ran.stderr } else { &ran.stdout });
        (ran.status.code().unwrap(), document.unwrap())
    };
    let what = verified.inflict("b", "RecordBit");
    for (member, file) in [("a", &one), ("b", &other)] {
        let (code, told) = run(&["snapshot", member, file]);
        assert_eq!((code, told["member"].as_str()), (0, Some(member)), "{told}");
    }
    assert_eq!(run(&["snapshot", "a", &one]).1["error"]["reason"], "EXISTS");
    // Under the digest: only the records show it.
    for (one, other) in [("a", "b"), (&one, &other), ("a", &other)] {
        assert_eq!(run(&["diff", one, other]).0, 0, "{one} and {other}");
        let (code, told) = run(&["diff", "--full", one, other]);
        let (records, fields) = (&told["records"], &told["records"][0]["fields"]);
        assert_eq!((code, &told["records_in_all"]), (1, &1.into()), "{told}");
        assert_eq!((fields.as_array().unwrap().len(), &fields[0]["field"]), (1, &"size".into()), "{told}");
        assert!(what.contains(&format!("shard {}", records[0]["shard"])), "{what}: {told}");
    }
    // A change in between is no difference.
    verified.client.put("later", 100, PutOptions::default()).await.unwrap().end(None).await.unwrap();
    verified.client.remove_one(name(3), Force::Yes).await.unwrap();
    assert_eq!(run(&["snapshot", "a", &later, "--force"]).0, 0);
    let (code, told) = run(&["diff", &one, &later]);
    assert_eq!((code, &told["records_in_all"], &told["changed_meanwhile"]), (0, &0.into(), &2.into()), "{told}");
    assert!(told["seq"].as_u64() < told["other_seq"].as_u64(), "{told}");
    // Files need no cluster, and are not trusted.
    ["a", "b"].into_iter().for_each(|name| verified.cluster.kill(name));
    assert_eq!(run(&["diff", "--full", &one, &other]).0, 1);
    let bytes = std::fs::read(&other).unwrap();
    std::fs::write(&other, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(run(&["diff", &one, &other]).1["error"]["reason"], "DAMAGED");
    std::fs::write(&other, "something else").unwrap();
    assert_eq!(run(&["diff", &one, &other]).1["error"]["reason"], "NOT_A_SNAPSHOT");
    assert_eq!(run(&["diff", &one, &path("none.snapshot")]).1["error"]["reason"], "FILE");
}
