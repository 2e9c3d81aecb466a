//! One call: its terms, its time, and whether it may have run so far.
//!
//! Invariant: a call that may have run never ends as [`Error::Deadline`], if it changes anything.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proto::v1::Reason;
use tokio::time::Instant;

use crate::attempts::{OnLoss, Ran};
use crate::error::Error;

/// A deadline that a clock cannot represent is this far away.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The terms of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) deadline: Duration,
    pub(crate) window: Window,
    /// Set once an attempt may be on its way: from then on a call that is given up may have changed
    /// something.
    pub(crate) sent: Option<&'a AtomicBool>,
}

/// Whether a call waits for its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Window {
    Waits,
    /// For heartbeats: they are few, and a full window must not silence the client.
    Passes,
}

/// One call on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    pub(crate) call: &'static str,
    pub(crate) mutates: bool,
    pub(crate) on_loss: OnLoss,
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
}

impl Trip {
    pub(crate) fn new(call: &'static str, mutates: bool, deadline: Duration) -> Trip {
        let began = Instant::now();
        let deadline = began.checked_add(deadline).unwrap_or(began + FAR);
        Trip { call, mutates, on_loss: OnLoss::SendsAgain, began, deadline }
    }

    pub(crate) fn gave_up(&self, ran: Ran, last: impl Into<String>) -> Error {
        self.gave_up_by(ran, last, Reason::Unspecified)
    }

    /// `reason`: from the last refusal.
    pub(crate) fn gave_up_by(&self, ran: Ran, last: impl Into<String>, reason: Reason) -> Error {
        let (call, waited, last) = (self.call, self.began.elapsed(), last.into());
        match self.mutates && ran == Ran::Maybe {
            true => Error::OutcomeUnknown { call, waited, last },
            false => Error::Deadline { call, waited, last, reason },
        }
    }

    pub(crate) fn closed(&self, ran: Ran) -> Error {
        match self.mutates && ran == Ran::Maybe {
            true => self.gave_up(ran, "the client's runtime has ended"),
            false => Error::Closed { call: self.call },
        }
    }
}
