//! A cluster, its network and its coordinator, one millisecond at a time. A run is a function of its seed.
//!
//! First chaos, in which only safety is asked for; then the faults end, and within a bounded time there must be one
//! primary with every member in its set.

use std::collections::BTreeMap;

use election::{Action, ConfigRecord, Event, Incarnation, MemberId, Timing};

use crate::checks::Checks;
use crate::coordinator::{Answer, Coordinator, Request};
use crate::member::{Entry, Message, SimMember};
use crate::options::Options;
use crate::rng::Rng;

/// After the last fault, everybody must be in sync again within this.
const HEAL_MS_MAX: u64 = 20_000;

#[derive(Debug)]
enum Delivery {
    Message { to: usize, message: Message },
    ToCoordinator { from: usize, asker: Incarnation, request: Request, lose_answer: bool },
    FromCoordinator { to: usize, asker: Incarnation, answer: Option<Answer> },
}

/// What a run did, for people and for comparing two runs of one seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    pub seed: u64,
    pub members: usize,
    pub epochs: u64,
    pub takeovers: u64,
    /// Epochs that began with nothing, since everybody was lost.
    pub rebirths: u64,
    pub transfers: u64,
    pub acknowledgements: u64,
    pub reads: u64,
    pub healed_after_ms: u64,
    /// Of everything that happened, in order.
    pub trace: u64,
}

#[derive(Debug)]
pub struct World {
    seed: u64,
    now: u64,
    rng: Rng,
    options: Options,
    timing: Timing,
    members: Vec<SimMember>,
    coordinator: Coordinator,
    /// By time, then by the order of sending.
    deliveries: BTreeMap<(u64, u64), Delivery>,
    sent: u64,
    cut_until: BTreeMap<(usize, usize), u64>,
    checks: Checks,
    values: u64,
    transfers: u64,
    trace: u64,
    chaos: bool,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let options = Options::draw(&mut rng);
        let timing = Timing::default();
        let members = (0..options.members)
            .map(|at| {
                let me = Incarnation { member: MemberId(at as u64), number: 1 };
                let rate = 1000 - options.clock_rate + rng.below(2 * options.clock_rate + 1);
                SimMember::new(me, timing, 0, rate, 1_000 + rng.below(1_000_000))
            })
            .collect();
        World {
            seed,
            now: 0,
            rng,
            options,
            timing,
            members,
            coordinator: Coordinator::default(),
            deliveries: BTreeMap::new(),
            sent: 0,
            cut_until: BTreeMap::new(),
            checks: Checks::default(),
            values: 0,
            transfers: 0,
            trace: 0,
            chaos: true,
        }
    }

    /// Panics where a promise is broken.
    pub fn run(mut self) -> Summary {
        while self.now < self.options.chaos_ms {
            self.break_something();
            self.tick();
        }
        self.chaos = false;
        self.heal();
        let healed_from = self.now;
        while !self.is_whole() {
            let waited = self.now - healed_from;
            assert!(waited < HEAL_MS_MAX, "not whole {waited} ms after the last fault: {}", self.describe());
            self.tick();
        }
        Summary {
            seed: self.seed,
            members: self.members.len(),
            epochs: self.coordinator.record().map_or(0, |known| known.record.epoch),
            takeovers: self.checks.takeovers,
            rebirths: self.checks.rebirths,
            transfers: self.transfers,
            acknowledgements: self.checks.acknowledgements,
            reads: self.checks.reads,
            healed_after_ms: self.now - healed_from,
            trace: self.trace,
        }
    }

    fn describe(&self) -> String {
        let members = self.members.iter().map(|member| format!("\n  up {} {:?}", member.up, member.core));
        format!("{:?}{}", self.coordinator.record(), members.collect::<String>())
    }

    fn break_something(&mut self) {
        let Options { crash, pause, cut_link, coordinator_down, transfer, .. } = self.options;
        let count = self.members.len() as u64;
        if self.rng.per_mille(coordinator_down) {
            self.coordinator.down_until = self.now + self.rng.below(2_000);
        }
        if self.rng.per_mille(pause) {
            let at = self.rng.below(count) as usize;
            self.members[at].paused_until = self.now + self.rng.below(1_500);
        }
        if self.rng.per_mille(cut_link) {
            let (from, to) = (self.rng.below(count) as usize, self.rng.below(count) as usize);
            self.cut_until.insert((from, to), self.now + self.rng.below(2_000));
        }
        if self.rng.per_mille(self.options.stop) {
            let at = self.rng.below(count) as usize;
            if self.members[at].runs(self.now) && self.may_lose(at) {
                self.stop(at);
            }
        }
        if self.rng.per_mille(self.options.unsound) {
            let at = self.rng.below(count) as usize;
            let member = &self.members[at];
            // Of a claim that is under way nobody can say any more that it is not to be.
            let may_turn = member.core.leads().is_none() && !member.core.claims() && !member.log.is_empty();
            if member.runs(self.now) && may_turn {
                self.members[at].unsound_until = self.now + self.rng.below(1_000);
                self.set_sound(at, false);
            }
        }
        if self.rng.per_mille(self.options.break_stream) {
            self.break_stream();
        }
        if self.rng.per_mille(transfer) {
            let at = self.rng.below(count) as usize;
            self.transfer(at);
        }
        if self.rng.per_mille(crash) {
            let at = self.rng.below(count) as usize;
            self.try_crash(at);
        }
    }

    fn try_crash(&mut self, at: usize) {
        if self.may_lose(at) {
            self.members[at].up = false;
            self.members[at].restart_at = self.now + self.rng.below(1_000);
        }
    }

    /// As a process that is asked to end does: a primary leaves its place to somebody of the set, and claims nothing more.
    fn stop(&mut self, at: usize) {
        if let Some(epoch) = self.members[at].core.leads() {
            let insync = self.members[at].core.record().map(|known| known.record.insync.clone()).unwrap_or_default();
            let is_heir =
                |to: &usize| *to != at && insync.contains(&self.members[*to].me) && self.stays(self.members[*to].me);
            if let Some(to) = (0..self.members.len()).find(is_heir) {
                self.happen(at, Event::Resign);
                self.send_message(at, to, Message::Resigned { epoch });
            }
        }
        self.happen(at, Event::Retire);
        let member = &mut self.members[at];
        member.retired = member.core.leads().is_none() && !member.core.claims();
        member.stops_at = Some(self.now + self.rng.below(1_500));
    }

    fn set_sound(&mut self, at: usize, sound: bool) {
        self.members[at].sound = sound;
        self.happen(at, Event::Sound(sound));
    }

    /// To any other member, in the set or not, whatever it lacks: at worst it does not happen.
    fn transfer(&mut self, at: usize) {
        if let Some(epoch) = self.members[at].core.leads()
            && self.members[at].runs(self.now)
        {
            self.transfers += 1;
            self.happen(at, Event::Resign);
            let to = self.rng.below(self.members.len() as u64) as usize;
            self.send_message(at, to, Message::Resigned { epoch });
        }
    }

    /// Memory is all that members have: the last one that holds the acknowledged writes must not lose it, or nobody may
    /// ever serve again. One of the set stays up, and is not about to end, also of a set that
    /// a swap on its way may make.
    fn may_lose(&self, at: usize) -> bool {
        if self.options.lose_all {
            return true;
        }
        let Some(known) = self.coordinator.record() else { return false };
        let me = self.members[at].me;
        let on_their_way = self.deliveries.values().filter_map(|delivery| match delivery {
            Delivery::ToCoordinator { request: Request::Swap { to, .. }, .. } => Some(to),
            _ => None,
        });
        std::iter::once(&known.record)
            .chain(on_their_way)
            .all(|record| record.insync.iter().any(|who| *who != me && self.stays(*who)))
    }

    fn stays(&self, who: Incarnation) -> bool {
        // One that is not sound may never be, and then nobody can take over from it.
        self.members.iter().any(|member| member.up && member.me == who && member.stops_at.is_none() && member.sound)
    }

    fn is_up(&self, who: Incarnation) -> bool {
        self.members.iter().any(|member| member.up && member.me == who)
    }

    fn heal(&mut self) {
        self.coordinator.down_until = 0;
        self.cut_until.clear();
        for member in &mut self.members {
            member.paused_until = 0;
            member.restart_at = member.restart_at.min(self.now);
        }
    }

    fn is_whole(&self) -> bool {
        let Some(known) = self.coordinator.record() else { return false };
        let leads = |member: &SimMember| member.core.leads() == Some(known.record.epoch);
        self.members.iter().all(|member| member.up && known.record.insync.contains(&member.me))
            && self.members.iter().filter(|member| leads(member)).count() == 1
    }

    fn tick(&mut self) {
        self.now += 1;
        self.deliver();
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if !member.up && self.now >= member.restart_at {
                member.restart(self.timing, self.now);
            }
            if self.members[at].up && self.members[at].stops_at.is_some_and(|stops_at| self.now >= stops_at) {
                self.try_crash(at);
            }
            if self.members[at].runs(self.now) {
                if !self.members[at].sound && self.now >= self.members[at].unsound_until {
                    self.set_sound(at, true);
                }
                self.happen(at, Event::Tick);
                self.lead(at);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.deliveries.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Delivery::Message { to, message } => self.on_message(to, message),
                Delivery::ToCoordinator { from, asker, request, lose_answer } => {
                    let away = self.now < self.coordinator.down_until;
                    let answer = (!away).then(|| self.coordinator.handle(&request)).filter(|_| !lose_answer);
                    // No answer is noticed only after a while.
                    let delay = if answer.is_some() { self.delay() } else { 200 };
                    self.send(delay, Delivery::FromCoordinator { to: from, asker, answer });
                }
                Delivery::FromCoordinator { to, asker, answer } => {
                    if self.members[to].me != asker || !self.members[to].up {
                        continue;
                    }
                    if !self.members[to].runs(self.now) {
                        let later = self.members[to].paused_until - self.now;
                        self.send(later, Delivery::FromCoordinator { to, asker, answer });
                        continue;
                    }
                    if let Some(Answer::Read(Some(known))) = &answer {
                        self.look_for_proofs(to, &known.record.clone());
                    }
                    let event = match answer {
                        Some(Answer::Read(record)) => Event::Read(record),
                        Some(Answer::Swapped(revision)) => Event::Swapped(revision),
                        Some(Answer::SwapRefused) => Event::SwapRefused,
                        None => Event::NoAnswer,
                    };
                    self.happen(to, event);
                }
            }
        }
    }

    /// Whoever has read the record looks which of its members have ended.
    fn look_for_proofs(&mut self, at: usize, record: &ConfigRecord) {
        let ended: Vec<Incarnation> = record.insync.iter().copied().filter(|who| !self.is_up(*who)).collect();
        for who in ended {
            if self.options.proofs > 0 && (!self.chaos || self.rng.per_mille(self.options.proofs)) {
                self.happen(at, Event::ProvenDead(who));
            }
        }
    }

    fn delay(&mut self) -> u64 {
        1 + self.rng.below(self.options.delay_ms_max)
    }

    fn send(&mut self, delay: u64, delivery: Delivery) {
        self.sent += 1;
        self.deliveries.insert((self.now + delay, self.sent), delivery);
    }

    /// Whoever has a stream to it may hear that it broke, if it did, or if only the network did.
    fn break_stream(&mut self) {
        let count = self.members.len() as u64;
        let (at, of) = (self.rng.below(count) as usize, self.rng.below(count) as usize);
        let who = self.members[of].me;
        if at != of && self.members[at].runs(self.now) {
            match self.members[at].core.leads() {
                Some(epoch) => self.happen(at, Event::PeerGone { who, epoch }),
                None => self.happen(at, Event::StreamBroken),
            }
        }
    }

    fn send_message(&mut self, from: usize, to: usize, message: Message) {
        let cut = self.cut_until.get(&(from, to)).is_some_and(|until| self.now < *until);
        if cut || (self.chaos && self.rng.per_mille(self.options.lose_message)) {
            return;
        }
        let delay = self.delay();
        self.send(delay, Delivery::Message { to, message });
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(7) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn happen(&mut self, at: usize, event: Event) {
        let clock = self.members[at].clock(self.now);
        let mut actions = Vec::new();
        self.members[at].core.on_event(event, clock, &mut actions);
        for action in actions {
            self.note(self.now << 8 | at as u64);
            self.act(at, action);
        }
    }

    fn act(&mut self, at: usize, action: Action) {
        match action {
            Action::Read => self.ask(at, Request::Read),
            Action::Swap { expect, to } => self.ask(at, Request::Swap { expect, to }),
            Action::Follow { .. } | Action::Answer { .. } => {}
            Action::Lead { epoch } => {
                let member = &mut self.members[at];
                assert!(!member.retired, "member {at} leads epoch {epoch} though it was told that it ends");
                assert!(member.sound, "member {at} leads epoch {epoch} with a state that is not sound");
                self.checks.leads(at, &member.log);
                member.pending.clear();
                member.next.clear();
                member.committed = member.log.len() as u64;
                self.append(at, epoch);
            }
            Action::LeadReborn { epoch } => {
                self.checks.reborn();
                let member = &mut self.members[at];
                assert!(!member.retired, "member {at} leads epoch {epoch} though it was told that it ends");
                member.sound = true;
                member.log.clear();
                member.pending.clear();
                member.next.clear();
                member.committed = 0;
                self.append(at, epoch);
            }
            Action::Commit { upto } => {
                let member = &mut self.members[at];
                assert!(upto >= member.committed, "committed goes back from {} to {upto}", member.committed);
                member.committed = upto;
            }
            Action::Depose { .. } => {
                let member = &mut self.members[at];
                member.pending.clear();
                member.committed = 0;
            }
            Action::CoordinatorLostData { held, found } => {
                panic!("the coordinator never loses data here: epoch {held} held, {found} found")
            }
        }
    }

    fn ask(&mut self, at: usize, request: Request) {
        let unsure = self.chaos && self.rng.per_mille(self.options.coordinator_unsure);
        // An answer that is lost, of a request that may still be on its way when the asker has long given up.
        let delay = if unsure { self.rng.below(600) } else { self.delay() };
        let asker = self.members[at].me;
        if unsure {
            self.send(200, Delivery::FromCoordinator { to: at, asker, answer: None });
            self.send_silent(delay, at, asker, request);
        } else {
            self.send(delay, Delivery::ToCoordinator { from: at, asker, request, lose_answer: false });
        }
    }

    /// The request happens; its asker hears nothing of it.
    fn send_silent(&mut self, delay: u64, at: usize, asker: Incarnation, request: Request) {
        if self.rng.below(2) == 0 {
            // Nobody's answer: as if the asker were another one by now.
            let nobody = Incarnation { number: u64::MAX, ..asker };
            self.send(delay, Delivery::ToCoordinator { from: at, asker: nobody, request, lose_answer: true });
        }
    }

    fn append(&mut self, at: usize, epoch: u64) {
        self.values += 1;
        let member = &mut self.members[at];
        member.log.push(Entry { epoch, value: self.values });
        let seq = member.log.len() as u64;
        member.pending.insert(seq, self.values);
        self.happen(at, Event::Appended(seq));
    }

    /// What a primary does by itself: takes a write, sends, acknowledges and reads while it may.
    fn lead(&mut self, at: usize) {
        let Some(epoch) = self.members[at].core.leads() else { return };
        if self.rng.below(10) == 0 {
            self.append(at, epoch);
        }
        self.send_entries(at, epoch);
        let clock = self.members[at].clock(self.now);
        if !self.members[at].core.may_answer(clock) {
            return;
        }
        let member = &mut self.members[at];
        let later = member.pending.split_off(&(member.committed + 1));
        for (seq, value) in std::mem::replace(&mut member.pending, later) {
            let entry = member.log[seq as usize - 1];
            assert_eq!(entry.value, value, "the primary's own log changed at {seq}");
            self.checks.acknowledge(at, epoch, seq, entry);
        }
        self.checks.read(at, epoch, &member.log, member.committed);
    }

    fn send_entries(&mut self, at: usize, epoch: u64) {
        if self.now < self.members[at].sent_at + self.timing.beacon_ms / 5 {
            return;
        }
        self.members[at].sent_at = self.now;
        let (me, sent_ms) = (self.members[at].me, self.members[at].clock(self.now));
        for to in (0..self.members.len()).filter(|to| *to != at) {
            let (before, entries) = self.members[at].batch_for(MemberId(to as u64));
            self.send_message(at, to, Message::Entries { from: me, epoch, sent_ms, before, entries });
        }
    }

    fn on_message(&mut self, to: usize, message: Message) {
        if !self.members[to].up {
            return;
        }
        if !self.members[to].runs(self.now) {
            let later = self.members[to].paused_until - self.now;
            return self.send(later, Delivery::Message { to, message });
        }
        match message {
            Message::Entries { from, epoch, sent_ms, before, entries } => {
                let clock = self.members[to].clock(self.now);
                let mut actions = Vec::new();
                // What it holds first: the answer speaks of it.
                let answers = self.members[to].core.would_answer(epoch);
                let held = if answers { self.members[to].take(before, &entries) } else { return };
                let log = self.members[to].log.len() as u64;
                self.members[to].core.on_event(Event::Held(log), clock, &mut actions);
                self.members[to].core.on_event(Event::Heard { from, epoch, sent_ms }, clock, &mut actions);
                for action in actions {
                    if let Action::Answer { epoch, echo_ms } = action {
                        let (received, asks_from) = (held.unwrap_or(0), held.unwrap_or_else(|have| have));
                        let from_me = self.members[to].me;
                        let sound = self.members[to].sound;
                        let reply = Message::Holds { from: from_me, epoch, received, echo_ms, asks_from, sound };
                        self.send_message(to, from.member.0 as usize, reply);
                    } else {
                        self.act(to, action);
                    }
                }
            }
            Message::Resigned { epoch } => self.happen(to, Event::Resigned { epoch }),
            Message::Holds { from, epoch, received, echo_ms, asks_from, sound } => {
                if self.members[to].core.leads() == Some(epoch) {
                    self.members[to].next.insert(from.member, asks_from);
                    self.happen(to, Event::Answered { from, epoch, received, echo_ms, sound });
                }
            }
        }
    }
}
