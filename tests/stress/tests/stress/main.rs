//! Sixty-four clients, honest and hostile, call one node at once for a minute and leave. Then the
//! node must be as before: nothing panicked, nothing was logged that an operator must look at, no
//! lock was held for long, the log makes the same state elsewhere, all space is free, and the
//! memory is back.
//!
//! `STRESS_SECONDS` is the length (60), and `STRESS_SEED` decides what the clients do; a run prints
//! its seed. Without a seed all runs do the same, so a failure after a success comes from a change.
//! `STRESS_SEED=$RANDOM` explores more.
//!
//! Deliberately absent: checks of single answers. The property tests check what a call means.

mod dice;
mod follower;
mod heap;
mod honest;
mod hostile;
mod log;
mod noise;
mod raw;
mod requests;
mod served;
mod steps;
mod tally;

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use client::{Client, Error, Force, Options, Segment};
use metadata::Metadata;
use oplog::ReplicatedState;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::follower::Follower;
use crate::honest::Honest;
use crate::hostile::Hostile;
use crate::noise::Noise;
use crate::served::Served;
use crate::tally::Tally;

const DEFAULT_SEED: u64 = 1;
const HONEST: usize = 44;
const HOSTILE: usize = 16;
const NOISE: usize = 4;
/// Mounted from the beginning to the end, and used by all clients.
pub(crate) const COMMON_SEGMENT: &str = "common";
const COMMON_BYTES: u64 = 8 << 20;

const LOCK_HELD_MAX: Duration = Duration::from_millis(10);
/// What may stay: request numbers of clients that are gone, tenants, tables that have grown, all of
/// them bounded.
const HEAP_LEFT_MAX: usize = 4 << 20;
/// The time that is allowed in addition to the time of the load.
const HANGS_AFTER: Duration = Duration::from_secs(150);
/// The time for everything that times out.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

#[test]
fn sixty_four_clients_leave_nothing_behind() {
    let seconds = setting("STRESS_SECONDS").unwrap_or(60);
    let seed = setting("STRESS_SEED").unwrap_or(DEFAULT_SEED);
    println!("STRESS_SECONDS={seconds} STRESS_SEED={seed}");
    count_panics();
    log::collect();
    // Like the program. Otherwise the allocator gives memory back in the middle of a step.
    master::give_memory_back_aside().expect("a thread can be started");
    let watched = watch(Duration::from_secs(seconds) + HANGS_AFTER);
    stress(seed, Duration::from_secs(seconds));
    drop(watched);
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something panicked on the way (seed {seed})");
    let lines = log::unexpected();
    assert!(lines.is_empty(), "unexpected lines in the log (seed {seed}):\n{}", lines.join("\n"));
}

/// Ends this process if the result is not dropped in time: a thread that waits for a lock for ever
/// can't be told.
fn watch(at_most: Duration) -> mpsc::SyncSender<()> {
    let (watched, ended) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        if ended.recv_timeout(at_most) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("nothing has come to an end after {at_most:?}: something hangs");
            std::process::abort();
        }
    });
    watched
}

/// Including panics that a runtime catches.
fn count_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        print(info);
    }));
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .expect("threads can be started")
}

fn stress(seed: u64, lasts: Duration) {
    let served = Served::start();
    let before = heap::bytes();
    let clients = runtime("clients");
    let follower = Follower::start(served.node(), served.empty_state());
    let host = clients.block_on(host(&served));
    let (tally, joined) = clients.block_on(load(&served, seed, lasts));
    let full = heap::bytes().saturating_sub(before);
    println!("{tally}{} calls in {} s", tally.total(), lasts.as_secs());
    let missing: Vec<_> = EVERY_KIND.iter().filter(|kind| !tally.kinds().any(|seen| seen == **kind)).collect();
    assert!(lasts < Duration::from_secs(20) || missing.is_empty(), "nobody called {missing:?}");
    let unanswered = tally.count_unanswered();
    assert!(unanswered * 100 <= tally.total(), "{unanswered} calls had no answer");

    clients.block_on(clear_up(&host));
    clients.block_on(settled(&served, "all space is free", |state| {
        let totals = state.totals();
        totals.objects == 0 && totals.memory_used_bytes == 0 && totals.retired_bytes == 0
    }));
    served.state().check().unwrap_or_else(|what| panic!("the node is not sound: {what}"));
    clients.block_on(leave(host));
    clients.block_on(settled(&served, "everybody is gone", |state| {
        let totals = state.totals();
        totals.segments == 0 && totals.clients == 0 && totals.unfinished == 0
    }));
    served.state().check().unwrap_or_else(|what| panic!("the empty node is not sound: {what}"));
    let followed = follower.finish();
    same_state("the follower", &followed, &served.state());
    catch_up_of(joined, &served);

    let held = Duration::from_nanos(served.state().lock_held_ns_max());
    let at = served.state().lock_held_at().map(ToString::to_string).unwrap_or_default();
    println!("longest hold of a lock: {held:?} of CPU time, taken at {at}");
    assert!(held <= LOCK_HELD_MAX, "a lock was held for {held:?} of CPU time, taken at {at}");
    clients.shutdown_timeout(Duration::from_secs(10));
    served.forget_log();
    let left = heap::bytes().saturating_sub(before);
    println!(
        "heap: {} KiB at rest, {} KiB more when the load ended, {} KiB more now",
        before >> 10,
        full >> 10,
        left >> 10
    );
    assert!(left <= HEAP_LEFT_MAX, "{left} bytes of memory are not given back");
    served.stop();
}

/// Mounts a segment that all clients use.
async fn host(served: &Served) -> Client {
    let client = Client::connect(Options::new([served.address().to_string()])).await.expect("the node listens");
    let segment = Segment::memory(COMMON_SEGMENT, 1 << 40, COMMON_BYTES, "10.0.0.1:9000");
    client.mount_segment(&segment).await.expect("it is the first one");
    client
}

async fn load(served: &Served, seed: u64, lasts: Duration) -> (Tally, Metadata) {
    let until = Instant::now() + lasts;
    let address = served.address();
    let mut clients = JoinSet::new();
    for which in 0..HONEST {
        clients.spawn(Honest { address, which, dice: Dice::fork(seed, which), until }.run());
    }
    for which in HONEST..HONEST + HOSTILE {
        clients.spawn(Hostile { address, dice: Dice::fork(seed, which), until }.run());
    }
    for which in HONEST + HOSTILE..HONEST + HOSTILE + NOISE {
        clients.spawn(Noise { address, dice: Dice::fork(seed, which), until }.run());
    }
    tokio::time::sleep(lasts / 2).await;
    let node = Arc::clone(served.node());
    let joined = tokio::task::spawn_blocking(move || follower::join_now(&node)).await.expect("a full sync ends well");
    let mut tally = Tally::default();
    while let Some(ended) = clients.join_next().await {
        tally.add(ended.unwrap_or_else(|why| panic!("a client failed (seed {seed}): {why}")));
    }
    (tally, joined)
}

async fn clear_up(host: &Client) {
    let tenants = host.list_tenants().await.expect("the node answers");
    for tenant in tenants {
        let removed = host.with_tenant(&tenant.name).expect("it is a tenant").remove_all(Force::Yes).await;
        let removed = removed.unwrap_or_else(|why| panic!("tenant {:?} cannot be emptied: {why}", tenant.name));
        assert_eq!(removed.refused, 0, "a forced removal refuses nothing");
    }
}

async fn leave(host: Client) {
    let own = host.list_segments(Some(host.id()), "").await.expect("the node answers");
    let ids: Vec<_> = own.segments.iter().map(|status| status.segment.id).collect();
    let unmounted: Result<_, Error> = host.unmount_segments(&ids, Duration::ZERO).await;
    unmounted.expect("the node answers").all().expect("it is its own segment");
}

async fn settled(served: &Served, what: &str, holds: impl Fn(&Metadata) -> bool) {
    let until = Instant::now() + SETTLED_WITHIN;
    while !holds(&served.state()) {
        assert!(Instant::now() < until, "{what}: not after {SETTLED_WITHIN:?}: {:?}", served.state().totals());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn same_state(who: &str, other: &Metadata, state: &Metadata) {
    assert_eq!(other.digest(), state.digest(), "{who} has another state");
    other.check().unwrap_or_else(|what| panic!("{who} is not sound: {what}"));
}

/// The one that joined in the middle applies the rest of the log, as far as it is still there.
fn catch_up_of(joined: Metadata, served: &Served) {
    let last = Follower::start(served.node(), joined).finish();
    same_state("the one that joined", &last, &served.state());
}

/// The minute is long enough for all of them.
const EVERY_KIND: &[&str] = &[
    "CompleteTask",
    "CopyEnd",
    "CopyRevoke",
    "CopyStart",
    "CreateTask",
    "DeleteTenant",
    "Exists",
    "FetchTasks",
    "GetReplicas",
    "Heartbeat",
    "ListKeys",
    "ListSegments",
    "ListTasks",
    "ListTenants",
    "MountSegment",
    "MoveEnd",
    "MoveRevoke",
    "MoveStart",
    "Pin",
    "PutEnd",
    "PutRevoke",
    "PutStart",
    "RemountSegments",
    "Remove",
    "RemoveAll",
    "RemoveMatching",
    "SetTenantQuota",
    "Status",
    "UnmountSegment",
    "Unpin",
    "connect",
    "put",
    "put.end",
    "put.revoke",
];
