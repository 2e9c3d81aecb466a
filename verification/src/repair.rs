//! A repair, question by question: from suspect shards to a state that is the same as the
//! primary's.
//!
//! ```text
//!   buckets of the suspect shards ─► up to there ─► compare ─► records of the buckets that differ ─► up to there ─► repair
//!                                                                 ▲                                                 │
//!                                                                 └── with the directory, where space differs ──────┘
//! ```
//!
//! Invariants: both members are at the same position for each comparison and each repair; nothing
//! is taken from a primary whose own records do not match its digests.
//!
//! Deliberately absent: how questions travel, and applying. While a repair is carried out, nothing
//! else is applied.

use std::collections::BTreeSet;

use oplog::{Buckets, Mismatch, Part, PartsImage, Position, RepairError, Verifiable};
use proto::v1::verify_question::Question;
use proto::v1::verify_response::Answer;

use crate::plan::{Planned, plan};
use crate::verifier::Event;
use crate::wire::{buckets_from_wire, parts_from_wire, question_buckets, question_parts};

/// What to do next.
#[derive(Debug)]
pub enum Step {
    Ask(Question),
    /// Apply up to there, and no further.
    ApplyUpto(Position),
    Ended {
        event: Event,
        /// Records that were repaired.
        repaired: Vec<Mismatch>,
        /// Why it did not end well.
        why: Option<String>,
    },
    /// It failed, and may work the next time.
    Again(String),
}

#[derive(Debug)]
enum Phase {
    Begin,
    /// Shard by shard: each answer of the primary is at a seq of its own.
    Compares {
        theirs: Vec<Buckets>,
        ours: Vec<Buckets>,
    },
    Needs(Vec<Part>),
    Repairs(Vec<Part>, Box<PartsImage>),
}

#[derive(Debug)]
pub struct Repair {
    shards: BTreeSet<u32>,
    records_max: usize,
    phase: Phase,
}

impl Repair {
    pub fn new(shards: BTreeSet<u32>, records_max: usize) -> Repair {
        Repair { shards, records_max, phase: Phase::Begin }
    }

    /// The answer to the newest question.
    pub fn on_answer(&mut self, answer: Answer) -> Result<(), String> {
        self.phase = match (std::mem::replace(&mut self.phase, Phase::Begin), answer) {
            (Phase::Begin, Answer::Buckets(wire)) => {
                let theirs = buckets_from_wire(wire).map_err(|error| error.to_string())?;
                if !theirs.iter().map(|buckets| buckets.shard).eq(self.shards.iter().copied()) {
                    return Err("the primary tells of other shards than were asked for".to_owned());
                }
                Phase::Compares { theirs, ours: Vec::new() }
            }
            (Phase::Needs(parts), Answer::Parts(wire)) => {
                Phase::Repairs(parts, Box::new(parts_from_wire(wire).map_err(|error| error.to_string())?))
            }
            _ => return Err("the primary answers another question than was asked".to_owned()),
        };
        Ok(())
    }

    /// Looks at the state, and in the end repairs it. Called again once the previous step is done.
    pub fn step<S: Verifiable>(&mut self, state: &S) -> Step {
        match &mut self.phase {
            Phase::Begin => Step::Ask(question_buckets(self.shards.iter().copied())),
            Phase::Compares { theirs, ours } => {
                while let Some(next) = theirs.get(ours.len()) {
                    if let Err(step) = stands_at(state, next.at) {
                        return step;
                    }
                    ours.push(state.buckets(next.shard));
                }
                let planned = plan(theirs, ours);
                self.on_planned(state, planned)
            }
            Phase::Needs(parts) => Step::Ask(question_parts(parts)),
            Phase::Repairs(parts, image) => {
                if let Err(step) = stands_at(state, image.digests.at) {
                    return step;
                }
                let (parts, image) = (std::mem::take(parts), image.clone());
                self.repair(state, parts, &image)
            }
        }
    }

    fn on_planned<S: Verifiable>(&mut self, state: &S, planned: Planned) -> Step {
        let Planned { mut parts, primary_rotten: shards, agreed } = planned;
        if !shards.is_empty() {
            return ended(Event::PrimaryRotten { shards, agreed }, None);
        }
        let whole = whole(state);
        if self.shards.contains(&whole.shard) && !parts.contains(&whole) {
            parts.push(whole);
        }
        self.phase = Phase::Needs(parts);
        self.step(state)
    }

    fn repair<S: Verifiable>(&mut self, state: &S, mut parts: Vec<Part>, image: &PartsImage) -> Step {
        match state.repair(image, self.records_max) {
            Ok(repaired) => {
                let remaining = state.digests().difference(&image.digests);
                let event = Event::Repaired { at: image.digests.at, records: repaired.len(), remaining };
                Step::Ended { event, repaired, why: None }
            }
            Err(RepairError::NeedsWhole { .. }) if !parts.contains(&whole(state)) => {
                parts.push(whole(state));
                self.phase = Phase::Needs(parts);
                self.step(state)
            }
            Err(error @ RepairError::TooMany { .. }) => ended(Event::TooMany, Some(error.to_string())),
            Err(error @ RepairError::Broken { .. }) => ended(Event::Broken, Some(error.to_string())),
            Err(other) => Step::Again(other.to_string()),
        }
    }
}

fn ended(event: Event, why: Option<String>) -> Step {
    Step::Ended { event, repaired: Vec::new(), why }
}

/// The shard that has no parts.
fn whole<S: Verifiable>(state: &S) -> Part {
    Part { shard: state.shards() - 1, bucket: 0 }
}

fn stands_at<S: Verifiable>(state: &S, at: Position) -> Result<(), Step> {
    let applied = state.applied();
    if applied.seq < at.seq {
        return Err(Step::ApplyUpto(at));
    }
    if applied == at { Ok(()) } else { Err(Step::Again(format!("{applied} is applied, not {at}"))) }
}
