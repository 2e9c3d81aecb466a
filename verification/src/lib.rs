//! Whether a standby is the same as its primary, and what is done where it is not: without sockets,
//! clocks and tasks.
//!
//! | file | decides |
//! |---|---|
//! | `verifier` | from what was found to what is done: a repair, a full sync, an alarm; and whether the member is sound |
//! | `plan` | which parts are to be repaired, from both members' digests of a shard's buckets; or that the primary is the one |
//! | `repair` | the way of a repair, question by question |
//! | `rounds` | which parts are sampled when, so that a cycle over all of them ends in time |
//! | `wire` | what members ask each other, as messages |
//!
//! *Invariant:* knows the state through `oplog::Verifiable` alone; nothing is repaired from a
//! primary whose own records are not what it keeps of them.
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
