//! What follows from what the election says: commits and the end of a reign at once, a new role a little later.

use std::sync::Arc;

use election::{Action, Event, Incarnation};
use metadata::Metadata;
use oplog::{CloseReason, ReplicatedState as _};
use standby::{Promotion, Standby};

use super::{Life, Member, Reign, empty};
use crate::checks::one_primary::OnePrimary;
use crate::checks::{applied_in_order, equal_digest, same_answer, sound_leads};
use crate::coordinator::Request;
use crate::cx::Cx;

/// What this member is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Starting,
    Follow { primary: Incarnation, epoch: u64 },
    Lead { epoch: u64 },
    Deposed,
}

/// Of a state's digest: after every so many entries.
const DIGEST_EVERY: u64 = 4;

impl Member {
    /// True: the message that this is about may be answered.
    pub(crate) fn happen(&mut self, cx: &mut Cx, event: Event) -> bool {
        let mut actions = Vec::new();
        self.core.on_event(event, self.clock(cx.now), &mut actions);
        let mut answers = false;
        for action in actions {
            cx.note(cx.now << 8 | self.at as u64);
            answers |= matches!(action, Action::Answer { .. });
            if !matches!(action, Action::Answer { .. } | Action::Commit { .. } | Action::Read) {
                cx.say(|| format!("{:?}: {action:?}", self.me));
            }
            self.act(cx, action);
        }
        answers
    }

    fn act(&mut self, cx: &mut Cx, action: Action) {
        match action {
            Action::Read => cx.ask(self.at, self.me, Request::Read),
            Action::Swap { expect, to } => {
                sound_leads::claims(self.me, &to, self.verifier.is_sound());
                if let Some(known) = self.core.record() {
                    sound_leads::proposes(&known.record, &to, |who| self.is_unsound_peer(who));
                }
                cx.ask(self.at, self.me, Request::Swap { expect, to });
            }
            Action::Answer { .. } | Action::Unconfirmed { .. } => {}
            Action::Follow { primary, epoch } => self.be(cx, Role::Follow { primary, epoch }),
            Action::Lead { epoch } => self.be(cx, Role::Lead { epoch }),
            Action::Commit { upto } => {
                if let Some(reign) = &self.reign {
                    reign.tail.committed().advance(upto);
                }
            }
            Action::Depose { by, .. } => {
                if let Some(reign) = self.reign.take() {
                    reign.tail.committed().close(CloseReason::Deposed { epoch: by });
                }
                self.be(cx, Role::Deposed);
            }
            Action::CoordinatorLostData { held, found } => {
                panic!("the coordinator never loses data here: epoch {held} held, {found} found")
            }
        }
    }

    fn be(&mut self, cx: &mut Cx, role: Role) {
        if matches!(role, Role::Lead { .. }) {
            assert!(!self.retired, "retired_leads: {:?} was told that it ends, and is {role:?}", self.me);
        }
        self.role = role;
        self.role_due = Some(cx.now + cx.rng.below(cx.options.role_ms_max));
    }

    pub(super) fn take_role(&mut self, cx: &mut Cx) {
        if self.role_due.is_none_or(|due| cx.now < due) {
            return;
        }
        self.role_due = None;
        self.drop_ride(cx);
        let mut standby = self.step_down(cx);
        if self.core.born() > self.emptied {
            self.emptied = self.core.born();
            standby = empty(cx, self.me);
            cx.checks.monotonic.emptied(self.me);
            cx.checks.held.gone(self.me);
            self.tainted = false;
            self.doubt(cx, verification::Event::Synced);
        }
        self.doubt(cx, verification::Event::EpochBegins);
        match self.role {
            Role::Lead { epoch } => self.lead(cx, standby, epoch),
            Role::Follow { .. } | Role::Starting | Role::Deposed => {
                self.ride_due = cx.now;
                self.life = Life::Follows(Box::new(standby));
            }
        }
    }

    fn step_down(&mut self, cx: &Cx) -> Standby<Metadata> {
        match std::mem::replace(&mut self.life, Life::Between) {
            Life::Follows(standby) => *standby,
            Life::Leads(state, tail) => {
                let log = state.follow().expect("it led with a log");
                Standby::new(state, tail, log, cx.options.tail())
            }
            Life::Between => unreachable!("a member that has ended takes no role"),
        }
    }

    fn lead(&mut self, cx: &mut Cx, standby: Standby<Metadata>, epoch: u64) {
        if self.tainted {
            cx.void = true;
            self.life = Life::Follows(Box::new(standby));
            return;
        }
        let begins_after = standby.tail().last();
        cx.say(|| format!("{:?}: leads {epoch} after {begins_after}", self.me));
        cx.tally.rebirths += u64::from(cx.checks.begins(epoch));
        cx.checks.births.leads(&cx.history, self.me, epoch, begins_after);
        cx.checks.acknowledged.leads(&cx.history, self.me, begins_after);
        let promotion = Promotion::new(standby);
        loop {
            match promotion.apply(256) {
                Ok(applied) if applied.entries == 0 => break,
                Ok(_) => {}
                Err(error) => applied_in_order::misfit(self.me, &error),
            }
        }
        let (state, tail, log) = promotion.begin(epoch, 0);
        equal_digest::check(&cx.history, self.me, begins_after, || state.digest().1, "as it is promoted");
        OnePrimary::begins(cx.history.begin(epoch, self.me, begins_after), self.me, epoch);
        state.lead(log, self.ttl());
        self.life = Life::Leads(state, Arc::clone(&tail));
        self.written_upto = begins_after.seq;
        if self.core.leads() == Some(epoch) {
            (self.heir, self.draining_until) = (None, None);
            self.reign = Some(Reign { epoch, tail });
            cx.tally.takeovers += 1;
        }
        self.wrote(cx);
    }

    /// After whatever may have appended to the log that this member leads with.
    pub(super) fn wrote(&mut self, cx: &mut Cx) {
        let Life::Leads(state, tail) = &self.life else { return };
        let last = tail.last();
        if last.seq == self.written_upto {
            return;
        }
        let frames = tail.entries_since(self.written_upto, usize::MAX, usize::MAX).expect("they were just written");
        let mut is_digest = false;
        for frame in &frames {
            let entry = frame.decode().expect("it was encoded here");
            is_digest = entry.domain == oplog::Domain::ENGINE;
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
        if self.reign.is_some() {
            self.happen(cx, Event::Appended(last.seq));
        }
    }

    /// As a process that is asked to end does.
    pub(crate) fn retire(&mut self, cx: &mut Cx) {
        self.happen(cx, Event::Retire);
        self.retired = !self.core.claims();
    }

    /// Leads no more; `heir` is told once its stream has all else.
    pub(crate) fn resign(&mut self, cx: &mut Cx, heir: Incarnation) {
        self.heir = Some(heir);
        self.happen(cx, Event::Resign);
        cx.tally.transfers += 1;
    }
}
