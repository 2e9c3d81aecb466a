//! Attempts of a call as unary gRPC calls, until there is an answer or the deadline.
//!
//! Invariants: as in `link`; each attempt goes to the member that is thought best at its start; many calls that fail
//! at the same member move on together, once.

use proto::status::from_status;
use proto::v1::{CallError, Reason};
use tokio::time::timeout_at;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::calls::Positioned;
use crate::error::{Error, Refused};
use crate::flight::OnLoss;
use crate::link::Link;
use crate::route::Target;
use crate::trip::{Ran, Trip};

/// What follows from a failed attempt.
enum Next {
    /// It is the answer.
    Refused(Refused),
    Again {
        ran: Ran,
        pause: bool,
    },
}

impl Link {
    pub(crate) async fn over_unary<A, F>(&self, trip: &Trip, send: impl Fn(Channel) -> F) -> Result<A, Error>
    where
        A: Positioned,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut ran = Ran::No;
        let mut backoff = self.backoff();
        loop {
            let target = self.target();
            let channel = self.channel(&target)?;
            let epoch_floor = self.epoch_seen();
            let answered = match timeout_at(trip.deadline, send(channel)).await {
                Ok(answered) => answered.map(Response::into_inner).map_err(|status| from_status(&status)),
                Err(_) => return Err(trip.gave_up(Ran::Maybe, format!("{}: no answer in time", target.address))),
            };
            let error = match self.accept(&target, epoch_floor, answered) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let last = error.message.clone();
            let pause = match self.next(&target, &error) {
                Next::Refused(refused) => return Err(refused.into()),
                Next::Again { ran: this, pause } => {
                    ran = ran.or(this);
                    if this == Ran::Maybe && trip.on_loss == OnLoss::GivesUp {
                        return Err(trip.gave_up(Ran::Maybe, format!("{}: {last}", target.address)));
                    }
                    pause
                }
            };
            if pause {
                if !self.pause(trip, &mut backoff, &error).await {
                    return Err(trip.gave_up(ran, format!("{}: {last}", target.address)));
                }
                self.discover().await;
            }
        }
    }

    /// An answer counts unless it comes from an epoch that was over before the attempt began.
    fn accept<A: Positioned>(
        &self,
        target: &Target,
        epoch_floor: u64,
        answered: Result<A, CallError>,
    ) -> Result<A, CallError> {
        let answer = answered?;
        if let Some(position) = answer.position() {
            if position.epoch < epoch_floor {
                return Err(proto::status::outcome_unknown(stale(position.epoch, epoch_floor)));
            }
            self.saw_epoch(position.epoch);
        }
        self.on_answer(target.turn);
        Ok(answer)
    }

    fn next(&self, target: &Target, error: &CallError) -> Next {
        let did_not_run = |pause| Next::Again { ran: Ran::No, pause };
        match error.reason() {
            Reason::Overloaded => did_not_run(true),
            Reason::NotPrimary => did_not_run(self.on_redirect(target, error)),
            Reason::ShuttingDown => did_not_run(self.on_failure(target, &error.message)),
            Reason::Unspecified if error.code == Code::Unavailable as i32 => {
                did_not_run(self.on_failure(target, &error.message))
            }
            Reason::OutcomeUnknown => Next::Again { ran: Ran::Maybe, pause: self.on_failure(target, &error.message) },
            _ => Next::Refused(error.clone().into()),
        }
    }
}

/// Why an answer does not count.
pub(crate) fn stale(offered: u64, seen: u64) -> String {
    format!(
        "it answers for epoch {offered}, but {seen} was seen: it has been deposed, or its coordinator has lost data"
    )
}
