//! The rules of the state, one topic to a file, each rule by a short story against a primary.
//!
//! *Invariant:* whatever a test did, its primary's state is consistent at the end, and its log gives the same state
//! again ([`support::Primary`] checks both when it goes).
//!
//! Deliberately absent: threads and random histories; those stand in `src/history_test`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

mod bounds;
mod clients;
mod contract;
mod eviction;
mod failover;
mod format;
mod full_log;
mod kept_answers;
mod leases;
mod limits;
mod lists;
mod many_segments;
mod puts;
mod remove;
mod replace;
mod requests;
mod secret;
mod segments;
mod settings;
mod tasks;
mod tenants;
mod transfers;
#[cfg(feature = "faults")]
mod verify;
