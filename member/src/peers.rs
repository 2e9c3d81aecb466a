//! The primary's side of its streams: which peers have one, what each was sent and has answered,
//! and what the stream does next.
//!
//! ```text
//!   admitted ──► welcome ──► images? ──► batches, beacons ──► resigned?
//!   receipts ──► the election (commits, tenure), the window
//! ```
//!
//! Invariants: at most one window of entries and of bytes is under way; a stream ends with the
//! epoch in which it began; only a peer that has proven who it is has a stream, counts, or replaces
//! its own earlier stream; a message is stamped at one moment with what is committed and until when
//! that is known.
//!
//! Deliberately absent: the bytes (`outgoing`), and which members are in the set. A peer outside
//! the set gets the same stream.

use std::collections::BTreeMap;

use election::{Event, Incarnation, MemberId, Millis};
use proto::v1;
use replication::{Admitted, Counted, Pass, Window, counted};

use crate::clock_rate::{ClockRate, RateError, Sight};
use crate::member::{Action, Member};
use crate::settings::{COMMITTED_WITHIN_MS, PEERS_MAX, SILENT_MS_MAX};

/// Names one stream, for as long as this member lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StreamId(u64);

/// What the primary knows of a peer beyond what the election knows.
#[derive(Clone, Debug)]
pub struct Peer {
    pub who: Incarnation,
    pub name: String,
    pub epoch: u64,
    pub received: u64,
    pub applied: u64,
    /// The newest seq at which it found itself the same as this member.
    pub verified: u64,
    /// It has not found itself to differ from this member.
    pub sound: bool,
    /// Its stream has sent the log up to here.
    pub sent: u64,
    /// `None`: it has not answered anything yet.
    pub heard_ms: Option<Millis>,
    /// The current full sync: the shard that is being sent, and how many there are.
    pub syncing: Option<(u32, u32)>,
    stream: StreamId,
    /// Admits its questions beside the stream, one at a time.
    pass: Pass,
    is_asking: bool,
    /// The stamp of its newest message.
    sent_ms: Millis,
    /// When the first message after its newest receipt was sent. `None`: it owes no answer.
    owes_since: Option<Millis>,
    /// When its newest receipt was sent, on its own clock. 0: unknown.
    asked_ms: Millis,
    clock: ClockRate,
    committed_sent: u64,
    window: Window,
}

impl Peer {
    fn new(admitted: Admitted, epoch: u64, stream: StreamId) -> Peer {
        Peer {
            who: incarnation(&admitted.who),
            name: admitted.name,
            epoch,
            received: 0,
            applied: 0,
            verified: 0,
            sound: true,
            sent: 0,
            heard_ms: None,
            syncing: None,
            stream,
            pass: admitted.pass,
            is_asking: false,
            sent_ms: 0,
            owes_since: None,
            asked_ms: 0,
            clock: ClockRate::default(),
            committed_sent: 0,
            window: Window::default(),
        }
    }

    pub(crate) fn rate_error(&self) -> Option<RateError> {
        self.clock.last()
    }

    pub fn in_flight_bytes(&self) -> usize {
        self.window.bytes()
    }
}

/// The peers with an open stream.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    open: BTreeMap<MemberId, Peer>,
    streams: u64,
    /// A transfer waits until one of them has compared itself at this seq.
    pub(crate) awaited: u64,
}

impl Peers {
    pub(crate) fn of(&self, who: Incarnation) -> Option<&Peer> {
        self.open.get(&who.member).filter(|peer| peer.who == who)
    }

    fn at(&mut self, stream: StreamId) -> Option<&mut Peer> {
        self.open.values_mut().find(|peer| peer.stream == stream)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = &Peer> {
        self.open.values()
    }
}

/// Why a peer that has proven who it is gets no stream here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotServed {
    #[error("this member is not the primary")]
    NotPrimary { epoch: u64 },
    #[error("{name:?} belongs to another cluster")]
    AnotherCluster { name: String },
    #[error("{PEERS_MAX} peers are connected already")]
    Full,
}

/// Why a question beside a stream is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAsked {
    #[error("questions are asked beside a stream, by the member that has opened it")]
    NoStream,
    #[error("a question of this member is being answered")]
    Busy,
    #[error("this member is not the primary")]
    NotPrimary { epoch: u64 },
}

/// Why a stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// The epoch is over here.
    EpochOver,
    /// The epoch is over here, and this peer is to take over: a last message tells it so.
    Resigned,
    /// The peer has opened another stream.
    Displaced,
    /// The other end is there, but answers nothing. It can ask again for what it still needs.
    Silent,
}

/// The state of a stream, as known to the code that makes its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sending {
    /// The log was sent up to here.
    pub sent: u64,
    /// The window of entries counts from here, or from what the peer has confirmed. `None`: images
    /// are still to be sent, and the window does not delay them.
    pub window_from: Option<u64>,
    pub syncing: Option<(u32, u32)>,
}

/// Everything in a message of the primary except its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Envelope {
    pub epoch: u64,
    pub sent_ms: Millis,
    pub committed: u64,
    pub in_sync: bool,
    pub as_of_ms: Millis,
    pub version: u64,
    pub tenure_ms: Millis,
}

impl Envelope {
    pub(crate) fn around(self, message: v1::from_primary::Message) -> v1::FromPrimary {
        let Envelope { epoch, sent_ms, committed, in_sync, as_of_ms, version, tenure_ms } = self;
        v1::FromPrimary { epoch, sent_ms, committed, in_sync, as_of_ms, version, tenure_ms, message: Some(message) }
    }
}

pub fn incarnation(wire: &v1::Incarnation) -> Incarnation {
    Incarnation { member: MemberId(wire.member), number: wire.number }
}

pub fn incarnation_to_wire(who: Incarnation) -> v1::Incarnation {
    v1::Incarnation { member: who.member.0, number: who.number }
}

impl Member {
    /// Opens a stream for a peer that has proven who it is. A second stream of the same member
    /// replaces its first.
    pub(crate) fn open_stream(&mut self, admitted: Admitted, now: Millis) -> Result<(StreamId, u64), NotServed> {
        let Some(known) = self.election.record() else {
            return Err(NotServed::NotPrimary { epoch: self.gate.known_epoch() });
        };
        let (epoch, cluster_id) = (known.record.epoch, known.record.cluster_id.to_be_bytes());
        if admitted.cluster_id[..] != cluster_id {
            return Err(NotServed::AnotherCluster { name: admitted.name });
        }
        if admitted.knows_later(epoch) {
            let from = incarnation(&admitted.who);
            let later = admitted.epoch;
            self.on(Event::LaterEpoch { from, epoch: later }, now);
            return Err(NotServed::NotPrimary { epoch: later });
        }
        // State and log of this epoch may not be in place yet. Those of another epoch could make a
        // peer drop what it must keep.
        if self.reign.as_ref().is_none_or(|reign| reign.epoch != epoch) {
            return Err(NotServed::NotPrimary { epoch });
        }
        let member = incarnation(&admitted.who).member;
        if self.peers.open.len() >= PEERS_MAX && !self.peers.open.contains_key(&member) {
            return Err(NotServed::Full);
        }
        self.peers.streams += 1;
        let stream = StreamId(self.peers.streams);
        self.peers.open.insert(member, Peer::new(admitted, epoch, stream));
        Ok((stream, epoch))
    }

    /// The stream has ended. False: another one of its peer is open.
    pub fn close_stream(&mut self, stream: StreamId, now: Millis) -> bool {
        let Some(peer) = self.peers.at(stream) else { return false };
        let (who, epoch) = (peer.who, peer.epoch);
        self.peers.open.remove(&who.member);
        self.on(Event::PeerGone { who, epoch }, now);
        self.go_on_with_transfer(now);
        true
    }

    pub fn on_receipt(&mut self, stream: StreamId, receipt: &v1::Receipt, now: Millis) -> Result<(), StreamEnd> {
        let (leads, heir) = (self.leads(), self.heir);
        let Some(peer) = self.peers.at(stream) else { return Err(StreamEnd::Displaced) };
        if receipt.epoch != peer.epoch || leads != Some(peer.epoch) {
            // The heir has yet to be told that it is the heir. Its answers meanwhile do not count.
            let is_heir = leads.is_none() && heir == Some(peer.who);
            return if is_heir { Ok(()) } else { Err(StreamEnd::EpochOver) };
        }
        let Counted { received, echo_ms, sound, is_member } = counted(receipt, peer.sent, peer.sent_ms);
        peer.received = peer.received.max(received);
        (peer.applied, peer.verified, peer.sound) = (receipt.applied, receipt.verified, sound);
        (peer.heard_ms, peer.owes_since, peer.asked_ms) = (Some(now), None, receipt.asked_ms);
        peer.window.answered(echo_ms);
        let (from, epoch) = (peer.who, peer.epoch);
        if echo_ms > 0 && receipt.asked_ms > 0 {
            let sight = Sight { theirs_ms: receipt.asked_ms, sent_ms: echo_ms, answered_ms: now };
            let news = peer.clock.see(sight).map(|error| Action::WrongClock { who: from, error });
            self.out.extend(news);
        }
        let answered = match is_member {
            true => Event::Answered { from, epoch, received, applied: receipt.applied, echo_ms, sound },
            // During a full sync it has given up what it held. It answers no message, and what it
            // said before does not let it into a set.
            false => Event::Answered { from, epoch, received: 0, applied: 0, echo_ms: 0, sound: false },
        };
        self.on(answered, now);
        self.go_on_with_transfer(now);
        Ok(())
    }

    /// Asked before each message is made.
    pub fn check_stream(&self, stream: StreamId, now: Millis) -> Result<&Peer, StreamEnd> {
        let Some(peer) = self.peers.list().find(|peer| peer.stream == stream) else { return Err(StreamEnd::Displaced) };
        if self.leads() != Some(peer.epoch) {
            let is_heir = self.heir == Some(peer.who) && self.leads().is_none();
            return Err(if is_heir { StreamEnd::Resigned } else { StreamEnd::EpochOver });
        }
        match peer.owes_since {
            Some(since) if now > since.saturating_add(self.silent_ms_max()) => Err(StreamEnd::Silent),
            Some(_) | None => Ok(peer),
        }
    }

    /// A peer that owes an answer for so long is not working.
    pub fn silent_ms_max(&self) -> Millis {
        SILENT_MS_MAX.max(2 * self.election.timing().drop_after_ms)
    }

    /// Whether the peer accepts more now.
    pub(crate) fn has_room(&self, peer: &Peer, at: Sending) -> bool {
        let window_end =
            at.window_from.map(|from| peer.received.max(from).saturating_add(self.settings.window_entries));
        peer.window.bytes() < self.settings.window_bytes && window_end.is_none_or(|end| at.sent < end)
    }

    /// When the peer must get a message, even if there is nothing to send.
    pub(crate) fn beacon_due_ms(&self, peer: &Peer) -> Millis {
        let is_news = self.reign.as_ref().is_some_and(|reign| reign.tail.committed().get() != peer.committed_sent);
        let is_awaited = peer.verified < self.peers.awaited;
        let pause_ms = if is_news || is_awaited { COMMITTED_WITHIN_MS } else { self.election.timing().beacon_ms };
        peer.sent_ms.saturating_add(pause_ms)
    }

    /// For the next message of a stream, right before it goes out. `bytes`: its entries or images.
    pub(crate) fn stamp(
        &mut self,
        stream: StreamId,
        at: Sending,
        bytes: usize,
        now: Millis,
    ) -> Result<Envelope, StreamEnd> {
        let Some((who, epoch)) = self.peers.at(stream).map(|peer| (peer.who, peer.epoch)) else {
            return Err(StreamEnd::Displaced);
        };
        let is_current = self.leads() == Some(epoch);
        let record = self.election.record().map(|known| &known.record).filter(|_| is_current);
        let (version, in_sync) = record.map_or((0, false), |record| (record.version, record.insync.contains(&who)));
        let committed = self.reign.as_ref().filter(|_| is_current).map(|reign| reign.tail.committed().get());
        let may_answer = is_current && self.election.may_answer(now);
        let Some(peer) = self.peers.at(stream) else { return Err(StreamEnd::Displaced) };
        peer.window.sent(now, bytes);
        (peer.sent, peer.syncing) = (peer.sent.max(at.sent), at.syncing);
        peer.sent_ms = now;
        peer.owes_since.get_or_insert(now);
        peer.committed_sent = committed.unwrap_or(peer.committed_sent);
        // What was committed when the question came; no other member could commit until after that.
        let as_of_ms = if may_answer { peer.asked_ms } else { 0 };
        let committed = peer.committed_sent;
        let tenure_ms = self.election.timing().tenure_ms;
        Ok(Envelope { epoch, sent_ms: now, committed, in_sync, as_of_ms, version, tenure_ms })
    }

    /// A question beside a stream, by a peer that has proven itself, about the log of one epoch.
    /// Must be ended with [`Member::on_answered_question`].
    pub fn on_question(&mut self, who: Incarnation, epoch: u64, token: &[u8]) -> Result<StreamId, NotAsked> {
        let here = self.reign.as_ref().map(|reign| reign.epoch).filter(|here| self.leads() == Some(*here));
        let peer = self.peers.open.get_mut(&who.member).filter(|peer| peer.who == who && peer.pass.admits(token));
        let Some(peer) = peer else { return Err(NotAsked::NoStream) };
        if here != Some(epoch) || epoch != peer.epoch {
            return Err(NotAsked::NotPrimary { epoch: here.unwrap_or(0) });
        }
        if std::mem::replace(&mut peer.is_asking, true) {
            return Err(NotAsked::Busy);
        }
        Ok(peer.stream)
    }

    pub fn on_answered_question(&mut self, stream: StreamId) {
        if let Some(peer) = self.peers.at(stream) {
            peer.is_asking = false;
        }
    }

    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.list()
    }
}
