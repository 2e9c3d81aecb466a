//! Carries out the member's actions, and moves log and state from one role to the next.

use std::sync::Arc;

use ::member::{Action, Leaving, Life, Looked, NotTransferred, Occasion, Rise, Role};
use election::{Event, Incarnation, Timing};
use metadata::{COLLIDING, Metadata, Now, Settings};
use oplog::{Appender, Position, ReplicatedState as _, Secret, Tail, TailConfig};
use standby::Standby;

use super::SimMember;
use crate::checks::one_primary::OnePrimary;
use crate::checks::{applied_in_order, equal_digest, same_answer, sound_leads};
use crate::coordinator::Request;
use crate::cx::Cx;
use crate::options::Options;

/// Records a state's digest after this many entries.
const DIGEST_EVERY: u64 = 4;

/// States of this simulator.
pub(super) struct Stock<'a> {
    options: &'a Options,
    me: Incarnation,
    now: Now,
}

impl Stock<'_> {
    pub(super) fn new(cx: &Cx, me: Incarnation, now: Now) -> Stock<'_> {
        Stock { options: &cx.options, me, now }
    }
}

impl ::member::Stock<Metadata> for Stock<'_> {
    fn empty(&self) -> (Arc<Metadata>, Arc<Tail>, Appender) {
        let config = self.options.metadata(self.me);
        let (tail, log) = Tail::new(self.options.tail(), Position::default());
        (Arc::new(Metadata::new(config, Position::default())), tail, log)
    }

    fn lead(&self, state: &Metadata, log: Appender, born: u64) {
        state.lead(log, self.now, born);
    }

    fn follow(&self, state: &Metadata) -> Appender {
        state.follow().expect("it led with a log")
    }

    fn tail_config(&self) -> TailConfig {
        self.options.tail()
    }

    /// Calls use what the member leads with.
    fn hold(&self, _: &Arc<Metadata>, _: &Arc<Tail>) {}

    /// As if at random: different for each member and epoch.
    fn begins(&self, epoch: u64) -> (u64, Secret) {
        let own = u128::from(epoch) << 64 | u128::from(self.me.member.0 << 32 | self.me.number);
        (0, if self.options.colliding { COLLIDING } else { Secret(own.to_le_bytes()) })
    }
}

impl SimMember {
    /// Tells the member something, and carries out its actions.
    pub(super) fn with<R>(&mut self, cx: &mut Cx, tell: impl FnOnce(&mut ::member::Member, u64) -> R) -> R {
        let moment = self.moment(cx.now);
        self.core.on_time(moment);
        let told = tell(&mut self.core, moment.now);
        self.carry(cx);
        told
    }

    pub(super) fn carry(&mut self, cx: &mut Cx) {
        for action in self.core.take_actions() {
            cx.note(cx.now << 8 | self.at as u64);
            if !matches!(action, Action::Read | Action::Standing | Action::LogDigests) {
                cx.say(|| format!("{:?}: {action:?}", self.me));
            }
            self.act(cx, action);
        }
    }

    /// `ended`: whether a member is known to have ended.
    pub(crate) fn on_looked(
        &mut self,
        cx: &mut Cx,
        mut looked: Looked,
        mut ended: impl FnMut(&mut Cx, Incarnation) -> bool,
    ) {
        let record = looked.record.as_ref();
        let asked_about: Vec<Incarnation> = self.core.looks_for_ends(record).collect();
        looked.announced = looked.announced.filter(|_| self.core.looks_for_a_primary(record));
        looked.ended = asked_about.into_iter().filter(|who| ended(cx, *who)).collect();
        self.with(cx, |member, now| member.on_looked(looked, now));
    }

    pub(crate) fn happen(&mut self, cx: &mut Cx, event: Event) -> bool {
        self.with(cx, |member, now| member.on(event, now))
    }

    fn act(&mut self, cx: &mut Cx, action: Action) {
        match action {
            Action::Read => cx.ask(self.at, self.me, Request::Read { members: self.core.looks_for_members() }),
            Action::Swap { expect, to } => {
                sound_leads::claims(self.me, &to, self.core.is_sound());
                if let Some(known) = self.election().record() {
                    let is_unsound = |who| self.core.peers().any(|peer| peer.who == who && !peer.sound);
                    sound_leads::proposes(&known.record, &to, is_unsound);
                }
                cx.ask(self.at, self.me, Request::Swap { expect, to });
            }
            Action::Be(role) => self.be(cx, role),
            Action::LogDigests => self.log_digests(cx),
            Action::Transferred(given) => {
                let count = if given.is_ok() { &mut cx.tally.transfers } else { &mut cx.tally.not_transferred };
                *count += 1;
                self.given = Some(given).filter(|_| self.leaves);
            }
            Action::Doubt(verification::Action::Alarm { shards }) => {
                panic!("no primary's memory changes here, but {shards:?} did")
            }
            Action::LostData { data, .. } => {
                assert!(cx.options.loses_data(), "the coordinator never loses data here: {data}");
            }
            Action::Restores { .. } => cx.tally.restored += 1,
            Action::Retimed { .. } | Action::Standing | Action::Doubt(_) => {}
            Action::SetChanged { .. } | Action::Unconfirmed { .. } | Action::WrongClock { .. } => {}
        }
    }

    fn be(&mut self, cx: &mut Cx, role: Role) {
        if matches!(role, Role::Lead { .. }) {
            assert!(!self.retired, "retired_leads: {:?} was told that it ends, and is {role:?}", self.me);
        }
        self.role_due = Some(cx.now + cx.rng.below(cx.options.role_ms_max));
    }

    fn log_digests(&mut self, cx: &mut Cx) {
        let logged = match &self.life {
            Some(Life::Leads(state, _)) if !cx.rests => state.log_digests(self.ttl(cx)).ok(),
            // If the log has no room now, the next call will do.
            Some(Life::Leads(..) | Life::Follows(_)) | None => None,
        };
        self.wrote(cx);
        self.with(cx, |member, now| member.on_digests_logged(logged.map(|digests| digests.at.seq), now));
    }

    pub(super) fn take_role(&mut self, cx: &mut Cx) {
        if self.role_due.is_none_or(|due| cx.now < due) {
            return;
        }
        self.role_due = None;
        self.drop_ride(cx);
        let Some(life) = self.life.take() else { return };
        let (me, now, clock) = (self.me, self.ttl(cx), self.clock(cx.now));
        let stock = Stock::new(cx, me, now);
        let (standby, is_emptied) = life.step_down((&mut self.core, clock), &stock);
        if is_emptied {
            cx.checks.monotonic.emptied(self.me);
            cx.checks.held.gone(self.me);
            self.tainted = false;
        }
        self.carry(cx);
        match self.core.role() {
            Role::Lead { epoch } if !self.tainted => self.lead(cx, standby, epoch),
            role => {
                cx.void |= matches!(role, Role::Lead { .. });
                self.life = Some(Life::Follows(Box::new(standby)));
            }
        }
    }

    fn lead(&mut self, cx: &mut Cx, standby: Standby<Metadata>, epoch: u64) {
        let begins_after = standby.tail().last();
        cx.say(|| format!("{:?}: leads {epoch} after {begins_after}", self.me));
        let Settings { object_lease_ms, put_start_timeout_ms, .. } = cx.options.metadata(self.me).settings;
        // Clocks differ by 25 per mille at most.
        let until = cx.now + object_lease_ms.max(put_start_timeout_ms) * 9 / 10;
        cx.tally.rebirths += u64::from(cx.checks.begins(epoch, until));
        cx.checks.births.leads(&cx.history, self.me, epoch, begins_after);
        cx.checks.acknowledged.leads(&cx.history, self.me, begins_after);
        let rise = Rise::new(standby, epoch, self.core.born());
        let applied = std::iter::repeat_with(|| rise.apply()).find(|applied| *applied != Ok(true));
        let begun = applied.unwrap_or(Ok(false)).and_then(|_| rise.begin(&Stock::new(cx, self.me, self.ttl(cx))));
        let life = begun.unwrap_or_else(|error| applied_in_order::misfit(self.me, &error));
        equal_digest::check(&cx.history, self.me, begins_after, || life.state().digest().1, "as it is promoted");
        OnePrimary::begins(cx.history.begin(epoch, self.me, begins_after), self.me, epoch);
        self.life = Some(life);
        self.written_upto = begins_after.seq;
        self.wrote(cx);
        let (clock, Some(life)) = (self.clock(cx.now), &self.life) else { return };
        let opens = life.open((&mut self.core, clock), epoch);
        cx.tally.takeovers += u64::from(opens);
        self.carry(cx);
    }

    /// Called after anything that may have appended to the log with which this member leads.
    pub(super) fn wrote(&mut self, cx: &mut Cx) {
        let Some(Life::Leads(state, tail)) = &self.life else { return };
        let last = tail.last();
        if last.seq == self.written_upto {
            return;
        }
        let frames = tail.entries_since(self.written_upto, usize::MAX, usize::MAX).expect("they were just written");
        let mut is_digest = false;
        for frame in &frames {
            let entry = frame.decode().expect("it was encoded here");
            let is_engines = entry.domain == oplog::DomainId::ENGINE;
            is_digest = is_engines && matches!(entry.op_type, oplog::OP_EPOCH_START | oplog::OP_DIGEST);
            cx.checks.heard.logged(self.me, &entry, state.settings().kept().client_ttl_ms);
            if let Some(stamp) = entry.request {
                let request = (stamp.client, stamp.number);
                same_answer::ran(request, entry.position(), cx.history.ran(request, entry.position()));
            }
        }
        if is_digest || last.seq / DIGEST_EVERY > self.written_upto / DIGEST_EVERY {
            cx.history.set_digest(last, state.digest().1);
        }
        self.written_upto = last.seq;
        cx.checks.held.holds(self.me, last);
        cx.note(last.seq);
        let tail = Arc::clone(tail);
        self.with(cx, |member, now| member.on_appended(&tail, now));
    }

    /// It is asked to end, and learns so.
    pub(crate) fn retire(&mut self, cx: &mut Cx) {
        self.happen(cx, Event::Retire);
        self.retired = !self.election().claims();
    }

    /// What a process that is asked to end does until it ends.
    pub(super) fn leave(&mut self, cx: &mut Cx) {
        if self.core.gives() {
            return;
        }
        let given = self.given.take();
        let leaving = self.with(cx, |member, now| member.leave(given, now));
        self.retired |= !self.election().claims();
        match leaving {
            Leaving::Waits => {}
            Leaving::Gives(heir) => self.transfer(cx, Some(heir), Occasion::Ends),
            Leaving::Done | Leaving::Alone | Leaving::Fails(_) => self.leaves = false,
        }
    }

    /// Changes the timing of the cluster. False: this member can't.
    pub(crate) fn retime(&mut self, cx: &mut Cx, timing: Timing) -> bool {
        let changes = timing.named().map(|(name, value)| (name.to_owned(), value));
        self.with(cx, |member, now| member.retime(&changes, now)).is_ok()
    }

    /// The same for settings in the state: leases, TTLs, how many tombstones are kept.
    pub(crate) fn set_settings(&mut self, cx: &mut Cx, settings: &Settings) -> bool {
        let Some(Life::Leads(state, _)) = &self.life else { return false };
        let names = ["client_ttl_ms", "object_lease_ms", "put_release_timeout_ms", "tombstones_max"];
        let values = names.map(|name| (name, settings.get(name).expect("it is named so")));
        let changes = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        let is_open = self.gate.check_open(self.clock(cx.now)).is_ok();
        let is_set = is_open && state.set_settings(&changes, self.ttl(cx)).is_ok();
        self.wrote(cx);
        is_set
    }

    /// Hands over to that member, or to any that can take over.
    pub(crate) fn transfer(&mut self, cx: &mut Cx, to: Option<Incarnation>, occasion: Occasion) {
        let heir = to.or_else(|| self.core.best_heir(self.clock(cx.now)));
        if let Some(heir) = heir.filter(|heir| *heir != self.me) {
            // Another transfer may be under way, or may have been a moment ago.
            let begun = self.with(cx, |member, now| member.transfer(heir, occasion, now));
            if matches!(begun, Err(NotTransferred::TooSoon { .. })) {
                assert_eq!(occasion, Occasion::Asked, "a member that ends waits for no pause");
                cx.tally.transfers_too_soon += 1;
            }
        }
    }
}
