//! What every replicated state must pass before the engine may carry it: the contract of `state`,
//! as checks.
//!
//! Invariants: a run is a pure function of the history that it is given; every panic says
//! `conformance:` and which rule was broken, after which entry of the history.
//!
//! Absent on purpose: making a history. The caller knows its ops; a good history uses all of them,
//! in more than one epoch, with values that come, change and go in several shards.

mod course;
mod damage;
mod images;
mod refusals;
mod replay;

#[cfg(test)]
mod toy;

use crate::entry::{DomainId, Entry};
use crate::state::ReplicatedState;
use course::Course;

/// Panics when the state breaks the contract. `history` follows on what `empty` gives: seq by seq,
/// each entry valid. `known`: the ops that the state understands, those of the engine too; all
/// others of the 256 ops in each of the 256 domains it must refuse.
pub fn run<S: ReplicatedState>(empty: impl Fn() -> S, history: &[Entry], known: &[(DomainId, u8)]) {
    assert!(history.len() >= 2, "conformance: a history of {} entries checks nothing", history.len());
    let course = Course::new(&empty, history, known, replay::digests(&empty, history));
    replay::sums(&course);
    refusals::check(&course);
    images::still(&course);
    images::moving(&course);
    damage::flipped(&course);
    damage::missing(&course);
    damage::short_log(&course);
}

#[cfg(test)]
#[path = "conformance_test.rs"]
mod tests;
