//! What all clients of a run share: its clock, the current round, versions, and the place where
//! they hand in what they were told.
//!
//! Invariant: a client hands in the operations of a round once it has begun the next one and none
//! of its calls is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use histories::{Moment, Op};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::story::Story;

/// What one client was told in one round.
#[derive(Debug, Default)]
pub(crate) struct Chapter {
    pub(crate) round: u64,
    pub(crate) ops: Vec<Op>,
    pub(crate) put_ids: Vec<u64>,
    /// The pins as last acknowledged, by key.
    pub(crate) pins: Vec<(Arc<str>, client::Pin)>,
    pub(crate) tasks_created: Vec<u64>,
    pub(crate) tasks_maybe_created: u64,
    pub(crate) tasks_fetched: Vec<u64>,
    /// Answers that are wrong in themselves.
    pub(crate) faults: Vec<String>,
    pub(crate) client: u32,
}

#[derive(Debug)]
pub(crate) struct Board {
    began: Instant,
    round: AtomicU64,
    stop: AtomicBool,
    versions: AtomicU64,
    chapters: mpsc::Sender<Chapter>,
    pub(crate) story: Arc<Mutex<Story>>,
}

impl Board {
    pub(crate) fn new(story: Arc<Mutex<Story>>, chapters: mpsc::Sender<Chapter>) -> Board {
        let (round, versions) = (AtomicU64::new(1), AtomicU64::new(1));
        Board { began: Instant::now(), round, stop: AtomicBool::new(false), versions, chapters, story }
    }

    pub(crate) fn now(&self) -> Moment {
        self.began.elapsed()
    }

    pub(crate) fn round(&self) -> u64 {
        self.round.load(Ordering::Relaxed)
    }

    pub(crate) fn next_round(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Identifies a put, for good.
    pub(crate) fn version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn hand_in(&self, chapter: Chapter) {
        // The receiver is gone: the run has broken off.
        let _ = self.chapters.send(chapter).await;
    }
}

/// One of a few sizes, so that some puts have the size of what they replace, and may be in place.
pub(crate) fn size_of(version: u64) -> u64 {
    1 + 8192 * (version % 8)
}

/// `00012/`: the prefix of all keys of a round.
pub(crate) fn prefix(round: u64) -> String {
    format!("{round:05}/")
}
