//! Applying, with its comparisons, and the questions to the primary.

use std::sync::Arc;

use ::member::{Doing, Ended, Life, NotAsked, Questions, compare, incarnation};
use election::Incarnation;
use metadata::{Fault, Metadata};
use oplog::{Difference, Entry, Position, ReplicatedState as _};
use prost::Message as _;
use proto::v1;
use proto::v1::verify_response::Answer;
use standby::apply_committed;
use verification::Event;

use super::SimMember;
use crate::checks::{applied_in_order, divergence_found, equal_digest};
use crate::cx::Cx;
use crate::net::{Body, End};

/// What a DIGEST entry showed: its position, the difference, and whether this state really differs
/// from the primary's.
type Comparison = (Position, Difference, bool);

fn on_applied<'a>(
    (me, is_tainted): (Incarnation, bool),
    cx: &'a Cx,
    state: &'a Metadata,
    found: &'a mut Vec<Comparison>,
) -> impl FnMut(&Entry) + 'a {
    let mut before = state.applied();
    move |entry: &Entry| {
        let at = entry.position();
        applied_in_order::check(&cx.history, me, before, at);
        before = at;
        if !is_tainted {
            equal_digest::check(&cx.history, me, at, || state.digest().1, "as it follows");
        }
        if let Some(compared) = compare(state, entry) {
            let Event::Compared { at, difference } = compared.expect("a primary wrote it").event else { return };
            let differs = !equal_digest::is_equal(&cx.history, at, || state.digest().1);
            found.push((at, difference, differs));
        }
    }
}

impl SimMember {
    /// Changes its state without an entry.
    pub(crate) fn corrupt(&mut self, cx: &mut Cx) {
        let kinds = [
            Fault::RecordChanged,
            Fault::RecordLost,
            Fault::PinReset,
            Fault::FreeRangeLost,
            Fault::AnswerLost,
            Fault::ShardLost,
        ];
        let kind = kinds[cx.rng.below(kinds.len() as u64) as usize];
        // Nothing is damaged while records are being replaced.
        let repairs = self.repairs();
        if let Some(Life::Follows(standby)) = &self.life
            && !repairs
            && standby.state().inflict(kind).is_some()
        {
            self.tainted = true;
            cx.tally.corruptions += 1;
        }
    }

    fn repairs(&self) -> bool {
        let questions = self.ride.as_ref().and_then(|ride| ride.questions.as_ref());
        questions.is_some_and(Questions::is_repairing)
    }

    pub(super) fn apply(&mut self, cx: &mut Cx) {
        let Some(Life::Follows(standby)) = &self.life else { return };
        if !self.repairs() && self.core.may_apply() {
            let (state, tail) = (Arc::clone(standby.state()), Arc::clone(standby.tail()));
            let mut found = Vec::new();
            let seen = on_applied((self.me, self.tainted), cx, &state, &mut found);
            let applied = apply_committed(&*state, &tail, cx.options.apply_entries, u64::MAX, seen);
            self.compared(cx, found);
            if let Err(error) = applied {
                if !self.tainted {
                    applied_in_order::misfit(self.me, &error);
                }
                self.with(cx, |member, now| member.doubt(Event::Broken, now));
            }
        }
        self.question(cx);
    }

    fn compared(&mut self, cx: &mut Cx, found: Vec<Comparison>) {
        for (at, difference, differs) in found {
            if !self.tainted {
                divergence_found::no_false_alarm(self.me, at, &difference);
            }
            // The log itself may have corrected it.
            self.tainted &= differs || !difference.is_empty();
            self.with(cx, |member, now| member.doubt(Event::Compared { at, difference }, now));
            if differs {
                divergence_found::check(self.me, at, self.core.is_sound());
            }
        }
    }

    /// What this member asks its primary now, if anything.
    fn question(&mut self, cx: &mut Cx) {
        loop {
            let clock = self.clock(cx.now);
            let (Some(ride), Some(Life::Follows(standby))) = (&mut self.ride, &self.life) else { return };
            let Some(questions) = &mut ride.questions else { return };
            let mut found = Vec::new();
            let seen = on_applied((self.me, self.tainted), cx, standby.state(), &mut found);
            let held = (&**standby.state(), &**standby.tail());
            match questions.next((&mut self.core, clock), held, seen) {
                Doing::Rest { .. } | Doing::WaitForAnswer | Doing::WaitForCommit(_) => return,
                Doing::Still | Doing::More => {}
                Doing::Ask(request) => {
                    ride.asked = cx.net.new_stream();
                    cx.send(self.at, ride.to(), ride.asked, Body::Ask(request));
                }
                Doing::Sampled(shard, sampled) => {
                    let differs = sampled.is_ok_and(|sampled| sampled.differs);
                    assert!(self.tainted || !differs, "equal_digest: a sample of shard {shard} of {:?}", self.me);
                }
                Doing::Ended(ended) => self.repaired(cx, &ended),
            }
            self.carry(cx);
            self.compared(cx, found);
        }
    }

    fn repaired(&mut self, cx: &mut Cx, Ended { event, .. }: &Ended) {
        if let (Event::Repaired { at, remaining, .. }, Some(state)) = (event, self.state())
            && remaining.is_empty()
        {
            equal_digest::check(&cx.history, self.me, *at, || state.digest().1, "after a repair");
            if let Err(what) = state.check() {
                panic!("equal_digest: {:?} is repaired, but {what}", self.me);
            }
            self.tainted = false;
            cx.tally.repairs += 1;
        }
    }

    /// The primary answers at once.
    pub(super) fn on_ask(&mut self, cx: &mut Cx, from: End, stream: u64, request: v1::VerifyRequest) {
        let End::Member(to) = from else { return };
        let who = incarnation(&request.who.unwrap_or_default());
        let taken = self.with(cx, |member, _| member.on_question(who, request.epoch, &request.token));
        assert_ne!(taken, Err(NotAsked::Busy), "it was answered at once");
        let question = v1::VerifyQuestion::decode(request.question).expect("a standby asked it").question;
        let answer = match (&self.life, question, taken) {
            (Some(Life::Leads(state, _)), Some(question), Ok(asker)) => {
                let settings = self.core.settings();
                let limits = (settings.seq_gap_max, settings.repair_records_max);
                let answer = verification::answer(&**state, question, limits).expect("a standby asked it");
                self.core.on_answered_question(asker);
                Some(answer)
            }
            _ => None,
        };
        cx.send(self.at, to, stream, Body::Told(answer));
    }

    pub(super) fn on_told(&mut self, cx: &mut Cx, stream: u64, answer: Option<Answer>) {
        let Some(ride) = self.ride.as_mut().filter(|ride| ride.asked == stream) else { return };
        if let Some(questions) = &mut ride.questions {
            questions.on_answer(answer.ok_or_else(|| "it leads no more".to_owned()));
            self.question(cx);
        }
    }
}
