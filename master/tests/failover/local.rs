//! Changes that are acknowledged before a standby has them (`ack` local): what a kill of the primary costs is bounded.
//!
//! The standby gets nothing any more, and cannot be taken out of the set: the primary's link to etcd is cut too. Its tenure
//! lasts, so it goes on to acknowledge until `lag_ops_max` entries are at stake; then it is killed. What was acknowledged up to
//! some place in the log must be there, and what came after it is lost: no more than that many.
//!
//! Deliberately absent: promises of `committed`; here reads may show what a failover takes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Ack, Client, Options, Position, PutEndItem, PutOptions, PutStartItem, ReplicaScope, Segment};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::check::all_keys;
use crate::cluster::PATIENCE;
use crate::linked::Linked;
use crate::load::{SEGMENT_BYTES, connect};
use crate::proxy::Cut;
use crate::view::count_in_sync;

const WRITERS: usize = 8;
/// Entries that may be lost.
const BOUND: u64 = 2000;
const ARGS: [&str; 6] = ["--lag-ops-max", "2000", "--drop-after-ms", "2500", "--tenure-ms", "3000"];
/// The writers need some hundredths of this to come to the bound, and the tenure lasts for longer.
const CUT_FOR: Duration = Duration::from_millis(700);

/// A call that was acknowledged. `key`: of an object that must be there from then on.
#[derive(Debug)]
struct Acknowledged {
    at: Position,
    key: Option<String>,
}

/// What the writers of one round share.
#[derive(Debug, Default)]
struct Round {
    stop: AtomicBool,
    epoch: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_acknowledged_by_the_primary_alone_are_lost_within_the_bound() {
    local_writes_are_lost_within_the_bound(3).await;
}

pub(crate) async fn local_writes_are_lost_within_the_bound(times: u32) {
    let mut linked = Linked::start(&["a", "b"], &ARGS).await;
    let client = connect(&linked.cluster.addresses()).await;
    let segment = Segment::memory("local", 1 << 60, SEGMENT_BYTES, "10.0.1.1:1");
    client.mount_segment(&segment).await.expect("the segment is new");
    let (mut lost_writes, mut lost_entries) = (Vec::new(), Vec::new());
    for time in 0..times {
        let (primary, epoch) = linked.cluster.in_sync().await;
        let round = Arc::new(Round::default());
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let options = Options { ack: Ack::Local, ..Options::new(linked.cluster.addresses()) };
            let client = Client::connect(options).await.expect("they listen");
            writers.spawn(write(client, format!("local-{time}-{writer}"), Arc::clone(&round)));
        }
        sleep(CUT_FOR / 4).await;
        cut_in_sync(&linked, &primary).await;
        sleep(CUT_FOR).await;
        linked.cluster.kill(&primary);
        let began = Instant::now();
        while round.epoch.load(Ordering::Relaxed) <= epoch {
            assert!(began.elapsed() < PATIENCE, "nothing is acknowledged after epoch {epoch}");
            sleep(Duration::from_millis(5)).await;
        }
        round.stop.store(true, Ordering::Relaxed);
        linked.heal();
        linked.cluster.restart(&primary);
        linked.cluster.in_sync().await;
        let acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
        let kept = kept(&linked, &primary, epoch);
        let (writes, entries) = lost(&acknowledged, &all_keys(&client).await, epoch, kept);
        println!("{writes} acknowledged writes lost, {entries} entries; bound: {BOUND} entries");
        assert!(entries <= BOUND, "{entries} acknowledged entries are lost, at most {BOUND} may be");
        lost_writes.push(writes);
        lost_entries.push(entries);
    }
    let most = |lost: &[u64]| lost.iter().max().copied().unwrap_or_default();
    println!(
        "{times} kills: at most {} writes, {} entries lost; bound: {BOUND}",
        most(&lost_writes),
        most(&lost_entries)
    );
    assert!(most(&lost_entries) > 0, "the cuts came too late to show anything");
    linked.cluster.converged().await;
    linked.cluster.check_logs();
}

/// Cuts the primary off while its standby is in the set, as it knows it: from then on that cannot change.
async fn cut_in_sync(linked: &Linked, primary: &str) {
    loop {
        linked.cluster.in_sync().await;
        linked.way_to_etcd(primary).cut(Cut::Both);
        if linked.cluster.status(primary).await.is_some_and(|status| count_in_sync(&status) == 2) {
            return linked.peer(primary).cut(Cut::Answers);
        }
        linked.heal();
    }
}

/// Puts objects until it is told to stop; what came of a call that was not acknowledged does not matter here.
async fn write(client: Client, prefix: String, round: Arc<Round>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let mut number = 0_u64;
    while !round.stop.load(Ordering::Relaxed) {
        let key = format!("{prefix}/{number:08}");
        number += 1;
        let Ok(started) = client.put_start(&[PutStartItem::new(&key, 100)], PutOptions::default()).await else {
            continue;
        };
        let Some(Ok(put)) = started.results.first() else { continue };
        let end = PutEndItem::new(&key, put.put_id, None);
        acknowledged.push(Acknowledged { at: started.position, key: None });
        let Ok(ended) = client.put_end(&[end], ReplicaScope::All).await else { continue };
        if ended.results.iter().all(Result::is_ok) {
            round.epoch.fetch_max(ended.position.epoch, Ordering::Relaxed);
            acknowledged.push(Acknowledged { at: ended.position, key: Some(key) });
        }
    }
    acknowledged
}

/// The seq up to which the one that took over had the log of the one before: by its own word, where it began its epoch.
fn kept(linked: &Linked, before: &str, epoch: u64) -> u64 {
    let next = linked.cluster.names_but(before).remove(0);
    let log = linked.cluster.log(&next);
    let lines = log.lines().rev().filter(|line| line.contains("this member is the primary"));
    let begins = lines.filter_map(|line| line.split(" at=").nth(1)?.split(' ').next()?.split_once('/'));
    let numbers = begins.map(|(epoch, seq)| (epoch.parse::<u64>(), seq.parse::<u64>()));
    let found = numbers.filter_map(|(of, seq)| of.ok().zip(seq.ok())).find(|(of, _)| *of == epoch + 1);
    found.unwrap_or_else(|| panic!("{next} does not say where epoch {} begins:\n{log}", epoch + 1)).1 - 1
}

/// Objects that are lost, and entries: all that were acknowledged in `epoch` beyond `kept`, and nothing else.
fn lost(acknowledged: &[Acknowledged], keys: &BTreeSet<String>, epoch: u64, kept: u64) -> (u64, u64) {
    let is_lost = |it: &&Acknowledged| it.at.epoch == epoch && it.at.seq > kept;
    for it in acknowledged {
        let Some(key) = &it.key else { continue };
        assert_eq!(keys.contains(key), !is_lost(&it), "{it:?}, and the log of epoch {epoch} was kept up to {kept}");
    }
    let writes = acknowledged.iter().filter(is_lost).filter(|it| it.key.is_some());
    (writes.count() as u64, acknowledged.iter().filter(is_lost).count() as u64)
}
