//! The checks that every replicated state must pass before the engine may carry it: the contract of
//! `state`.
//!
//! Invariants: a run is a pure function of the history that it is given; every panic says
//! `conformance:`, which rule was broken, and after which entry of the history.
//!
//! Absent on purpose: making a history. The caller knows its ops; a good history uses all of them,
//! in several epochs, with values that come, change and go in several shards.

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

/// Panics when the state breaks the contract. `history` continues what `empty` returns, seq by seq,
/// and each of its entries is valid. `known`: the ops that the state understands, including the
/// engine's. The state must refuse all others of the 256 ops in each of the 256 domains.
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
