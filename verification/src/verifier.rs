//! A standby's doubts about itself: what follows from each finding.
//!
//! ```text
//!            ┌──────── repaired, or the digests agree again ────────┐
//!            ▼                                                      │
//!          Sound ──a digest, a sample or the scrub differs──► Diverged ──too much, or it broke off──► Lost
//!            ▲                                                                                         │
//!            └───────────────────────────────── a full sync is whole ──────────────────────────────────┘
//! ```
//!
//! Invariants: from a finding until it is settled the member is not sound, and says so; there is
//! one repair at a time; a shard in which the primary is the suspect is not repaired any more in
//! this epoch, until an operator has looked.

use std::collections::BTreeSet;

use oplog::{Difference, Position};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// If more shards than this differ, a full sync replaces the repair.
    pub shards_max: usize,
    /// After this many failed repairs a full sync follows.
    pub tries_max: u32,
    /// The shard that holds what follows from others.
    pub whole_shard: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The primary's digests from its log, compared with this member's own at the same seq.
    Compared { at: Position, difference: Difference },
    /// Records of this shard differ from the primary's.
    SampleDiffers { shard: u32 },
    /// This member's own records of this shard do not match its digest.
    Rotten { shard: u32 },
    /// An entry did not fit, or a repair failed half-way: the state cannot be used any more.
    Broken,
    /// A repair is done. `remaining`: what still differs right after it, at the same seq.
    Repaired { at: Position, records: usize, remaining: Difference },
    /// In these shards the primary's records do not match its digests. In those `agreed`, this
    /// member has what the primary's digests say.
    PrimaryRotten { shards: Vec<u32>, agreed: Vec<u32> },
    /// More records differ than are repaired one by one.
    TooMany,
    /// The repair failed, and may work the next time.
    NotRepaired,
    /// The whole state was replaced, and was checked on arrival.
    Synced,
    /// A new stream to the primary began: a repair that was under way has ended with the old one,
    /// whatever its result.
    StreamBegins,
    /// Another member leads, or this one: nothing said about the previous primary counts any more.
    EpochBegins,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// For the election: whether this member may be promoted.
    Sound(bool),
    Repair {
        shards: BTreeSet<u32>,
    },
    FullSync,
    /// This standby and the primary's own digests agree against the primary's records. An operator
    /// must decide.
    Alarm {
        shards: Vec<u32>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    Sound,
    Diverged,
    /// Nothing in the state is trusted.
    Lost,
}

#[derive(Clone, Debug)]
pub struct Verifier {
    limits: Limits,
    condition: Condition,
    /// Shards to be repaired.
    suspects: BTreeSet<u32>,
    /// Those suspects that only the records show, and not the digests.
    under: BTreeSet<u32>,
    repairing: bool,
    tries: u32,
    /// Shards in which the primary is the suspect.
    left_alone: BTreeSet<u32>,
    verified: Position,
}

impl Verifier {
    pub fn new(limits: Limits) -> Verifier {
        Verifier {
            limits,
            condition: Condition::Sound,
            suspects: BTreeSet::new(),
            under: BTreeSet::new(),
            repairing: false,
            tries: 0,
            left_alone: BTreeSet::new(),
            verified: Position::default(),
        }
    }

    pub fn condition(&self) -> Condition {
        self.condition
    }

    pub fn is_sound(&self) -> bool {
        self.condition == Condition::Sound
    }

    /// The newest position at which everything agreed.
    pub fn verified(&self) -> Position {
        self.verified
    }

    pub fn suspects(&self) -> &BTreeSet<u32> {
        &self.suspects
    }

    /// Shards in which the primary is the suspect.
    pub fn left_alone(&self) -> &BTreeSet<u32> {
        &self.left_alone
    }

    pub fn on_event(&mut self, event: Event, out: &mut Vec<Action>) {
        if self.condition == Condition::Lost && !matches!(event, Event::Synced | Event::EpochBegins) {
            return;
        }
        match event {
            Event::Compared { at, difference } => self.on_compared(at, difference, out),
            Event::SampleDiffers { shard } | Event::Rotten { shard } => {
                if !self.left_alone.contains(&shard) {
                    self.under.insert(shard);
                    self.suspects.insert(shard);
                }
                self.settle(out);
            }
            Event::Repaired { at, records: _, remaining } => {
                self.repairing = false;
                self.suspects.clear();
                self.under.clear();
                match remaining.is_empty() {
                    true => self.tries = 0,
                    false => self.tries += 1,
                }
                self.on_compared(at, remaining, out);
            }
            Event::PrimaryRotten { shards, agreed } => {
                self.repairing = false;
                let new: Vec<u32> = shards.iter().copied().filter(|shard| self.left_alone.insert(*shard)).collect();
                for shard in &shards {
                    self.under.remove(shard);
                    // This member is whole in the agreed shards.
                    if agreed.contains(shard) {
                        self.suspects.remove(shard);
                    }
                }
                if !new.is_empty() {
                    out.push(Action::Alarm { shards: new });
                }
                self.settle(out);
            }
            Event::NotRepaired => {
                self.repairing = false;
                self.tries += 1;
                self.settle(out);
            }
            Event::TooMany | Event::Broken => self.lose(out),
            Event::Synced => {
                *self = Verifier { left_alone: std::mem::take(&mut self.left_alone), ..Verifier::new(self.limits) };
                out.push(Action::Sound(true));
            }
            Event::StreamBegins => {
                self.repairing = false;
                self.settle(out);
            }
            Event::EpochBegins => {
                self.left_alone.clear();
                self.repairing = false;
            }
        }
    }

    fn on_compared(&mut self, at: Position, difference: Difference, out: &mut Vec<Action>) {
        let differs: BTreeSet<u32> = difference
            .shards
            .into_iter()
            .chain(difference.implied.then_some(self.limits.whole_shard))
            .filter(|shard| !self.left_alone.contains(shard))
            .collect();
        // What the digests have shown and no longer show has been settled by the log itself.
        self.suspects = differs.union(&self.under).copied().collect();
        if self.suspects.is_empty() {
            self.verified = self.verified.max(at);
        }
        self.settle(out);
    }

    fn settle(&mut self, out: &mut Vec<Action>) {
        // A shard that is left alone and differs is not repaired, but the member is still not the
        // same.
        let was = self.condition;
        self.condition = if self.suspects.is_empty() { Condition::Sound } else { Condition::Diverged };
        if was != self.condition {
            out.push(Action::Sound(self.condition == Condition::Sound));
        }
        let repairable: BTreeSet<u32> = self.suspects.difference(&self.left_alone).copied().collect();
        if repairable.is_empty() || self.repairing {
            return;
        }
        if repairable.len() > self.limits.shards_max || self.tries >= self.limits.tries_max {
            return self.lose(out);
        }
        self.repairing = true;
        out.push(Action::Repair { shards: repairable });
    }

    fn lose(&mut self, out: &mut Vec<Action>) {
        if self.condition == Condition::Sound {
            out.push(Action::Sound(false));
        }
        self.condition = Condition::Lost;
        self.repairing = false;
        out.push(Action::FullSync);
    }
}

#[cfg(test)]
#[path = "verifier_test.rs"]
mod tests;
