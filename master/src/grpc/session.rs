//! One session: requests come in, answers go out as they are done, all within one task.
//!
//! ```text
//!   chunks ──► framing ──► decode ──► run inline ─────────────► out ──► frames
//!                             │            └─ not committed ──► parked ──┘
//!                             ├─ long ──► a thread ──────────────────────┘
//!                             └─ a read that a standby cannot answer yet ──► waiting ──► run
//! ```
//!
//! The transport asks for the next frame only while the client takes more, and only then is anything read: a client
//! that does not read its answers is not worked for. What is ready goes out together.
//!
//! Invariants: `parked`, `long` and `waiting` are bounded, and at their bound nothing is read; a poll does a bounded amount of work;
//! every request that was read is answered before the stream ends, but for one that ends the stream by its form.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use oplog::{CloseReason, WaitError};
use prost::Message as _;
use proto::status;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, SessionResponse};
use tokio::task::JoinSet;

use crate::gate::Standing;
use crate::grpc::commit::{is_committed, never_committed};
use crate::grpc::dispatch::{self, Weight};
use crate::grpc::framing::{Framing, Inbound, put_message};
use crate::grpc::parked::{Parked, ParkedAnswer};
use crate::grpc::reply::{Reply, check_size};
use crate::grpc::{body, long, standby_read};
use crate::metrics::{Method, Taken};
use crate::node::Node;

/// What is ready goes out at this size at the latest.
const FRAME_BYTES: usize = 64 << 10;
/// Long calls of one session at a time.
const LONG_MAX: usize = 4;
/// Reads of one session that wait for this standby to come further.
const WAITING_MAX: usize = 256;
/// How much one poll does before others get their turn, in about microseconds.
const WEIGHT_MAX: usize = 2000;

pub(crate) struct Session {
    node: Arc<Node>,
    requests: Incoming,
    framing: Framing,
    out: BytesMut,
    parked: Parked,
    long: JoinSet<(u64, Result<Reply, CallError>)>,
    waiting: JoinSet<Begun>,
    /// Is over when the node stops and nothing is to be read any more.
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How the stream ends, once nothing more is read.
    end: Option<Result<(), CallError>>,
    ended: bool,
    weight_left: usize,
}

/// A call before it runs, with the memory that it takes.
struct Begun {
    id: u64,
    call: Call,
    taken: Taken,
    inbound: Inbound,
}

/// A request of which nothing else can be read.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct RequestId {
    #[prost(uint64, tag = "1")]
    id: u64,
}

impl Session {
    pub(crate) fn new(node: &Arc<Node>, requests: Incoming) -> Session {
        Session {
            node: Arc::clone(node),
            requests,
            framing: Framing::new(node.request_bytes.clone()),
            out: BytesMut::new(),
            parked: Parked::new(node.tail().committed_shared()),
            long: JoinSet::new(),
            waiting: JoinSet::new(),
            closing: Box::pin(closing(Arc::clone(node))),
            end: None,
            ended: false,
            weight_left: WEIGHT_MAX,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.weight_left == 0 {
            // The transport polls as long as there is a frame: this is where others get their turn.
            self.weight_left = WEIGHT_MAX;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.end.is_none() && self.closing.as_mut().poll(cx).is_ready() {
            self.end = Some(Err(status::shutting_down()));
        }
        self.take_requests(cx);
        self.take_waiting(cx);
        self.take_long(cx);
        self.take_committed(cx);
        if !self.out.is_empty() {
            return Poll::Ready(Some(Frame::data(self.out.split().freeze())));
        }
        if self.parked.len() == 0
            && self.long.is_empty()
            && self.waiting.is_empty()
            && let Some(end) = self.end.take()
        {
            self.ended = true;
            return Poll::Ready(Some(Frame::trailers(body::trailers(end))));
        }
        if self.weight_left == 0 {
            cx.waker().wake_by_ref();
        }
        self.weight_left = WEIGHT_MAX;
        Poll::Pending
    }

    fn has_room(&self) -> bool {
        let serving = &self.node.config.serving;
        self.out.len() < FRAME_BYTES
            && self.parked.len() < serving.session_answers_max
            && self.parked.bytes() < serving.session_answer_bytes_max
            && self.long.len() < LONG_MAX
            && self.waiting.len() < WAITING_MAX
    }

    fn take_requests(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none() && self.weight_left > 0 && self.has_room() {
            match self.framing.next() {
                Ok(Some(inbound)) => self.on_message(inbound),
                Ok(None) => {
                    if self.read(cx).is_pending() {
                        return;
                    }
                }
                Err(error) => {
                    self.node.requests.refused(Method::Unknown, &error);
                    self.end = Some(Err(error));
                }
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Also an empty frame is work.
        self.weight_left = self.weight_left.saturating_sub(1);
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
        match dispatch::weight(&call) {
            Weight::Inline(weight) => {
                self.weight_left = self.weight_left.saturating_sub(weight);
                let ran = dispatch::run(&self.node, &call, taken);
                self.on_ran(id, ran);
            }
            Weight::Long => match long::job(&self.node, call, taken, inbound) {
                Ok(job) => drop(self.long.spawn_blocking(move || (id, job()))),
                Err(error) => self.put_error(id, error),
            },
        }
    }

    /// Reads that have waited for this standby to come further.
    fn take_waiting(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(joined)) = self.waiting.poll_join_next(cx) {
            match joined {
                Ok(begun) => self.run(begun),
                // Whose call it was went down with it.
                Err(fault) => self.end = Some(Err(status::internal(fault))),
            }
        }
    }

    /// The stream goes on, if it can be told whose request this was.
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
                Ok((id, ran)) => self.on_ran(id, ran),
                // Whose call it was went down with it.
                Err(fault) => self.end = Some(Err(status::internal(fault))),
            }
        }
    }

    fn on_ran(&mut self, id: u64, ran: Result<Reply, CallError>) {
        match ran {
            Ok(reply) if is_committed(&self.node, &reply) => {
                match self.node.gate.check_answer(reply.effect, reply.epoch) {
                    Ok(()) => self.put(id, reply),
                    Err(error) => self.refuse(id, reply.taken, error),
                }
            }
            Ok(reply) => self.park(id, reply),
            // Counted where it was refused.
            Err(error) => self.put_error(id, error),
        }
    }

    fn put(&mut self, id: u64, reply: Reply) {
        let response = SessionResponse { id, answer: Some(reply.answer) };
        let length = response.encoded_len();
        match check_size(length, reply.effect) {
            Ok(()) => {
                self.node.requests.answered(reply.taken);
                put_message(&mut self.out, length, &response);
            }
            Err(error) => self.refuse(id, reply.taken, error),
        }
    }

    fn refuse(&mut self, id: u64, call: impl Into<Taken>, error: CallError) {
        self.node.requests.refused(call, &error);
        self.put_error(id, error);
    }

    fn put_error(&mut self, id: u64, error: CallError) {
        self.weight_left = self.weight_left.saturating_sub(1);
        let response = SessionResponse { id, answer: Some(Answer::Error(error)) };
        put_message(&mut self.out, response.encoded_len(), &response);
    }

    fn park(&mut self, id: u64, reply: Reply) {
        let Reply { answer, wait_seq, effect, epoch, taken } = reply;
        if !self.parked.waits_on(&self.node.tail()) {
            // The tail that it ran on, or the gate knows better.
            if let Err(error) = self.node.gate.check_answer(effect, epoch) {
                return self.refuse(id, taken, error);
            }
            if self.parked.len() > 0 {
                // Those of before are on their way out; this one belongs to what came after.
                return self.refuse(id, taken, never_committed(effect, changed_hands(epoch)));
            }
            self.parked = Parked::new(self.node.tail().committed_shared());
        }
        let response = SessionResponse { id, answer: Some(answer) };
        let length = response.encoded_len();
        if let Err(error) = check_size(length, effect) {
            return self.refuse(id, taken, error);
        }
        let mut framed = BytesMut::new();
        put_message(&mut framed, length, &response);
        self.parked.park(wait_seq, ParkedAnswer { id, effect, epoch, taken, framed: framed.freeze() });
    }

    fn take_committed(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready((answer, reached)) = self.parked.poll_next(cx) {
            let ParkedAnswer { id, effect, epoch, taken, framed } = answer;
            let reached = reached.map_err(|why| never_committed(effect, why));
            let end = reached.and_then(|()| self.node.gate.check_answer(effect, epoch));
            match self.node.requests.count(taken, end) {
                Ok(()) => self.out.extend_from_slice(&framed),
                Err(error) => self.put_error(id, error),
            }
        }
    }
}

fn changed_hands(epoch: u64) -> WaitError {
    WaitError::Closed(CloseReason::Deposed { epoch })
}

/// From the stop on, requests are refused one by one for a while; then nothing is read any more.
async fn closing(node: Arc<Node>) {
    let mut standing = node.gate.watch();
    // An error: the gate is gone, and the node with it.
    let _ = standing.wait_for(|standing| *standing == Standing::Stopping).await;
    tokio::time::sleep(std::time::Duration::from_millis(node.config.serving.stop_linger_ms)).await;
}
