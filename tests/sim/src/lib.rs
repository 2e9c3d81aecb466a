//! A deterministic simulator: whole clusters with their clients, one millisecond at a time, over
//! the production cores.
//!
//! | file | content |
//! |---|---|
//! | `world`, `faults`, `options` | a run: what may go wrong in it, and what goes wrong |
//! | `member/` | a member: election, log, state, replication, standby, verification, in a shell with one thread |
//! | `client/`, `requests` | clients: the SDK's rules for attempts, and what they ask |
//! | `outsider` | a process that is no member, and claims to be one |
//! | `net`, `coordinator` | streams, letters, and the one record |
//! | `history` | all that any primary ever wrote |
//! | `checks/` | what must hold: a file for each invariant |
//! | `run`, `tally` | many seeds, and what happened in them |
//!
//! A run is a pure function of the seed. What the shell in `master` does with sockets and tasks,
//! this does with letters and ticks. All *decisions* are made by the same code.
//!
//! Deliberately absent: a disk, damaged bytes, long calls, sessions.

mod checks;
mod client;
mod coordinator;
mod cx;
mod faults;
mod history;
mod member;
mod net;
mod options;
mod outsider;
mod requests;
mod rng;
mod run;
mod tally;
mod world;

pub use run::{Outcome, Violation, keep_panics, run_seed, run_seeds};
pub use tally::Tally;
pub use world::{Summary, World};
