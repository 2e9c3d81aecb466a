//! What one client is told, written down call by call.
//!
//! Invariant: an error that no healthy cluster returns is a fault, whatever the history says.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Client, Error, Items, Pin, Position, Reason, Transport};
use histories::{Answer, Moment, Op, OpKind, Outcome, Why};

use crate::board::{Board, Chapter};

/// The result of a call.
#[derive(Debug)]
pub(crate) enum Told<T> {
    Yes(T),
    No,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) board: Arc<Board>,
    pub(crate) chapter: Chapter,
    pub(crate) pins: BTreeMap<Arc<str>, Pin>,
    me: u32,
    transport: Transport,
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Asked {
    key: Arc<str>,
    call: OpKind,
    invoked: Moment,
    sent_again: u64,
}

impl Book {
    pub(crate) fn new(me: u32, transport: Transport, board: Arc<Board>) -> Book {
        let chapter = Chapter { round: board.round(), client: me, ..Chapter::default() };
        Book { board, chapter, pins: BTreeMap::new(), me, transport }
    }

    /// The next round has begun, and nothing is under way.
    pub(crate) async fn turn_over(&mut self) {
        let next = Chapter { round: self.board.round(), client: self.me, ..Chapter::default() };
        let mut chapter = std::mem::replace(&mut self.chapter, next);
        chapter.pins = std::mem::take(&mut self.pins).into_iter().collect();
        self.board.hand_in(chapter).await;
    }

    pub(crate) fn ask(&self, client: &Client, key: &Arc<str>, call: OpKind) -> Asked {
        let (key, invoked, sent_again) = (Arc::clone(key), self.board.now(), client.stats().sent_again);
        Asked { key, call, invoked, sent_again }
    }

    pub(crate) fn told<T>(
        &mut self,
        client: &Client,
        asked: Asked,
        result: Result<(Option<Position>, T), Error>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Told<T> {
        let (outcome, at, told) = match result {
            Ok((at, value)) => (Outcome::Acknowledged(answer(&value)), at, Told::Yes(value)),
            Err(error) => {
                let outcome = self.failed(&asked, &error);
                let told = if outcome == Outcome::Unknown { Told::Unknown } else { Told::No };
                (outcome, None, told)
            }
        };
        let Asked { key, call, invoked, sent_again } = asked;
        let at = at.map(|Position { epoch, seq }| histories::Position { epoch, seq });
        // The SDK does not count retries of unary calls: any call may have been sent again.
        let sent_again = self.transport == Transport::Unary || client.stats().sent_again > sent_again;
        let returned = self.board.now();
        self.record(Op { client: self.me, key, call, invoked, returned, outcome, at, member: None, sent_again });
        told
    }

    pub(crate) fn record(&mut self, op: Op) {
        self.board.story.lock().on_op(&op);
        self.chapter.ops.push(op);
    }

    fn failed(&mut self, asked: &Asked, error: &Error) -> Outcome {
        let what = match error {
            Error::Refused(refused) => format!("{:?}", refused.reason),
            Error::Deadline { .. } => "deadline".to_owned(),
            Error::OutcomeUnknown { .. } => "outcome unknown".to_owned(),
            Error::Unreachable { .. } => "unreachable".to_owned(),
            other => other.to_string(),
        };
        let name = format!("{:?}", asked.call).split([' ', '(']).next().unwrap_or_default().to_owned();
        *self.board.story.lock().troubles.entry(format!("{name}: {what}")).or_default() += 1;
        match (error, asked.call) {
            (Error::Deadline { .. } | Error::Unreachable { .. }, _) => Outcome::Refused(Why::DidNotRun),
            (Error::OutcomeUnknown { .. }, _) => Outcome::Unknown,
            (Error::Refused(refused), _) if refused.reason == Reason::OutcomeUnknown => Outcome::Unknown,
            (Error::Refused(refused), OpKind::Other(_)) if is_usual(refused.reason) => Outcome::Refused(Why::NotFound),
            (Error::Refused(refused), _) => match why(refused.reason) {
                Some(why) => Outcome::Refused(why),
                None => self.unexpected(asked, error, Outcome::Refused(Why::DidNotRun)),
            },
            _ => self.unexpected(asked, error, Outcome::Unknown),
        }
    }

    fn unexpected(&mut self, asked: &Asked, error: &Error, outcome: Outcome) -> Outcome {
        self.chapter.faults.push(format!("{:?} of {:?} by client {}: {error}", asked.call, asked.key, self.me));
        outcome
    }
}

/// The refusals that the model of a key knows.
fn why(reason: Reason) -> Option<Why> {
    match reason {
        Reason::AlreadyExists => Some(Why::AlreadyExists),
        Reason::NotFound => Some(Why::NotFound),
        Reason::WriteInProgress => Some(Why::InProgress),
        Reason::NotWriting | Reason::NotOwner | Reason::StalePut => Some(Why::NotWriting),
        _ => None,
    }
}

/// For tasks and pins, whose objects others may be changing.
fn is_usual(reason: Reason) -> bool {
    matches!(reason, Reason::NotFound | Reason::ReplicaExists | Reason::ReplicaNotFound | Reason::TaskNotFound)
}

/// The result of a call with one item.
pub(crate) fn one<T>(answer: Result<Items<T>, Error>) -> Result<(Option<Position>, T), Error> {
    let Items { position, results } = answer?;
    Ok((Some(position), results.into_iter().next().expect("one item has one result")?))
}
