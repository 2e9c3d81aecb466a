//! The log and the state of a standby, built from the primary's messages.
//!
//! ```text
//!   hello ──► welcome: the log ──► entries, entries, …
//!        └──► welcome: full sync ──► images, and entries beside them ──► whole ──► entries, …
//! ```
//!
//! Invariants: what was received is exactly the primary's log up to `received`, with no epoch later
//! than the primary's; an entry is appended before it counts as received; nothing that is applied
//! is dropped; during a full sync nothing counts as received.
//!
//! Deliberately absent: applying (see `applying`). It runs beside this, up to what is committed,
//! and must be stopped before [`Standby::on_welcome`], which may replace the log or the state.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use oplog::{Appender, Frame, ReplicatedState, Tail, TailConfig};
use proto::v1;
use replication::PeerLog;

use crate::error::StandbyError;
use crate::sink::Sink;

/// Whether state and log are still the same ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Hand {
    Kept,
    /// State or log were replaced: holders of the old ones must let go.
    Changed,
}

/// Progress of a full sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncProgress {
    pub shards_done: u32,
    pub shards: u32,
    pub records: u64,
}

pub struct Standby<S: ReplicatedState> {
    state: Arc<S>,
    tail: Arc<Tail>,
    log: Appender,
    tail_config: TailConfig,
    /// Survives the stream that it came over.
    sink: Option<Sink<S>>,
    /// State and log are not what they should be: only a full sync helps.
    distrusted: bool,
    /// The epoch of the primary that is followed. It sends nothing of a later epoch.
    epoch_max: u64,
}

impl<S: ReplicatedState> Standby<S> {
    pub fn new(state: Arc<S>, tail: Arc<Tail>, log: Appender, tail_config: TailConfig) -> Standby<S> {
        let standby = Standby { state, tail, log, tail_config, sink: None, distrusted: false, epoch_max: 0 };
        standby.keep_unapplied();
        standby
    }

    /// `applying` moves this on.
    fn keep_unapplied(&self) {
        self.tail.set_floor(Some(self.state.applied().seq + 1));
    }

    pub fn state(&self) -> &Arc<S> {
        &self.state
    }

    pub fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Returns the parts that a primary needs.
    pub fn into_parts(self) -> (Arc<S>, Arc<Tail>, Appender) {
        (self.state, self.tail, self.log)
    }

    /// From now on nothing that is held counts, until all of it has come anew.
    pub fn distrust(&mut self) {
        self.distrusted = true;
    }

    pub fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// What to say in a hello.
    pub fn holds(&self) -> PeerLog {
        if self.distrusted {
            let partial = self.sink.as_ref().and_then(Sink::part);
            return PeerLog { partial, ..PeerLog::default() };
        }
        PeerLog {
            history: self.tail.history(),
            applied: self.state.applied(),
            partial: self.sink.as_ref().and_then(Sink::part),
        }
    }

    /// How far the log goes. The election compares it.
    pub fn held(&self) -> u64 {
        self.tail.last().seq
    }

    /// How far the log of the primary has arrived here. The primary is told of it.
    pub fn received(&self) -> u64 {
        if self.sink.is_some() { 0 } else { self.held() }
    }

    /// Answers a message that was sent at `echo_ms`, once its content is held.
    pub fn receipt(&self, epoch: u64, echo_ms: u64) -> v1::Receipt {
        v1::Receipt {
            epoch,
            echo_ms,
            received: self.received(),
            applied: self.state.applied().seq,
            syncing: self.sink.is_some(),
            ..v1::Receipt::default()
        }
    }

    pub fn syncing(&self) -> Option<SyncProgress> {
        let sink = self.sink.as_ref()?;
        let (shards_done, shards) = sink.shards_done();
        Some(SyncProgress { shards_done, shards, records: sink.records })
    }

    /// Takes the welcome of the primary of this epoch.
    pub fn on_welcome(&mut self, start: v1::welcome::Start, epoch: u64) -> Result<Hand, StandbyError> {
        self.epoch_max = epoch;
        match start {
            v1::welcome::Start::ForkSeq(fork_seq) => self.fork(fork_seq),
            v1::welcome::Start::FullSync(v1::FullSync { first_shard, shards }) => {
                let resumes = self.sink.as_ref().is_some_and(|sink| sink.shards_done() == (first_shard, shards));
                match &mut self.sink {
                    Some(sink) if resumes => sink.resume(),
                    _ if first_shard == 0 => self.sink = Some(self.new_sink(shards)),
                    _ => return Err(StandbyError::Unexpected { what: "the middle of a full sync" }),
                }
                Ok(Hand::Kept)
            }
        }
    }

    fn new_sink(&self, shards: u32) -> Sink<S> {
        Sink::new(self.state.rebuild(), shards, self.tail_config.bytes_max)
    }

    /// The log goes on from there. What came after it was never committed.
    fn fork(&mut self, fork_seq: u64) -> Result<Hand, StandbyError> {
        if self.distrusted {
            return Err(StandbyError::Unexpected { what: "a log that goes on from what is not trusted" });
        }
        self.sink = None;
        let (last, applied) = (self.tail.last(), self.state.applied());
        if fork_seq < applied.seq {
            return Err(StandbyError::ForkBelowApplied { fork_seq, applied });
        }
        if fork_seq == last.seq && self.tail.committed().closed().is_none() {
            return Ok(Hand::Kept);
        }
        let forked = self.tail.forked(fork_seq, applied.seq);
        (self.tail, self.log) = forked.map_err(|why| StandbyError::Fork { seq: fork_seq, why })?;
        self.keep_unapplied();
        Ok(Hand::Changed)
    }

    pub fn on_image(&mut self, image: v1::ShardImage) -> Result<Hand, StandbyError> {
        self.check_epoch(image.at.map_or(0, |at| at.epoch))?;
        let sink = self.sink.as_mut().ok_or(StandbyError::Unexpected { what: "an image" })?;
        sink.on_image(image)?;
        self.finish_if_whole()
    }

    /// `Changed`: a full sync has ended here, and what is left of `frames` is to be offered again,
    /// to the new log. `Overloaded`: entries up to some seq were accepted; once the committed ones
    /// have been applied, the rest may be offered again.
    pub fn on_frames(&mut self, frames: &mut Bytes) -> Result<Hand, StandbyError> {
        loop {
            let mut rest = frames.clone();
            let Some(frame) = Frame::split_first(&mut rest)? else { return Ok(Hand::Kept) };
            self.check_epoch(frame.position().epoch)?;
            let hand = match &mut self.sink {
                None => {
                    self.log.append_frame(frame)?;
                    Hand::Kept
                }
                Some(sink) => {
                    sink.keep(frame)?;
                    self.finish_if_whole()?
                }
            };
            *frames = rest;
            if hand == Hand::Changed {
                return Ok(hand);
            }
        }
    }

    /// A log that names an epoch which has not begun could not be used to lead that epoch later.
    fn check_epoch(&self, epoch: u64) -> Result<(), StandbyError> {
        if epoch > self.epoch_max {
            return Err(StandbyError::Unexpected { what: "an entry or an image of a later epoch than its own" });
        }
        Ok(())
    }

    /// The primary says so. Entries that are not here yet are not counted.
    pub fn on_committed(&self, committed: u64) {
        if self.sink.is_none() {
            self.tail.committed().advance(committed.min(self.held()));
        }
    }

    fn finish_if_whole(&mut self) -> Result<Hand, StandbyError> {
        if let Some(sink) = &mut self.sink {
            sink.catch_up()?;
        }
        match self.sink.take_if(|sink| sink.is_whole()) {
            None => Ok(Hand::Kept),
            Some(sink) => {
                let (state, at, rest) = sink.finish()?;
                let (tail, mut log) = Tail::new(self.tail_config.clone(), at);
                tail.set_floor(Some(at.seq + 1));
                // If there are more entries than the log has room for, it ends before them: the
                // stream breaks, and the next one continues there.
                let _ = rest.into_iter().try_for_each(|frame| log.append_frame(frame));
                (self.state, self.tail, self.log) = (Arc::new(state), tail, log);
                self.distrusted = false;
                Ok(Hand::Changed)
            }
        }
    }
}

impl<S: ReplicatedState> fmt::Debug for Standby<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Standby({:?}, applied {}, {:?})", self.tail, self.state.applied(), self.syncing())
    }
}

#[cfg(test)]
#[path = "standby_test.rs"]
mod tests;
