//! The primary's side of its streams.

use std::sync::Arc;

use bytes::Bytes;
use election::{Event, Incarnation, MemberId};
use metadata::Metadata;
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::{Counted, Feed, PeerLog, Step, Window, counted};

use super::{Life, Member};
use crate::checks::cursors;
use crate::cx::Cx;
use crate::net::Body;

/// As in the master: what was committed is told after this, and a peer that answers nothing for so long has lost its way.
const COMMITTED_WITHIN_MS: u64 = 5;
const SILENT_MS_MAX: u64 = 5000;

pub(super) struct PeerStream {
    pub(super) stream: u64,
    pub(super) who: Incarnation,
    epoch: u64,
    feed: Feed<Metadata>,
    window: Window,
    received: u64,
    heard_ms: u64,
    sent_ms: u64,
    committed_sent: u64,
    unsound: bool,
}

/// It ends.
struct Ends;

pub(super) fn incarnation(wire: &v1::Incarnation) -> Incarnation {
    Incarnation { member: MemberId(wire.member), number: wire.number }
}

impl Member {
    pub(super) fn on_hello(&mut self, cx: &mut Cx, stream: u64, hello: &v1::Hello) {
        let Some(who) = hello.who.as_ref().map(incarnation) else { return };
        let to = who.member.0 as usize;
        let leads = self.core.leads();
        if leads.is_some_and(|epoch| hello.epoch > epoch) {
            self.happen(cx, Event::Heard { from: who, epoch: hello.epoch, sent_ms: 0 });
        }
        let reign = self.reign.as_ref().filter(|reign| leads == Some(reign.epoch) && hello.epoch <= reign.epoch);
        let (Some(reign), Life::Leads(state, tail)) = (reign, &self.life) else {
            return cx.send(self.at, to, stream, Body::Refused);
        };
        let (epoch, clock) = (reign.epoch, self.clock(cx.now));
        let feed = Feed::new(state, tail, &PeerLog::from(hello), cx.options.batch());
        cx.tally.full_syncs += u64::from(feed.syncing().is_some());
        let start = feed.welcome();
        let mut peer = PeerStream {
            stream,
            who,
            epoch,
            feed,
            window: Window::default(),
            received: 0,
            heard_ms: clock,
            sent_ms: 0,
            committed_sent: 0,
            unsound: false,
        };
        let primary = Some(v1::Incarnation { member: self.me.member.0, number: self.me.number });
        self.send_down(cx, &mut peer, Down::Welcome(v1::Welcome { primary, start: Some(start) }));
        if let Some(before) = self.peers.insert(who.member, peer) {
            cx.send(self.at, to, before.stream, Body::Closed);
        }
    }

    fn send_down(&self, cx: &mut Cx, peer: &mut PeerStream, message: Down) {
        let Some(tail) = self.tail() else { return };
        let bytes = match &message {
            Down::Entries(entries) => entries.frames.len(),
            Down::Image(image) => image.chunk.len(),
            Down::Welcome(_) | Down::Resigned(_) => 0,
        };
        let (sent_ms, committed) = (self.clock(cx.now), tail.committed().get());
        peer.window.sent(sent_ms, bytes);
        (peer.sent_ms, peer.committed_sent) = (sent_ms, committed);
        let in_sync = self.core.record().is_some_and(|known| known.record.insync.contains(&peer.who));
        let message = Some(message);
        let message = v1::FromPrimary { epoch: peer.epoch, sent_ms, committed, in_sync, as_of_ms: 0, message };
        cx.send(self.at, peer.who.member.0 as usize, peer.stream, Body::Down(message));
    }

    pub(super) fn on_receipt(&mut self, cx: &mut Cx, stream: u64, receipt: &v1::Receipt) {
        let (clock, leads) = (self.clock(cx.now), self.core.leads());
        let Some(appended) = self.tail().map(|tail| tail.appended().get()) else { return };
        let Some(peer) = self.peers.values_mut().find(|peer| peer.stream == stream) else { return };
        if receipt.epoch != peer.epoch || leads != Some(peer.epoch) {
            return;
        }
        let Counted { received, echo_ms, sound, is_member } = counted(receipt, appended, clock);
        peer.received = peer.received.max(received);
        peer.heard_ms = clock;
        peer.window.answered(receipt.echo_ms);
        if is_member {
            peer.unsound = !sound;
            let (from, epoch) = (peer.who, peer.epoch);
            self.happen(cx, Event::Answered { from, epoch, received, echo_ms, sound });
        }
    }

    pub(super) fn on_peer_closed(&mut self, cx: &mut Cx, stream: u64) {
        let found = self.peers.values().find(|peer| peer.stream == stream).map(|peer| (peer.who, peer.epoch));
        if let Some((who, epoch)) = found {
            self.peers.remove(&who.member);
            self.happen(cx, Event::PeerGone { who, epoch });
        }
    }

    pub(super) fn is_unsound_peer(&self, who: Incarnation) -> bool {
        self.peers.values().any(|peer| peer.who == who && peer.unsound)
    }

    /// Everything that may be sent now.
    pub(super) fn pump(&mut self, cx: &mut Cx) {
        if self.reign.is_some()
            && let Life::Leads(_, tail) = &self.life
        {
            tail.set_floor(self.core.needed_seq());
        }
        let ids: Vec<MemberId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(mut peer) = self.peers.remove(&id) else { continue };
            match self.pump_one(cx, &mut peer) {
                Ok(()) => drop(self.peers.insert(id, peer)),
                Err(Ends) => {
                    cx.send(self.at, id.0 as usize, peer.stream, Body::Closed);
                    self.happen(cx, Event::PeerGone { who: peer.who, epoch: peer.epoch });
                }
            }
        }
    }

    fn pump_one(&mut self, cx: &mut Cx, peer: &mut PeerStream) -> Result<(), Ends> {
        let clock = self.clock(cx.now);
        if self.core.leads() != Some(peer.epoch) {
            if self.heir == Some(peer.who) && self.core.leads().is_none() {
                self.send_down(cx, peer, Down::Resigned(v1::Resigned {}));
            }
            return Err(Ends);
        }
        if clock > peer.heard_ms + SILENT_MS_MAX {
            return Err(Ends);
        }
        let Life::Leads(_, tail) = &self.life else { return Err(Ends) };
        let tail = Arc::clone(tail);
        let (window_entries, window_bytes) = (cx.options.window_entries, cx.options.window_bytes);
        for _ in 0..cx.options.sends {
            if peer.window.bytes() >= window_bytes || peer.feed.is_ahead(peer.received, window_entries) {
                break;
            }
            match peer.feed.step(&tail, peer.received, window_entries) {
                Ok(Step::Image(image)) => self.send_down(cx, peer, Down::Image(image)),
                Ok(Step::Entries(batch)) => {
                    self.send_down(cx, peer, Down::Entries(v1::Entries { frames: batch.frames }));
                }
                Ok(Step::Idle) => break,
                Err(_) => {
                    cx.tally.purged += 1;
                    return Err(Ends);
                }
            }
        }
        let is_news = tail.committed().get() != peer.committed_sent;
        let pause = if is_news { COMMITTED_WITHIN_MS } else { cx.timing.beacon_ms };
        if clock >= peer.sent_ms + pause {
            self.send_down(cx, peer, Down::Entries(v1::Entries { frames: Bytes::new() }));
        }
        Ok(())
    }

    /// What a peer of the set lacks is there.
    pub(super) fn check_peers(&self, cx: &Cx) {
        let (Some(known), Some(reign)) = (self.core.record(), &self.reign) else { return };
        let is_current = cx.coordinator.record().is_some_and(|record| record.record.epoch == reign.epoch);
        for who in known.record.insync.iter().filter(|who| is_current && **who != self.me) {
            if let Some((received, _)) = self.core.peer(*who) {
                cursors::check_kept(&reign.tail, *who, received);
            }
        }
    }
}

impl Member {
    /// Whatever is true of its other end: one of them may hear of it much later, or not at all.
    pub(crate) fn break_a_stream(&mut self, cx: &mut Cx) {
        if let Some(ride) = &self.ride {
            let (to, stream) = (ride.to(), ride.stream);
            if cx.rng.below(2) == 0 {
                cx.send(self.at, to, stream, Body::Closed);
            }
            return self.leave_ride(cx);
        }
        let first = self.peers.values().next().map(|peer| (peer.who.member.0 as usize, peer.stream));
        if let Some((to, stream)) = first {
            if cx.rng.below(2) == 0 {
                cx.send(self.at, to, stream, Body::Closed);
            }
            self.on_peer_closed(cx, stream);
        }
    }
}
