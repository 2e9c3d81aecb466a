//! A repair as it is carried out: limited in time, with nothing else applied meanwhile.
//!
//! ```text
//!   asks ─► applies exactly up to the answer's position ─► asks ─► … ─► ended
//! ```
//!
//! Deliberately absent: when it begins, and how its questions travel (`questions`); what follows
//! from its end (`verification`).

use std::collections::BTreeSet;

use election::Millis;
use oplog::{Entry, Mismatch, Tail, Verifiable};
use proto::v1::verify_question::Question;
use proto::v1::verify_response::Answer;
use standby::{StandbyError, apply_committed};
use verification::{Event, Repair, Step};

use crate::settings::{APPLY_ENTRIES, REPAIR_WITHIN_MS};

#[derive(Debug)]
pub(crate) struct Repairing {
    repair: Repair,
    until_ms: Millis,
    is_asking: bool,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Work {
    Ask(Question),
    /// Wait until an answer comes.
    WaitForAnswer,
    /// Wait until this seq is committed.
    WaitForCommit(u64),
    /// Something was applied, and more is to be applied.
    More,
    Ended(Ended),
}

#[derive(Debug)]
pub struct Ended {
    pub event: Event,
    /// Records that were repaired.
    pub repaired: Vec<Mismatch>,
    /// Why it did not end well.
    pub why: Option<String>,
}

impl Ended {
    fn in_vain(why: String) -> Ended {
        Ended { event: Event::NotRepaired, repaired: Vec::new(), why: Some(why) }
    }

    fn broken(error: &StandbyError) -> Ended {
        Ended { event: Event::Broken, repaired: Vec::new(), why: Some(error.to_string()) }
    }
}

impl Repairing {
    pub(crate) fn new(shards: BTreeSet<u32>, records_max: usize, now: Millis) -> Repairing {
        let until_ms = now.saturating_add(REPAIR_WITHIN_MS);
        Repairing { repair: Repair::new(shards, records_max), until_ms, is_asking: false }
    }

    /// `answer`: to the newest question, if it has come. `Err`: why none came.
    pub(crate) fn next<S: Verifiable>(
        &mut self,
        answer: Option<Result<Answer, String>>,
        (state, tail): (&S, &Tail),
        now: Millis,
        on_applied: impl FnMut(&Entry),
    ) -> Work {
        if let Some(answer) = answer {
            self.is_asking = false;
            if let Err(why) = answer.and_then(|answer| self.repair.on_answer(answer)) {
                return Work::Ended(Ended::in_vain(why));
            }
        }
        if now > self.until_ms {
            return Work::Ended(Ended::in_vain(format!("it was not done within {REPAIR_WITHIN_MS} ms")));
        }
        if self.is_asking {
            return Work::WaitForAnswer;
        }
        match self.repair.step(state) {
            Step::Ask(question) => {
                self.is_asking = true;
                Work::Ask(question)
            }
            Step::ApplyUpto(at) => match apply_committed(state, tail, APPLY_ENTRIES, at.seq, on_applied) {
                Ok(applied) if applied.entries > 0 => Work::More,
                Ok(applied) => Work::WaitForCommit(applied.seq + 1),
                Err(error) => Work::Ended(Ended::broken(&error)),
            },
            Step::Again(why) => Work::Ended(Ended::in_vain(why)),
            Step::Ended { event, repaired, why } => Work::Ended(Ended { event, repaired, why }),
        }
    }
}
