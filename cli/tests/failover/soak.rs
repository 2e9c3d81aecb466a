//! Everything that changes a state by itself, together and under faults: expiry, eviction,
//! discarded puts, full syncs, takeovers. Nothing is wrong with any member, so verification must
//! find nothing.
//!
//! Clients come, mount a little memory, fill it, and vanish.
//!
//! Deliberately absent: what clients were told. Other tests check that, with clients that do not
//! expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Force, Options, Pin, PutEndItem, PutOptions, PutStartItem, ReplicaScope, Segment};
use proto::v1::VerificationStatus;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, Spec};
use crate::random::Random;
use crate::view::{View, epoch, leader};

/// Verification runs often. Time-outs are short enough to end all the time.
const ARGS: [&str; 22] = [
    "--digest-interval-ms",
    "100",
    "--verify-interval-ms",
    "300",
    "--scrub-cycle-ms",
    "1500",
    "--client-ttl-ms",
    "2000",
    "--object-lease-ms",
    "300",
    "--put-start-timeout-ms",
    "1000",
    "--put-release-timeout-ms",
    "1500",
    "--soft-pin-ttl-ms",
    "1000",
    // A member that comes back finds its entries gone from the log.
    "--window-entries",
    "512",
    "--join-lag-ops",
    "500",
    "--tail-entries",
    "2000",
];
/// The number of visitors at the same time.
const VISITORS: usize = 4;
const SEGMENT_BYTES: u64 = 4 << 20;
const BATCH: usize = 100;
const SIZE_MAX: u64 = 8 << 10;
/// Between two batches of one visitor.
const PAUSE: Duration = Duration::from_millis(5);
const STAY: Duration = Duration::from_secs(2);
/// Between a healthy cluster and the next fault.
const CALM: Duration = Duration::from_millis(700);
const STANDS_STILL: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_finds_nothing_where_nothing_is_wrong() {
    finds_nothing(Duration::from_secs(12)).await;
}

pub(crate) async fn finds_nothing(lasting: Duration) {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::with(&ARGS)).await;
    let visited = Arc::new(Visited::default());
    let mut visitors = JoinSet::new();
    for me in 0..VISITORS {
        visitors.spawn(Visitor { me, random: Random::new(me), visited: Arc::clone(&visited) }.run(cluster.addresses()));
    }
    let (began, mut seen) = (Instant::now(), Seen::default());
    for round in 0_usize.. {
        let (primary, _) = cluster.in_sync().await;
        sleep(CALM).await;
        let view = cluster.view().await;
        check(&view);
        if began.elapsed() >= lasting {
            break;
        }
        let other = cluster.names_but(&primary).remove(round % 2);
        match round % 6 {
            0 => killed(&mut cluster, &primary, &view, &mut seen),
            1 => drop(cluster.transfer(&primary, &other).await),
            2 => killed(&mut cluster, &other, &view, &mut seen),
            3 => stands_still(&mut cluster, &other).await,
            4 => {
                seen.add(&view, &primary);
                cluster.signal(&primary, Signal::TERM);
                cluster.ended(&primary).await;
                cluster.restart(&primary);
            }
            _ => stands_still(&mut cluster, &primary).await,
        }
        seen.faults += 1;
    }
    visited.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = visitors.join_next().await {
        ended.expect("a visitor does not panic");
    }
    // The last ones are gone, too, with everything that was theirs.
    let is_empty = |view: &View| leader(view).is_some_and(|(_, status)| status.segments == 0 && status.objects == 0);
    let view = cluster.wait_until("what the last ones had is gone", is_empty).await;
    check(&view);
    cluster.names().iter().for_each(|name| seen.add(&view, name));
    cluster.converged().await;
    cluster.check_logs();
    let (visits, puts) = (visited.visits.load(Ordering::Relaxed), visited.puts.load(Ordering::Relaxed));
    let (evicted, epochs) = leader(&view).map_or((0, 0), |(_, status)| (status.evicted_total, epoch(status)));
    println!(
        "{:.0?}: {puts} puts by {visits} clients, each of which expired; {evicted} evicted, {epochs} epochs; {seen:?}: verification found nothing",
        began.elapsed()
    );
    assert!(visits >= VISITORS as u64 && puts > 1000 && evicted > 100 && epochs > 1, "too little was going on");
    assert!(seen.compared > 20 && seen.samples > 100 && seen.scrub_cycles > 0, "{seen:?}");
}

/// What members have done until they were last asked. They forget it when they end.
#[derive(Debug, Default)]
struct Seen {
    faults: u64,
    compared: u64,
    samples: u64,
    scrub_cycles: u64,
    full_syncs: u64,
}

impl Seen {
    fn add(&mut self, view: &View, name: &str) {
        let Some(status) = view.get(name).and_then(Option::as_ref) else { return };
        let verification = status.verification.clone().unwrap_or_default();
        self.compared += verification.compared;
        self.samples += verification.samples;
        self.scrub_cycles += verification.scrub_cycles;
        self.full_syncs += status.cluster.as_ref().map_or(0, |cluster| cluster.full_syncs);
    }
}

fn check(view: &View) {
    for (name, status) in view {
        let Some(found) = status.as_ref().and_then(|status| status.verification.as_ref()) else { continue };
        let VerificationStatus { differed, rotten, checksum_mismatches, keys_not_found, extra_keys, .. } = found;
        let wrong = differed + rotten + checksum_mismatches + keys_not_found + extra_keys;
        assert_eq!((wrong, found.alarms, found.full_syncs), (0, 0, 0), "{name}: {found:#?}");
    }
}

fn killed(cluster: &mut Cluster, name: &str, view: &View, seen: &mut Seen) {
    seen.add(view, name);
    cluster.kill(name);
    cluster.restart(name);
}

async fn stands_still(cluster: &mut Cluster, name: &str) {
    cluster.signal(name, Signal::STOP);
    sleep(STANDS_STILL).await;
    cluster.signal(name, Signal::CONT);
}

#[derive(Debug, Default)]
struct Visited {
    stop: AtomicBool,
    visits: AtomicU64,
    puts: AtomicU64,
}

/// One client after the other.
struct Visitor {
    me: usize,
    random: Random,
    visited: Arc<Visited>,
}

impl Visitor {
    async fn run(mut self, addresses: Vec<String>) {
        for visit in 0_u64.. {
            if self.visited.stop.load(Ordering::Relaxed) {
                break;
            }
            // While no member leads, calls are refused: the next client comes.
            if let Ok(client) = Client::connect(Options::new(&addresses)).await {
                self.visit(&client, &format!("{}-{visit}", self.me)).await;
            }
            sleep(PAUSE).await;
        }
    }

    async fn visit(&mut self, client: &Client, name: &str) {
        let segment = Segment::memory(name, (self.me as u64 + 1) << 40, SEGMENT_BYTES, "10.0.0.1:1");
        if client.mount_segment(&segment).await.is_err() {
            return;
        }
        self.visited.visits.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        for batch in 0_u64.. {
            if began.elapsed() > STAY || self.visited.stop.load(Ordering::Relaxed) {
                break;
            }
            self.put_some(client, &format!("{name}/{batch}")).await;
            sleep(PAUSE).await;
        }
    }

    async fn put_some(&mut self, client: &Client, prefix: &str) {
        let keys: Vec<String> = (0..BATCH).map(|at| format!("{prefix}/{at}")).collect();
        let items: Vec<PutStartItem> =
            keys.iter().map(|key| PutStartItem::new(key, 1 + self.random.below(SIZE_MAX))).collect();
        let Ok(started) = client.put_start(&items, PutOptions::default()).await else { return };
        let puts = keys.iter().zip(started.results).filter_map(|(key, put)| Some((key, put.ok()?.put_id)));
        // Some are never ended, and discarded.
        let ended = puts.filter(|_| self.random.below(20) > 0);
        let ends: Vec<PutEndItem> = ended.map(|(key, put_id)| PutEndItem::new(key, put_id, Some(put_id))).collect();
        if let Ok(ended) = client.put_end(&ends, ReplicaScope::All).await {
            let ended = ended.results.iter().filter(|result| result.is_ok()).count();
            self.visited.puts.fetch_add(ended as u64, Ordering::Relaxed);
        }
        let some: Vec<&String> = keys.iter().step_by(7).collect();
        let _ = match self.random.below(4) {
            0 => client.get_replicas(&some).await.map(drop),
            1 => client.pin(&some, Pin::Soft, None).await.map(drop),
            2 => client.remove(&some, Force::Yes).await.map(drop),
            _ => Ok(()),
        };
    }
}
