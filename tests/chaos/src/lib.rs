//! Chaos: real members, random faults from a seed, clients that never stop, and a check of
//! everything that they were told.
//!
//! A run has rounds. In each one faults come and go for a while; then all of them end, and the
//! cluster must be whole again within a bounded time (safety, then liveness). Then what clients
//! were told in the round is checked, and forgotten, so a run may have any length. The load goes on
//! all the time.
//!
//! ```text
//!   plan ──► breaker ──► members, etcd, links          workers, probes ──► board ──► audit ──► story ──► report
//! ```
//!
//! | file | has |
//! |---|---|
//! | `plan`, `breaker` | which faults, and how they begin and end; which members the cluster may lose |
//! | `worker`, `book`, `probe`, `board` | clients, and what they were told |
//! | `audit` | the checkers of `tests/histories`, round by round |
//! | `story`, `series`, `report`, `picture` | what happened, for the report |
//!
//! *Invariant:* the plan is a function of the seed. The run is not: processes and the kernel take
//! their own time.
//!
//! Deliberately absent: a second try. Any finding of a check ends the run.

mod audit;
mod board;
mod book;
mod breaker;
mod options;
mod picture;
mod plan;
mod probe;
mod report;
mod run;
mod series;
mod story;
mod worker;

pub use options::{Coordinator, Options};
pub use report::write as write_report;
pub use run::{Stop, run};
pub use story::Story;
