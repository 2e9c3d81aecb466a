//! What a peer is sent, message by message: the log from some seq on, or images and the log beside
//! them.
//!
//! ```text
//!   images:  image ─► the log up to now ─► image ─► … ─► the log up to now ──► the log
//! ```
//!
//! After every image, the log is sent as far as it goes by then, starting at the oldest image. So
//! the log need not be kept until all images are sent. The window of entries does not delay this: a
//! full sync does not advance that window.
//!
//! Invariants: what is sent of the log follows what was sent before; after the images, at most a
//! window of entries is ahead of what the peer has confirmed.
//!
//! Deliberately absent: the window of bytes, beacons, pace. The sender keeps them, and asks for the
//! next message only when there is room.

use std::sync::Arc;

use oplog::{ReplicatedState, Tail, TailError};
use proto::v1;

use crate::batch::{Batch, BatchLimits, next_batch};
use crate::images::Images;
use crate::plan::{PeerLog, Start, plan};

/// What comes next.
#[derive(Debug)]
pub enum Step {
    Image(v1::ShardImage),
    Entries(Batch),
    /// Nothing to send now.
    Idle,
}

#[derive(Debug)]
pub struct Feed<S> {
    start: Start,
    limits: BatchLimits,
    images: Option<Images<S>>,
    /// `None`: the log follows the first image.
    sent: Option<u64>,
    /// The log was sent up to here beside the newest image.
    beside_upto: Option<u64>,
    /// Where the log alone began: what a peer had before counts for its window.
    log_from: u64,
    records: u64,
}

impl<S: ReplicatedState> Feed<S> {
    pub fn new(state: &Arc<S>, tail: &Tail, peer: &PeerLog, limits: BatchLimits) -> Feed<S> {
        let start = plan(&tail.history(), tail.first_seq() - 1, peer);
        let (images, sent) = match start {
            Start::Log { fork_seq } => (None, Some(fork_seq)),
            Start::FullSync { first_shard, after } => (Some(Images::new(Arc::clone(state), first_shard)), after),
        };
        Feed { start, limits, images, sent, beside_upto: None, log_from: sent.unwrap_or(0), records: 0 }
    }

    /// For the welcome.
    pub fn welcome(&self) -> v1::welcome::Start {
        match (self.start, &self.images) {
            (Start::FullSync { first_shard, .. }, Some(images)) => {
                v1::welcome::Start::FullSync(v1::FullSync { first_shard, shards: images.shards() })
            }
            (Start::FullSync { .. }, None) | (Start::Log { .. }, _) => {
                v1::welcome::Start::ForkSeq(self.sent.unwrap_or(0))
            }
        }
    }

    /// The shard that is being sent, and how many there are. `None`: no more images are to be sent.
    pub fn syncing(&self) -> Option<(u32, u32)> {
        self.images.as_ref().map(|images| (images.shard(), images.shards()))
    }

    /// The records of the images that were sent completely.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The next step may have to capture a shard, which takes time, and no part of the log waits to
    /// be sent before it.
    pub fn takes_image_next(&self) -> bool {
        let is_sent = |upto| self.sent.is_some_and(|sent| sent >= upto);
        self.images.is_some() && self.beside_upto.is_none_or(is_sent)
    }

    /// The log was sent up to here.
    pub fn sent(&self) -> u64 {
        self.sent.unwrap_or(0)
    }

    /// After the images: the window of entries counts from here, or from what the peer has
    /// confirmed. `None`: images are still to be sent, and the window does not delay them.
    pub fn window_from(&self) -> Option<u64> {
        self.images.is_none().then_some(self.log_from)
    }

    fn window_end(&self, received: u64, window_entries: u64) -> u64 {
        received.max(self.log_from).saturating_add(window_entries)
    }

    pub fn step(&mut self, tail: &Tail, received: u64, window_entries: u64) -> Result<Step, TailError> {
        if let (Some(upto), Some(sent)) = (self.beside_upto, self.sent) {
            if let Some(batch) = next_batch(tail, sent, upto, self.limits)? {
                return Ok(self.entries(batch));
            }
            self.beside_upto = None;
            if self.images.is_none() {
                self.log_from = sent;
            }
        }
        if let Some(mut images) = self.images.take() {
            let message = images.next_message();
            self.records = images.records();
            self.sent = self.sent.or(images.oldest().map(|at| at.seq));
            self.beside_upto = Some(tail.appended().get());
            return match message {
                Some(image) => {
                    self.images = Some(images);
                    Ok(Step::Image(image))
                }
                None => self.step(tail, received, window_entries),
            };
        }
        match next_batch(tail, self.sent(), self.window_end(received, window_entries), self.limits)? {
            Some(batch) => Ok(self.entries(batch)),
            None => Ok(Step::Idle),
        }
    }

    fn entries(&mut self, batch: Batch) -> Step {
        self.sent = Some(batch.last_seq);
        Step::Entries(batch)
    }
}
