//! A client that puts objects, reads them, and removes some, each with one call at a time; what it is told goes into its
//! diary.
//!
//! Deliberately absent: a second try at anything. The SDK has made as many as time allowed.

use std::sync::Arc;
use std::time::Instant;

use client::{Client, Error, Force, Position, PutEndItem, PutOptions, PutStartItem, Reason, ReplicaScope};
use tokio::time::sleep;

use crate::history::{Call, Diary, Fate, Outcome, Record};
use crate::load::{Board, checksum_of, key, size_of};

pub(crate) struct Writer {
    me: usize,
    client: Client,
    board: Arc<Board>,
    diary: Diary,
    next: u64,
    /// Keys that are there for sure.
    present: Vec<u64>,
    random: u64,
    /// What the SDK had sent again before the call that is under way.
    sent_again: u64,
}

/// What a call that was not acknowledged leaves open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    Refused,
    Unknown,
}

impl Writer {
    pub(crate) fn new(me: usize, client: Client, board: Arc<Board>) -> Writer {
        let (diary, present, random) = (Diary::default(), Vec::new(), me as u64 + 1);
        Writer { me, client, board, diary, next: 0, present, random, sent_again: 0 }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % n
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

    /// A call is about to be made.
    fn begin(&mut self) -> Instant {
        self.sent_again = self.client.stats().sent_again;
        Instant::now()
    }

    fn record(&mut self, call: Call, began: Instant, outcome: Outcome) {
        let ended = Instant::now();
        let sent_again = self.client.stats().sent_again > self.sent_again;
        self.diary.records.push(Record { client: self.me, call, began, ended, outcome, sent_again });
        if let Outcome::Acknowledged { at } = outcome {
            self.board.on_acknowledged(at.epoch, ended);
        }
    }

    /// Writes down how a call without acknowledgement went.
    fn failed(&mut self, call: Call, number: u64, began: Instant, error: &Error) -> Failed {
        let failed = match error {
            Error::Deadline { .. } | Error::Invalid { .. } | Error::Unreachable { .. } => Failed::Refused,
            Error::Refused(refused) if refused.reason == Reason::OutcomeUnknown => Failed::Unknown,
            Error::Refused(_) => Failed::Refused,
            _ => Failed::Unknown,
        };
        let what = match error {
            Error::Refused(refused) => format!("{call:?}: {:?}", refused.reason),
            Error::Deadline { .. } => format!("{call:?}: deadline"),
            Error::OutcomeUnknown { .. } => format!("{call:?}: outcome unknown"),
            other => format!("{call:?}: {other}"),
        };
        self.diary.trouble(&what);
        // Everything that a client can be refused in a healthy pair is retried by the SDK.
        if let Error::Refused(refused) = error
            && failed == Failed::Refused
        {
            let key = key(self.me, number);
            self.diary.faults.push(format!("{call:?} of {key} is refused, against what was acknowledged: {refused}"));
        }
        self.record(call, began, if failed == Failed::Unknown { Outcome::Unknown } else { Outcome::Refused });
        failed
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
        let item = PutStartItem::new(key(self.me, number), size_of(self.me, number));
        let began = self.begin();
        let answer = self.client.put_start(&[item], PutOptions::default()).await;
        let started = answer.and_then(|answer| {
            let result = answer.results.into_iter().next().expect("one item has one result");
            Ok((answer.position, result?))
        });
        match started {
            Ok((at, started)) => {
                self.record(Call::PutStart, began, Outcome::Acknowledged { at });
                self.diary.put_ids.push(started.put_id);
                Some(started.put_id)
            }
            Err(error) => {
                let failed = self.failed(Call::PutStart, number, began, &error);
                // It may have begun; it was never ended, so nobody can read it.
                let fate = if failed == Failed::Unknown { Fate::MaybePut } else { Fate::Gone };
                self.diary.fates.insert(number, fate);
                None
            }
        }
    }

    async fn put_end(&mut self, number: u64, put_id: u64) {
        let item = PutEndItem::new(key(self.me, number), put_id, Some(checksum_of(self.me, number)));
        let began = self.begin();
        let answer = self.client.put_end(&[item], ReplicaScope::All).await;
        match one(answer) {
            Ok(at) => {
                self.record(Call::PutEnd, began, Outcome::Acknowledged { at });
                self.diary.fates.insert(number, Fate::Present);
                self.present.push(number);
            }
            Err(error) => {
                let failed = self.failed(Call::PutEnd, number, began, &error);
                let fate = if failed == Failed::Unknown { Fate::MaybePut } else { Fate::Gone };
                self.diary.fates.insert(number, fate);
                self.look_again(number, fate).await;
            }
        }
    }

    /// What a read has shown must stay.
    async fn look_again(&mut self, number: u64, fate: Fate) {
        if fate == Fate::MaybePut && self.client.get(key(self.me, number)).await.is_ok_and(|found| found.is_some()) {
            self.diary.fates.insert(number, Fate::Present);
        }
    }

    async fn get(&mut self, number: u64) {
        let began = self.begin();
        match self.client.get(key(self.me, number)).await {
            Ok(Some(found)) => {
                self.record(Call::Get, began, Outcome::Answered);
                let object = found.object;
                let told = (object.size, object.checksum, object.replicas.len());
                let meant = (size_of(self.me, number), Some(checksum_of(self.me, number)), 1);
                if told != meant {
                    let key = key(self.me, number);
                    self.diary.faults.push(format!("read of {key}: {told:?}, written was {meant:?}"));
                }
            }
            Ok(None) => {
                self.record(Call::Get, began, Outcome::Answered);
                let (key, epoch) = (key(self.me, number), self.client.epoch_seen());
                self.diary.faults.push(format!("read in epoch {epoch}: {key} is gone, and its put was acknowledged"));
            }
            Err(error) => drop(self.failed(Call::Get, number, began, &error)),
        }
    }

    async fn remove(&mut self, number: u64) {
        let began = self.begin();
        let answer = self.client.remove(&[key(self.me, number)], Force::Yes).await;
        let fate = match one(answer) {
            Ok(at) => {
                self.record(Call::Remove, began, Outcome::Acknowledged { at });
                Fate::Gone
            }
            Err(error) => match self.failed(Call::Remove, number, began, &error) {
                Failed::Unknown => Fate::MaybeRemoved,
                Failed::Refused => Fate::Present,
            },
        };
        self.diary.fates.insert(number, fate);
        if fate == Fate::Gone
            && let Ok(Some(_)) = self.client.get(key(self.me, number)).await
        {
            let key = key(self.me, number);
            self.diary.faults.push(format!("{key} is there, and its removal was acknowledged"));
        }
    }
}

fn one(answer: Result<client::Items<()>, Error>) -> Result<Position, Error> {
    let answer = answer?;
    answer.results.into_iter().next().expect("one item has one result")?;
    Ok(answer.position)
}
