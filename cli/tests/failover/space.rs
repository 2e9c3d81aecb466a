//! Space after a failover: the new primary hands out no space that a live object uses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{
    Client, Force, Location, Pin, PutEndItem, PutOptions, PutStartItem, Reason, Replica, ReplicaScope, Segment,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::check::{Objects, all_keys, all_objects, live};
use crate::cluster::{Cluster, Spec};
use crate::load::connect;
use crate::random::Random;

const SEGMENTS: usize = 3;
const SEGMENT_BYTES: u64 = 16 << 20;
const WRITERS: usize = 4;
const SIZE_MAX: u64 = 20_000;
/// Buffers start at multiples of this. Less than this cannot be handed out.
const ALIGNED: u64 = 64;

/// Where a put that was never ended may still be writing, by its key.
type Unfinished = BTreeMap<String, (u64, Vec<Replica>)>;

/// Options of objects that are never evicted.
fn pinned() -> PutOptions {
    PutOptions { pin: Pin::Hard, ..PutOptions::default() }
}

/// Puts objects of all sizes, leaves some unfinished, and removes some, until it is told to stop.
async fn churn(client: Client, me: usize, stop: Arc<AtomicBool>) -> Unfinished {
    let (mut random, mut unfinished, mut present) = (Random::new(me), Unfinished::new(), Vec::new());
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, size) = (format!("churn-{me}/{number:06}"), 1 + random.below(SIZE_MAX));
        // A put that was refused, or whose outcome is unknown, may exist or not: it counts if it
        // does.
        if let Ok(started) = client.put_start(&[PutStartItem::new(&key, size)], pinned()).await
            && let Some(Ok(put)) = started.results.into_iter().next()
        {
            if random.below(20) == 0 {
                unfinished.insert(key, (size, put.replicas));
                continue;
            }
            let _ = client.put_end(&[PutEndItem::new(&key, put.put_id, None)], ReplicaScope::All).await;
            present.push(key);
        }
        // The objects take at most about half of all space.
        while present.len() > 500 || (!present.is_empty() && random.below(3) == 0) {
            let at = random.below(present.len() as u64) as usize;
            let _ = client.remove(&[present.swap_remove(at)], Force::Yes).await;
        }
    }
    unfinished
}

/// Puts ever smaller objects until not even the smallest buffer is left.
async fn fill(client: &Client) -> u64 {
    let (mut puts, mut size) = (0, SIZE_MAX);
    while size > 0 {
        let key = format!("fill/{puts:06}");
        let answer =
            client.put_start(&[PutStartItem::new(&key, size)], pinned()).await.expect("a healthy pair answers");
        match answer.results.into_iter().next().expect("one item has one result") {
            Ok(put) => {
                let end = [PutEndItem::new(&key, put.put_id, None)];
                client.put_end(&end, ReplicaScope::All).await.expect("it was begun").all().expect("it was begun");
                puts += 1;
            }
            Err(refused) => {
                assert_eq!(refused.reason, Reason::NoSpace, "{refused}");
                size = if size > ALIGNED { (size / 2).max(ALIGNED) } else { 0 };
            }
        }
    }
    puts
}

fn add_unfinished(objects: &mut Objects, unfinished: Unfinished) {
    for (key, (size, replicas)) in unfinished {
        objects.insert(key, client::Object { size, replicas, checksum: None });
    }
}

/// The bytes of all buffers, as the allocator counts.
fn bytes_of(objects: &Objects) -> u64 {
    let in_memory = |replica: &&Replica| matches!(replica.location, Location::Memory { .. });
    let bytes = |object: &client::Object| {
        object.size.next_multiple_of(ALIGNED) * object.replicas.iter().filter(in_memory).count() as u64
    };
    objects.values().map(bytes).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_handed_out_after_failovers_until_all_is_full_is_nobody_elses() {
    // Short, so that removed space is used again, and again after each failover.
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&["--object-lease-ms", "100"])).await;
    let client = connect(&cluster.addresses()).await;
    for at in 0..SEGMENTS {
        let segment = Segment::memory(format!("s{at}"), (at as u64 + 1) << 40, SEGMENT_BYTES, "10.0.1.1:1");
        client.mount_segment(&segment).await.expect("the segment is new");
    }
    let (mut unfinished, mut kills) = (Unfinished::new(), 0);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for me in 0..WRITERS {
        writers.spawn(churn(connect(&cluster.addresses()).await, me, Arc::clone(&stop)));
    }
    for _ in 0..3 {
        let (primary, _) = cluster.in_sync().await;
        sleep(Duration::from_millis(700)).await;
        cluster.kill(&primary);
        cluster.led_by_one_of(&cluster.names_but(&primary)).await;
        kills += 1;
        cluster.restart(&primary);
    }
    cluster.in_sync().await;
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await.into_iter().for_each(|some| unfinished.extend(some));
    let before = all_keys(&client).await.len();
    let puts = fill(&client).await;
    let keys = all_keys(&client).await;
    let mut objects = all_objects(&client, &keys).await;
    let (ended, open) = (objects.len(), unfinished.len());
    add_unfinished(&mut objects, unfinished);
    let faults = histories::held_apart(&live(&objects));
    assert!(faults.is_empty(), "{faults:#?}");
    let (used, all) = (bytes_of(&objects), SEGMENTS as u64 * SEGMENT_BYTES);
    println!(
        "{kills} kills, {before} objects; then {puts} puts until full: {ended} objects and {open} unfinished puts fill \
         {used} of {all} bytes, and no two have a byte in common"
    );
    assert!(puts > 100, "{puts} puts: there was nothing left to fill");
    cluster.converged().await;
    cluster.check_logs();
}
