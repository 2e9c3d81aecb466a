//! Whether a standby is the same as its primary, and what is done if it is not. No sockets, clocks
//! or tasks.
//!
//! | file | decides |
//! |---|---|
//! | `verifier` | what follows from a finding: a repair, a full sync, an alarm; and whether the member is sound |
//! | `plan` | which parts to repair, from both members' digests of buckets; or that the primary is wrong |
//! | `repair` | a repair, question by question |
//! | `rounds` | which parts are sampled when, so that a cycle over all of them ends in time |
//! | `wire` | what members ask each other, as messages |
//!
//! *Invariant:* knows the state through `oplog::Verifiable` alone; nothing is repaired from a
//! primary whose own records do not match its digests.
//!
//! Deliberately absent: the comparison of digests at the same seq, which comes with the log
//! (`oplog::OP_DIGEST`).

mod plan;
mod repair;
mod rounds;
mod verifier;
mod wire;

pub use plan::{Planned, plan};
pub use repair::{Repair, Step};
pub use rounds::Rounds;
pub use verifier::{Action, Condition, Event, Limits, Verifier};
pub use wire::{
    WireError, answer, buckets_from_wire, digests_from_wire, digests_to_wire, parts_from_wire, parts_to_wire,
    question_buckets, question_parts, question_sample,
};
