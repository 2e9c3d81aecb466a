//! Members as real processes that are killed, stopped and cut off while clients write; then
//! everything that was acknowledged must be there.
//!
//! | file | has |
//! |---|---|
//! | `tests/harness` | the parts that are broken: processes, members, etcd, links |
//! | `load`, `writer`, `history`, `check` | clients, what they were told, and whether it fits |
//! | `probe` | a client that asks a single member, whatever it says of itself |
//! | `kills`, `pauses`, `members`, `transfers`, `record`, `restarts`, `full_sync`, `space` | the tests: members |
//! | `standby_reads` | the tests: reads at standbys |
//! | `lost_data` | the tests: coordinators that are emptied, rolled back or damaged |
//! | `etcd_faults`, `etcd_full`, `etcd_members`, `cold_after`, `links`, `loss`, `throttle` | the tests: etcd and links |
//! | `strangers` | the tests: processes that are no members, at the port for other members |
//! | `unheard` | the tests: clients of a primary that may not answer |
//! | `scenarios` | the tests: scenarios that users ask about first |
//! | `attacks` | the tests: clients that hold more than their share |
//! | `chaos_smoke` | the tests: a short `./x chaos` |
//! | `verification`, `soak` | the tests: states that were broken on purpose, and states that were not |
//! | `settings` | the tests: members that were started with different values |
//! | `health` | the tests: the output of commands while something is wrong |
//! | `log` | the tests: logs that cannot be written |
//! | `long` | some of them for longer, by `./x failover` |
//!
//! *Invariant:* no test asserts a speed; times are only printed.
//!
//! Deliberately absent: faults inside a process. `tests/sim` has those.
#![allow(clippy::unwrap_used, reason = "tests")]

use harness::{cluster, etcd, linked, proxy, view};

mod attacks;
mod chaos_smoke;
mod check;
mod cold_after;
mod etcd_faults;
mod etcd_full;
mod etcd_members;
mod full_sync;
mod health;
mod history;
mod kills;
mod links;
mod load;
mod log;
mod long;
mod loss;
mod lost_data;
mod members;
mod pauses;
mod probe;
mod random;
mod record;
mod restarts;
mod scenarios;
mod settings;
mod soak;
mod space;
mod standby_reads;
mod strangers;
mod tenants;
mod throttle;
mod transfers;
mod unheard;
mod verification;
mod writer;
