//! Members as real processes that are killed, stopped and cut off while clients write; then everything that was acknowledged
//! must be there.
//!
//! | file | has |
//! |---|---|
//! | `process`, `cluster`, `view`, `etcd`, `proxy` | what is broken |
//! | `load`, `writer`, `history`, `check` (`check_test`) | clients, what they were told, and whether it fits |
//! | `probe` | one that asks a single member, whatever it says of itself |
//! | `kills`, `pauses`, `members`, `transfers`, `restarts`, `full_sync`, `etcd_faults`, `links`, `standby_reads` | the tests |
//!
//! *Invariant:* no test asserts a speed; the times that they print are for people.
//!
//! Deliberately absent: faults inside a process. `tests/sim` has those.
#![allow(clippy::unwrap_used, reason = "tests")]

mod check;
mod check_test;
mod cluster;
mod etcd;
mod etcd_faults;
mod full_sync;
mod history;
mod kills;
mod links;
mod load;
mod members;
mod pauses;
mod probe;
mod process;
mod proxy;
mod restarts;
mod standby_reads;
mod transfers;
mod view;
mod writer;
