//! One session: it reads requests and sends answers as they are done, all within one task.
//!
//! ```text
//!   chunks ──► framing ──► decode ──► run inline ─────────────► out ──► frames
//!                             │            └─ not committed ──► parked ──┘
//!                             ├─ long ──► a thread ──────────────────────┘
//!                             └─ a read that a standby cannot answer yet ──► waiting ──► run
//! ```
//!
//! The transport asks for the next frame only while the client accepts more, and only then are
//! requests read: a client that does not read its answers gets no more work done. Answers that are
//! ready go out together (`ready`); a large answer is encoded where it was made, and goes out by
//! itself.
//!
//! Invariants: all bytes of answers are counted in the connection's share, from their encoding on;
//! `parked`, `long` and `waiting` are bounded, and at their bound nothing is read; a poll that goes
//! on after the connection's turn runs at most a few small calls, or one large one; every request
//! that was read is answered before the stream ends, unless it ends the stream because it is
//! malformed, or the member's state is replaced.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use oplog::{CloseReason, WaitError};
use prost::Message as _;
use proto::status;
use proto::v1::session_request::Call;
use proto::v1::{CallError, SessionResponse};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use crate::budget;
use crate::gate::{CallKind, Standing};
use crate::grpc::commit::{is_committed, never_committed};
use crate::grpc::dispatch::{self, Weight};
use crate::grpc::framing::{Framing, Inbound, PREFIX_BYTES, put_message};
use crate::grpc::long::{Waited, Waiting};
use crate::grpc::outgoing::{self, Chunk, Shares};
use crate::grpc::parked::{Parked, ParkedAnswer};
use crate::grpc::ready::{Ready, Rests};
use crate::grpc::reply::{Reply, check_size};
use crate::grpc::{body, long, standby_read, unary};
use crate::metrics::{CallTimer, Method};
use crate::node::Node;

/// Long calls of one session at a time.
const LONG_MAX: usize = 4;
/// Reads of one session that wait until this standby has applied more.
const WAITING_MAX: usize = 256;

pub(crate) struct Session {
    node: Arc<Node>,
    shares: Arc<Shares>,
    requests: Incoming,
    framing: Framing,
    out: Ready,
    parked: Parked,
    long: JoinSet<(u64, Result<Made, CallError>)>,
    /// Dropped with the session. Then its long calls end.
    waiting_for_long: Waiting,
    waiting: JoinSet<Begun>,
    /// Ends when the node stops and nothing more is read.
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How the stream ends, once nothing more is read.
    end: Option<Result<(), CallError>>,
    ended: bool,
    /// The turn is over: the next poll only gives others their turn.
    yields: bool,
    /// Since the clock was last read.
    work: usize,
    /// The state with which it was opened.
    holding: u64,
    /// Set while a request has come in part.
    late: Option<Pin<Box<Sleep>>>,
}

/// Reading the clock costs a tenth of a small call, so it is read once for this many of them, and
/// after each large one.
const WORK_PER_LOOK: usize = 16;
/// This many bytes of a request are as much work as a small call.
const BYTES_OF_WORK: usize = 256;

/// The result of a long call: the seq that its answer waits for, and the answer.
type Made = (u64, ParkedAnswer);

/// A call before it runs, with its memory.
struct Begun {
    id: u64,
    call: Call,
    taken: CallTimer,
    inbound: Inbound,
}

/// A request of which only the id can be read.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct RequestId {
    #[prost(uint64, tag = "1")]
    id: u64,
}

impl Session {
    pub(crate) fn new(node: &Arc<Node>, shares: Arc<Shares>, requests: Incoming) -> Session {
        Session {
            node: Arc::clone(node),
            requests,
            framing: Framing::new(Arc::clone(shares.requests.share())),
            shares,
            out: Ready::default(),
            parked: Parked::new(node.tail().committed_shared()),
            long: JoinSet::new(),
            waiting_for_long: Waiting::default(),
            waiting: JoinSet::new(),
            closing: Box::pin(closing(Arc::clone(node))),
            end: None,
            ended: false,
            yields: false,
            work: 0,
            holding: node.holding(),
            late: None,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Chunk>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.yields) {
            // The transport polls as long as there is a frame.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Before any call runs, and again before any answer goes out.
        if let Some(end) = self.end_of_history() {
            return end;
        }
        if self.end.is_none() && self.closing.as_mut().poll(cx).is_ready() {
            self.end = Some(Err(status::shutting_down()));
        }
        self.take_requests(cx);
        self.take_waiting(cx);
        self.take_long(cx);
        self.take_committed(cx);
        if let Some(end) = self.end_of_history() {
            return end;
        }
        if let Some(chunk) = self.out.next_chunk(&self.node, &self.shares) {
            return Poll::Ready(Some(Frame::data(chunk)));
        }
        if self.parked.len() == 0
            && self.long.is_empty()
            && self.waiting.is_empty()
            && let Some(end) = self.end.take()
        {
            self.ended = true;
            return Poll::Ready(Some(Frame::trailers(body::trailers(end))));
        }
        if std::mem::take(&mut self.yields) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The member holds another state: its answers from here on may be of another history than the
    /// one that was named at the start.
    fn end_of_history(&mut self) -> Option<Poll<Option<Frame<Chunk>>>> {
        if self.holding == self.node.holding() {
            return None;
        }
        self.ended = true;
        let error = status::outcome_unknown("this member holds another state than when the session was opened");
        Some(Poll::Ready(Some(Frame::trailers(body::trailers(Err(error))))))
    }

    fn has_room(&self) -> bool {
        let serving = &self.node.config.serving;
        self.out.has_room()
            && self.parked.len() < serving.session_answers_max
            && self.parked.bytes() < serving.session_answer_bytes_max
            && self.long.len() < LONG_MAX
            && self.waiting.len() < WAITING_MAX
    }

    fn take_requests(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none() && !self.yields && self.has_room() {
            // An empty frame is work, too.
            let mut work = 1;
            match self.framing.next() {
                Ok(Some(inbound)) => {
                    work += inbound.bytes.len() / BYTES_OF_WORK;
                    self.late = None;
                    self.on_message(inbound);
                }
                Ok(None) => {
                    if self.read(cx).is_pending() {
                        return self.check_late(cx);
                    }
                }
                Err(error) => {
                    self.node.requests.refused(Method::Unknown, &error);
                    self.end = Some(Err(error));
                }
            }
            self.work += work;
            if self.work >= WORK_PER_LOOK {
                self.work = 0;
                self.yields = self.shares.turn_end.is_over();
            }
        }
    }

    /// A request that has come in part, and does not continue.
    fn check_late(&mut self, cx: &mut Context<'_>) {
        if self.framing.is_between_messages() {
            self.late = None;
            return;
        }
        let within_ms = self.node.config.serving.request_ms_max;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(within_ms))));
        if late.as_mut().poll(cx).is_ready() {
            let error = unary::late(within_ms);
            self.node.requests.refused(Method::Unknown, &error);
            self.end = Some(Err(error));
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.requests).poll_frame(cx)) {
            Some(Ok(frame)) => self.framing.push(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => {
                self.end = Some(Err(status::invalid("session", format_args!("it was cut off: {error}"))));
            }
            None => self.end = Some(Ok(())),
        }
        Poll::Ready(())
    }

    fn on_message(&mut self, inbound: Inbound) {
        let request = match dispatch::decode_session(inbound.bytes.clone()) {
            Ok(request) => request,
            Err(error) => return self.on_malformed(&inbound, error),
        };
        let Some(call) = request.call else {
            let error = status::invalid("call", "none that this version knows");
            return self.refuse(request.id, Method::Unknown, error);
        };
        let taken = self.node.requests.take(&call);
        let begun = Begun { id: request.id, call, taken, inbound };
        match standby_read::wait(&self.node, &begun.call) {
            None => self.run(begun),
            Some(wait) => drop(self.waiting.spawn(async move {
                wait.await;
                begun
            })),
        }
    }

    fn run(&mut self, Begun { id, call, taken, inbound }: Begun) {
        if let Err(full) = self.shares.answers.share().check_room() {
            return self.refuse(id, taken, full.refusal());
        }
        match dispatch::weight(&call) {
            Weight::Inline => {
                let ran = dispatch::run(&self.node, self.shares.from, &call, taken, &Waited::SURELY);
                self.on_ran(id, ran);
            }
            Weight::Long => {
                match long::job(&self.node, &self.shares, call, taken, inbound, self.waiting_for_long.waited()) {
                    Ok(job) => {
                        let (node, shares) = (Arc::clone(&self.node), Arc::clone(&self.shares));
                        self.long
                            .spawn_blocking(move || (id, job().and_then(|reply| encode(&node, &shares, id, reply))));
                    }
                    Err(error) => self.put_error(id, error),
                }
            }
        }
    }

    /// Reads that have waited for this standby to apply more.
    fn take_waiting(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(joined)) = self.waiting.poll_join_next(cx) {
            match joined {
                Ok(begun) => self.run(begun),
                // The id of the call was lost with it.
                Err(fault) => self.end = Some(Err(status::internal(fault))),
            }
        }
    }

    /// The stream continues if the id of this request can be read.
    fn on_malformed(&mut self, inbound: &Inbound, error: CallError) {
        match RequestId::decode(&inbound.bytes[..]) {
            Ok(request) => self.refuse(request.id, Method::Unknown, error),
            Err(_) => {
                self.node.requests.refused(Method::Unknown, &error);
                self.end = Some(Err(error));
            }
        }
    }

    fn take_long(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(joined)) = self.long.poll_join_next(cx) {
            match joined {
                Ok((_, Ok((wait_seq, answer)))) if self.node.tail().committed().get() >= wait_seq => {
                    self.deliver(answer, Ok(()));
                }
                Ok((_, Ok((wait_seq, answer)))) => self.park(wait_seq, answer),
                // Counted where it was refused.
                Ok((id, Err(error))) => self.put_error(id, error),
                // The id of the call was lost with it.
                Err(fault) => self.end = Some(Err(status::internal(fault))),
            }
        }
    }

    fn on_ran(&mut self, id: u64, ran: Result<Reply, CallError>) {
        match ran {
            Ok(reply) if is_committed(&self.node, &reply) => self.put(id, reply),
            Ok(reply) => match encode(&self.node, &self.shares, id, reply) {
                Ok((wait_seq, answer)) => self.park(wait_seq, answer),
                Err(error) => self.put_error(id, error),
            },
            // Counted where it was refused.
            Err(error) => self.put_error(id, error),
        }
    }

    fn put(&mut self, id: u64, Reply { answer, kind, epoch, taken, .. }: Reply) {
        let response = SessionResponse { id, answer: Some(answer) };
        match take(&self.shares, response.encoded_len(), kind) {
            Ok(held) => self.out.put(Rests { id, kind, epoch, taken }, &response, held),
            Err(error) => self.refuse(id, taken, error),
        }
    }

    fn refuse(&mut self, id: u64, call: impl Into<CallTimer>, error: CallError) {
        self.node.requests.refused(call, &error);
        self.put_error(id, error);
    }

    fn put_error(&mut self, id: u64, error: CallError) {
        self.out.put_error(id, error, &self.shares);
    }

    fn park(&mut self, wait_seq: u64, answer: ParkedAnswer) {
        let ParkedAnswer { id, kind, epoch, taken, .. } = answer;
        if !self.parked.waits_on(&self.node.tail()) {
            // The tail on which it ran; otherwise the gate knows.
            if let Err(error) = self.node.gate.check_answer(kind, epoch) {
                return self.refuse(id, taken, error);
            }
            if self.parked.len() > 0 {
                // Answers from before are on their way out. This one belongs to a later state.
                return self.refuse(id, taken, never_committed(kind, changed_hands(epoch)));
            }
            self.parked = Parked::new(self.node.tail().committed_shared());
        }
        self.parked.park(wait_seq, answer);
    }

    fn take_committed(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready((answer, reached)) = self.parked.poll_next(cx) {
            self.deliver(answer, reached);
        }
    }

    fn deliver(&mut self, answer: ParkedAnswer, reached: Result<(), WaitError>) {
        let ParkedAnswer { id, kind, epoch, taken, framed, held } = answer;
        match reached {
            Ok(()) => self.out.put_framed(Rests { id, kind, epoch, taken }, framed, held),
            Err(why) => self.refuse(id, taken, never_committed(kind, why)),
        }
    }
}

fn take(shares: &Shares, length: usize, kind: CallKind) -> Result<budget::Reservation, CallError> {
    check_size(length, kind)?;
    outgoing::take(shares.answers.share(), PREFIX_BYTES + length, kind)
}

/// An answer that must wait, or was made elsewhere. A refusal is counted here.
fn encode(node: &Node, shares: &Shares, id: u64, reply: Reply) -> Result<Made, CallError> {
    let Reply { answer, wait_seq, kind, epoch, taken } = reply;
    let response = SessionResponse { id, answer: Some(answer) };
    let length = response.encoded_len();
    let held = take(shares, length, kind).inspect_err(|error| node.requests.refused(taken, error))?;
    let mut framed = BytesMut::new();
    put_message(&mut framed, length, &response);
    Ok((wait_seq, ParkedAnswer { id, kind, epoch, taken, framed: framed.freeze(), held }))
}

fn changed_hands(epoch: u64) -> WaitError {
    WaitError::Closed(CloseReason::Deposed { epoch })
}

/// From the stop on, requests are refused one by one for a while. Then nothing more is read.
async fn closing(node: Arc<Node>) {
    let mut standing = node.gate.watch();
    // An error: the gate is gone, and the node with it.
    let _ = standing.wait_for(|standing| *standing == Standing::Stopping).await;
    sleep(Duration::from_millis(node.config.serving.stop_linger_ms)).await;
}
