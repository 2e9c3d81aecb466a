//! A primary and its standby, from the first call to the end of the last client.

use std::collections::BTreeMap;
use std::sync::Arc;

use oplog::{
    ClientId, DomainId, Draft, Entry, OP_EPOCH_START, Position, ReplicatedState as _, Secret, Tail, TailConfig,
};

use super::Trial;
use crate::call::{Call, CallRefused, Now};
use crate::domain::Domain;
use crate::state::State;

const SECRET: Secret = Secret([0x5e; 16]);
const CLIENTS: u8 = 4;
const TENANTS: [&str; 3] = ["", "blue", "green"];
/// Calls for each act.
const ROUNDS: usize = 24;
/// Steps until all clients are gone, at most.
const STEPS_MAX: usize = 10_000;
/// How often steps find nothing more to do, and time goes on.
const WAITS_MAX: usize = 64;

/// A numbered call that was answered.
pub(super) struct Asked {
    pub(super) act: usize,
    pub(super) n: u64,
    pub(super) client: ClientId,
    pub(super) number: u64,
    pub(super) tenant: &'static str,
    pub(super) answer: String,
}

pub(super) struct Course<'a, D: Domain> {
    pub(super) trial: &'a Trial<'a, D>,
    pub(super) primary: State<D>,
    tail: Arc<Tail>,
    /// It follows the log entry by entry.
    pub(super) standby: State<D>,
    pub(super) log: Vec<Entry>,
    pub(super) now_ms: u64,
    /// By client and number.
    pub(super) asked: BTreeMap<(ClientId, u64), Asked>,
}

impl<'a, D: Domain> Course<'a, D> {
    pub(super) fn begin(trial: &'a Trial<'a, D>) -> Course<'a, D> {
        let (primary, standby) = ((trial.empty)(), (trial.empty)());
        let start = Position { epoch: 1, seq: primary.applied().seq };
        let (tail, mut log) = Tail::new(TailConfig::default(), start);
        let payload = SECRET.payload_behind(start.seq);
        let (domain, op_type) = (DomainId::ENGINE, OP_EPOCH_START);
        let slot = log.reserve(payload.len()).expect("the log is empty");
        let frame =
            slot.append(&Draft { domain, op_type, timestamp_ms: 0, request: None, key: b"", payload: &payload });
        let entry = frame.decode().expect("it was just encoded");
        primary.apply(&entry).expect("a log begins with its secret");
        let mut course = Course { trial, primary, tail, standby, log: Vec::new(), now_ms: 1, asked: BTreeMap::new() };
        course.primary.lead(log, course.now(), 1);
        course.follow();
        course
    }

    pub(super) fn now(&self) -> Now {
        Now { ttl_ms: self.now_ms, wall_ms: 0 }
    }

    pub(super) fn call<'c>(&self, client: ClientId, number: u64, tenant: &'c str) -> Call<'c> {
        Call { client, address: None, number, answered_below: 0, tenant, now: self.now() }
    }

    /// The standby takes what the log has, and is then what its primary is.
    pub(super) fn follow(&mut self) {
        let held = self.standby.applied().seq;
        for frame in self.tail.entries_since(held, usize::MAX, usize::MAX).expect("the log keeps all") {
            let entry = frame.decode().expect("it was encoded here");
            if let Err(why) = self.standby.apply(&entry) {
                panic!("conformance: a standby refuses the valid entry {}: {why}", entry.position());
            }
            self.log.push(entry);
        }
        check(&self.primary, "a primary");
        check(&self.standby, "a standby");
        let (ours, theirs) = (self.standby.digest(), self.primary.digest());
        assert_eq!(ours, theirs, "conformance: a standby that has applied the log is not what its primary is");
    }

    pub(super) fn live(&mut self) {
        let mut numbers = [0_u64; CLIENTS as usize];
        let mut succeeded = false;
        for n in 0..ROUNDS * self.trial.acts.len() {
            let round = n / self.trial.acts.len();
            let which = round % CLIENTS as usize;
            let tenant = TENANTS[round / CLIENTS as usize % TENANTS.len()];
            let client = ClientId([which as u8 + 1; 16]);
            let number = if n % 3 == 2 { 0 } else { numbers[which] + 1 };
            self.now_ms += 1;
            succeeded |= self.act(n % self.trial.acts.len(), n as u64, client, number, tenant);
            numbers[which] = numbers[which].max(number);
            if n % 10 == 9 {
                self.operate(n as u64);
            }
            self.follow();
        }
        assert!(succeeded, "conformance: no call of the trial changes anything");
    }

    /// Tells whether the log went on.
    fn act(&mut self, act: usize, n: u64, client: ClientId, number: u64, tenant: &'static str) -> bool {
        let call = self.call(client, number, tenant);
        let before = self.primary.applied();
        let answer = match self.trial.acts[act](&self.primary, &call, n) {
            Ok(answer) => answer,
            Err(why) => panic!("conformance: call {n} is refused as a whole: {why}"),
        };
        let after = self.primary.applied();
        assert!(answer.position <= after, "conformance: call {n} is answered for an entry to come");
        if number != 0 {
            let again = self.trial.acts[act](&self.primary, &call, n).map(|answer| answer.results);
            assert_eq!(
                again.as_ref(),
                Ok(&answer.results),
                "conformance: call {n} is answered otherwise when repeated"
            );
            assert_eq!(self.primary.applied(), after, "conformance: call {n} runs twice");
            let asked = Asked { act, n, client, number, tenant, answer: answer.results };
            self.asked.insert((client, number), asked);
        }
        after > before
    }

    /// What operators and the member itself do meanwhile.
    fn operate(&self, n: u64) {
        let done = || -> Result<(), CallRefused> {
            let name = format!("quota {n}");
            self.primary.set_tenant_quota(&name, 1 << 30, self.now())?;
            let call = self.call(ClientId([99; 16]), n, "");
            let deleted = self.primary.delete_tenant(&call, &name)?;
            assert_eq!(deleted.results, [Ok(())], "conformance: an empty tenant stays");
            let (setting, value) = ("tombstones_max", (1000 + n).to_string());
            self.primary.set_settings(&[(setting, &value)], self.now())?;
            let digests = self.primary.log_digests(self.now())?;
            assert_eq!(digests.shards.len(), self.primary.shards() as usize);
            self.primary.step(self.now()).map(drop)
        };
        if let Err(why) = done() {
            panic!("conformance: an operator is refused: {why}");
        }
    }

    /// All clients are silent from now on. In steps they end, and all that hangs on them.
    pub(super) fn end(&mut self) {
        let (mut steps, mut waits) = (0, 0);
        loop {
            let done = self.primary.step(self.now());
            let done = done.unwrap_or_else(|why| panic!("conformance: a step is refused: {why}"));
            self.follow();
            if self.primary.ledger().write().accounts.clients.iter().next().is_none() {
                return;
            }
            steps += 1;
            if !done.more {
                waits += 1;
                let in_force = self.primary.ledger().write().in_force();
                self.now_ms += in_force.kept().promised_for_ms();
            }
            let goes_on = steps < STEPS_MAX && waits < WAITS_MAX;
            assert!(goes_on, "conformance: clients are still there after {steps} steps and {waits} waits");
        }
    }

    /// A state that has applied so much of the log.
    pub(super) fn replayed(&self, entries: usize) -> State<D> {
        let state = (self.trial.empty)();
        self.log[..entries].iter().for_each(|entry| state.apply(entry).expect("the standby took it"));
        state
    }
}

pub(super) fn check<D: Domain>(state: &State<D>, what: &str) {
    if let Err(why) = state.check() {
        panic!("conformance: {what} at {} keeps twice what differs: {why}", state.applied());
    }
}
