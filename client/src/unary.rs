//! Attempts of a call as unary gRPC calls, until there is an answer or the deadline has passed.
//!
//! Invariants: as in `link`; each attempt goes to the member that is thought best at its start;
//! many calls that fail at the same member move on together, once.
//!
//! Deliberately absent: what the end of an attempt means, and where the next one goes (`attempts`).

use proto::status::from_status;
use proto::v1::CallError;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::attempts::{End, GivenUp, Next, Way, foreign};
use crate::calls::Positioned;
use crate::error::{Error, Refused};
use crate::ids::HistoryId;
use crate::link::Link;
use crate::route::Target;
use crate::trip::Trip;

impl Link {
    pub(crate) async fn over_unary<A, F>(&self, trip: &Trip, send: impl Fn(Channel) -> F) -> Result<A, Error>
    where
        A: Positioned,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut attempts = self.attempts(trip);
        loop {
            let attempt = attempts.begin(&self.way.lock());
            let channel = self.channel(&attempt.target)?;
            let answered = match timeout_at(trip.deadline, send(channel)).await {
                Ok(answered) => answered,
                Err(_) => {
                    let GivenUp { ran, why, .. } = attempts.on_deadline(&attempt);
                    return Err(trip.gave_up(ran, why));
                }
            };
            let (answered, next) = {
                let mut way = self.way.lock();
                let answered = self.of_own_history(&mut way, &attempt.target, answered);
                let end = match &answered {
                    Ok(answer) => End::Answer(answer.position().map(|position| position.epoch)),
                    Err(error) => End::Error(error),
                };
                let next = attempts.on_end(&attempt, end, trip.began.elapsed(), fastrand::u64(..), &mut way);
                (answered, next)
            };
            match (&next, &answered) {
                (Next::Done, Ok(_)) => self.note_trouble(String::new()),
                (_, Err(error)) => self.note_trouble(format!("{}: {}", attempt.target.address, error.message)),
                (_, Ok(_)) => {}
            }
            match next {
                Next::Done => return answered.map_err(|error| Refused::from(error).into()),
                Next::Again { pause: None } => {}
                Next::Again { pause: Some(pause) } => {
                    tokio::time::sleep_until(Instant::now() + pause).await;
                    self.discover().await;
                }
                Next::GivenUp(GivenUp { ran, why, reason }) => return Err(trip.gave_up_by(ran, why, reason)),
            }
        }
    }

    /// An answer of a member of another history does not count.
    fn of_own_history<A>(
        &self,
        way: &mut Way,
        target: &Target,
        answered: Result<Response<A>, Status>,
    ) -> Result<A, CallError> {
        let history = HistoryId::of_answer(match &answered {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        });
        let counts = self.meets_by(way, &target.address, history);
        let answered = answered.map(Response::into_inner).map_err(|status| from_status(&status));
        match counts {
            Ok(()) => answered.map_err(|error| way.without_epoch(history, error)),
            Err(why) => Err(foreign(answered.as_ref().map(drop), why)),
        }
    }
}
