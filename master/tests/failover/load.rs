//! Clients that put, read and remove without end, and write down what they are told.
//!
//! A few of them only read what others are about to write: what such a read has shown must stay, whatever fails next.
//!
//! Deliberately absent: judgement about what the members hold; see `history` and `check`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Options, Segment};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::PATIENCE;
use crate::history::{Diary, History};
use crate::writer::Writer;

/// Of each client's segment. No test fills it up.
pub(crate) const SEGMENT_BYTES: u64 = 1 << 40;
/// Clients that only read what the others write.
const READERS: usize = 2;

/// What a running load has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// The highest epoch in which a change was acknowledged, and when the first one was.
    pub(crate) epoch: u64,
    pub(crate) since: Instant,
}

#[derive(Debug)]
pub(crate) struct Load {
    board: Arc<Board>,
    writers: Vec<JoinHandle<Diary>>,
    readers: Vec<JoinHandle<Seen>>,
}

/// What a reader has seen of the keys of others.
#[derive(Debug, Default)]
struct Seen {
    keys: BTreeSet<(usize, u64)>,
    reads: u64,
}

/// What all clients of a load share.
#[derive(Debug)]
pub(crate) struct Board {
    stop: AtomicBool,
    pub(crate) pause: Duration,
    /// Of each writer: the number of the key that it is at.
    at: Vec<AtomicU64>,
    acknowledged: AtomicU64,
    pulse: watch::Sender<Pulse>,
}

impl Board {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A writer is at this key now.
    pub(crate) fn write(&self, writer: usize, number: u64) {
        self.at[writer].store(number, Ordering::Relaxed);
    }

    pub(crate) fn on_acknowledged(&self, epoch: u64, now: Instant) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.pulse.send_if_modified(|pulse| {
            let later = epoch > pulse.epoch;
            if later {
                *pulse = Pulse { epoch, since: now };
            }
            later
        });
    }
}

pub(crate) fn key(client: usize, number: u64) -> String {
    format!("client-{client:02}/{number:08}")
}

pub(crate) fn size_of(client: usize, number: u64) -> u64 {
    1 + (number * 7919 + client as u64 * 104_729) % 16_384
}

pub(crate) fn checksum_of(client: usize, number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ client as u64
}

pub(crate) async fn connect(addresses: &[String]) -> Client {
    Client::connect(Options::new(addresses)).await.expect("a member can be reached")
}

impl Load {
    /// `pause`: of each writer, between two of its objects.
    pub(crate) async fn start(addresses: &[String], writers: usize, pause: Duration) -> Load {
        let (pulse, _) = watch::channel(Pulse { epoch: 0, since: Instant::now() });
        let (at, stop) = ((0..writers).map(|_| AtomicU64::new(0)).collect(), AtomicBool::new(false));
        let board = Arc::new(Board { stop, pause, at, acknowledged: AtomicU64::new(0), pulse });
        let mut load = Load { board: Arc::clone(&board), writers: Vec::new(), readers: Vec::new() };
        for me in 0..writers {
            let client = connect(addresses).await;
            let base = (me as u64 + 1) << 44;
            let segment = Segment::memory(format!("segment-{me}"), base, SEGMENT_BYTES, format!("10.0.0.{me}:1"));
            client.mount_segment(&segment).await.expect("the segment is new");
            load.writers.push(tokio::spawn(Writer::new(me, client, Arc::clone(&board)).run()));
        }
        for number in 0..READERS {
            let client = connect(addresses).await;
            load.readers.push(tokio::spawn(read_others(client, Arc::clone(&board), number as u64)));
        }
        load
    }

    /// Until so many more changes were acknowledged.
    pub(crate) async fn runs(&self, changes: u64) {
        let (began, target) = (Instant::now(), self.board.acknowledged.load(Ordering::Relaxed) + changes);
        while self.board.acknowledged.load(Ordering::Relaxed) < target {
            assert!(began.elapsed() < PATIENCE, "nothing is acknowledged any more");
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.board.acknowledged.load(Ordering::Relaxed)
    }

    /// Until a change is acknowledged in a later epoch than this one; then that epoch, and when it was.
    pub(crate) async fn goes_on_after(&self, epoch: u64) -> Pulse {
        let mut pulse = self.board.pulse.subscribe();
        let found = tokio::time::timeout(PATIENCE, pulse.wait_for(|pulse| pulse.epoch > epoch)).await;
        *found.unwrap_or_else(|_| panic!("nothing is acknowledged after epoch {epoch}")).expect("the load still runs")
    }

    pub(crate) async fn stop(self) -> History {
        self.board.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for writer in self.writers {
            history.diaries.push(writer.await.expect("a writer does not panic"));
        }
        for reader in self.readers {
            let Seen { keys, reads } = reader.await.expect("a reader does not panic");
            history.seen.extend(keys);
            history.reads_of_others += reads;
        }
        history
    }
}

/// Reads the keys that others are writing at this moment.
async fn read_others(client: Client, board: Arc<Board>, mut random: u64) -> Seen {
    let mut seen = Seen::default();
    while !board.is_stopped() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let owner = (random >> 33) as usize % board.at.len();
        let number = board.at[owner].load(Ordering::Relaxed);
        let found = client.get(key(owner, number)).await;
        seen.reads += u64::from(found.is_ok());
        if found.is_ok_and(|found| found.is_some()) {
            seen.keys.insert((owner, number));
        }
        sleep(board.pause / 2).await;
    }
    seen
}
