//! A rude client for each member: it asks that member alone, whatever the member says of itself,
//! and follows no redirect.
//!
//! So it is known which member has answered. Two primaries at one time would show that way, even
//! one that wakes up deposed and still answers a client that stayed with it.
//!
//! Deliberately absent: retries and request numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::Transport;
use histories::{Answer, Moment, Op, OpKind, Outcome, Position, Why};
use proto::v1::metadata_client::MetadataClient;
use proto::v1::{Caller, GetReplicasRequest, UnpinRequest};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::board::Board;
use crate::book::Book;

/// Even while earlier ones wait: a member that stands still finds them when it wakes up.
const ASK_EVERY: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(2);
/// The key that all probes ask about. It stays, and its pins do not count.
pub(crate) const KEY: &str = "probed";

pub(crate) struct Probe {
    me: u32,
    member: Arc<str>,
    calls: MetadataClient<Channel>,
    book: Book,
}

struct Asked {
    call: OpKind,
    invoked: Moment,
    answer: JoinHandle<Option<(Result<Position, tonic::Status>, Moment)>>,
}

impl Probe {
    pub(crate) fn new(me: u32, member: &str, address: &str, board: Arc<Board>) -> Probe {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is an address");
        let calls = MetadataClient::new(endpoint.connect_timeout(Duration::from_millis(500)).connect_lazy());
        Probe { me, member: member.into(), calls, book: Book::new(me, Transport::Unary, board) }
    }

    pub(crate) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        while !self.book.board.is_stopped() {
            if self.book.board.round() != self.book.chapter.round {
                self.settle(&mut waiting).await;
                self.book.turn_over().await;
            }
            waiting.push_back(self.ask(OpKind::Get));
            waiting.push_back(self.ask(OpKind::Other("unpin")));
            while waiting.front().is_some_and(|asked| asked.answer.is_finished()) {
                self.take(&mut waiting).await;
            }
            sleep(ASK_EVERY).await;
        }
        self.settle(&mut waiting).await;
        self.book.turn_over().await;
    }

    async fn settle(&mut self, waiting: &mut VecDeque<Asked>) {
        while !waiting.is_empty() {
            self.take(waiting).await;
        }
    }

    fn ask(&self, call: OpKind) -> Asked {
        let (calls, board, invoked) = (self.calls.clone(), Arc::clone(&self.book.board), self.book.board.now());
        let asking = async move {
            let result = timeout(PATIENCE, send(calls, call)).await.ok()?;
            Some((result, board.now()))
        };
        Asked { call, invoked, answer: tokio::spawn(asking) }
    }

    /// The oldest one.
    async fn take(&mut self, waiting: &mut VecDeque<Asked>) {
        let Some(Asked { call, invoked, answer }) = waiting.pop_front() else { return };
        let answer = answer.await.expect("a question does not panic");
        let (outcome, at, returned) = match answer {
            Some((Ok(at), returned)) => (Outcome::Acknowledged(Answer::Done), Some(at), returned),
            // Mostly because it is not the primary.
            Some((Err(_), returned)) => (Outcome::Refused(Why::DidNotRun), None, returned),
            None => (Outcome::Unknown, None, self.book.board.now()),
        };
        let member = Some(Arc::clone(&self.member));
        let op =
            Op { client: self.me, key: "".into(), call, invoked, returned, outcome, at, member, sent_again: false };
        // Probes expect refusals, so these do not count as a client's troubles.
        self.book.chapter.ops.extend(op.is_acknowledged().then_some(op));
    }
}

async fn send(mut calls: MetadataClient<Channel>, call: OpKind) -> Result<Position, tonic::Status> {
    let caller = Some(Caller { client_id: Bytes::from_static(&[7; 16]), ..Caller::default() });
    let keys = vec![Bytes::from_static(KEY.as_bytes())];
    let at = if call.is_read() {
        calls.get_replicas(GetReplicasRequest { caller, keys, standby: None }).await?.into_inner().position
    } else {
        let answer = calls.unpin(UnpinRequest { caller, keys }).await?.into_inner();
        // Before the key exists, nothing is changed, so no answer has a position of its own.
        let was_changed = answer.results.iter().all(|result| result.refusal.is_none());
        answer.position.filter(|_| was_changed)
    };
    let at = at.ok_or_else(|| tonic::Status::not_found(KEY))?;
    Ok(Position { epoch: at.epoch, seq: at.seq })
}
