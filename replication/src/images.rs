//! A full sync as messages: shard by shard, each captured when its turn comes, and sent in chunks.
//!
//! Invariant: shards come in rising order, none twice; the position of the oldest capture is known
//! before any of it is sent, so that the log from there on can be kept.

use std::sync::Arc;

use bytes::Bytes;
use oplog::{Position, ReplicatedState, ShardImage};
use proto::v1;

/// The most bytes of one message: far below the limit of a message, and large enough that its
/// overhead does not matter.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub struct Images<S> {
    state: Arc<S>,
    next_shard: u32,
    shards: u32,
    current: Option<(ShardImage, usize)>,
    oldest: Option<Position>,
    sent_records: u64,
}

impl<S: ReplicatedState> Images<S> {
    pub fn new(state: Arc<S>, first_shard: u32) -> Images<S> {
        let shards = state.shards();
        Images { state, next_shard: first_shard.min(shards), shards, current: None, oldest: None, sent_records: 0 }
    }

    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// The shard that is being sent.
    pub fn shard(&self) -> u32 {
        self.next_shard
    }

    /// The position of the first image that was captured here.
    pub fn oldest(&self) -> Option<Position> {
        self.oldest
    }

    /// The records of the images that were sent completely.
    pub fn records(&self) -> u64 {
        self.sent_records
    }

    /// The next message. `None`: all is sent. Some calls capture a shard under its lock, which
    /// takes about a millisecond for each few thousand records.
    pub fn next_message(&mut self) -> Option<v1::ShardImage> {
        if self.current.is_none() {
            if self.next_shard >= self.shards {
                return None;
            }
            let image = self.state.capture(self.next_shard);
            self.oldest.get_or_insert(image.at);
            self.current = Some((image, 0));
        }
        let (image, sent) = self.current.as_mut().expect("it was just set");
        let end = (*sent + CHUNK_BYTES).min(image.bytes.len());
        let last_chunk = end == image.bytes.len();
        let message = v1::ShardImage {
            shard: image.shard,
            at: Some(v1::Position { epoch: image.at.epoch, seq: image.at.seq }),
            records: image.records,
            digest: Bytes::copy_from_slice(&image.digest.0.to_be_bytes()),
            chunk: image.bytes.slice(*sent..end),
            last_chunk,
        };
        *sent = end;
        if last_chunk {
            self.sent_records += image.records;
            self.current = None;
            self.next_shard += 1;
        }
        Some(message)
    }
}
