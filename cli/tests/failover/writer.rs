//! A client that puts objects, reads them, and removes some, each with one call at a time, and
//! records what it is told.
//!
//! Deliberately absent: a second try at anything. The SDK has made as many as time allowed.

use std::sync::Arc;

use client::{Client, Error, Force, Items, Position, PutEndItem, PutOptions, PutStartItem, Reason, ReplicaScope};
use histories::{Answer, IfExists, Moment, Op, OpKind, Outcome, Why};
use tokio::time::sleep;

use crate::history::Diary;
use crate::load::{Board, buffers, key, read, size_of, version};
use crate::random::Random;

pub(crate) struct Writer {
    me: usize,
    client: Client,
    board: Arc<Board>,
    diary: Diary,
    next: u64,
    /// Keys that certainly exist.
    present: Vec<u64>,
    random: Random,
}

/// A call that is under way.
struct Asked {
    number: u64,
    call: OpKind,
    invoked: Moment,
    /// What the SDK had sent again before.
    sent_again: u64,
}

impl Writer {
    pub(crate) fn new(me: usize, client: Client, board: Arc<Board>) -> Writer {
        let (diary, present, random) = (Diary::default(), Vec::new(), Random::new(me));
        Writer { me, client, board, diary, next: 0, present, random }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    pub(crate) async fn run(mut self) -> Diary {
        while !self.board.is_stopped() {
            let some = (!self.present.is_empty()).then(|| self.below(self.present.len().max(1)));
            match (self.below(10), some) {
                (8, Some(at)) => self.get(self.present[at]).await,
                (9, Some(at)) => {
                    let number = self.present.swap_remove(at);
                    self.remove(number).await;
                }
                _ => self.put().await,
            }
            sleep(self.board.pause).await;
        }
        self.diary
    }

    fn ask(&self, number: u64, call: OpKind) -> Asked {
        Asked { number, call, invoked: self.board.now(), sent_again: self.client.stats().sent_again }
    }

    /// `None`: it was not acknowledged.
    fn told<T>(
        &mut self,
        asked: Asked,
        result: Result<(histories::Position, T), Error>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Option<T> {
        let Asked { number, call, invoked, sent_again } = asked;
        let (outcome, at, value) = match result {
            Ok((at, value)) => (Outcome::Acknowledged(answer(&value)), Some(at), Some(value)),
            Err(error) => (self.failed(call, number, &error), None, None),
        };
        let (returned, sent_again) = (self.board.now(), self.client.stats().sent_again > sent_again);
        if let Some(at) = at.filter(|_| !call.is_read()) {
            self.board.on_acknowledged(at.epoch, returned);
        }
        let (client, key) = (self.me as u32, key(self.me, number).into());
        self.diary.ops.push(Op { client, key, call, invoked, returned, outcome, at, member: None, sent_again });
        value
    }

    /// The outcome of a call without acknowledgement.
    fn failed(&mut self, call: OpKind, number: u64, error: &Error) -> Outcome {
        let name = name(call);
        let (what, outcome) = match error {
            Error::Refused(refused) if refused.reason == Reason::OutcomeUnknown => {
                (format!("{:?}", refused.reason), Outcome::Unknown)
            }
            Error::Refused(refused) => {
                // The SDK retries every refusal that a healthy pair may give.
                let key = key(self.me, number);
                let fault = format!("{name} of {key} is refused, against what was acknowledged: {refused}");
                self.diary.faults.push(fault);
                (format!("{:?}", refused.reason), Outcome::Refused(Why::DidNotRun))
            }
            Error::Deadline { .. } => ("deadline".to_owned(), Outcome::Refused(Why::DidNotRun)),
            Error::OutcomeUnknown { .. } => ("outcome unknown".to_owned(), Outcome::Unknown),
            Error::Invalid { .. } | Error::Unreachable { .. } => (error.to_string(), Outcome::Refused(Why::DidNotRun)),
            other => (other.to_string(), Outcome::Unknown),
        };
        self.diary.trouble(&format!("{name}: {what}"));
        outcome
    }

    async fn put(&mut self) {
        let number = self.next;
        self.next += 1;
        self.board.write(self.me, number);
        if let Some(put_id) = self.put_start(number).await {
            self.put_end(number, put_id).await;
        }
    }

    async fn put_start(&mut self, number: u64) -> Option<u64> {
        let (size, version) = (size_of(self.me, number), version(self.me, number));
        let item = PutStartItem::new(key(self.me, number), size);
        let asked = self.ask(number, OpKind::Start { version, if_exists: IfExists::Fail });
        let answer = self.client.put_start(&[item], PutOptions::default()).await;
        let answer = one(answer.map(|answer| Items { position: answer.position, results: answer.results }));
        let started = self.told(asked, answer, |started| Answer::Started(buffers(&started.replicas, size)))?;
        self.diary.put_ids.push(started.put_id);
        Some(started.put_id)
    }

    async fn put_end(&mut self, number: u64, put_id: u64) {
        let version = version(self.me, number);
        let item = PutEndItem::new(key(self.me, number), put_id, Some(version));
        let asked = self.ask(number, OpKind::End { version });
        let answer = one(self.client.put_end(&[item], ReplicaScope::All).await);
        match self.told(asked, answer, |()| Answer::Done) {
            Some(()) => self.present.push(number),
            // What a read shows now must stay.
            None => self.get(number).await,
        }
    }

    async fn get(&mut self, number: u64) {
        let asked = self.ask(number, OpKind::Get);
        let found = read(&self.client, &key(self.me, number)).await;
        self.told(asked, found, |found| Answer::Found(*found));
    }

    async fn remove(&mut self, number: u64) {
        let asked = self.ask(number, OpKind::Remove);
        let answer = one(self.client.remove(&[key(self.me, number)], Force::Yes).await);
        if self.told(asked, answer, |()| Answer::Done).is_some() {
            self.get(number).await;
        }
    }
}

fn name(call: OpKind) -> &'static str {
    match call {
        OpKind::Start { .. } => "PutStart",
        OpKind::End { .. } => "PutEnd",
        OpKind::Revoke { .. } => "PutRevoke",
        OpKind::Remove => "Remove",
        OpKind::Get => "Get",
        OpKind::Exists => "Exists",
        OpKind::Other(name) => name,
    }
}

fn one<T>(answer: Result<Items<T>, Error>) -> Result<(histories::Position, T), Error> {
    let Items { position: Position { epoch, seq }, results } = answer?;
    Ok((histories::Position { epoch, seq }, results.into_iter().next().expect("one item has one result")?))
}
