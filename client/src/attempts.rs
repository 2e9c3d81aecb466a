//! What follows from the end of an attempt: it is the answer, or the call is sent again to this or
//! another member, or it is given up. Pure: the SDK and the simulator's clients both use this.
//!
//! ```text
//!   answer ──► of an epoch that was over when the attempt began? ──► ignored, may have run ──┐
//!     └──────► it is the answer                                                             ▼
//!   error ───► did not run, or may have ──► here after a pause, or elsewhere ──► again, or given up
//!     └──────► it is the answer
//! ```
//!
//! Invariants: no answer or redirect counts if its epoch is lower than the highest seen, or if it
//! is of another history (`way`); a call that may have run stays marked so, however its later
//! attempts end; a call that could run twice is not sent again.
//!
//! Deliberately absent: connections, timers, request numbers. All attempts of a call carry the same
//! bytes.

use std::time::Duration;

use proto::v1::{CallError, Reason};
use tonic::Code;

use crate::backoff::Backoff;
use crate::ids::HistoryId;
use crate::route::Target;
pub use crate::way::Way;

/// Whether an attempt has run at the primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ran {
    /// It certainly has not.
    No,
    /// It is not known.
    Maybe,
}

impl Ran {
    /// What is known of a call after two attempts.
    pub fn or(self, other: Ran) -> Ran {
        self.max(other)
    }
}

/// What becomes of a call when an attempt that may have run was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnLoss {
    /// It is sent again: it only reads, or it has a request number.
    SendsAgain,
    /// It is given up, since it could run twice.
    GivesUp,
}

/// Where the next attempt goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// The next attempt asks the same member, after a pause.
    Here,
    /// The next attempt asks another member, since this one does not serve.
    Elsewhere,
    /// The next attempt asks the member that this one names.
    Redirected,
}

/// What an error means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// It is the answer.
    Refusal,
    /// Another attempt may help.
    Again(Ran, Go),
}

/// The only place that interprets a member's errors.
pub fn meaning(error: &CallError) -> Meaning {
    match error.reason() {
        Reason::Overloaded => Meaning::Again(Ran::No, Go::Here),
        Reason::NotPrimary => Meaning::Again(Ran::No, Go::Redirected),
        Reason::ShuttingDown => Meaning::Again(Ran::No, Go::Elsewhere),
        // The request did not leave, or no member has looked at it.
        Reason::Unspecified if error.code == Code::Unavailable as i32 => Meaning::Again(Ran::No, Go::Elsewhere),
        Reason::OutcomeUnknown => Meaning::Again(Ran::Maybe, Go::Elsewhere),
        _ => Meaning::Refusal,
    }
}

/// Why an answer of the client's own history does not count. `None`: it counts.
pub fn stale(epoch: u64, epoch_floor: u64) -> Option<String> {
    (epoch < epoch_floor).then(|| {
        format!(
            "it answers for epoch {epoch}, but {epoch_floor} was seen: it has been deposed, or its coordinator has lost data"
        )
    })
}

/// What a member of another history said does not count, whatever it was. `why` comes from
/// [`Way::meets`].
pub fn foreign(answered: Result<(), &CallError>, why: String) -> CallError {
    match answered.map_err(meaning) {
        Err(Meaning::Again(Ran::No, _)) => {
            CallError { code: Code::Unavailable as i32, message: why, ..CallError::default() }
        }
        Err(_) | Ok(()) => proto::status::outcome_unknown(why),
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub enum End<'a> {
    /// The attempt has an answer, and its epoch, if it has one.
    Answer(Option<u64>),
    /// With an error. An end without any answer is an error, too.
    Error(&'a CallError),
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// The answer, or the refusal, is that of the call.
    Done,
    /// Another attempt, at the target that the way names by then.
    Again {
        /// `None`: at once.
        pause: Option<Duration>,
    },
    /// No more attempts.
    GivenUp(GivenUp),
}

/// A call that has no answer, and will get none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// If it has not run, nothing was changed.
    pub ran: Ran,
    /// The reason, in words.
    pub why: String,
    /// Why the last attempt was refused, if it was.
    pub reason: Reason,
}

/// An attempt that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// The member that is asked.
    pub target: Target,
    /// The history that the client knew of when it began.
    pub history: Option<HistoryId>,
    /// Answers with lower epochs of it do not count.
    pub epoch_floor: u64,
}

impl Attempt {
    /// For the history that the client knows of by now.
    fn floor(&self, way: &Way) -> u64 {
        if way.is_other(self.history) { 0 } else { self.epoch_floor }
    }
}

/// The attempts of one call, one after the other.
#[derive(Debug)]
pub struct Attempts {
    within: Duration,
    on_loss: OnLoss,
    ran: Ran,
    backoff: Backoff,
}

impl Attempts {
    /// `within`: from the start of the call to its deadline. `backoff`: the shortest and the
    /// longest pause.
    pub fn new(within: Duration, on_loss: OnLoss, backoff: (Duration, Duration)) -> Attempts {
        Attempts { within, on_loss, ran: Ran::No, backoff: Backoff::new(backoff.0, backoff.1) }
    }

    /// So far.
    pub fn ran(&self) -> Ran {
        self.ran
    }

    /// Begins the next attempt.
    pub fn begin(&self, way: &Way) -> Attempt {
        Attempt { target: way.target(), history: way.history(), epoch_floor: way.epoch_seen() }
    }

    /// `elapsed`: since the start of the call.
    pub fn on_end(&mut self, attempt: &Attempt, end: End<'_>, elapsed: Duration, random: u64, way: &mut Way) -> Next {
        let turn = attempt.target.turn;
        let error = match end {
            End::Error(error) => error,
            End::Answer(epoch) => match epoch.and_then(|epoch| stale(epoch, attempt.floor(way))) {
                None => {
                    way.saw_epoch(epoch.unwrap_or(0));
                    way.on_answer(turn);
                    return Next::Done;
                }
                Some(why) => &proto::status::outcome_unknown(why),
            },
        };
        let Meaning::Again(ran, go) = meaning(error) else { return Next::Done };
        self.ran = self.ran.or(ran);
        let pauses = match go {
            Go::Here => true,
            Go::Elsewhere => way.on_failure(turn),
            Go::Redirected => way.on_redirect(turn, error).1,
        };
        let why = || format!("{}: {}", attempt.target.address, error.message);
        let given_up = || Next::GivenUp(GivenUp { ran: self.ran, why: why(), reason: error.reason() });
        if ran == Ran::Maybe && self.on_loss == OnLoss::GivesUp {
            return given_up();
        }
        if !pauses {
            return Next::Again { pause: None };
        }
        let pause = self.backoff.pause(Duration::from_millis(error.retry_after_ms.into()), random);
        if elapsed + pause >= self.within { given_up() } else { Next::Again { pause: Some(pause) } }
    }

    /// The deadline has come while an attempt has no answer.
    pub fn on_deadline(&mut self, attempt: &Attempt) -> GivenUp {
        self.ran = Ran::Maybe;
        let why = format!("{}: no answer in time", attempt.target.address);
        GivenUp { ran: self.ran, why, reason: Reason::Unspecified }
    }
}

#[cfg(test)]
#[path = "attempts_test.rs"]
mod tests;
