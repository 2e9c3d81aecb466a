//! The standby's side of its stream: says hello, takes what comes, answers each message.

use std::collections::VecDeque;

use ::member::{Brought, Holding, Life, Repairing, RideEnd, RideId, bring, incarnation_to_wire};
use bytes::Bytes;
use election::Incarnation;
use oplog::ReplicatedState as _;
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::Greeting;
use standby::StandbyError;

use super::{Member, address};
use crate::checks::{applied_in_order, equal_digest, same_log};
use crate::cx::Cx;
use crate::net::Body;

pub(super) struct Ride {
    pub(super) id: RideId,
    pub(super) stream: u64,
    pub(super) primary: Incarnation,
    pub(super) epoch: u64,
    heard_at: u64,
    /// Said, and not answered yet with the primary's proof.
    greeting: Option<Greeting>,
    /// What questions carry.
    pub(super) token: Bytes,
    /// Messages that have come and are not taken yet: the log is full of what is not applied.
    waiting: VecDeque<v1::FromPrimary>,
    /// And the question that has no answer yet.
    pub(super) repairing: Option<(Repairing, u64)>,
    /// Stream and shard of the samples that are asked for.
    pub(super) samples: Vec<(u64, u32)>,
}

impl Ride {
    pub(super) fn to(&self) -> usize {
        self.primary.member.0 as usize
    }
}

/// What is left of a message waits for room.
struct InPart(v1::FromPrimary);

impl Member {
    pub(super) fn follow(&mut self, cx: &mut Cx) {
        let silent_ms = self.core.silent_ms();
        let Some(Life::Follows(standby)) = &self.life else { return };
        match &self.ride {
            Some(ride) if cx.now > ride.heard_at + silent_ms => self.break_ride(cx),
            Some(ride) if self.core.check_ride(ride.id, standby).is_err() => self.break_ride(cx),
            Some(_) => self.take_waiting(cx),
            None if self.role_due.is_none() => self.connect(cx),
            None => {}
        }
    }

    fn connect(&mut self, cx: &mut Cx) {
        let clock = self.clock(cx.now);
        let (Some((primary, epoch)), Some(Life::Follows(standby))) = (self.core.wants_ride(clock), &mut self.life)
        else {
            return;
        };
        let Some(id) = self.core.begin_ride(standby, clock) else { return };
        let Some(greeting) = self.core.greeting("", id, cx.nonce()) else { return };
        let (stream, hello) = (cx.net.new_stream(), greeting.hello());
        self.core.hint(&address(primary.member.0 as usize), epoch);
        cx.say(|| format!("{:?}: says hello to {primary:?} of {epoch}: {hello:?}", self.me));
        self.ride = Some(Ride {
            id,
            stream,
            primary,
            epoch,
            heard_at: cx.now,
            greeting: Some(greeting),
            token: Bytes::new(),
            waiting: VecDeque::new(),
            repairing: None,
            samples: Vec::new(),
        });
        self.carry(cx);
        cx.send(self.at, primary.member.0 as usize, stream, Body::Hello(hello));
    }

    /// The other end hears of it, too.
    fn break_ride(&mut self, cx: &mut Cx) {
        if let Some(ride) = &self.ride {
            cx.send(self.at, ride.to(), ride.stream, Body::Closed);
        }
        self.leave_ride(cx);
    }

    pub(super) fn leave_ride(&mut self, cx: &mut Cx) {
        if let Some(ride) = self.ride.take() {
            let pause_ms = self.core.settings().ask_again_ms;
            self.with(cx, |member, now| member.end_ride(ride.id, pause_ms, now));
        }
    }

    /// It goes on as something else.
    pub(super) fn drop_ride(&mut self, cx: &mut Cx) {
        if let Some(ride) = self.ride.take() {
            cx.send(self.at, ride.to(), ride.stream, Body::Closed);
            self.with(cx, |member, now| member.end_ride(ride.id, 0, now));
        }
    }

    pub(super) fn on_refused(&mut self, cx: &mut Cx, stream: u64) {
        if self.ride.as_ref().is_some_and(|ride| ride.stream == stream) {
            self.leave_ride(cx);
        }
    }

    pub(super) fn on_down(&mut self, cx: &mut Cx, stream: u64, message: v1::FromPrimary) {
        let Some(ride) = self.ride.as_mut().filter(|ride| ride.stream == stream) else { return };
        ride.heard_at = cx.now;
        if let Some(greeting) = ride.greeting.take() {
            return self.on_challenge(cx, greeting, message);
        }
        ride.waiting.push_back(message);
        self.take_waiting(cx);
    }

    /// Nothing is said of what is held before the other end has proven that it is the primary.
    fn on_challenge(&mut self, cx: &mut Cx, greeting: Greeting, message: v1::FromPrimary) {
        let (Some(ride), Some(Life::Follows(standby))) = (&mut self.ride, &self.life) else { return };
        let Some(secret) = self.roll.find(incarnation_to_wire(ride.primary)).copied() else {
            self.look(cx);
            return self.break_ride(cx);
        };
        let Some(Down::Challenge(challenge)) = message.message else { return self.break_ride(cx) };
        match greeting.on_challenge(&challenge, (&self.secret, &secret), standby.holds()) {
            Ok((proof, pass)) => {
                ride.token = pass.token();
                cx.send(self.at, ride.primary.member.0 as usize, ride.stream, Body::Proof(proof));
            }
            Err(_) => self.break_ride(cx),
        }
    }

    fn take_waiting(&mut self, cx: &mut Cx) {
        while let Some(message) = self.ride.as_mut().and_then(|ride| ride.waiting.pop_front()) {
            match self.take(cx, message) {
                Ok(None) => {}
                Ok(Some(InPart(rest))) => {
                    return self.ride.iter_mut().for_each(|ride| ride.waiting.push_front(rest.clone()));
                }
                Err(RideEnd::Standby(error @ (StandbyError::Apply { .. } | StandbyError::Install(_)))) => {
                    applied_in_order::misfit(self.me, &error)
                }
                Err(_) => return self.break_ride(cx),
            }
        }
    }

    fn take(&mut self, cx: &mut Cx, mut message: v1::FromPrimary) -> Result<Option<InPart>, RideEnd> {
        let Some(ride) = &self.ride else { return Ok(None) };
        let (id, stream, primary) = (ride.id, ride.stream, ride.primary);
        let envelope = self.core.takes(id, &message)?;
        loop {
            let Some(Life::Follows(standby)) = &mut self.life else { return Ok(None) };
            match bring(standby, &mut message, primary)? {
                Brought::Held | Brought::Forked => break,
                Brought::Synced => self.on_synced(cx),
                Brought::NoRoom => {
                    self.with(cx, |member, now| member.on_no_room(id, now))?;
                    return Ok(Some(InPart(message)));
                }
                Brought::Resigned => return self.with(cx, |member, now| member.on_resigned(id, now)).map(|()| None),
            }
        }
        let clock = self.clock(cx.now);
        let Some(Life::Follows(standby)) = &self.life else { return Ok(None) };
        same_log::check(&cx.history, self.me, standby.tail());
        cx.checks.held.holds(self.me, standby.tail().last());
        let receipt = self.core.brought(id, Holding::behind(standby, &envelope), envelope, clock);
        self.carry(cx);
        cx.send(self.at, primary.member.0 as usize, stream, Body::Receipt(receipt?));
        Ok(None)
    }

    /// All of the state is new.
    fn on_synced(&mut self, cx: &mut Cx) {
        self.tainted = false;
        if let Some(state) = self.state() {
            let (at, digest) = state.digest();
            equal_digest::check(&cx.history, self.me, at, || digest, "after a full sync");
        }
        self.with(cx, ::member::Member::on_synced);
    }
}
