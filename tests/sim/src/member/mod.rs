//! A member: the production's `member`, in a shell with one thread, and a clock that the world
//! moves.
//!
//! | file | carries |
//! |---|---|
//! | `clocks` | the clocks of its host |
//! | `carry` | the member's actions; log and state from one role to the next |
//! | `streams` | the primary's side of its streams |
//! | `ride` | the standby's side of its stream |
//! | `doubts` | applying, samples, a repair |
//! | `serve` | calls, and what a primary does by itself |
//!
//! This shell decides only its own speed: how long it takes to learn of a role, and how much it
//! sends and applies in a millisecond.

mod carry;
mod clocks;
mod doubts;
mod ride;
mod serve;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ::member::{Gate, Life, NotTransferred, Outgoing, Transferred, incarnation, incarnation_to_wire};
use election::{Incarnation, Moment, TtlClock};
use metadata::{Metadata, Now};
use oplog::{Position, ReplicatedState as _};
use proto::v1;
use replication::{Challenged, Roll, Secret};

use crate::checks::cursors;
use crate::cx::Cx;
use crate::net::{Body, End, Letter};
use carry::Stock;
use clocks::Clocks;
pub(crate) use clocks::Rates;
use ride::Ride;
use serve::Pending;
pub(crate) use serve::address;

pub(crate) struct SimMember {
    pub(crate) at: usize,
    pub(crate) me: Incarnation,
    core: ::member::Member,
    gate: Arc<Gate>,
    /// `None`: it has ended.
    life: Option<Life<Metadata>>,
    /// When the role begins: the task that has log and state is slower than the election.
    role_due: Option<u64>,
    /// By stream of the network: where the peer is, and what it is sent.
    streams: BTreeMap<u64, (End, Outgoing<Metadata>)>,
    /// Its secret, by which it proves itself.
    secret: Secret,
    roll: Roll<Secret>,
    roll_due: u64,
    /// Peers that have sent a hello and have not proven who they are, by stream.
    challenged: BTreeMap<u64, (End, Challenged)>,
    ride: Option<Ride>,
    /// Its state was changed without an entry, and is not repaired yet.
    pub(crate) tainted: bool,
    pending: Vec<Pending>,
    /// How much of its own log the history has.
    written_upto: u64,
    pub(crate) inbox: VecDeque<Letter>,
    pub(crate) up: bool,
    pub(crate) paused_until: u64,
    pub(crate) restart_at: u64,
    /// It was asked to stop, and will have stopped by then.
    pub(crate) stops_at: Option<u64>,
    /// It hands over before it stops. And the result of its last transfer.
    pub(crate) leaves: bool,
    given: Option<Result<Transferred, NotTransferred>>,
    /// It was told that it ends while it had no pending claim: it must not lead any more.
    retired: bool,
    clocks: Clocks,
    ttl: TtlClock,
    upkeep_due: u64,
}

/// The part of a late tick beyond this is a stall, and is left out.
pub(crate) const TTL_STEP_MS_MAX: u64 = 100;
/// How often a member reads which members are here, and how soon again if one was missing. Much
/// shorter than in `master`, like all times here.
const ROLL_EVERY_MS: u64 = 500;
const LOOK_PAUSE_MS: u64 = 20;
const FORGET_AFTER_MS: u64 = 1_000;

impl SimMember {
    pub(crate) fn new(cx: &Cx, me: Incarnation, rates: Rates) -> SimMember {
        let clocks = Clocks::new(rates, cx.now);
        let Moment { now: clock, .. } = clocks.moment(cx.now);
        let life = Life::begin(&Stock::new(cx, me, Now::default()));
        let start = cx.options.start(me.member.0 as usize, cx.coordinator.record().is_some());
        let cluster_id = u128::from(me.number) << 64 | u128::from(me.member.0);
        let election = election::Election::new(me, cluster_id, start, clock);
        let gate = Arc::new(Gate::closed());
        let settings = cx.options.member(life.state().shards());
        SimMember {
            at: me.member.0 as usize,
            me,
            core: ::member::Member::new(me, election, settings, Arc::clone(&gate)),
            gate,
            life: Some(life),
            role_due: None,
            streams: BTreeMap::new(),
            secret: secret(me),
            roll: Roll::new(FORGET_AFTER_MS),
            roll_due: cx.now,
            challenged: BTreeMap::new(),
            ride: None,
            tainted: false,
            pending: Vec::new(),
            written_upto: 0,
            inbox: VecDeque::new(),
            up: true,
            paused_until: 0,
            restart_at: 0,
            stops_at: None,
            leaves: false,
            given: None,
            retired: false,
            clocks,
            ttl: TtlClock::new(clock, TTL_STEP_MS_MAX),
            upkeep_due: clock,
        }
    }

    /// Its memory is gone: it is another incarnation now.
    pub(crate) fn restart(&mut self, cx: &Cx) {
        let me = Incarnation { member: self.me.member, number: self.me.number + 1 };
        *self = SimMember::new(cx, me, self.clocks.rates);
    }

    /// The other ends of its streams mostly notice it.
    pub(crate) fn end(&mut self, cx: &mut Cx, restart_at: u64) {
        cx.say(|| format!("{:?}: ends", self.me));
        cx.checks.held.gone(self.me);
        let ends = self.streams.iter().map(|(stream, (to, _))| (*to, *stream));
        let ride = self.ride.iter().map(|ride| (End::Member(ride.to()), ride.stream));
        let ends: Vec<(End, u64)> = ends.chain(ride).collect();
        for (to, stream) in ends {
            if cx.rng.below(4) > 0 {
                cx.send_to(End::Member(self.at), to, stream, Body::Closed);
            }
        }
        (self.up, self.restart_at, self.life) = (false, restart_at, None);
        (self.ride, self.role_due) = (None, None);
        self.streams.clear();
        self.challenged.clear();
        self.pending.clear();
        self.inbox.clear();
    }

    /// Its election.
    pub(crate) fn election(&self) -> &election::Election {
        self.core.election()
    }

    fn moment(&self, now: u64) -> Moment {
        self.clocks.moment(now)
    }

    pub(crate) fn clock(&self, now: u64) -> u64 {
        self.moment(now).now
    }

    /// From now on its clocks run alike.
    pub(crate) fn slew_no_more(&mut self, now: u64) {
        self.clocks.rates.slewed_until = now;
    }

    /// Its host is suspended for one more millisecond.
    pub(crate) fn sleep(&mut self) {
        self.clocks.rates.slept_ms += 1;
    }

    pub(crate) fn runs(&self, now: u64) -> bool {
        self.up && now >= self.paused_until
    }

    /// It may be promoted, and will stay up.
    pub(crate) fn stays(&self) -> bool {
        self.up && self.stops_at.is_none() && !self.tainted && self.core.is_sound()
    }

    fn ttl(&self, cx: &Cx) -> Now {
        Now { ttl_ms: self.ttl.at(self.moment(cx.now).slow()), wall_ms: 0 }
    }

    pub(crate) fn state(&self) -> Option<&Arc<Metadata>> {
        self.life.as_ref().map(Life::state)
    }

    /// Where its log ends, and how much of it is applied.
    pub(crate) fn positions(&self) -> Option<(Position, Position)> {
        self.life.as_ref().map(|life| (life.tail().last(), life.state().applied()))
    }

    /// One millisecond of its life.
    pub(crate) fn tick(&mut self, cx: &mut Cx) {
        while let Some(letter) = self.inbox.pop_front() {
            self.on_letter(cx, letter);
        }
        self.with(cx, ::member::Member::on_tick);
        self.be_seen(cx);
        if self.leaves {
            self.leave(cx);
        }
        self.take_role(cx);
        self.follow(cx);
        self.apply(cx);
        self.could_read_as_standby(cx);
        self.keep_up(cx);
        self.answer(cx);
        self.pump(cx);
        self.check(cx);
    }

    pub(crate) fn on_letter(&mut self, cx: &mut Cx, letter: Letter) {
        let Letter { from, stream, body, .. } = letter;
        self.with(cx, |_, _| ());
        match body {
            Body::Hello(hello) => self.on_hello(cx, from, stream, hello),
            Body::Proof(proof) => self.on_proof(cx, stream, &proof),
            Body::Receipt(receipt) => self.on_receipt(cx, stream, &receipt),
            Body::Closed => self.on_closed(cx, stream),
            Body::Refused => self.on_refused(cx, stream),
            Body::Down(message) => self.on_down(cx, stream, message),
            Body::Ask(request) => self.on_ask(cx, from, stream, request),
            Body::Told(answer) => self.on_told(cx, stream, answer),
            Body::Request(request) => self.on_call(cx, from, stream, request),
            Body::Reply(_) => {}
        }
    }

    /// Shows itself at the coordinator, and reads which other members are there.
    fn be_seen(&mut self, cx: &mut Cx) {
        let me = (self.me, self.secret, self.election().seen());
        cx.coordinator.be_present(self.at, me, self.core.leads(), cx.now);
        if cx.now >= self.roll_due {
            self.roll_due = cx.now + ROLL_EVERY_MS;
            cx.ask_members(self.at, self.me);
        }
    }

    pub(crate) fn learn(&mut self, now: u64, shown: Vec<(Incarnation, Secret)>) {
        let record = self.core.known().map(|known| &known.record);
        let is_named = |who: v1::Incarnation| record.is_some_and(|record| record.names(incarnation(&who)));
        self.roll.update(shown.into_iter().map(|(who, secret)| (incarnation_to_wire(who), secret)), is_named, now);
    }

    /// For a member that is not on the roll. Soon, since it may have just come.
    fn look(&mut self, cx: &Cx) {
        self.roll_due = self.roll_due.min(cx.now + LOOK_PAUSE_MS);
    }

    fn on_closed(&mut self, cx: &mut Cx, stream: u64) {
        if self.ride.as_ref().is_some_and(|ride| ride.stream == stream) {
            return self.leave_ride(cx, None);
        }
        self.close_stream(cx, stream);
    }

    fn check(&mut self, cx: &mut Cx) {
        let Some(life) = &self.life else { return };
        let applied = life.state().applied();
        cursors::check(self.me, life.tail(), applied);
        let reign = self.core.leads().zip(self.election().committed());
        cx.checks.monotonic.check(self.me, applied, reign);
        self.check_peers(cx);
    }

    /// Whatever is true of the other end: one end may learn it much later, or never.
    pub(crate) fn break_a_stream(&mut self, cx: &mut Cx) {
        let ride = self.ride.as_ref().map(|ride| (End::Member(ride.to()), ride.stream));
        let first = self.streams.iter().next().map(|(stream, (to, _))| (*to, *stream));
        let Some((to, stream)) = ride.or(first) else { return };
        if cx.rng.below(2) == 0 {
            cx.send_to(End::Member(self.at), to, stream, Body::Closed);
        }
        self.on_closed(cx, stream);
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "\n  {:?} up {} tainted {} {:?}\n    {:?}\n    ride {:?}",
            self.me,
            self.up,
            self.tainted,
            self.life,
            self.core,
            self.ride.as_ref().map(|ride| ride.stream),
        )
    }
}

/// Known to no process that does not ask here.
fn secret(me: Incarnation) -> Secret {
    Secret((u128::from(me.member.0 + 1) << 64 | u128::from(me.number)).to_be_bytes())
}

impl std::fmt::Debug for SimMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}
