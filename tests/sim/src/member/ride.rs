//! The standby's side of its stream: letters to `Riding`, and its messages to the primary.

use std::collections::VecDeque;

use ::member::{Life, Questions, RideEnd, Riding, Step, incarnation_to_wire};
use oplog::ReplicatedState as _;
use proto::v1;
use standby::StandbyError;

use super::carry::Stock;
use super::{SimMember, address};
use crate::checks::{applied_in_order, equal_digest, same_log};
use crate::cx::Cx;
use crate::net::Body;

pub(super) struct Ride {
    pub(super) riding: Riding,
    pub(super) stream: u64,
    /// Messages that have come and are not processed yet, because the log is full of entries that
    /// are not applied.
    waiting: VecDeque<v1::FromPrimary>,
    /// Set since the primary has proven itself, with the stream for the answer to the last one.
    pub(super) questions: Option<Questions>,
    pub(super) asked: u64,
}

impl Ride {
    pub(super) fn to(&self) -> usize {
        self.riding.primary().member.0 as usize
    }
}

impl SimMember {
    pub(super) fn follow(&mut self, cx: &mut Cx) {
        let clock = self.clock(cx.now);
        let Some(Life::Follows(standby)) = &self.life else { return };
        match &self.ride {
            Some(ride) => match ride.riding.check(&self.core, standby, clock) {
                Ok(_) => self.take_waiting(cx),
                Err(end) => self.end_ride(cx, Some(&end)),
            },
            None if self.role_due.is_none() => self.connect(cx),
            None => {}
        }
    }

    fn connect(&mut self, cx: &mut Cx) {
        let clock = self.clock(cx.now);
        let Some(Life::Follows(standby)) = &mut self.life else { return };
        let begun = Riding::begin((&mut self.core, clock), standby, "", || cx.nonce());
        let Some((riding, hello)) = begun.and_then(|riding| riding.hello().map(|hello| (riding, hello))) else {
            return;
        };
        let (primary, stream) = (riding.primary(), cx.net.new_stream());
        self.core.hint(&address(primary.member.0 as usize), riding.epoch());
        cx.say(|| format!("{:?}: says hello to {primary:?} of {}: {hello:?}", self.me, riding.epoch()));
        self.ride = Some(Ride { riding, stream, waiting: VecDeque::new(), questions: None, asked: 0 });
        self.carry(cx);
        cx.send(self.at, primary.member.0 as usize, stream, Body::Hello(hello));
    }

    /// The other end notices it, too.
    fn end_ride(&mut self, cx: &mut Cx, why: Option<&RideEnd>) {
        if let Some(ride) = &self.ride {
            cx.send(self.at, ride.to(), ride.stream, Body::Closed);
        }
        self.leave_ride(cx, why);
    }

    pub(super) fn leave_ride(&mut self, cx: &mut Cx, why: Option<&RideEnd>) {
        if let Some(ride) = self.ride.take() {
            self.with(cx, |member, now| ride.riding.end((member, now), why));
        }
    }

    /// The member takes another role.
    pub(super) fn drop_ride(&mut self, cx: &mut Cx) {
        if let Some(ride) = self.ride.take() {
            cx.send(self.at, ride.to(), ride.stream, Body::Closed);
            self.with(cx, |member, now| ride.riding.leave((member, now)));
        }
    }

    pub(super) fn on_refused(&mut self, cx: &mut Cx, stream: u64) {
        if self.ride.as_ref().is_some_and(|ride| ride.stream == stream) {
            self.leave_ride(cx, None);
        }
    }

    pub(super) fn on_down(&mut self, cx: &mut Cx, stream: u64, message: v1::FromPrimary) {
        let Some(ride) = self.ride.as_mut().filter(|ride| ride.stream == stream) else { return };
        if !ride.riding.is_proven() {
            return self.prove(cx, message);
        }
        ride.waiting.push_back(message);
        self.take_waiting(cx);
    }

    fn prove(&mut self, cx: &mut Cx, message: v1::FromPrimary) {
        let clock = self.clock(cx.now);
        let (Some(ride), Some(Life::Follows(standby))) = (&mut self.ride, &self.life) else { return };
        let secret = self.roll.find(incarnation_to_wire(ride.riding.primary())).copied();
        match ride.riding.prove(message, (&self.secret, secret.as_ref()), standby, clock) {
            Ok((proof, token)) => {
                ride.questions = Some(Questions::new(token, ride.riding.epoch()));
                cx.send(self.at, ride.to(), ride.stream, Body::Proof(proof));
            }
            Err(end) => {
                self.look(cx);
                self.end_ride(cx, Some(&end));
            }
        }
    }

    fn take_waiting(&mut self, cx: &mut Cx) {
        loop {
            match self.take(cx) {
                Ok(true) => {}
                Ok(false) => return,
                Err(RideEnd::Standby(error @ (StandbyError::Apply { .. } | StandbyError::Install(_)))) => {
                    applied_in_order::misfit(self.me, &error)
                }
                Err(end) => return self.end_ride(cx, Some(&end)),
            }
        }
    }

    /// One step. False: there is none, for now.
    fn take(&mut self, cx: &mut Cx) -> Result<bool, RideEnd> {
        let (now, clock) = (self.ttl(cx), self.clock(cx.now));
        let (Some(ride), Some(Life::Follows(standby))) = (&mut self.ride, &mut self.life) else { return Ok(false) };
        let stepped = ride.riding.step((&mut self.core, clock), standby, &Stock::new(cx, self.me, now));
        self.carry(cx);
        let Some(ride) = &mut self.ride else { return Ok(false) };
        match stepped? {
            Step::Still | Step::Anew { synced: false } => {}
            Step::Anew { synced: true } => self.on_synced(cx),
            Step::NoRoom => return Ok(false),
            Step::Say(receipt) => {
                let (to, stream) = (ride.to(), ride.stream);
                self.holds(cx);
                cx.send(self.at, to, stream, Body::Receipt(receipt));
            }
            Step::Done => {
                let Some(message) = ride.waiting.pop_front() else { return Ok(false) };
                ride.riding.take((&mut self.core, clock), message)?;
            }
        }
        Ok(true)
    }

    fn holds(&self, cx: &mut Cx) {
        if let Some(Life::Follows(standby)) = &self.life {
            same_log::check(&cx.history, self.me, standby.tail());
            cx.checks.held.holds(self.me, standby.tail().last());
        }
    }

    /// The whole state was replaced.
    fn on_synced(&mut self, cx: &Cx) {
        self.tainted = false;
        if let Some(state) = self.state() {
            let (at, digest) = state.digest();
            equal_digest::check(&cx.history, self.me, at, || digest, "after a full sync");
        }
    }
}
