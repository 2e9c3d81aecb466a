//! What every domain must pass before a member may carry it: its contract, as checks.
//!
//! A primary is driven by calls of the domain: by several clients in several tenants, with numbers
//! and without, once and again, until all clients have expired and are gone. Standbys follow its log,
//! and one of them takes over.
//!
//! Invariants: a run is a pure function of what it is given; every panic says `conformance:` and
//! which rule was broken.
//!
//! Absent on purpose: what the domain's ops mean. Its own tests know that; here states are only equal
//! or not.

mod course;
mod rules;
#[cfg(test)]
pub(crate) mod toy;

use crate::call::{Answer, Call, CallRefused};
use crate::domain::Domain;
use crate::state::State;
use course::Course;

/// A call, and what it was answered, as text. The number differs from one use to the next.
pub type Act<D> = fn(&State<D>, &Call<'_>, u64) -> Result<Answer<String>, CallRefused>;

/// A domain to be tried.
#[expect(missing_debug_implementations, reason = "it is nothing but functions")]
pub struct Trial<'a, D: Domain> {
    /// Nothing in it, where no log has begun.
    pub empty: &'a dyn Fn() -> State<D>,
    /// They are made in turn. At least one of them must succeed, and leave something that hangs on
    /// its client.
    pub acts: &'a [Act<D>],
    /// Ops of the domain that these calls, and the steps that clear up after them, must come to.
    pub ops: &'a [u8],
}

/// Panics where the domain breaks its contract.
pub fn run<D: Domain>(trial: &Trial<'_, D>) {
    let mut course = Course::begin(trial);
    course.live();
    rules::answers_outlive_a_takeover(&course);
    rules::differences_are_repaired(&course);
    let lived = course.log.len();
    course.end();
    rules::nothing_goes_before_it_is_empty(&course, lived);
    rules::forgotten_requests_stay_refused(&course);
    rules::answers_are_what_the_log_says(&course);
    rules::all_ops_were_met(&course);
    rules::digests_are_those_of_the_records(&course);
    oplog::conformance::run(trial.empty, &course.log, &rules::known_ops::<D>());
}

#[cfg(test)]
#[path = "conformance_test.rs"]
mod tests;
