//! What all parts of a run share: time, chance, the network, the coordinator, and the memory of the
//! checks.

use election::Incarnation;
use replication::Nonce;

use crate::checks::Checks;
use crate::coordinator::{Answer, Coordinator, Request};
use crate::history::History;
use crate::net::{Body, Delivery, End, Letter, Net};
use crate::options::Options;
use crate::rng::Rng;
use crate::tally::Tally;

/// When a request to the coordinator is given up.
const ANSWER_WITHIN_MS: u64 = 200;

#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) options: Options,
    pub(crate) net: Net,
    pub(crate) coordinator: Coordinator,
    pub(crate) history: History,
    pub(crate) checks: Checks,
    pub(crate) tally: Tally,
    /// Faults happen.
    pub(crate) chaos: bool,
    /// A member came to lead after its state had been changed without an entry, before any check
    /// could find that.
    pub(crate) void: bool,
    /// Nothing is written any more, so that all members can come to the same position.
    pub(crate) rests: bool,
    /// Prints what happens, to find the cause of a failure.
    pub(crate) loud: bool,
    pub(crate) trace: u64,
}

impl Cx {
    /// Adds to the trace: two runs of a seed add the same.
    pub(crate) fn note(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(7) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.loud {
            eprintln!("{:>6} {}", self.now, what());
        }
    }

    pub(crate) fn delay(&mut self) -> u64 {
        1 + self.rng.below(self.options.delay_ms_max)
    }

    pub(crate) fn sometimes(&mut self, per_mille: u64) -> bool {
        self.chaos && self.rng.per_mille(per_mille)
    }

    /// Over a stream.
    pub(crate) fn send(&mut self, from: usize, to: usize, stream: u64, body: Body) {
        self.send_to(End::Member(from), End::Member(to), stream, body);
    }

    pub(crate) fn send_to(&mut self, from: End, to: End, stream: u64, body: Body) {
        let late = if self.sometimes(self.options.late_message) { self.rng.below(500) } else { 0 };
        let at = self.now + self.delay() + late;
        self.net.put_in_order(at, Letter { from, to, stream, body });
    }

    /// Between a client and a member: it may be lost, or come twice.
    pub(crate) fn post(&mut self, letter: Letter) {
        self.note(letter.stream);
        if self.sometimes(self.options.lose_request) {
            return;
        }
        if self.sometimes(self.options.repeat_request) {
            let at = self.now + self.rng.below(1_500);
            self.net.put(at, Delivery::Letter(letter.clone()));
        }
        let at = self.now + self.delay();
        self.net.put(at, Delivery::Letter(letter));
    }

    pub(crate) fn ask(&mut self, from: usize, asker: Incarnation, request: Request) {
        if self.coordinator.is_cut(from, self.now) {
            let given_up = Delivery::FromCoordinator { to: from, asker, answer: None };
            return self.net.put(self.now + ANSWER_WITHIN_MS, given_up);
        }
        if !self.sometimes(self.options.coordinator_unsure) {
            let at = self.now + 1 + self.rng.below(self.options.coordinator_ms_max);
            return self.net.put(at, Delivery::ToCoordinator { from, asker, request, lose_answer: false });
        }
        // The answer is lost, of a request that may still be on its way when the member has long
        // given up.
        let given_up = Delivery::FromCoordinator { to: from, asker, answer: None };
        self.net.put(self.now + ANSWER_WITHIN_MS, given_up);
        if self.rng.below(2) == 0 {
            let at = self.now + self.rng.below(600);
            // As if the asker were another incarnation by now.
            let nobody = Incarnation { number: u64::MAX, ..asker };
            self.net.put(at, Delivery::ToCoordinator { from, asker: nobody, request, lose_answer: true });
        }
    }

    /// Asks which members are here: beside everything else, and again if no answer comes.
    pub(crate) fn ask_members(&mut self, from: usize, asker: Incarnation) {
        if !self.coordinator.is_cut(from, self.now) {
            let at = self.now + 1 + self.rng.below(self.options.coordinator_ms_max);
            let request = Request::Members;
            self.net.put(at, Delivery::ToCoordinator { from, asker, request, lose_answer: false });
        }
    }

    /// Returns a nonce that is never used twice.
    pub(crate) fn nonce(&mut self) -> Nonce {
        u128::from(self.net.new_stream()).to_be_bytes()
    }

    pub(crate) fn on_asked(&mut self, from: usize, asker: Incarnation, request: &Request, lose_answer: bool) {
        let away = self.now < self.coordinator.down_until;
        if away && matches!(request, Request::Members) {
            return;
        }
        let answer = (!away).then(|| self.handle(asker, request)).filter(|_| !lose_answer);
        // A missing answer is noticed only after a while.
        let delay = match answer {
            Some(_) => 1 + self.rng.below(self.options.coordinator_ms_max),
            None => ANSWER_WITHIN_MS,
        };
        self.net.put(self.now + delay, Delivery::FromCoordinator { to: from, asker, answer });
    }

    fn handle(&mut self, asker: Incarnation, request: &Request) -> Answer {
        let epoch = |coordinator: &Coordinator| coordinator.record().map_or(0, |known| known.record.epoch);
        let before = epoch(&self.coordinator);
        let answer = self.coordinator.handle(request, self.now);
        if let Request::Swap { expect, to } = request {
            let expect = expect.as_ref().map(|known| (known.record.epoch, known.record.version));
            self.say(|| format!("coordinator: {asker:?} {expect:?} to {to:?}: {answer:?}"));
            if epoch(&self.coordinator) > before {
                self.checks.births.begins(to.epoch, to.born);
            }
        }
        answer
    }
}
