//! Applying, with the comparisons that come with it; samples; a repair.

use std::sync::Arc;

use election::Event as ElectionEvent;
use metadata::{Fault, Metadata};
use oplog::{
    Buckets, Difference, Digests, Domain, Entry, OP_DIGEST, Part, Position, ReplicatedState as _, Tail, Verifiable as _,
};
use proto::v1;
use proto::v1::sample_answer::Result as SampleResult;
use proto::v1::verify_request::Question;
use proto::v1::verify_response::Answer;
use standby::{StandbyError, apply_committed};
use verification::{Action, Event, Repair, Step, answer_buckets, answer_parts, answer_sample, question_sample};

use super::{Life, Member};
use crate::checks::{applied_in_order, divergence_found, equal_digest};
use crate::cx::Cx;
use crate::net::{Body, End};

/// For all of a repair.
const REPAIR_MS_MAX: u64 = 10_000;
const AGAIN_AFTER_MS: u64 = 200;
const SAMPLE_EVERY_MS: u64 = 250;
/// Of the shards, in one round.
const SAMPLE_RATIO: f64 = 0.004;

pub(super) struct Repairing {
    repair: Repair,
    began: u64,
    /// The question that has no answer yet.
    asked: Option<u64>,
}

/// What a DIGEST entry showed: where, how, and whether this state is truly another one than the primary's.
type Comparison = (Position, Difference, bool);

impl Member {
    /// From what was found to what is done.
    pub(super) fn doubt(&mut self, cx: &mut Cx, event: Event) {
        let mut actions = Vec::new();
        self.verifier.on_event(event, &mut actions);
        for action in actions {
            match action {
                Action::Sound(sound) => drop(self.happen(cx, ElectionEvent::Sound(sound))),
                Action::Repair { shards } => self.repair_wanted = Some(shards),
                Action::FullSync => self.repair_wanted = None,
                Action::Alarm { shards } => panic!("no primary's memory changes here, but {shards:?} did"),
            }
        }
    }

    /// What was changed behind its back.
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
        // Not while records are being replaced.
        let repairs = self.ride.as_ref().is_some_and(|ride| ride.repairing.is_some());
        if let Life::Follows(standby) = &self.life
            && !repairs
            && standby.state().inflict(kind).is_some()
        {
            self.tainted = true;
            cx.tally.corruptions += 1;
        }
    }

    pub(super) fn apply(&mut self, cx: &mut Cx) {
        if self.ride.as_ref().is_some_and(|ride| ride.repairing.is_some()) {
            return self.repair(cx);
        }
        if let Err(error) = self.apply_upto(cx, u64::MAX, cx.options.apply_entries) {
            return self.broken(cx, &error);
        }
        self.begin_repair(cx);
        self.sample(cx);
    }

    fn broken(&mut self, cx: &mut Cx, error: &StandbyError) {
        if !self.tainted {
            applied_in_order::misfit(self.me, error);
        }
        self.doubt(cx, Event::Broken);
    }

    fn apply_upto(&mut self, cx: &mut Cx, upto: u64, entries_max: usize) -> Result<(), StandbyError> {
        let Life::Follows(standby) = &self.life else { return Ok(()) };
        let (state, tail) = (Arc::clone(standby.state()), Arc::clone(standby.tail()));
        if self.verifier.condition() == verification::Condition::Lost {
            return Ok(());
        }
        let mut found = Vec::new();
        let applied = self.applied(cx, &state, &tail, (upto, entries_max), &mut found);
        for (at, difference, differs) in found {
            if !self.tainted {
                divergence_found::no_false_alarm(self.me, at, &difference);
            }
            // The log itself may have put it right.
            self.tainted &= differs || !difference.is_empty();
            self.doubt(cx, Event::Compared { at, difference });
            if differs {
                divergence_found::check(self.me, at, self.verifier.is_sound());
            }
        }
        applied
    }

    fn applied(
        &self,
        cx: &Cx,
        state: &Metadata,
        tail: &Tail,
        (upto, entries_max): (u64, usize),
        found: &mut Vec<Comparison>,
    ) -> Result<(), StandbyError> {
        let mut before = state.applied();
        let on_applied = |entry: &Entry| {
            let at = entry.position();
            applied_in_order::check(&cx.history, self.me, before, at);
            before = at;
            if !self.tainted {
                equal_digest::check(&cx.history, self.me, at, || state.digest().1, "as it follows");
            }
            if entry.domain == Domain::ENGINE && entry.op_type == OP_DIGEST {
                let theirs = Digests::decode(at, &entry.payload).expect("a primary wrote it");
                let differs = !equal_digest::is_equal(&cx.history, at, || state.digest().1);
                found.push((at, state.digests().difference(&theirs), differs));
            }
        };
        apply_committed(state, tail, entries_max, upto, on_applied).map(drop)
    }

    fn begin_repair(&mut self, cx: &mut Cx) {
        let Some(ride) = self.ride.as_mut().filter(|ride| ride.is_comparable && cx.now >= ride.sample_due) else {
            return;
        };
        if let Some(shards) = self.repair_wanted.take() {
            let repair = Repair::new(shards, cx.options.repair_max);
            ride.repairing = Some(Repairing { repair, began: cx.now, asked: None });
            self.repair(cx);
        }
    }

    fn repair(&mut self, cx: &mut Cx) {
        let Some(state) = self.state().map(Arc::clone) else { return };
        loop {
            let Some(ride) = &mut self.ride else { return };
            let (stream, Some(repairing)) = (cx.net.new_stream(), &mut ride.repairing) else { return };
            if cx.now > repairing.began + REPAIR_MS_MAX {
                return self.repaired(cx, Event::NotRepaired);
            }
            if repairing.asked.is_some() {
                return;
            }
            match repairing.repair.step(&*state) {
                Step::Ask(question) => {
                    repairing.asked = Some(stream);
                    return self.ask(cx, stream, question);
                }
                Step::ApplyUpto(at) => {
                    if let Err(error) = self.apply_upto(cx, at.seq, 256) {
                        self.broken(cx, &error);
                        return self.drop_repair();
                    }
                    if state.applied().seq < at.seq {
                        return;
                    }
                }
                Step::Ended { event, .. } => return self.repaired(cx, event),
                Step::Again(_) => return self.repaired(cx, Event::NotRepaired),
            }
        }
    }

    fn drop_repair(&mut self) {
        if let Some(ride) = &mut self.ride {
            ride.repairing = None;
        }
    }

    fn repaired(&mut self, cx: &mut Cx, event: Event) {
        self.drop_repair();
        if let Some(ride) = &mut self.ride
            && event == Event::NotRepaired
        {
            ride.sample_due = cx.now + AGAIN_AFTER_MS;
        }
        if let (Event::Repaired { at, remaining, .. }, Some(state)) = (&event, self.state())
            && remaining.is_empty()
        {
            equal_digest::check(&cx.history, self.me, *at, || state.digest().1, "after a repair");
            if let Err(what) = state.check() {
                panic!("equal_digest: {:?} is repaired, but {what}", self.me);
            }
            self.tainted = false;
            cx.tally.repairs += 1;
        }
        self.doubt(cx, event);
    }

    fn ask(&self, cx: &mut Cx, stream: u64, question: Question) {
        let Some(ride) = &self.ride else { return };
        let who = Some(v1::Incarnation { member: self.me.member.0, number: self.me.number });
        let request = v1::VerifyRequest { who, epoch: ride.epoch, question: Some(question), ..Default::default() };
        cx.send(self.at, ride.to(), stream, Body::Ask(request));
    }

    fn sample(&mut self, cx: &mut Cx) {
        let Some(state) = self.state().map(Arc::clone) else { return };
        let Some(ride) = self.ride.as_mut().filter(|ride| ride.is_comparable && cx.now >= ride.sample_due) else {
            return;
        };
        ride.sample_due = cx.now + SAMPLE_EVERY_MS;
        let parts = ride.rounds.next_round(SAMPLE_RATIO);
        for (part, around) in parts {
            let (stream, sample) = (cx.net.new_stream(), state.sample(part, around, 100));
            if let Some(ride) = &mut self.ride {
                ride.samples.push((stream, part.shard));
            }
            self.ask(cx, stream, question_sample(&sample));
        }
    }

    /// As the primary.
    pub(super) fn on_ask(&mut self, cx: &mut Cx, from: End, stream: u64, request: v1::VerifyRequest) {
        let End::Member(to) = from else { return };
        let serves = self.reign.as_ref().is_some_and(|reign| reign.epoch == request.epoch);
        let answer = match (&self.life, request.question) {
            (Life::Leads(state, _), Some(question)) if serves => Some(tell(state, question, cx.options.repair_max)),
            _ => None,
        };
        cx.send(self.at, to, stream, Body::Told(answer));
    }

    pub(super) fn on_told(&mut self, cx: &mut Cx, stream: u64, answer: Option<Answer>) {
        let Some(ride) = &mut self.ride else { return };
        if let Some(at) = ride.samples.iter().position(|(asked, _)| *asked == stream) {
            let (_, shard) = ride.samples.swap_remove(at);
            return self.on_sample(cx, shard, answer);
        }
        let Some(repairing) = ride.repairing.as_mut().filter(|repairing| repairing.asked == Some(stream)) else {
            return;
        };
        repairing.asked = None;
        match answer.map(|answer| repairing.repair.on_answer(answer)) {
            Some(Ok(())) => self.repair(cx),
            Some(Err(_)) | None => self.repaired(cx, Event::NotRepaired),
        }
    }

    fn on_sample(&mut self, cx: &mut Cx, shard: u32, answer: Option<Answer>) {
        let Some(Answer::Sample(answer)) = answer else { return };
        if matches!(answer.result(), SampleResult::Mismatch | SampleResult::NeedFullSync) {
            assert!(self.tainted, "equal_digest: a sample of shard {shard} of {:?} differs: {answer:?}", self.me);
            self.doubt(cx, Event::SampleDiffers { shard });
        }
    }
}

fn tell(state: &Metadata, question: Question, repair_max: usize) -> Answer {
    match question {
        Question::Buckets(list) => {
            let buckets: Vec<Buckets> = list.shards.into_iter().map(|shard| state.buckets(shard)).collect();
            answer_buckets(&buckets)
        }
        Question::Parts(list) => {
            let parts: Vec<Part> =
                list.parts.iter().map(|part| Part { shard: part.shard, bucket: part.bucket }).collect();
            answer_parts(state.capture_parts(&parts))
        }
        Question::Sample(sample) => {
            answer_sample(sample, state.applied(), (1000, repair_max), |sample| state.check_sample(sample))
                .expect("a standby asked it")
        }
    }
}
