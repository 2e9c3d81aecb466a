//! What a standby does about its doubts: repairs and samples beside the stream, and what the
//! election learns.
//!
//! Invariants: from a finding to its end this member is not sound, and the election learns so
//! before anything else happens; nothing is compared before the primary has welcomed this member,
//! nor during a full sync: until then its state may belong to another history, with other entries
//! at the same seqs.
//!
//! Deliberately absent: what follows from a finding. `verification` decides that.

use std::collections::BTreeSet;

use election::Millis;
use oplog::{MismatchKind, Part, Position};
use proto::v1;
use proto::v1::sample_answer::Result as SampleResult;
use proto::v1::sample_mismatch::Kind;
use verification::{Condition, Event, Rounds, Verifier};

use crate::member::{Action, Member};
use crate::settings::REPAIR_AGAIN_MS;

/// Samples and repairs that are due.
#[derive(Debug)]
pub(crate) struct Doubts {
    /// The shards to repair.
    repair: Option<BTreeSet<u32>>,
    repair_due_ms: Millis,
    rounds: Rounds,
    sample_due_ms: Millis,
}

impl Doubts {
    pub(crate) fn new(rounds: Rounds) -> Doubts {
        Doubts { repair: None, repair_due_ms: 0, rounds, sample_due_ms: 0 }
    }

    /// Runs when a new stream begins.
    pub(crate) fn begin(&mut self, now: Millis, verify_interval_ms: Millis) {
        self.sample_due_ms = now.saturating_add(verify_interval_ms);
    }
}

/// The result of a sample.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sampled {
    pub mismatches: Vec<MismatchKind>,
    pub differs: bool,
}

/// `None`: this member lags too far behind to be compared.
pub(crate) fn read_sample(answer: &v1::SampleAnswer) -> Option<Sampled> {
    let kind = |mismatch: &v1::SampleMismatch| match mismatch.kind() {
        Kind::ChecksumMismatch => MismatchKind::Checksum,
        Kind::KeyNotFound => MismatchKind::KeyNotFound,
        Kind::ExtraKey => MismatchKind::ExtraKey,
    };
    match answer.result() {
        SampleResult::Behind => None,
        SampleResult::Ok => Some(Sampled { mismatches: Vec::new(), differs: false }),
        SampleResult::Mismatch | SampleResult::NeedFullSync => {
            Some(Sampled { mismatches: answer.mismatches.iter().map(kind).collect(), differs: true })
        }
    }
}

impl Member {
    pub fn is_sound(&self) -> bool {
        self.verifier.is_sound()
    }

    pub fn condition(&self) -> Condition {
        self.verifier.condition()
    }

    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The newest position at which this member was the same as its primary.
    pub fn verified(&self) -> Position {
        self.verifier.verified()
    }

    /// A finding, and what is done about it.
    pub fn doubt(&mut self, event: Event, now: Millis) {
        let again = event == Event::NotRepaired;
        let mut actions = Vec::new();
        self.verifier.on_event(event, &mut actions);
        for action in actions {
            match &action {
                verification::Action::Sound(sound) => drop(self.on(election::Event::Sound(*sound), now)),
                verification::Action::Repair { shards } => self.doubts.repair = Some(shards.clone()),
                verification::Action::FullSync => self.doubts.repair = None,
                verification::Action::Alarm { .. } => {}
            }
            self.out.push(Action::Doubt(action));
        }
        if self.verifier.is_sound() {
            self.doubts.repair = None;
        }
        if again {
            self.doubts.repair_due_ms = now.saturating_add(REPAIR_AGAIN_MS);
        }
    }

    /// What this member holds is a part of the primary's history.
    fn is_comparable(&self) -> bool {
        self.ride.is_some() && self.news.is_comparable()
    }

    /// The shards to repair now. Returned once.
    pub(crate) fn take_repair(&mut self, now: Millis) -> Option<BTreeSet<u32>> {
        if !self.is_comparable() || now < self.doubts.repair_due_ms {
            return None;
        }
        self.doubts.repair.take()
    }

    /// The parts to sample now, each with the hash around which to look.
    pub(crate) fn take_samples(&mut self, now: Millis) -> Vec<(Part, u64)> {
        let every_ms = self.settings.verify_interval_ms;
        if every_ms == 0 || !self.is_comparable() || now < self.doubts.sample_due_ms {
            return Vec::new();
        }
        self.doubts.sample_due_ms = now.saturating_add(every_ms);
        self.doubts.rounds.next_round(self.settings.sample_ratio)
    }

    /// Before this, [`Member::take_samples`] and [`Member::take_repair`] return nothing, unless
    /// there is a new finding.
    pub(crate) fn doubts_due_ms(&self) -> Millis {
        let repair_due_ms = self.doubts.repair.as_ref().map_or(Millis::MAX, |_| self.doubts.repair_due_ms);
        let sample_due_ms = if self.settings.verify_interval_ms == 0 { Millis::MAX } else { self.doubts.sample_due_ms };
        repair_due_ms.min(sample_due_ms)
    }
}
