//! A client that puts, reads, replaces, removes and pins objects, and creates and runs tasks,
//! without end and with one call at a time.
//!
//! Some keys are its own; it stops using one of those when it cannot know any more what is there.
//! Others it shares with all workers, which interfere freely: the checker of linearizability judges
//! what they are told.
//!
//! Deliberately absent: a second try at anything. The SDK has made as many as time allowed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{
    Client, Force, IfExists, Items, Location, NewTask, Pin, Position, PutEndItem, PutOptions, PutRevokeItem,
    PutStartItem, PutStarted, ReadOptions, ReplicaScope, TaskKind, TaskResult, Transport,
};
use fastrand::Rng;
use histories::{Answer, Buffer, OpKind};
use tokio::time::sleep;

use crate::board::{Board, prefix, size_of};
use crate::book::{Book, Told, one};

/// Keys that all workers use, in each round.
const SHARED_KEYS: usize = 24;
const PAUSE_MS_MAX: u64 = 6;
/// The deadline of some calls is short, so that the SDK does not outwait every fault: their outcome
/// stays unknown.
const SHORT_MS_MAX: u64 = 150;

pub(crate) struct Worker {
    me: u32,
    client: Client,
    book: Book,
    rng: Rng,
    /// Names of all segments.
    segments: Arc<[String]>,
    round: u64,
    next: u64,
    /// Own keys that certainly exist.
    present: Vec<Arc<str>>,
    /// Shared keys for which a put of this worker may still arrive.
    spoilt: BTreeSet<Arc<str>>,
    /// The position of the last acknowledged change.
    last: Position,
}

impl Worker {
    pub(crate) fn new(
        me: u32,
        (client, transport): (Client, Transport),
        board: Arc<Board>,
        seed: u64,
        segments: Arc<[String]>,
    ) -> Worker {
        let (round, book) = (board.round(), Book::new(me, transport, board));
        let (present, spoilt, rng) = (Vec::new(), BTreeSet::new(), Rng::with_seed(seed));
        Worker { me, client, book, rng, segments, round, next: 0, present, spoilt, last: Position::default() }
    }

    pub(crate) async fn run(mut self) {
        while !self.book.board.is_stopped() {
            if self.book.board.round() != self.round {
                self.next_round().await;
            }
            self.act().await;
            sleep(Duration::from_millis(self.rng.u64(..PAUSE_MS_MAX))).await;
        }
        self.book.turn_over().await;
    }

    async fn next_round(&mut self) {
        self.book.turn_over().await;
        self.round = self.book.chapter.round;
        (self.next, self.present, self.spoilt) = (0, Vec::new(), BTreeSet::new());
    }

    async fn act(&mut self) {
        let own = (!self.present.is_empty()).then(|| self.rng.usize(..self.present.len()));
        match (self.rng.u8(..100), own) {
            (0..10, Some(at)) => self.get(&self.present[at].clone(), false).await,
            (10..15, Some(at)) => self.get(&self.present[at].clone(), true).await,
            (15..22, Some(at)) => self.replace_own(at).await,
            (22..30, Some(at)) => self.remove_own(at).await,
            (30..35, Some(at)) => self.pin(at).await,
            (35..38, Some(at)) => self.create_task(at).await,
            (38..41, _) => self.fetch_tasks().await,
            (41..70, _) => self.share().await,
            _ => self.put_own().await,
        }
    }

    fn handle(&mut self) -> Client {
        match self.rng.u8(..20) {
            0 => self.client.with_deadline(Duration::from_millis(self.rng.u64(1..SHORT_MS_MAX))),
            _ => self.client.clone(),
        }
    }

    /// Returns the buffers of a start. The version goes into the end.
    async fn start(&mut self, key: &Arc<str>, version: u64, if_exists: IfExists) -> Told<PutStarted> {
        let client = self.handle();
        let size = size_of(version);
        let how = if if_exists == IfExists::Replace { histories::IfExists::Replace } else { histories::IfExists::Fail };
        let asked = self.book.ask(&client, key, OpKind::Start { version, if_exists: how });
        let options = PutOptions { if_exists, ..PutOptions::default() };
        let answer = client.put_start(&[PutStartItem::new(key.as_bytes(), size)], options).await;
        let answer = one(answer.map(|answer| Items { position: answer.position, results: answer.results }));
        self.heard(&answer);
        let told = self.book.told(&client, asked, answer, |started| Answer::Started(buffers(started, size)));
        if let Told::Yes(started) = &told {
            self.book.chapter.put_ids.push(started.put_id);
        }
        told
    }

    async fn end(&mut self, key: &Arc<str>, version: u64, put_id: u64) -> Told<()> {
        let client = self.handle();
        let asked = self.book.ask(&client, key, OpKind::End { version });
        let item = PutEndItem::new(key.as_bytes(), put_id, Some(version));
        let answer = one(client.put_end(&[item], ReplicaScope::All).await);
        self.heard(&answer);
        self.book.told(&client, asked, answer, |()| Answer::Done)
    }

    async fn revoke(&mut self, key: &Arc<str>, version: u64, put_id: u64) -> Told<()> {
        let client = self.handle();
        let asked = self.book.ask(&client, key, OpKind::Revoke { version });
        let item = PutRevokeItem { key: key.as_bytes().to_vec().into(), put_id };
        let answer = one(client.put_revoke(&[item], ReplicaScope::All).await);
        self.heard(&answer);
        self.book.told(&client, asked, answer, |()| Answer::Done)
    }

    async fn remove(&mut self, key: &Arc<str>) -> Told<()> {
        let client = self.handle();
        let asked = self.book.ask(&client, key, OpKind::Remove);
        let answer = one(client.remove(&[key.as_bytes()], Force::Yes).await);
        self.heard(&answer);
        self.book.told(&client, asked, answer, |()| Answer::Done)
    }

    /// A standby must show all that this worker was told before. It may be older than what others
    /// were told, so its answer has no place among their positions. For a key that only this worker
    /// changes it must be exact.
    async fn get(&mut self, key: &Arc<str>, at_a_standby: bool) {
        let plain = self.handle();
        let reads = ReadOptions { min_position: Some(self.last), max_staleness: None };
        let client = if at_a_standby { plain.with_reads(reads) } else { plain };
        let asked = self.book.ask(&client, key, OpKind::Get);
        let found = client.get_replicas(&[key.as_bytes()]).await.and_then(|found| {
            let at = (!at_a_standby).then_some(found.position);
            match found.results.into_iter().next().expect("one key has one result") {
                Ok(object) => Ok((at, Some(object))),
                Err(refused) if refused.reason == client::Reason::NotFound => Ok((at, None)),
                Err(refused) => Err(refused.into()),
            }
        });
        // An object without its checksum, or of another size, is a version that no client wrote.
        let version = |object: &client::Object| object.checksum.filter(|version| object.size == size_of(*version));
        self.book.told(&client, asked, found, |found| {
            Answer::Found(found.as_ref().map(|object| version(object).unwrap_or(u64::MAX)))
        });
    }

    async fn exists(&mut self, key: &Arc<str>) {
        let client = self.handle();
        let asked = self.book.ask(&client, key, OpKind::Exists);
        let found = client.exists(&[key.as_bytes()]).await;
        let found = found.map(|found| (Some(found.position), found.exists[0]));
        self.book.told(&client, asked, found, |found| Answer::Exists(*found));
    }

    fn heard<T>(&mut self, answer: &Result<(Option<Position>, T), client::Error>) {
        if let Ok((Some(at), _)) = answer {
            self.last = self.last.max(*at);
        }
    }

    async fn put_own(&mut self) {
        let key: Arc<str> = format!("{}own-{:02}/{:06}", prefix(self.round), self.me, self.next).into();
        self.next += 1;
        let version = self.book.board.version();
        let Told::Yes(started) = self.start(&key, version, IfExists::Fail).await else { return };
        if self.rng.u8(..20) == 0 {
            self.revoke(&key, version, started.put_id).await;
        } else if let Told::Yes(()) = self.end(&key, version, started.put_id).await {
            self.present.push(key);
        }
    }

    async fn replace_own(&mut self, at: usize) {
        let key = self.present.swap_remove(at);
        let version = self.book.board.version();
        self.book.pins.remove(&key);
        let Told::Yes(started) = self.start(&key, version, IfExists::Replace).await else { return };
        if let Told::Yes(()) = self.end(&key, version, started.put_id).await {
            self.present.push(key);
        }
    }

    async fn remove_own(&mut self, at: usize) {
        let key = self.present.swap_remove(at);
        self.book.pins.remove(&key);
        if let Told::Yes(()) = self.remove(&key).await {
            self.get(&key, false).await;
        }
    }

    async fn share(&mut self) {
        let number = self.rng.usize(..SHARED_KEYS);
        let key: Arc<str> = format!("{}shared/{number:02}", prefix(self.round)).into();
        match self.rng.u8(..10) {
            0..4 => self.get(&key, false).await,
            4 => self.exists(&key).await,
            5 => {
                self.remove(&key).await;
            }
            _ if self.spoilt.contains(&key) => self.get(&key, false).await,
            _ => self.put_shared(&key).await,
        }
    }

    async fn put_shared(&mut self, key: &Arc<str>) {
        let if_exists = if self.rng.bool() { IfExists::Fail } else { IfExists::Replace };
        let version = self.book.board.version();
        let ended = match self.start(key, version, if_exists).await {
            Told::Yes(started) => self.end(key, version, started.put_id).await,
            Told::No => return,
            Told::Unknown => Told::Unknown,
        };
        // A put that is not known to have ended may be open, and only a removal clears that.
        if !matches!(ended, Told::Yes(())) {
            self.spoilt.insert(Arc::clone(key));
        }
    }

    async fn pin(&mut self, at: usize) {
        let (client, key) = (self.handle(), Arc::clone(&self.present[at]));
        let pin = [Pin::None, Pin::Soft, Pin::Hard][self.rng.usize(..3)];
        let asked = self.book.ask(&client, &"".into(), OpKind::Other("pin"));
        let answer = match pin {
            Pin::None => one(client.unpin(&[key.as_bytes()]).await),
            pin => one(client.pin(&[key.as_bytes()], pin, None).await),
        };
        match self.book.told(&client, asked, answer, |()| Answer::Done) {
            Told::Yes(()) => drop(self.book.pins.insert(key, pin)),
            Told::No => {}
            Told::Unknown => {
                // Its pin is not known any more.
                self.book.pins.remove(&key);
                self.present.swap_remove(at);
            }
        }
    }

    /// A copy from wherever the object is to a random segment. A client that holds it is asked to
    /// make the copy.
    async fn create_task(&mut self, at: usize) {
        let (client, key) = (self.handle(), Arc::clone(&self.present[at]));
        let target = self.segments[self.rng.usize(..self.segments.len())].clone();
        let task = NewTask {
            kind: TaskKind::Copy,
            key: key.as_bytes().to_vec().into(),
            source_segment: String::new(),
            target_segments: vec![target],
        };
        let asked = self.book.ask(&client, &"".into(), OpKind::Other("create task"));
        let answer = one(client.create_tasks(&[task]).await);
        match self.book.told(&client, asked, answer, |_| Answer::Done) {
            Told::Yes(id) => self.book.chapter.tasks_created.push(id),
            Told::No => {}
            Told::Unknown => self.book.chapter.tasks_maybe_created += 1,
        }
    }

    async fn fetch_tasks(&mut self) {
        let client = self.handle();
        let asked = self.book.ask(&client, &"".into(), OpKind::Other("fetch tasks"));
        // A fetch that finds nothing writes nothing, so its position may be that of another
        // operation.
        let answer = client.fetch_tasks(8).await.map(|found| {
            let at = (!found.tasks.is_empty()).then_some(found.position);
            (at, found.tasks)
        });
        let Told::Yes(tasks) = self.book.told(&client, asked, answer, |_| Answer::Done) else { return };
        if tasks.is_empty() {
            return;
        }
        self.book.chapter.tasks_fetched.extend(tasks.iter().map(|task| task.task_id));
        let done: Vec<_> = tasks.iter().map(|task| TaskResult { task_id: task.task_id, failed: None }).collect();
        let asked = self.book.ask(&client, &"".into(), OpKind::Other("complete tasks"));
        let answer = client.complete_tasks(&done).await;
        let answer = answer.and_then(|answer| Ok((Some(answer.position), answer.all()?)));
        self.book.told(&client, asked, answer, |_| Answer::Done);
    }
}

fn buffers(started: &PutStarted, size: u64) -> Vec<Buffer> {
    let buffer = |replica: &client::Replica| match replica.location {
        Location::Memory { address } => {
            Some(Buffer { segment: replica.segment.id.0, start: address, end: address + size })
        }
        Location::Disk { .. } => None,
    };
    started.replicas.iter().filter_map(buffer).collect()
}
