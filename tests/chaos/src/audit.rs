//! Checks what clients were told in a round against the promises and against what exists.
//!
//! A round's objects are read three times: when the round ends; two rounds later, before most of
//! them are removed, so that the cluster does not grow without end; and, those that are kept, at
//! the end of the run.
//!
//! Deliberately absent: the promises. `tests/histories` has them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use client::{Client, Force, KeyInfo, ListKeys, Location, Pin, Reason};
use histories::{
    Answer, Buffer, Counter, Fault, FinalVersions, Hold, Linear, Moment, Op, OpKind, Outcome, at_most_once, by_key,
    held_apart, holds, linearizable, one_writer, set_full,
};

use crate::board::{Board, Chapter, prefix, size_of};
use crate::story::Checked;

const KEYS_AT_ONCE: usize = 1000;
/// Rounds whose objects all exist.
const ROUNDS_KEPT: usize = 2;
/// One object of this many is kept to the end.
const KEPT_ONE_IN: usize = 50;
/// The newest positions of a round are checked again with those of the next one.
const CARRIED: usize = 500;
/// The most faults that are printed.
const FAULTS_MAX: usize = 20;

#[derive(Debug)]
pub(crate) struct Audit {
    client: Client,
    rounds: VecDeque<Round>,
    /// Must exist at the end.
    keepers: FinalVersions,
    /// From earlier rounds: later ones must not contradict these.
    ops: Vec<Op>,
    holds: Vec<Hold>,
    tasks: Tasks,
}

/// A round that was checked.
#[derive(Debug)]
struct Round {
    number: u64,
    held: FinalVersions,
    /// Keys that may still change by themselves.
    unsettled: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Tasks {
    created: BTreeSet<u64>,
    maybe_created: u64,
    fetched: BTreeMap<u64, u32>,
}

/// What exists under a prefix.
struct There {
    listed: BTreeMap<Arc<str>, KeyInfo>,
    /// One read for each key.
    reads: Vec<Op>,
    held: FinalVersions,
}

impl Audit {
    pub(crate) fn new(client: Client) -> Audit {
        let (rounds, keepers, ops, holds) = (VecDeque::new(), FinalVersions::new(), Vec::new(), Vec::new());
        Audit { client, rounds, keepers, ops, holds, tasks: Tasks::default() }
    }

    /// `history`: gets everything that was read, in words, if there is a fault.
    pub(crate) async fn round(
        &mut self,
        number: u64,
        chapters: Vec<Chapter>,
        board: &Board,
        history: &mut String,
    ) -> Vec<Fault> {
        let mut faults: Vec<Fault> = chapters.iter().flat_map(|chapter| chapter.faults.clone()).collect();
        let stray = chapters.iter().find(|chapter| chapter.round != number);
        faults.extend(
            stray.map(|chapter| format!("client {} is in round {}, not {number}", chapter.client, chapter.round)),
        );
        let ops: Vec<Op> = chapters.iter().flat_map(|chapter| chapter.ops.iter().cloned()).collect();
        let touched: BTreeSet<Arc<str>> = by_key(&ops).into_keys().collect();
        let there = self.look(&prefix(number), touched, board).await;
        let mut checked = Checked { rounds: 1, ..Checked::default() };
        let pins = chapters.iter().flat_map(|chapter| &chapter.pins).cloned().collect();
        checked.pins = check_pins(&pins, &there, &mut faults);
        checked.tasks = self.check_tasks(&chapters, &mut faults).await;
        let put_ids = chapters.iter().flat_map(|chapter| chapter.put_ids.iter().map(|id| (*id, chapter.client)));
        faults.extend(at_most_once("put id", put_ids));
        faults.extend(self.retire(board).await);
        self.check_history(&ops, &there, &mut checked, &mut faults);
        faults.truncate(FAULTS_MAX);
        if !faults.is_empty() {
            *history = ops.iter().chain(&there.reads).map(|op| format!("{op}\n")).collect();
        }
        let unsettled = ops.iter().filter(|op| op.outcome == Outcome::Unknown).map(|op| Arc::clone(&op.key)).collect();
        self.rounds.push_back(Round { number, held: there.held, unsettled });
        add(&mut board.story.lock().checked, checked);
        faults
    }

    fn check_history(&mut self, ops: &[Op], there: &There, checked: &mut Checked, faults: &mut Vec<Fault>) {
        let with_reads: Vec<Op> = ops.iter().chain(&there.reads).cloned().collect();
        for ops in by_key(&with_reads).values() {
            checked.keys += 1;
            match linearizable(ops) {
                Linear::Fits => {}
                Linear::Broken(fault) => faults.push(fault),
                Linear::Undecided(why) => faults.push(format!("linearizability was not decided: {why}")),
            }
        }
        checked.ops += ops.len() as u64;
        faults.extend(set_full(ops, &there.held));
        let carried = std::mem::take(&mut self.ops);
        let with_carried: Vec<Op> = carried.into_iter().chain(ops.iter().cloned()).collect();
        faults.extend(one_writer(&with_carried));
        self.ops = carry(with_carried);
        let new = holds(ops);
        checked.buffers += new.len() as u64;
        self.holds.extend(new);
        faults.extend(held_apart(&self.holds));
        self.holds.retain(|hold| hold.until == Moment::MAX);
    }

    /// Reads all keys under a prefix, and those that should exist.
    async fn look(&self, prefix: &str, touched: BTreeSet<Arc<str>>, board: &Board) -> There {
        let mut listed = BTreeMap::new();
        let mut page_token = Bytes::new();
        loop {
            let prefix = Bytes::copy_from_slice(prefix.as_bytes());
            let list = ListKeys { prefix, limit: 10_000, page_token, ..ListKeys::default() };
            let page = self.client.list_keys(list).await.expect("a healthy cluster lists its keys");
            let named = |info: KeyInfo| (String::from_utf8_lossy(&info.key).into_owned().into(), info);
            listed.extend(page.keys.into_iter().map(named));
            match page.next_page_token {
                Some(token) => page_token = token,
                None => break,
            }
        }
        let keys: BTreeSet<Arc<str>> = touched.into_iter().chain(listed.keys().cloned()).collect();
        let reads = self.read(keys.into_iter().collect(), board).await;
        let version = |op: &Op| match op.outcome {
            Outcome::Acknowledged(Answer::Found(Some(version))) => Some((Arc::clone(&op.key), version)),
            _ => None,
        };
        There { listed, held: reads.iter().filter_map(version).collect(), reads }
    }

    async fn read(&self, keys: Vec<Arc<str>>, board: &Board) -> Vec<Op> {
        let mut reads = Vec::new();
        for some in keys.chunks(KEYS_AT_ONCE) {
            let invoked = board.now();
            let keys: Vec<&[u8]> = some.iter().map(|key| key.as_bytes()).collect();
            let found = self.client.get_replicas(&keys).await.expect("a healthy cluster answers reads");
            let returned = board.now();
            for (key, result) in some.iter().zip(found.results) {
                let version = match &result {
                    Ok(object) => Some(version_of(object)),
                    Err(refused) if refused.reason == Reason::NotFound => None,
                    Err(_) => Some(u64::MAX),
                };
                let outcome = Outcome::Acknowledged(Answer::Found(version));
                let (client, key, call) = (u32::MAX, Arc::clone(key), OpKind::Get);
                let op =
                    Op { client, key, call, invoked, returned, outcome, at: None, member: None, sent_again: false };
                reads.push(op);
            }
        }
        reads
    }

    /// Every acknowledged task is known, and no client was given a task of another one.
    async fn check_tasks(&mut self, chapters: &[Chapter], faults: &mut Vec<Fault>) -> u64 {
        for chapter in chapters {
            let created = chapter.tasks_created.iter().map(|id| (*id, format!("client {}", chapter.client)));
            faults.extend(at_most_once("new task", created));
            for id in &chapter.tasks_created {
                if !self.tasks.created.insert(*id) {
                    faults.push(format!("task {id} was created twice"));
                }
            }
            self.tasks.maybe_created += chapter.tasks_maybe_created;
            for id in &chapter.tasks_fetched {
                if let Some(before) = self.tasks.fetched.insert(*id, chapter.client) {
                    faults.push(format!("task {id} was given to client {before}, and to client {}", chapter.client));
                }
            }
        }
        let listed = self.client.list_tasks(&[]).await.expect("a healthy cluster lists its tasks");
        let listed: BTreeSet<u64> = listed.tasks.iter().map(|task| task.task_id).collect();
        let is_lost = |id: &&u64| !listed.contains(*id) && !self.tasks.fetched.contains_key(*id);
        faults.extend(self.tasks.created.iter().filter(is_lost).map(|id| format!("lost: task {id} was acknowledged")));
        chapters.iter().map(|chapter| (chapter.tasks_created.len() + chapter.tasks_fetched.len()) as u64).sum()
    }

    /// The oldest round: what it held must still exist. Most of it is removed.
    async fn retire(&mut self, board: &Board) -> Vec<Fault> {
        if self.rounds.len() < ROUNDS_KEPT {
            return Vec::new();
        }
        let Some(round) = self.rounds.pop_front() else { return Vec::new() };
        let there = self.look(&prefix(round.number), round.held.keys().cloned().collect(), board).await;
        let faults = differences(&round, &there.held);
        let (keepers, others): (Vec<_>, Vec<_>) = {
            let keys = there.listed.into_keys().filter(|key| !round.unsettled.contains(key));
            keys.enumerate().partition(|(at, _)| at % KEPT_ONE_IN == 0)
        };
        self.keepers.extend(keepers.into_iter().filter_map(|(_, key)| there.held.get(&key).map(|held| (key, *held))));
        // From here on its space may be used again.
        let (begins, now) = (format!("\"{}", prefix(round.number)), board.now());
        self.holds.iter_mut().filter(|hold| hold.who.starts_with(&begins)).for_each(|hold| hold.until = now);
        for some in others.chunks(KEYS_AT_ONCE) {
            let keys: Vec<&[u8]> = some.iter().map(|(_, key)| key.as_bytes()).collect();
            self.client.remove(&keys, Force::Yes).await.expect("a healthy cluster removes");
        }
        faults
    }

    /// No client changes anything any more.
    pub(crate) async fn last(&mut self, board: &Board) -> Vec<Fault> {
        let mut faults = Vec::new();
        for round in std::mem::take(&mut self.rounds) {
            let there = self.look(&prefix(round.number), round.held.keys().cloned().collect(), board).await;
            faults.extend(differences(&round, &there.held));
        }
        let reads = self.read(self.keepers.keys().cloned().collect(), board).await;
        for op in reads {
            let expected = Outcome::Acknowledged(Answer::Found(self.keepers.get(&op.key).copied()));
            if op.outcome != expected {
                faults.push(format!("lost: {:?} must be {expected:?} at the end, and is {:?}", op.key, op.outcome));
            }
        }
        faults.extend(self.count_tasks().await);
        faults.extend(self.live_objects_apart().await);
        faults.truncate(FAULTS_MAX);
        faults
    }

    async fn count_tasks(&self) -> Option<Fault> {
        let listed = self.client.list_tasks(&[]).await.expect("a healthy cluster lists its tasks");
        let known: BTreeSet<u64> =
            listed.tasks.iter().map(|task| task.task_id).chain(self.tasks.fetched.keys().copied()).collect();
        let Tasks { created, maybe_created: unknown, .. } = &self.tasks;
        Counter { acknowledged: created.len() as u64, unknown: *unknown, counted: known.len() as u64 }.check("tasks")
    }

    async fn live_objects_apart(&self) -> Vec<Fault> {
        let mut keys = Vec::new();
        let mut page_token = Bytes::new();
        loop {
            let list = ListKeys { limit: 10_000, page_token, ..ListKeys::default() };
            let page = self.client.list_keys(list).await.expect("a healthy cluster lists its keys");
            keys.extend(page.keys.into_iter().filter(|info| info.complete).map(|info| info.key));
            match page.next_page_token {
                Some(token) => page_token = token,
                None => break,
            }
        }
        let mut live = Vec::new();
        for some in keys.chunks(KEYS_AT_ONCE) {
            let found = self.client.get_replicas(some).await.expect("a healthy cluster answers reads");
            for (key, object) in some.iter().zip(found.results) {
                let Ok(object) = object else { continue };
                let who = String::from_utf8_lossy(key).into_owned();
                let hold = |buffer| Hold { buffer, since: Moment::ZERO, until: Moment::MAX, who: who.clone() };
                live.extend(buffers(&object).into_iter().map(hold));
            }
        }
        held_apart(&live)
    }
}

fn buffers(object: &client::Object) -> Vec<Buffer> {
    let buffer = |replica: &client::Replica| match replica.location {
        Location::Memory { address } => {
            Some(Buffer { segment: replica.segment.id.0, start: address, end: address + object.size })
        }
        Location::Disk { .. } => None,
    };
    object.replicas.iter().filter_map(buffer).collect()
}

/// [`u64::MAX`], which no client wrote, if it is not complete.
fn version_of(object: &client::Object) -> u64 {
    let whole = object.checksum.filter(|version| object.size == size_of(*version) && object.replicas.len() == 1);
    whole.unwrap_or(u64::MAX)
}

fn differences(round: &Round, held: &FinalVersions) -> Vec<Fault> {
    let settled = |key: &&Arc<str>| !round.unsettled.contains(*key);
    let keys: BTreeSet<&Arc<str>> = round.held.keys().chain(held.keys()).filter(settled).collect();
    let differs = |key: &&Arc<str>| round.held.get(*key) != held.get(*key);
    let fault = |key: &Arc<str>| {
        let (was, is) = (round.held.get(key), held.get(key));
        format!("changed by itself: {key:?} was version {was:?} when its round ended, and is {is:?}")
    };
    keys.into_iter().filter(differs).map(fault).collect()
}

fn check_pins(pins: &Vec<(Arc<str>, Pin)>, there: &There, faults: &mut Vec<Fault>) -> u64 {
    for (key, pin) in pins {
        match there.listed.get(key) {
            Some(info) if info.pin == *pin => {}
            Some(info) => faults.push(format!("{key:?} has pin {:?}, acknowledged was {pin:?}", info.pin)),
            // Other checks find that it is missing.
            None => {}
        }
    }
    pins.len() as u64
}

/// The newest positions, and one answer of each member in its epoch.
fn carry(mut ops: Vec<Op>) -> Vec<Op> {
    ops.retain(|op| op.at.is_some());
    ops.sort_by_key(|op| std::cmp::Reverse(op.at));
    let mut seen = BTreeSet::new();
    let is_new = |op: &Op| op.member.is_some() && seen.insert((op.at.map(|at| at.epoch), op.member.clone()));
    let (mut first_of_epochs, mut rest) = (Vec::new(), Vec::new());
    let mut is_new = is_new;
    for op in ops {
        if is_new(&op) { first_of_epochs.push(op) } else { rest.push(op) }
    }
    first_of_epochs.truncate(CARRIED);
    rest.truncate(CARRIED);
    first_of_epochs.append(&mut rest);
    first_of_epochs
}

fn add(all: &mut Checked, more: Checked) {
    let Checked { rounds, keys, ops, buffers, tasks, pins } = more;
    all.rounds += rounds;
    all.keys += keys;
    all.ops += ops;
    all.buffers += buffers;
    all.tasks += tasks;
    all.pins += pins;
}
