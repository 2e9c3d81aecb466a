//! What a client makes of an attempt's end: it is the answer, the call is made again here or at another member, or it is
//! given up. Pure: the SDK and the simulator's clients both ask here.
//!
//! ```text
//!   answer ──► of an epoch that was over when the attempt began? ──► does not count, may have run ──┐
//!     └──────► it is the answer                                                                     ▼
//!   error ───► did not run, or may have ──► here after a pause, elsewhere, where it points to ──► again, or given up
//!     └──────► it is the answer
//! ```
//!
//! Invariants: no answer and no redirect of an epoch lower than the highest seen counts; a call that may have run stays so
//! marked, however its later attempts end; one that would run twice is not made again.
//!
//! Deliberately absent: connections, timers, request numbers. All attempts of a call carry the same bytes.

use std::time::Duration;

use proto::v1::{CallError, Reason};
use tonic::Code;

use crate::backoff::Backoff;
use crate::route::{Redirect, Route, Target};

/// Whether an attempt has run at the master.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ran {
    /// It certainly has not.
    No,
    /// It is not known.
    Maybe,
}

impl Ran {
    /// Of two attempts of one call.
    pub fn or(self, other: Ran) -> Ran {
        self.max(other)
    }
}

/// What becomes of a call when an attempt was lost that may have run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnLoss {
    /// It is sent again: it only reads, or the master knows its number.
    SendsAgain,
    /// It would run twice.
    GivesUp,
}

/// Where the next attempt goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// To the same member, after a pause.
    Here,
    /// This member does not serve.
    Elsewhere,
    /// This member says who does.
    Redirected,
}

/// What an error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// It is the answer.
    Refusal,
    /// It is worth another attempt.
    Again(Ran, Go),
}

/// The one reading of a master's errors.
pub fn meaning(error: &CallError) -> Meaning {
    match error.reason() {
        Reason::Overloaded => Meaning::Again(Ran::No, Go::Here),
        Reason::NotPrimary => Meaning::Again(Ran::No, Go::Redirected),
        Reason::ShuttingDown => Meaning::Again(Ran::No, Go::Elsewhere),
        // The request did not leave, or nobody has looked at it.
        Reason::Unspecified if error.code == Code::Unavailable as i32 => Meaning::Again(Ran::No, Go::Elsewhere),
        Reason::OutcomeUnknown => Meaning::Again(Ran::Maybe, Go::Elsewhere),
        _ => Meaning::Refusal,
    }
}

/// Why an answer does not count. `None`: it does.
pub fn stale(epoch: u64, epoch_floor: u64) -> Option<String> {
    (epoch < epoch_floor).then(|| {
        format!(
            "it answers for epoch {epoch}, but {epoch_floor} was seen: it has been deposed, or its coordinator has lost data"
        )
    })
}

/// Where the primary is thought to be: of all calls of a client.
#[derive(Clone, Debug)]
pub struct Way {
    pub(crate) route: Route,
    epoch_seen: u64,
}

impl Way {
    /// By these addresses.
    pub fn new(addresses: Vec<String>) -> Way {
        Way { route: Route::new(addresses), epoch_seen: 0 }
    }

    /// Whom to ask now.
    pub fn target(&self) -> Target {
        self.route.target()
    }

    /// The highest one.
    pub fn epoch_seen(&self) -> u64 {
        self.epoch_seen
    }

    /// An answer, a redirect or a directory has named it.
    pub fn saw_epoch(&mut self, epoch: u64) {
        self.epoch_seen = self.epoch_seen.max(epoch);
    }

    /// The target of this turn serves.
    pub fn on_answer(&mut self, turn: u64) {
        self.route.on_answer(turn);
    }

    /// It does not. True: time to pause before the next one.
    pub fn on_failure(&mut self, turn: u64) -> bool {
        self.route.on_failure(turn);
        // Also for those that come late: else each of many calls would try a member that is down once more.
        self.route.round_is_over()
    }

    /// It names another one. True: time to pause before going there.
    pub fn on_redirect(&mut self, turn: u64, error: &CallError) -> (Redirect, bool) {
        let redirect = self.route.on_redirect(turn, &error.primary_address, error.epoch, self.epoch_seen);
        self.saw_epoch(error.epoch);
        (redirect, self.route.round_is_over())
    }

    /// A directory names it. True: it is asked next.
    pub fn on_announced(&mut self, address: &str, epoch: u64) -> bool {
        let followed = self.route.on_announced(address, epoch, self.epoch_seen);
        self.saw_epoch(epoch);
        followed
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub enum End<'a> {
    /// With an answer, and the epoch that it is true in, where it has one.
    Answer(Option<u64>),
    /// With an error, or without anything: then as an error that says so.
    Error(&'a CallError),
}

/// What follows from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// The answer, or the refusal, is the call's.
    Done,
    /// Another attempt, at the target that the way names by then.
    Again {
        /// `None`: at once.
        pause: Option<Duration>,
    },
    /// No more of them.
    GivenUp(GivenUp),
}

/// A call that has no answer, and will have none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// If not, nothing was changed.
    pub ran: Ran,
    /// In words.
    pub why: String,
}

/// An attempt that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Whom it asks.
    pub target: Target,
    /// Answers of lower epochs do not count.
    pub epoch_floor: u64,
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
    /// `within`: from the call's begin to its deadline. `backoff`: the shortest and the longest pause.
    pub fn new(within: Duration, on_loss: OnLoss, backoff: (Duration, Duration)) -> Attempts {
        Attempts { within, on_loss, ran: Ran::No, backoff: Backoff::new(backoff.0, backoff.1) }
    }

    /// So far.
    pub fn ran(&self) -> Ran {
        self.ran
    }

    /// The next one.
    pub fn begin(&self, way: &Way) -> Attempt {
        Attempt { target: way.target(), epoch_floor: way.epoch_seen() }
    }

    /// `elapsed`: since the call's begin.
    pub fn on_end(&mut self, attempt: &Attempt, end: End<'_>, elapsed: Duration, random: u64, way: &mut Way) -> Next {
        let turn = attempt.target.turn;
        let error = match end {
            End::Error(error) => error,
            End::Answer(epoch) => match epoch.and_then(|epoch| stale(epoch, attempt.epoch_floor)) {
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
        let given_up = || Next::GivenUp(GivenUp { ran: self.ran, why: why() });
        if ran == Ran::Maybe && self.on_loss == OnLoss::GivesUp {
            return given_up();
        }
        if !pauses {
            return Next::Again { pause: None };
        }
        let pause = self.backoff.pause(Duration::from_millis(error.retry_after_ms.into()), random);
        if elapsed + pause >= self.within { given_up() } else { Next::Again { pause: Some(pause) } }
    }

    /// The deadline has come, and an attempt has no answer yet.
    pub fn on_deadline(&mut self, attempt: &Attempt) -> GivenUp {
        self.ran = Ran::Maybe;
        GivenUp { ran: self.ran, why: format!("{}: no answer in time", attempt.target.address) }
    }
}

#[cfg(test)]
#[path = "attempts_test.rs"]
mod tests;
