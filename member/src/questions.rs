//! A standby's questions beside its stream, one at a time: samples now and then, and repairs.
//!
//! ```text
//!   `Rest` ─► a repair is due: `Still` ─► it asks, applies up to where the answer stands, … ─► `Ended`
//!          └► a sample is due: it asks ─► what has come is compared: `Sampled`
//! ```
//!
//! Invariants: a repair goes before samples; from `Still` to `Ended` nothing else applies, and the
//! member learns the end before the shell does.
//!
//! Deliberately absent: how questions travel, and how long to wait for an answer; what follows from
//! a finding (`verification`).

use std::collections::VecDeque;

use bytes::Bytes;
use election::Millis;
use oplog::{Entry, Part, Tail, Verifiable};
use prost::Message as _;
use proto::v1;
use proto::v1::VerifyRequest;
use proto::v1::verify_question::Question;
use proto::v1::verify_response::Answer;
use verification::{Event, question_sample};

use crate::doubts::{Sampled, read_sample};
use crate::peers::incarnation_to_wire;
use crate::reach::Reach;
use crate::repairing::{Ended, Repairing, Work};
use crate::settings::REPAIR_AGAIN_MS;

/// What the shell does next. Then it asks again.
#[derive(Debug)]
pub enum Doing {
    /// Nothing is due before then, unless there is a new finding.
    Rest {
        until_ms: Millis,
    },
    /// Nothing else may be applied, until `Ended`.
    Still,
    /// Send this. The answer, or why there is none, goes to [`Questions::on_answer`].
    Ask(VerifyRequest),
    WaitForAnswer,
    /// Wait until this seq is committed.
    WaitForCommit(u64),
    /// Something was applied, and more is to be applied.
    More,
    /// A sample of this shard was compared, or why it was not.
    Sampled(u32, Result<Sampled, String>),
    /// A repair has ended. The member knows it.
    Ended(Ended),
}

#[derive(Debug)]
pub struct Questions {
    token: Bytes,
    epoch: u64,
    repairing: Option<Repairing>,
    /// Due, and not asked yet.
    samples: VecDeque<(Part, u64)>,
    /// The shard of the sample that was asked for.
    sampling: Option<u32>,
    answer: Option<Result<Answer, String>>,
}

impl Questions {
    /// Beside a stream that is proven; see [`Riding::prove`](crate::Riding::prove).
    pub fn new(token: Bytes, epoch: u64) -> Questions {
        Questions { token, epoch, repairing: None, samples: VecDeque::new(), sampling: None, answer: None }
    }

    /// Nothing else may apply.
    pub fn is_repairing(&self) -> bool {
        self.repairing.is_some()
    }

    /// The answer to the newest question. `Err`: why none came.
    pub fn on_answer(&mut self, answer: Result<Answer, String>) {
        self.answer = Some(answer);
    }

    /// `state` and `tail`: those with which the member follows. During a repair, each call may take
    /// time.
    pub fn next<S: Verifiable>(
        &mut self,
        mut reach: impl Reach,
        (state, tail): (&S, &Tail),
        on_applied: impl FnMut(&Entry),
    ) -> Doing {
        if let Some(repairing) = &mut self.repairing {
            let now = reach.tell(|_, now| now);
            let work = repairing.next(self.answer.take(), (state, tail), now, on_applied);
            if let Work::Ended(ended) = &work {
                self.repairing = None;
                reach.tell(|member, now| member.doubt(ended.event.clone(), now));
            }
            return match work {
                Work::Ask(question) => self.ask(reach, question),
                Work::WaitForAnswer => Doing::WaitForAnswer,
                Work::WaitForCommit(seq) => Doing::WaitForCommit(seq),
                Work::More => Doing::More,
                Work::Ended(ended) => Doing::Ended(ended),
            };
        }
        if let Some(shard) = self.sampling {
            let Some(answer) = self.answer.take() else { return Doing::WaitForAnswer };
            self.sampling = None;
            let sampled = answer.and_then(sampled);
            if sampled.as_ref().is_ok_and(|sampled| sampled.differs) {
                reach.tell(|member, now| member.doubt(Event::SampleDiffers { shard }, now));
            }
            return Doing::Sampled(shard, sampled);
        }
        let (is_due, until_ms, records) = reach.tell(|member, now| {
            let records_max = member.settings().repair_records_max;
            self.repairing = member.take_repair(now).map(|shards| Repairing::new(shards, records_max, now));
            if self.samples.is_empty() {
                self.samples.extend(member.take_samples(now));
            }
            // A sample or repair that is due but was not returned cannot be compared yet.
            let due_ms = member.doubts_due_ms();
            let until_ms = if due_ms <= now { now + REPAIR_AGAIN_MS } else { due_ms };
            (self.is_repairing(), until_ms, member.settings().sample_records)
        });
        if is_due {
            return Doing::Still;
        }
        let Some((part, around)) = self.samples.pop_front() else { return Doing::Rest { until_ms } };
        self.sampling = Some(part.shard);
        self.ask(reach, question_sample(&state.sample(part, around, records)))
    }

    fn ask(&self, mut reach: impl Reach, question: Question) -> Doing {
        let who = reach.tell(|member, _| Some(incarnation_to_wire(member.me())));
        let question = v1::VerifyQuestion { question: Some(question) }.encode_to_vec().into();
        Doing::Ask(VerifyRequest { who, epoch: self.epoch, token: self.token.clone(), question })
    }
}

fn sampled(answer: Answer) -> Result<Sampled, String> {
    match answer {
        Answer::Sample(answer) => read_sample(&answer).ok_or_else(|| "this member lags too far".to_owned()),
        Answer::Buckets(_) | Answer::Parts(_) => Err("the primary answers another question than was asked".to_owned()),
    }
}
