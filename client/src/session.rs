//! The task that drives the session: it connects, keeps one stream open, gives answers to their
//! callers, and continues at the next member when the stream ends.
//!
//! Invariants:
//! - there is one stream at a time; calls without an answer at its end are sent again on the next
//!   one, with the same bytes;
//! - beside its connection there is at most one more, to the member that would be asked next;
//! - an answer of an epoch that was over when the stream was opened does not count, and ends the
//!   stream;
//! - a member that refuses as `NOT_PRIMARY` or `SHUTTING_DOWN` gets no more calls, but what it
//!   still answers counts.
//!
//! Deliberately absent: retries of single calls (their callers do that), deadlines (`flight` keeps
//! them).

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::status::from_status;
use proto::v1::metadata_server::SERVICE_NAME;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, Reason, SessionResponse};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::attempts::{Ran, Way, stale};
use crate::calls::Positioned as _;
use crate::codec::SessionCodec;
use crate::dial::chain;
use crate::flight::Outcome;
use crate::ids::HistoryId;
use crate::link::Link;
use crate::route::Target;

/// How long a member that accepts no more calls may go on to answer the ones it has.
const DRAIN_MAX: Duration = Duration::from_millis(250);

/// How often to check for a connection to the member that would be asked next.
const SPARE_EVERY: Duration = Duration::from_millis(500);

/// How a stream ended.
#[derive(Debug)]
struct End {
    why: Why,
    /// The outcome of calls that were sent and not answered. A member that refuses one call may
    /// have run another one.
    ran: Ran,
}

#[derive(Debug)]
enum Why {
    Broken(String),
    /// NOT_PRIMARY.
    Redirected(CallError),
    /// SHUTTING_DOWN.
    Stopping(CallError),
}

impl Why {
    /// See [`Way::without_epoch`].
    fn without_epoch(self, way: &Way, history: Option<HistoryId>) -> Why {
        match self {
            Why::Redirected(error) => Why::Redirected(way.without_epoch(history, error)),
            Why::Broken(_) | Why::Stopping(_) => self,
        }
    }
}

impl End {
    /// Calls may be lost.
    fn lost(why: impl Into<String>) -> End {
        End { why: Why::Broken(why.into()), ran: Ran::Maybe }
    }

    /// No call has reached the other end.
    fn unreached(why: String) -> End {
        End { why: Why::Broken(why), ran: Ran::No }
    }
}

/// Runs until it is dropped. `first` is a connection to the current target.
pub(crate) async fn drive(link: Arc<Link>, first: Channel) {
    let _closes = CloseOnDrop(Arc::clone(&link));
    let mut backoff = link.backoff();
    let mut first = Some(first);
    loop {
        let target = link.target();
        let channel = match first.take() {
            Some(channel) => Ok(channel),
            None => match link.take_spare(&target.address) {
                Some(channel) => Ok(channel),
                None => link.dial(&target.address).await,
            },
        };
        let (end, served) = match channel {
            Ok(channel) => ride(&link, channel, &target).await,
            Err(why) => (End::unreached(why), false),
        };
        // Before the calls are told, so that those that end now name the obstacle.
        let pause = leave(&link, &target, &end.why);
        link.flight.end_stream(end.ran);
        if served {
            backoff.reset();
        }
        if pause {
            link.discover().await;
            tokio::time::sleep(backoff.pause(Duration::ZERO, fastrand::u64(..))).await;
        }
    }
}

/// True: time to pause.
fn leave(link: &Link, target: &Target, why: &Why) -> bool {
    match why {
        Why::Broken(why) => link.on_failure(target, why),
        Why::Redirected(error) => link.on_redirect(target, error),
        Why::Stopping(error) => link.on_failure(target, &error.message),
    }
}

/// One stream from its opening to its end, and whether it has served.
async fn ride(link: &Arc<Link>, channel: Channel, target: &Target) -> (End, bool) {
    // Kept until the stream is left. Then the connection is closed, and nothing on it arrives
    // later.
    let _connection = channel.clone();
    let answers = match open(link, target, channel).await {
        Ok(answers) => answers,
        Err(end) => return (end, false),
    };
    let epoch_floor = link.epoch_seen();
    let mut reader = Reader { link, target, epoch_floor, epoch_told: epoch_floor, served: false, leaving: None };
    let end = tokio::select! {
        biased;
        end = reader.run(answers) => end,
        never = keep_spare(link) => never,
    };
    (end, reader.served)
}

/// Keeps a connection to the member that would be asked next, so that a failover needs no new one.
/// Never ends.
async fn keep_spare<T>(link: &Link) -> T {
    loop {
        let next = link.way.lock().route.next_up();
        let kept = link.spare.lock().as_ref().map(|(address, _)| address.clone());
        if next != kept {
            let channel = match &next {
                Some(address) => link.dial(address).await.ok(),
                None => None,
            };
            *link.spare.lock() = next.zip(channel);
        }
        tokio::time::sleep(SPARE_EVERY).await;
    }
}

async fn open(link: &Arc<Link>, target: &Target, channel: Channel) -> Result<Streaming<SessionResponse>, End> {
    let outgoing = Outgoing { link: Arc::clone(link), stream: link.flight.begin_stream(), batch: VecDeque::new() };
    let path = PathAndQuery::try_from(format!("/{SERVICE_NAME}/Session")).expect("a name of the contract is a path");
    let mut grpc =
        Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let opening = async {
        grpc.ready().await.map_err(|error| End::unreached(chain(&error)))?;
        match grpc.streaming(Request::new(outgoing), path, SessionCodec).await {
            Ok(response) => {
                link.meets(&target.address, response.metadata()).map_err(End::lost)?;
                Ok(response.into_inner())
            }
            Err(status) => {
                let end = refused(&status, Moment::Opening);
                let foreign = |why| End { why: Why::Broken(why), ran: end.ran };
                link.meets(&target.address, status.metadata()).map_err(foreign)?;
                let history = HistoryId::of_answer(status.metadata());
                Err(End { why: end.why.without_epoch(&link.way.lock(), history), ran: end.ran })
            }
        }
    };
    let within = link.options.connect_timeout;
    let late = |_| Err(End::lost(format!("no session within {} ms", within.as_millis())));
    timeout(within, opening).await.unwrap_or_else(late)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    Opening,
    Running,
}

/// The session as a whole was refused, or broke. If it was refused at its opening, nothing of it
/// has run.
fn refused(status: &Status, moment: Moment) -> End {
    let error = from_status(status);
    let ran = match moment {
        Moment::Opening if error.reason() != Reason::OutcomeUnknown => Ran::No,
        Moment::Opening | Moment::Running => Ran::Maybe,
    };
    let why = match error.reason() {
        Reason::NotPrimary => Why::Redirected(error),
        Reason::ShuttingDown => Why::Stopping(error),
        _ => Why::Broken(error.message),
    };
    End { why, ran }
}

struct Reader<'a> {
    link: &'a Link,
    target: &'a Target,
    epoch_floor: u64,
    /// The highest epoch that the link was told, so that the link is told once for each epoch, not
    /// for each answer.
    epoch_told: u64,
    served: bool,
    /// How the stream will end, and when at the latest.
    leaving: Option<(Why, Instant)>,
}

impl Reader<'_> {
    async fn run(&mut self, mut answers: Streaming<SessionResponse>) -> End {
        tracing::debug!(address = %self.target.address, "session open");
        loop {
            let next = match self.leaving.as_ref().map(|(_, at)| *at) {
                None => answers.message().await,
                Some(at) => match timeout_at(at, answers.message()).await {
                    Ok(next) => next,
                    Err(_) => return self.left(End::lost("it goes on without answering")),
                },
            };
            let flow = match next {
                Ok(Some(response)) => self.on_response(response),
                Ok(None) => ControlFlow::Break(End::lost("the session was closed")),
                Err(status) => ControlFlow::Break(refused(&status, Moment::Running)),
            };
            if let ControlFlow::Break(end) = flow {
                return self.left(end);
            }
        }
    }

    /// The reason to leave, if there was one before the end.
    fn left(&mut self, end: End) -> End {
        match self.leaving.take() {
            Some((why, _)) => End { why, ..end },
            None => end,
        }
    }

    fn on_response(&mut self, response: SessionResponse) -> ControlFlow<End> {
        let SessionResponse { id, answer } = response;
        let unanswered = match answer {
            None => self.link.flight.answer(id, Outcome::Unreadable),
            Some(Answer::Error(error)) => self.on_error(id, error),
            Some(answer) => {
                self.check_epoch(id, &answer)?;
                self.on_served();
                self.link.flight.answer(id, Outcome::Answer(answer))
            }
        };
        match &self.leaving {
            Some(_) if unanswered == 0 => ControlFlow::Break(End::lost("drained")),
            _ => ControlFlow::Continue(()),
        }
    }

    fn on_error(&mut self, id: u64, error: CallError) -> usize {
        match error.reason() {
            Reason::NotPrimary => self.leave(id, Why::Redirected(error)),
            Reason::ShuttingDown => self.leave(id, Why::Stopping(error)),
            _ => {
                self.on_served();
                self.link.flight.answer(id, Outcome::Failed(error))
            }
        }
    }

    /// The newest redirect wins, since it knows most.
    fn leave(&mut self, id: u64, why: Why) -> usize {
        let newer = match (&self.leaving, &why) {
            (None, _) | (Some((Why::Stopping(_), _)), Why::Redirected(_)) => true,
            (Some((Why::Redirected(old), _)), Why::Redirected(new)) => new.epoch > old.epoch,
            (Some(_), _) => false,
        };
        if newer {
            let by = self.leaving.take().map_or_else(|| Instant::now() + DRAIN_MAX, |(_, by)| by);
            self.leaving = Some((why, by));
        }
        self.link.flight.put_back(id, Ran::No)
    }

    fn check_epoch(&mut self, id: u64, answer: &Answer) -> ControlFlow<End> {
        let Some(position) = answer.position() else { return ControlFlow::Continue(()) };
        if let Some(why) = stale(position.epoch, self.epoch_floor) {
            self.link.flight.put_back(id, Ran::Maybe);
            return ControlFlow::Break(End::lost(why));
        }
        if position.epoch > self.epoch_told {
            self.epoch_told = position.epoch;
            self.link.saw_epoch(position.epoch);
        }
        ControlFlow::Continue(())
    }

    fn on_served(&mut self) {
        if !self.served {
            self.served = true;
            self.link.on_answer(self.target.turn);
        }
    }
}

/// The requests of one stream, as its transport asks for them. It asks only while the other end
/// accepts more, so nothing piles up in between.
struct Outgoing {
    link: Arc<Link>,
    stream: u64,
    batch: VecDeque<(u64, Bytes)>,
}

impl Stream for Outgoing {
    type Item = (u64, Bytes);

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let this = self.get_mut();
        if this.batch.is_empty() {
            ready!(this.link.flight.poll_take(this.stream, &mut this.batch, context));
        }
        Poll::Ready(this.batch.pop_front())
    }
}

/// No call waits for a driver that is gone.
struct CloseOnDrop(Arc<Link>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.flight.close();
    }
}
