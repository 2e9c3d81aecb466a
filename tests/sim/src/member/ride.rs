//! The standby's side of its stream: says hello, takes what comes, answers each message.

use std::collections::VecDeque;

use election::{Event, Incarnation};
use oplog::{AppendFrameError, ReplicatedState as _};
use proto::v1;
use proto::v1::from_primary::Message as Down;
use standby::{Hand, StandbyError};
use verification::{Condition, Rounds};

use super::peers::incarnation;
use super::role::Role;
use super::verify::Repairing;
use super::{Life, Member};
use crate::checks::{applied_in_order, equal_digest, same_log};
use crate::cx::Cx;
use crate::net::Body;

pub(super) struct Ride {
    pub(super) stream: u64,
    pub(super) primary: Incarnation,
    pub(super) epoch: u64,
    heard_at: u64,
    /// Messages that have come and are not taken yet: the log is full of what is not applied.
    waiting: VecDeque<v1::FromPrimary>,
    stuck_since: Option<u64>,
    /// What is held is a part of that primary's history.
    pub(super) is_comparable: bool,
    pub(super) repairing: Option<Repairing>,
    pub(super) rounds: Rounds,
    pub(super) sample_due: u64,
    /// Stream and shard of the samples that are asked for.
    pub(super) samples: Vec<(u64, u32)>,
}

impl Ride {
    pub(super) fn to(&self) -> usize {
        self.primary.member.0 as usize
    }
}

/// The stream is of no use any more.
struct Ends;

enum Taken {
    Whole,
    /// The rest waits for room.
    InPart(v1::FromPrimary),
}

impl Member {
    pub(super) fn follow(&mut self, cx: &mut Cx) {
        let silent_ms = cx.timing.tenure_ms * 4;
        let is_lost = self.verifier.condition() == Condition::Lost;
        match (&self.ride, &self.life) {
            (Some(ride), _) if cx.now > ride.heard_at + silent_ms => self.break_ride(cx),
            // What comes would go into a state that is not to be trusted.
            (Some(_), Life::Follows(standby)) if is_lost && !standby.is_distrusted() => self.break_ride(cx),
            (Some(_), _) => self.take_waiting(cx),
            (None, Life::Follows(_)) if self.role_due.is_none() && cx.now >= self.ride_due => self.connect(cx),
            (None, _) => {}
        }
    }

    fn connect(&mut self, cx: &mut Cx) {
        let (Role::Follow { primary, epoch }, Life::Follows(standby)) = (self.role, &mut self.life) else { return };
        if primary.member == self.me.member {
            return;
        }
        if self.verifier.condition() == Condition::Lost {
            standby.distrust();
        }
        let who = Some(v1::Incarnation { member: self.me.member.0, number: self.me.number });
        let hello = v1::Hello { who, epoch, ..standby.holds().into() };
        cx.say(|| format!("{:?}: says hello to {primary:?} of {epoch}: {hello:?}", self.me));
        let stream = cx.net.new_stream();
        self.ride = Some(Ride {
            stream,
            primary,
            epoch,
            heard_at: cx.now,
            waiting: VecDeque::new(),
            stuck_since: None,
            is_comparable: false,
            repairing: None,
            rounds: Rounds::new(standby.state().shards() - 1, 16),
            sample_due: cx.now + 100,
            samples: Vec::new(),
        });
        cx.send(self.at, primary.member.0 as usize, stream, Body::Hello(hello));
        self.doubt(cx, verification::Event::StreamBegins);
    }

    /// The other end hears of it, too.
    fn break_ride(&mut self, cx: &mut Cx) {
        if let Some(ride) = &self.ride {
            cx.send(self.at, ride.to(), ride.stream, Body::Closed);
        }
        self.leave_ride(cx);
    }

    pub(super) fn leave_ride(&mut self, cx: &mut Cx) {
        self.ride = None;
        self.ride_due = cx.now + cx.timing.ask_again_ms;
        self.happen(cx, Event::StreamBroken);
    }

    /// It goes on as something else.
    pub(super) fn drop_ride(&mut self, cx: &mut Cx) {
        if let Some(ride) = self.ride.take() {
            cx.send(self.at, ride.to(), ride.stream, Body::Closed);
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
        ride.waiting.push_back(message);
        self.take_waiting(cx);
    }

    fn take_waiting(&mut self, cx: &mut Cx) {
        while let Some(message) = self.ride.as_mut().and_then(|ride| ride.waiting.pop_front()) {
            let taken = self.take(cx, message);
            let Some(ride) = &mut self.ride else { return };
            match taken {
                Ok(Taken::Whole) => ride.stuck_since = None,
                Ok(Taken::InPart(rest)) => {
                    ride.waiting.push_front(rest);
                    let since = *ride.stuck_since.get_or_insert(cx.now);
                    // Full of what is not committed: only a new stream, and a primary that does not wait for us, helps.
                    if cx.now > since + cx.timing.tenure_ms {
                        self.break_ride(cx);
                    }
                    return;
                }
                Err(Ends) => return self.break_ride(cx),
            }
        }
    }

    fn take(&mut self, cx: &mut Cx, mut message: v1::FromPrimary) -> Result<Taken, Ends> {
        let (Some(ride), Life::Follows(standby)) = (&self.ride, &mut self.life) else { return Err(Ends) };
        let (epoch, primary, stream) = (ride.epoch, ride.primary, ride.stream);
        if message.epoch != epoch || !self.core.would_answer(epoch) {
            return Err(Ends);
        }
        let (committed, sent_ms) = (message.committed, message.sent_ms);
        let hand = match message.message.as_mut().ok_or(Ends)? {
            Down::Welcome(welcome) => {
                if welcome.primary.as_ref().map(incarnation) != Some(primary) {
                    return Err(Ends);
                }
                // A fork is no full sync: what is kept was there before.
                standby.on_welcome(welcome.start.ok_or(Ends)?).map(|_| Hand::Kept)
            }
            Down::Entries(entries) => {
                standby.on_committed(committed);
                match standby.on_frames(&mut entries.frames) {
                    Err(StandbyError::Append(AppendFrameError::Overloaded(_))) => return Ok(Taken::InPart(message)),
                    taken => taken,
                }
            }
            Down::Image(image) => standby.on_image(std::mem::take(image)),
            Down::Resigned(_) => {
                self.happen(cx, Event::Resigned { epoch });
                self.happen(cx, Event::Tick);
                return Ok(Taken::Whole);
            }
        };
        match hand {
            Ok(Hand::Kept) => {}
            Ok(Hand::Changed) => self.on_synced(cx),
            Err(error @ (StandbyError::Apply { .. } | StandbyError::Install(_))) => {
                applied_in_order::misfit(self.me, &error)
            }
            Err(_) => return Err(Ends),
        }
        if matches!(&message.message, Some(Down::Entries(entries)) if !entries.frames.is_empty()) {
            // Behind the end of a full sync.
            return self.take(cx, message);
        }
        let Life::Follows(standby) = &mut self.life else { return Err(Ends) };
        standby.on_committed(committed);
        let (held, syncing) = (standby.held(), standby.syncing().is_some());
        same_log::check(&cx.history, self.me, standby.tail());
        cx.checks.held.holds(self.me, standby.tail().last());
        self.happen(cx, Event::Held(held));
        if !self.happen(cx, Event::Heard { from: primary, epoch, sent_ms }) {
            return Err(Ends);
        }
        let Life::Follows(standby) = &self.life else { return Err(Ends) };
        let receipt = v1::Receipt {
            unsound: !self.verifier.is_sound(),
            asked_ms: self.clock(cx.now),
            ..standby.receipt(epoch, sent_ms)
        };
        if let Some(ride) = &mut self.ride {
            ride.is_comparable = !syncing;
        }
        cx.send(self.at, primary.member.0 as usize, stream, Body::Receipt(receipt));
        Ok(Taken::Whole)
    }

    /// All of the state is new.
    fn on_synced(&mut self, cx: &mut Cx) {
        self.tainted = false;
        if let Some(state) = self.state() {
            let (at, digest) = state.digest();
            equal_digest::check(&cx.history, self.me, at, || digest, "after a full sync");
        }
        self.doubt(cx, verification::Event::Synced);
    }
}
