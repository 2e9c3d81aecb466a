//! The messages of one stream, on the primary's side: what comes next, and when.
//!
//! ```text
//!   open ─► turn (asks the member) ─► make (the bytes, without the member) ─► stamp (the member) ─► out
//! ```
//!
//! Only the cost of `make` grows with the message, and it needs no member. So a stream that
//! captures a shard, or copies megabytes out of the log, delays no other stream.
//!
//! Invariants: what is sent follows what was sent before; an heir is told that this member has
//! resigned, as the last message of its stream.
//!
//! Deliberately absent: the transport.

use std::sync::Arc;

use bytes::Bytes;
use election::{Incarnation, Millis};
use oplog::{ReplicatedState, Tail, TailError};
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::{Admitted, Feed, PeerLog, Step};

use crate::member::Member;
use crate::pace::Pace;
use crate::peers::{NotServed, Sending, StreamEnd, StreamId, incarnation_to_wire};
use crate::reach::Reach;

/// What a stream does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It makes this, and sends it.
    Send(Next),
    /// Nothing, until then, or until the log grows, a receipt comes, or the role changes.
    Wait {
        until_ms: Millis,
    },
    End(StreamEnd),
}

/// The kind of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Welcome,
    /// Images, or a part of the log, at most a window beyond what was `received`.
    Feed {
        received: u64,
    },
    Beacon,
    Resigned,
}

#[derive(Debug)]
pub struct Outgoing<S> {
    stream: StreamId,
    primary: Incarnation,
    epoch: u64,
    tail: Arc<Tail>,
    feed: Feed<S>,
    pace: Pace,
    window_entries: u64,
    is_welcome: bool,
    /// The last message was made.
    is_over: bool,
}

impl<S: ReplicatedState> Outgoing<S> {
    /// For a peer that has proven who it is. `held`: the state and the log with which this member
    /// leads.
    pub fn open(
        mut reach: impl Reach,
        admitted: Admitted,
        proof: &v1::Proof,
        held: impl FnOnce() -> (Arc<S>, Arc<Tail>),
    ) -> Result<Outgoing<S>, NotServed> {
        reach.tell(|member, now| {
            let (stream, epoch) = member.open_stream(admitted, now)?;
            // Those of the epoch: they are handed on only after the epoch is over here.
            let (state, tail) = held();
            Ok(Outgoing::new(member, (stream, epoch), (&state, &tail), &PeerLog::from(proof)))
        })
    }

    /// For a stream that was just opened, by a peer that holds `peer`. `state` and `tail`: those
    /// with which this member leads the epoch in which the stream was opened.
    fn new(
        member: &Member,
        (stream, epoch): (StreamId, u64),
        (state, tail): (&Arc<S>, &Arc<Tail>),
        peer: &PeerLog,
    ) -> Outgoing<S> {
        let settings = &member.settings;
        Outgoing {
            stream,
            primary: member.me,
            epoch,
            tail: Arc::clone(tail),
            feed: Feed::new(state, tail, peer, settings.batch),
            pace: Pace::new(settings.full_sync_bytes_per_s),
            window_entries: settings.window_entries,
            is_welcome: false,
            is_over: false,
        }
    }

    pub fn stream(&self) -> StreamId {
        self.stream
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The log that this sends.
    pub fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Where the peer continues, for the welcome.
    pub fn start(&self) -> v1::welcome::Start {
        self.feed.welcome()
    }

    /// The shard that is being sent, and how many there are. `None`: no more images are to be sent.
    pub fn syncing(&self) -> Option<(u32, u32)> {
        self.feed.syncing()
    }

    /// The records of the images that were sent completely.
    pub fn records(&self) -> u64 {
        self.feed.records()
    }

    pub fn sending(&self) -> Sending {
        let (sent, window_from, syncing) = (self.feed.sent(), self.feed.window_from(), self.feed.syncing());
        Sending { sent, window_from, syncing }
    }

    /// To make the next message, a shard must be captured, which takes time.
    pub fn is_long(&self, next: Next) -> bool {
        matches!(next, Next::Feed { .. }) && self.feed.takes_image_next()
    }

    pub fn turn(&self, member: &Member, now: Millis) -> Turn {
        let peer = match member.check_stream(self.stream, now) {
            Ok(peer) => peer,
            Err(StreamEnd::Resigned) if !self.is_over => return Turn::Send(Next::Resigned),
            Err(end) => return Turn::End(end),
        };
        if !self.is_welcome {
            return Turn::Send(Next::Welcome);
        }
        let paced_ms = self.feed.takes_image_next().then(|| self.pace.ready_ms(now)).flatten();
        let has_more = self.feed.syncing().is_some() || self.tail.appended().get() > self.feed.sent();
        if has_more && paced_ms.is_none() && member.has_room(peer, self.sending()) {
            return Turn::Send(Next::Feed { received: peer.received });
        }
        let beacon_ms = member.beacon_due_ms(peer);
        match now >= beacon_ms {
            true => Turn::Send(Next::Beacon),
            false => Turn::Wait { until_ms: paced_ms.map_or(beacon_ms, |paced_ms| paced_ms.min(beacon_ms)) },
        }
    }

    /// `None`: there is no such message after all. An error: the log has lost what is to be sent
    /// next, and a new stream must begin with a full sync.
    pub fn make(&mut self, next: Next, now: Millis) -> Result<Option<Down>, TailError> {
        let received = match next {
            Next::Welcome => {
                self.is_welcome = true;
                let (primary, start) = (Some(incarnation_to_wire(self.primary)), Some(self.feed.welcome()));
                return Ok(Some(Down::Welcome(v1::Welcome { primary, start })));
            }
            Next::Beacon => return Ok(Some(Down::Entries(v1::Entries { frames: Bytes::new() }))),
            Next::Resigned => {
                self.is_over = true;
                return Ok(Some(Down::Resigned(v1::Resigned {})));
            }
            Next::Feed { received } => received,
        };
        Ok(match self.feed.step(&self.tail, received, self.window_entries)? {
            Step::Image(image) => {
                self.pace.sent(image.chunk.len(), now);
                Some(Down::Image(image))
            }
            Step::Entries(batch) => Some(Down::Entries(v1::Entries { frames: batch.frames })),
            Step::Idle => None,
        })
    }

    /// Completes a message right before it goes out.
    pub fn stamp(&self, mut reach: impl Reach, message: Down) -> Result<v1::FromPrimary, StreamEnd> {
        let (at, bytes) = (self.sending(), weight(&message));
        let envelope = reach.tell(|member, now| member.stamp(self.stream, at, bytes, now))?;
        Ok(envelope.around(message))
    }
}

/// The bytes that count for the window.
fn weight(message: &Down) -> usize {
    match message {
        Down::Entries(entries) => entries.frames.len(),
        Down::Image(image) => image.chunk.len(),
        Down::Challenge(_) | Down::Welcome(_) | Down::Resigned(_) => 0,
    }
}
