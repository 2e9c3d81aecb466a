//! The primary's side of its streams.

use std::sync::Arc;

use ::member::{Life, Outgoing, Turn, incarnation_to_wire};
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::Challenged;

use super::SimMember;
use crate::checks::{cursors, peers_of_a_reign};
use crate::cx::Cx;
use crate::net::{Body, End};

/// The most peers that have sent a hello and not proven who they are.
const CHALLENGED_MAX: usize = 64;

/// Why nothing more is sent over a stream now.
#[derive(PartialEq, Eq)]
enum Stop {
    Waits,
    Ends,
}

impl SimMember {
    pub(super) fn on_hello(&mut self, cx: &mut Cx, from: End, stream: u64, hello: v1::Hello) {
        let listed = hello.who.and_then(|who| self.roll.find(who)).copied();
        if listed.is_none() {
            self.look(cx);
        }
        let me = (incarnation_to_wire(self.me), &self.secret);
        let Ok((challenged, challenge)) = Challenged::new(hello, me, listed, cx.nonce()) else {
            return cx.send_to(End::Member(self.at), from, stream, Body::Refused);
        };
        self.challenged.insert(stream, (from, challenged));
        if self.challenged.len() > CHALLENGED_MAX {
            self.challenged.pop_first();
        }
        let message = v1::FromPrimary { message: Some(Down::Challenge(challenge)), ..v1::FromPrimary::default() };
        cx.send_to(End::Member(self.at), from, stream, Body::Down(message));
    }

    pub(super) fn on_proof(&mut self, cx: &mut Cx, stream: u64, proof: &v1::Proof) {
        let Some((to, challenged)) = self.challenged.remove(&stream) else { return };
        let clock = self.clock(cx.now);
        let held = || match &self.life {
            Some(Life::Leads(state, tail)) => (Arc::clone(state), Arc::clone(tail)),
            Some(Life::Follows(_)) | None => peers_of_a_reign::taken_too_early(self.me),
        };
        let opened = challenged.on_proof(proof).ok();
        let opened = opened.and_then(|admitted| Outgoing::open((&mut self.core, clock), admitted, proof, held).ok());
        self.carry(cx);
        let Some(outgoing) = opened else {
            return cx.send_to(End::Member(self.at), to, stream, Body::Refused);
        };
        cx.tally.full_syncs += u64::from(outgoing.syncing().is_some());
        self.streams.insert(stream, (to, outgoing));
    }

    pub(super) fn on_receipt(&mut self, cx: &mut Cx, stream: u64, receipt: &v1::Receipt) {
        let Some(id) = self.streams.get(&stream).map(|(_, outgoing)| outgoing.stream()) else { return };
        if self.with(cx, |member, now| member.on_receipt(id, receipt, now)).is_err() {
            self.close_stream(cx, stream);
        }
    }

    pub(super) fn close_stream(&mut self, cx: &mut Cx, stream: u64) {
        let Some((to, outgoing)) = self.streams.remove(&stream) else { return };
        cx.send_to(End::Member(self.at), to, stream, Body::Closed);
        self.with(cx, |member, now| member.close_stream(outgoing.stream(), now));
    }

    /// Sends everything that may be sent now.
    pub(super) fn pump(&mut self, cx: &mut Cx) {
        let streams: Vec<u64> = self.streams.keys().copied().collect();
        for stream in streams {
            let Some((to, mut outgoing)) = self.streams.remove(&stream) else { continue };
            let sent = (0..cx.options.sends).try_for_each(|_| self.send_next(cx, (to, stream), &mut outgoing));
            self.streams.insert(stream, (to, outgoing));
            if sent == Err(Stop::Ends) {
                self.close_stream(cx, stream);
            }
        }
    }

    fn send_next(
        &mut self,
        cx: &mut Cx,
        (to, stream): (End, u64),
        outgoing: &mut Outgoing<metadata::Metadata>,
    ) -> Result<(), Stop> {
        let clock = self.clock(cx.now);
        let next = match outgoing.turn(&self.core, clock) {
            Turn::Send(next) => next,
            Turn::Wait { .. } => return Err(Stop::Waits),
            Turn::End(_) => return Err(Stop::Ends),
        };
        let Ok(made) = outgoing.make(next, clock) else {
            cx.tally.purged += 1;
            return Err(Stop::Ends);
        };
        let Some(message) = made else { return Ok(()) };
        let Ok(message) = self.with(cx, |member, now| outgoing.stamp((member, now), message)) else {
            return Err(Stop::Ends);
        };
        cx.send_to(End::Member(self.at), to, stream, Body::Down(message));
        Ok(())
    }

    /// The log has what a peer of the set lacks.
    pub(super) fn check_peers(&self, cx: &Cx) {
        let (Some(known), Some((epoch, tail))) = (self.election().record(), self.core.reign()) else { return };
        let is_current = cx.coordinator.record().is_some_and(|record| record.record.epoch == epoch);
        for who in known.record.insync.iter().filter(|who| is_current && **who != self.me) {
            if let Some((received, _)) = self.election().peer(*who) {
                cursors::check_kept(tail, *who, received);
            }
        }
    }
}
