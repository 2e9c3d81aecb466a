//! A cluster, its clients, its network and its coordinator, one millisecond at a time. A run is a
//! function of its seed.
//!
//! First chaos, in which only safety is required. Then the faults end, and within a bounded time
//! there must be one primary with every member in its set, every client must be answered, and all
//! states must be the same.

use election::{Event, Incarnation, MemberId};

use crate::checks::{Checks, healed};
use crate::client::Client;
use crate::coordinator::{Answer, Coordinator};
use crate::cx::Cx;
use crate::history::History;
use crate::member::{Rates, SimMember};
use crate::net::{Body, Delivery, End, Letter, Net};
use crate::options::Options;
use crate::outsider::Outsider;
use crate::rng::Rng;
use crate::tally::Tally;

/// Answers that each client must get after the cluster is whole.
const ANSWERS_MIN: u64 = 3;

/// What a run did, for display and for comparing two runs of one seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    pub seed: u64,
    pub members: usize,
    pub healed_after_ms: u64,
    pub tally: Tally,
    /// A hash of everything that happened, in order.
    pub trace: u64,
}

#[derive(Debug)]
pub struct World {
    seed: u64,
    pub(crate) cx: Cx,
    pub(crate) members: Vec<SimMember>,
    pub(crate) outsider: Outsider,
    clients: Vec<Client>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let options = Options::draw(&mut rng);
        let mut cx = Cx {
            now: 0,
            rng,
            net: Net::default(),
            coordinator: Coordinator::default(),
            history: History::default(),
            checks: Checks::default(),
            tally: Tally::default(),
            chaos: true,
            void: false,
            rests: false,
            loud: false,
            trace: 0,
            options,
        };
        let members = (0..cx.options.members as u64)
            .map(|at| {
                let me = Incarnation { member: MemberId(at), number: 1 };
                let rate = 1000 - cx.options.clock_rate + cx.rng.below(2 * cx.options.clock_rate + 1);
                let offset = 1_000 + cx.rng.below(1_000_000);
                let slew = cx.options.slews[at as usize];
                SimMember::new(&cx, me, Rates { rate, slew, slewed_until: u64::MAX, offset, slept_ms: 0 })
            })
            .collect();
        let clients = (0..cx.options.clients).map(|at| Client::new(at, &cx.options)).collect();
        World { seed, cx, members, outsider: Outsider::default(), clients }
    }

    /// Prints on stderr what happens.
    pub fn loud(mut self) -> World {
        self.cx.loud = true;
        self
    }

    /// What may go wrong in this run.
    pub fn options(&self) -> String {
        format!("{:?}", self.cx.options)
    }

    /// Panics when a promise is broken.
    pub fn run(mut self) -> Summary {
        while self.cx.now < self.cx.options.chaos_ms && !self.cx.void {
            self.break_something();
            self.tick(true);
        }
        self.cx.chaos = false;
        self.heal();
        let healed_from = self.cx.now;
        self.go_on_until(healed_from, World::is_whole);
        let healed_after_ms = self.cx.now - healed_from;
        self.clients.iter_mut().for_each(|client| client.answered = 0);
        self.go_on_until(healed_from, |world| world.clients.iter().all(|client| client.answered >= ANSWERS_MIN));
        self.come_to_rest(healed_from);
        let mut tally = self.cx.tally;
        tally.replaced_in_place += self.cx.checks.no_overlap.in_place;
        tally.tasks_assigned = self.cx.checks.assigned_once.count() as u64;
        tally.void = u64::from(self.cx.void);
        Summary { seed: self.seed, members: self.members.len(), healed_after_ms, tally, trace: self.cx.trace }
    }

    fn go_on_until(&mut self, since: u64, is_so: impl Fn(&World) -> bool) {
        while !is_so(self) && !self.cx.void {
            healed::check_time(self.cx.now - since, || self.describe());
            self.tick(!self.cx.rests);
        }
    }

    /// No client asks any more: all members come to the same position, and are the same.
    fn come_to_rest(&mut self, since: u64) {
        // Changes without an entry are found and repaired.
        self.go_on_until(since, |world| !world.members.iter().any(|member| member.tainted));
        self.cx.rests = true;
        let is_at_rest =
            |world: &World| world.is_whole() && world.clients.iter().all(Client::is_idle) && world.is_level();
        self.go_on_until(since, is_at_rest);
        if !self.cx.void {
            self.compare();
        }
    }

    fn is_level(&self) -> bool {
        let mut positions = self.members.iter().map(SimMember::positions);
        let Some(Some((last, _))) = positions.next() else { return false };
        self.members.iter().all(|member| member.positions() == Some((last, last)))
    }

    fn compare(&self) {
        let primary = self.members.iter().find(|member| member.election().leads().is_some());
        let Some(primary) = primary.and_then(SimMember::state) else { return };
        for member in &self.members {
            if let Some(state) = member.state() {
                healed::check_same(primary, member.me, state);
            }
        }
    }

    fn describe(&self) -> String {
        let members = self.members.iter().map(SimMember::describe).collect::<String>();
        format!("{:?}{members}\n{:?}", self.cx.coordinator.record(), self.clients)
    }

    fn is_whole(&self) -> bool {
        let Some(known) = self.cx.coordinator.record().filter(|_| self.cx.coordinator.lost_since().is_none()) else {
            return false;
        };
        let leads = |member: &&SimMember| member.election().leads() == Some(known.record.epoch);
        self.members.iter().all(|member| member.up && known.record.insync.contains(&member.me))
            && self.members.iter().filter(leads).count() == 1
    }

    fn tick(&mut self, clients_go_on: bool) {
        self.cx.now += 1;
        self.recover();
        self.deliver();
        for at in 0..self.members.len() {
            let now = self.cx.now;
            if !self.members[at].up && now >= self.members[at].restart_at {
                self.members[at].restart(&self.cx);
            }
            let ends = self.members[at].up && self.members[at].stops_at.is_some_and(|stops_at| now >= stops_at);
            if ends && self.may_lose(at) {
                self.crash(at);
            } else if ends && !self.cx.chaos && self.cx.coordinator.lost_since().is_some() {
                // The last member that holds everything was told to end, and the record is lost:
                // this cannot be recovered.
                self.cx.void = true;
            }
            if self.members[at].runs(now) {
                self.members[at].tick(&mut self.cx);
            } else if self.cx.options.suspends {
                self.members[at].sleep();
            }
        }
        for client in &mut self.clients {
            client.tick(&mut self.cx, clients_go_on);
        }
    }

    fn deliver(&mut self) {
        while let Some(delivery) = self.cx.net.next(self.cx.now) {
            match delivery {
                Delivery::Letter(letter) => self.on_letter(letter),
                Delivery::ToCoordinator { from, asker, request, lose_answer } => {
                    self.cx.on_asked(from, asker, &request, lose_answer);
                }
                Delivery::FromCoordinator { to, asker, answer } => self.on_answer(to, asker, answer),
            }
        }
    }

    fn on_letter(&mut self, letter: Letter) {
        match (letter.to, letter.body) {
            (End::Client(at), Body::Reply(reply)) => {
                self.clients[at].on_reply(&mut self.cx, letter.stream, reply);
            }
            (End::Client(_), _) => {}
            (End::Outsider, body) => {
                self.outsider.on_letter(&mut self.cx, Letter { body, ..letter });
            }
            (End::Member(at), body) if !self.members[at].up => {
                let (primary, letter) = (self.members[at].me, Letter { body, ..letter });
                self.outsider.poses_as(&mut self.cx, primary, letter);
            }
            (End::Member(at), body) => {
                if let Body::Proof(proof) = &body {
                    self.outsider.overhears(proof);
                }
                let letter = Letter { body, ..letter };
                let member = &mut self.members[at];
                if member.runs(self.cx.now) && member.inbox.is_empty() {
                    member.on_letter(&mut self.cx, letter);
                } else if member.up {
                    member.inbox.push_back(letter);
                }
            }
        }
    }

    fn on_answer(&mut self, to: usize, asker: Incarnation, answer: Option<Answer>) {
        let now = self.cx.now;
        if self.members[to].me != asker || !self.members[to].up {
            return;
        }
        if !self.members[to].runs(now) {
            let later = self.members[to].paused_until;
            return self.cx.net.put(later, Delivery::FromCoordinator { to, asker, answer });
        }
        if let Some(Answer::Members(shown)) = answer {
            return self.members[to].learn(now, shown);
        }
        let event = match answer {
            Some(Answer::Read(looked)) => {
                // Members that are found to have ended, mostly.
                let up: Vec<Incarnation> = self.members.iter().filter(|one| one.up).map(|one| one.me).collect();
                let ended = |cx: &mut Cx, who| {
                    let proofs = cx.options.proofs;
                    !up.contains(&who) && proofs > 0 && (!cx.chaos || cx.rng.per_mille(proofs))
                };
                return self.members[to].on_looked(&mut self.cx, looked, ended);
            }
            Some(Answer::Swapped(revision)) => Event::Swapped(revision),
            Some(Answer::SwapRefused) => Event::SwapRefused,
            Some(Answer::Members(_)) | None => Event::NoAnswer,
        };
        self.members[to].happen(&mut self.cx, event);
    }
}
