//! Clients that put, read and remove without end, and record what they are told.
//!
//! A few of them only read what others are about to write: what such a read has shown must stay,
//! whatever fails next.
//!
//! Deliberately absent: judgement; see `check`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Location, Object, Options, Reason, Replica, Segment};
use histories::{Answer, Buffer, Moment, Op, OpKind, Outcome};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::PATIENCE;
use crate::history::{Diary, History};
use crate::random::Random;
use crate::writer::Writer;

/// The size of each client's segment. No test fills it.
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
    readers: Vec<JoinHandle<Diary>>,
}

/// What all clients of a load share.
#[derive(Debug)]
pub(crate) struct Board {
    began: Instant,
    stop: AtomicBool,
    pub(crate) pause: Duration,
    /// The number of each writer's current key.
    at: Vec<AtomicU64>,
    acknowledged: AtomicU64,
    pulse: watch::Sender<Pulse>,
}

impl Board {
    pub(crate) fn now(&self) -> Moment {
        self.began.elapsed()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A writer is at this key now.
    pub(crate) fn write(&self, writer: usize, number: u64) {
        self.at[writer].store(number, Ordering::Relaxed);
    }

    pub(crate) fn on_acknowledged(&self, epoch: u64, now: Moment) {
        let now = self.began + now;
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
    1 + number.wrapping_mul(7919).wrapping_add((client as u64).wrapping_mul(104_729)) % 16_384
}

/// Identifies the one put of a key, and is its checksum.
pub(crate) fn version(client: usize, number: u64) -> u64 {
    ((client as u64 + 1) << 40) + number
}

/// As it was written, or [`u64::MAX`], which no client wrote.
pub(crate) fn version_of(object: &Object) -> u64 {
    let is_whole = |version: &u64| {
        let (client, number) = ((*version >> 40).wrapping_sub(1) as usize, *version & ((1 << 40) - 1));
        object.size == size_of(client, number) && object.replicas.len() == 1
    };
    object.checksum.filter(is_whole).unwrap_or(u64::MAX)
}

pub(crate) fn buffers(replicas: &[Replica], size: u64) -> Vec<Buffer> {
    let buffer = |replica: &Replica| match replica.location {
        Location::Memory { address } => {
            Some(Buffer { segment: replica.segment.id.0, start: address, end: address + size })
        }
        Location::Disk { .. } => None,
    };
    replicas.iter().filter_map(buffer).collect()
}

/// What a read shows of a key, and at which position.
pub(crate) async fn read(client: &Client, key: &str) -> Result<(histories::Position, Option<u64>), client::Error> {
    let found = client.get_replicas(&[key]).await?;
    let at = histories::Position { epoch: found.position.epoch, seq: found.position.seq };
    match found.results.into_iter().next().expect("one key has one result") {
        Ok(object) => Ok((at, Some(version_of(&object)))),
        Err(refused) if refused.reason == Reason::NotFound => Ok((at, None)),
        Err(refused) => Err(refused.into()),
    }
}

pub(crate) async fn connect(addresses: &[String]) -> Client {
    Client::connect(Options::new(addresses)).await.expect("a member can be reached")
}

impl Load {
    /// `pause`: each writer's pause between two of its objects.
    pub(crate) async fn start(addresses: &[String], writers: usize, pause: Duration) -> Load {
        let (pulse, _) = watch::channel(Pulse { epoch: 0, since: Instant::now() });
        let (at, stop) = ((0..writers).map(|_| AtomicU64::new(0)).collect(), AtomicBool::new(false));
        let board = Arc::new(Board { began: Instant::now(), stop, pause, at, acknowledged: AtomicU64::new(0), pulse });
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
            load.readers.push(tokio::spawn(read_others(client, Arc::clone(&board), number)));
        }
        load
    }

    /// Until this many more changes were acknowledged.
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

    /// Until a change is acknowledged in a later epoch than this one. Returns that epoch, and when
    /// it was.
    pub(crate) async fn goes_on_after(&self, epoch: u64) -> Pulse {
        let mut pulse = self.board.pulse.subscribe();
        let found = tokio::time::timeout(PATIENCE, pulse.wait_for(|pulse| pulse.epoch > epoch)).await;
        *found.unwrap_or_else(|_| panic!("nothing is acknowledged after epoch {epoch}")).expect("the load still runs")
    }

    /// Prints the results.
    pub(crate) async fn stop(self) -> History {
        self.board.stop.store(true, Ordering::Relaxed);
        let mut history = History { began: self.board.began, diaries: Vec::new() };
        for writer in self.writers {
            history.diaries.push(writer.await.expect("a writer does not panic"));
        }
        for reader in self.readers {
            history.diaries.push(reader.await.expect("a reader does not panic"));
        }
        println!("{}", history.summary());
        history
    }
}

/// Reads the keys that others are writing at this moment. A read without an answer says nothing.
async fn read_others(client: Client, board: Arc<Board>, me: usize) -> Diary {
    let (mut diary, mut random) = (Diary::default(), Random::new(me));
    while !board.is_stopped() {
        let owner = random.below(board.at.len() as u64) as usize;
        let key = key(owner, board.at[owner].load(Ordering::Relaxed));
        let invoked = board.now();
        if let Ok((at, found)) = read(&client, &key).await {
            let (client, key, call, at) = ((board.at.len() + me) as u32, key.into(), OpKind::Get, Some(at));
            let (returned, outcome) = (board.now(), Outcome::Acknowledged(Answer::Found(found)));
            diary.ops.push(Op { client, key, call, invoked, returned, outcome, at, member: None, sent_again: false });
        }
        sleep(board.pause / 2).await;
    }
    diary
}
