//! Applying, with the comparisons that come with it; samples; a repair.

use std::sync::Arc;

use ::member::{Doing, Ended, Life, NotAsked, Repairing, compare, incarnation, incarnation_to_wire, read_sample};
use metadata::{Fault, Metadata};
use oplog::{Buckets, Difference, Entry, Part, Position, ReplicatedState as _, Verifiable as _};
use prost::Message as _;
use proto::v1;
use proto::v1::verify_question::Question;
use proto::v1::verify_response::Answer;
use standby::{StandbyError, apply_committed};
use verification::{Event, answer_buckets, answer_parts, answer_sample, question_sample};

use super::Member;
use crate::checks::{applied_in_order, divergence_found, equal_digest};
use crate::cx::Cx;
use crate::net::{Body, End};

/// What a DIGEST entry showed: where, how, and whether this state is truly another one than the primary's.
type Comparison = (Position, Difference, bool);

impl Member {
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
        if let Some(Life::Follows(standby)) = &self.life
            && !repairs
            && standby.state().inflict(kind).is_some()
        {
            self.tainted = true;
            cx.tally.corruptions += 1;
        }
    }

    pub(super) fn apply(&mut self, cx: &mut Cx) {
        let Some(Life::Follows(standby)) = &self.life else { return };
        let (state, tail) = (Arc::clone(standby.state()), Arc::clone(standby.tail()));
        if self.ride.as_ref().is_some_and(|ride| ride.repairing.is_some()) {
            return self.repair(cx);
        }
        if !self.core.may_apply() {
            return;
        }
        let mut found = Vec::new();
        let entries_max = cx.options.apply_entries;
        let on_applied = self.on_applied(cx, &state, &mut found);
        let applied = apply_committed(&*state, &tail, entries_max, u64::MAX, on_applied);
        self.compared(cx, found);
        if let Err(error) = applied {
            return self.broken(cx, &error);
        }
        self.begin_repair(cx);
        self.sample(cx);
    }

    fn on_applied<'a>(
        &'a self,
        cx: &'a Cx,
        state: &'a Metadata,
        found: &'a mut Vec<Comparison>,
    ) -> impl FnMut(&Entry) + 'a {
        let mut before = state.applied();
        move |entry: &Entry| {
            let at = entry.position();
            applied_in_order::check(&cx.history, self.me, before, at);
            before = at;
            if !self.tainted {
                equal_digest::check(&cx.history, self.me, at, || state.digest().1, "as it follows");
            }
            if let Some(compared) = compare(state, entry) {
                let Event::Compared { at, difference } = compared.expect("a primary wrote it").event else { return };
                let differs = !equal_digest::is_equal(&cx.history, at, || state.digest().1);
                found.push((at, difference, differs));
            }
        }
    }

    fn compared(&mut self, cx: &mut Cx, found: Vec<Comparison>) {
        for (at, difference, differs) in found {
            if !self.tainted {
                divergence_found::no_false_alarm(self.me, at, &difference);
            }
            // The log itself may have put it right.
            self.tainted &= differs || !difference.is_empty();
            self.with(cx, |member, now| member.doubt(Event::Compared { at, difference }, now));
            if differs {
                divergence_found::check(self.me, at, self.core.is_sound());
            }
        }
    }

    fn broken(&mut self, cx: &mut Cx, error: &StandbyError) {
        if !self.tainted {
            applied_in_order::misfit(self.me, error);
        }
        self.with(cx, |member, now| member.doubt(Event::Broken, now));
    }

    fn begin_repair(&mut self, cx: &mut Cx) {
        let clock = self.clock(cx.now);
        let (Some(ride), Some(shards)) = (&mut self.ride, self.core.take_repair(clock)) else { return };
        ride.repairing = Some((Repairing::new(shards, cx.options.repair_max, clock), 0));
        self.repair(cx);
    }

    fn repair(&mut self, cx: &mut Cx) {
        let Some(Life::Follows(standby)) = &self.life else { return };
        let (state, tail) = (Arc::clone(standby.state()), Arc::clone(standby.tail()));
        let clock = self.clock(cx.now);
        while let Some((mut repairing, asked)) = self.ride.as_mut().and_then(|ride| ride.repairing.take()) {
            let mut found = Vec::new();
            let doing = repairing.next(&*state, &tail, clock, self.on_applied(cx, &state, &mut found));
            self.compared(cx, found);
            let (asked, goes_on) = match doing {
                Doing::Ended(ended) => return self.repaired(cx, ended),
                Doing::Ask(question) => (self.ask(cx, question), false),
                Doing::WaitForAnswer | Doing::WaitForCommit(_) => (asked, false),
                Doing::More => (asked, true),
            };
            if let Some(ride) = &mut self.ride {
                ride.repairing = Some((repairing, asked));
            }
            if !goes_on {
                return;
            }
        }
    }

    fn repaired(&mut self, cx: &mut Cx, Ended { event, .. }: Ended) {
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
        self.with(cx, |member, now| member.doubt(event, now));
    }

    /// Tells the stream that the answer comes over.
    fn ask(&self, cx: &mut Cx, question: Question) -> u64 {
        let stream = cx.net.new_stream();
        let Some(ride) = &self.ride else { return stream };
        let question = v1::VerifyQuestion { question: Some(question) }.encode_to_vec().into();
        let (who, token) = (Some(incarnation_to_wire(self.me)), ride.token.clone());
        let request = v1::VerifyRequest { who, epoch: ride.riding.epoch(), token, question };
        cx.send(self.at, ride.to(), stream, Body::Ask(request));
        stream
    }

    fn sample(&mut self, cx: &mut Cx) {
        let Some(state) = self.state().map(Arc::clone) else { return };
        for (part, around) in self.core.take_samples(self.clock(cx.now)) {
            let stream = self.ask(cx, question_sample(&state.sample(part, around, 100)));
            if let Some(ride) = &mut self.ride {
                ride.samples.push((stream, part.shard));
            }
        }
    }

    /// As the primary. It answers at once.
    pub(super) fn on_ask(&mut self, cx: &mut Cx, from: End, stream: u64, request: v1::VerifyRequest) {
        let End::Member(to) = from else { return };
        let who = incarnation(&request.who.unwrap_or_default());
        let taken = self.with(cx, |member, _| member.on_question(who, request.epoch, &request.token));
        assert_ne!(taken, Err(NotAsked::Busy), "it was answered at once");
        let question = v1::VerifyQuestion::decode(request.question).expect("a standby asked it").question;
        let answer = match (&self.life, question, taken) {
            (Some(Life::Leads(state, _)), Some(question), Ok(asker)) => {
                let answer = tell(state, question, cx.options.repair_max);
                self.core.on_answered_question(asker);
                Some(answer)
            }
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
        let Some((repairing, _)) = ride.repairing.as_mut().filter(|(_, asked)| *asked == stream) else { return };
        match repairing.on_answer(answer.ok_or_else(|| "it leads no more".to_owned())) {
            Ok(()) => self.repair(cx),
            Err(ended) => {
                ride.repairing = None;
                self.repaired(cx, ended);
            }
        }
    }

    fn on_sample(&mut self, cx: &mut Cx, shard: u32, answer: Option<Answer>) {
        let Some(Answer::Sample(answer)) = answer else { return };
        if read_sample(&answer).is_some_and(|sampled| sampled.differs) {
            assert!(self.tainted, "equal_digest: a sample of shard {shard} of {:?} differs: {answer:?}", self.me);
            self.with(cx, |member, now| member.doubt(Event::SampleDiffers { shard }, now));
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
