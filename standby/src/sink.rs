//! The receiving side of a full sync: images of shards, and beside them the log from the oldest
//! image on. The log is kept until all images are there, and is then applied until the new state is
//! at one position.
//!
//! Invariant: an image is installed completely or not at all; sizes are checked before bytes are
//! kept.

use std::collections::VecDeque;

use bytes::BytesMut;
use oplog::{Digest, FRAME_OVERHEAD_BYTES, Frame, Position, Rebuild, ReplicatedState, ShardImage};
use proto::v1;
use replication::SyncedPart;

use crate::error::StandbyError;

/// The most bytes of one shard's image. 100 million objects make shards of 100,000.
const IMAGE_BYTES_MAX: usize = 1 << 30;

pub(crate) struct Sink<S: ReplicatedState> {
    rebuild: S::Rebuild,
    /// Bytes of the image that is being received.
    bytes: BytesMut,
    next_shard: u32,
    shards: u32,
    oldest: Option<Position>,
    newest: Position,
    /// Entries that came before all images were there.
    kept: VecDeque<Frame>,
    kept_bytes: usize,
    kept_bytes_max: usize,
    /// The log, applied after all images.
    applied: u64,
    pub(crate) records: u64,
}

impl<S: ReplicatedState> Sink<S> {
    pub(crate) fn new(rebuild: S::Rebuild, shards: u32, kept_bytes_max: usize) -> Sink<S> {
        Sink {
            rebuild,
            bytes: BytesMut::new(),
            next_shard: 0,
            shards,
            oldest: None,
            newest: Position::default(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_bytes_max,
            applied: 0,
            records: 0,
        }
    }

    /// How much of it is held, so that another stream can continue. Not possible once the log has
    /// begun to come in.
    pub(crate) fn part(&self) -> Option<SyncedPart> {
        let oldest = self.oldest.filter(|oldest| self.applied <= oldest.seq)?;
        Some(SyncedPart { next_shard: self.next_shard, oldest, newest: self.newest })
    }

    /// The image that was interrupted is sent again, and so is the log.
    pub(crate) fn resume(&mut self) {
        self.bytes.clear();
        self.kept.clear();
        self.kept_bytes = 0;
    }

    pub(crate) fn shards_done(&self) -> (u32, u32) {
        (self.next_shard, self.shards)
    }

    pub(crate) fn on_image(&mut self, message: v1::ShardImage) -> Result<(), StandbyError> {
        if message.shard != self.next_shard {
            return Err(StandbyError::Unexpected { what: "an image of another shard than the next one" });
        }
        let Some(at) = message.at else { return Err(StandbyError::Unexpected { what: "an image without a position" }) };
        let Ok(digest) = <[u8; 16]>::try_from(&message.digest[..]) else {
            return Err(StandbyError::Unexpected { what: "an image without a digest" });
        };
        if self.bytes.len() + message.chunk.len() > IMAGE_BYTES_MAX {
            return Err(StandbyError::Unexpected { what: "an image of more than 1 GiB" });
        }
        self.bytes.extend_from_slice(&message.chunk);
        if !message.last_chunk {
            return Ok(());
        }
        let at = Position { epoch: at.epoch, seq: at.seq };
        let image = ShardImage {
            shard: message.shard,
            at,
            records: message.records,
            digest: Digest(u128::from_be_bytes(digest)),
            bytes: std::mem::take(&mut self.bytes).freeze(),
        };
        self.rebuild.install(&image)?;
        if self.oldest.is_none() {
            self.oldest = Some(at);
            self.applied = at.seq;
        }
        self.newest = at;
        self.next_shard += 1;
        self.records += image.records;
        Ok(())
    }

    /// All images are there, and the log up to the newest of them.
    pub(crate) fn is_whole(&self) -> bool {
        self.next_shard == self.shards && self.applied >= self.newest.seq
    }

    /// Until all images are there.
    pub(crate) fn keep(&mut self, frame: Frame) -> Result<(), StandbyError> {
        self.kept_bytes += frame.len() + FRAME_OVERHEAD_BYTES;
        if self.kept_bytes > self.kept_bytes_max {
            return Err(StandbyError::TooMuchLog { bytes_max: self.kept_bytes_max });
        }
        self.kept.push_back(frame);
        Ok(())
    }

    pub(crate) fn has_all_images(&self) -> bool {
        self.next_shard == self.shards
    }

    /// Applies the kept entries as far as needed to be whole. The rest goes into the log.
    pub(crate) fn catch_up(&mut self) -> Result<(), StandbyError> {
        while self.has_all_images() && !self.is_whole() {
            let Some(frame) = self.kept.pop_front() else { return Ok(()) };
            self.on_entry(&frame)?;
        }
        Ok(())
    }

    pub(crate) fn on_entry(&mut self, frame: &Frame) -> Result<(), StandbyError> {
        let entry = frame.decode()?;
        self.rebuild.apply(&entry).map_err(|why| StandbyError::Apply { at: entry.position(), why })?;
        self.applied = entry.seq;
        Ok(())
    }

    /// The state, its position, and the kept entries beyond it.
    pub(crate) fn finish(self) -> Result<(S, Position, VecDeque<Frame>), StandbyError> {
        let state = self.rebuild.finish()?;
        let at = state.applied();
        Ok((state, at, self.kept))
    }
}
