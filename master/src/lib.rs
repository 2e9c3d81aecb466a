//! One node as a complete metadata master over gRPC: a library, for the command `understudy` and
//! for tests.
//!
//! | file | decides |
//! |---|---|
//! | `config` | all settings, their sources, what is refused, and the pages about them |
//! | `clock` | times |
//! | `gate` | whether a call may be accepted, and its answer go out |
//! | `node` | the state with its log, gate and clocks: one member |
//! | `health` | one verdict on a cluster, from what its members say |
//! | `guard` | the parent that sees a member end, and reports it |
//! | `membership` | what a member says of itself, and its coordinator |
//! | `pair` | a member of a cluster: the shell around election, replication, coordinator |
//! | `upkeep` | when the state does what is due by itself |
//! | `faults` | faults that tests inject and must see found (feature `faults`) |
//! | `findings`, `scrub` | whether this member's state is what its log says; a check of all its records now and then |
//! | `grpc` | the wire: connections, unary calls, sessions, and the way of each request to the state and back |
//! | `listen` | the connections of all ports: which are admitted, and which are cut off |
//! | `http`, `metrics` | the admin HTTP; every metric, and the counters of calls |
//! | `serve` | a node from its configuration to its end: signals, graceful stop |
//! | `budget`, `memory`, `process`, `logging` | shared memory, what the allocator keeps, this process, its log |
//! | `background` | how much of a CPU bulk work takes |
//! | `reload` | settings that change in a running process |
//! | `cluster_status`, `cluster_news` | the cluster as this member knows it; log lines about its changes |
//! | `cluster_settings` | settings that belong to the cluster, as one list |
//! | `plain` | text from outside, without control characters; sizes for people |
//!
//! *Invariant:* nothing here decides what a call means: it goes to `metadata`, and its answer comes
//! back.
//!
//! Deliberately absent: the promises about roles and logs, which `election`, `replication` and
//! `standby` keep.

mod background;
mod budget;
pub mod clock;
mod cluster_news;
mod cluster_settings;
mod cluster_status;
pub mod config;
#[cfg(feature = "faults")]
mod faults;
mod findings;
pub mod gate;
mod grpc;
pub mod guard;
pub mod health;
mod http;
mod listen;
pub mod logging;
pub mod membership;
mod memory;
mod metrics;
mod node;
mod pair;
pub mod plain;
mod process;
pub mod reload;
mod scrub;
pub mod serve;
mod upkeep;

pub use gate::{Gate, Standing};
pub use grpc::in_process;
pub use grpc::server::BindError;
pub use memory::give_memory_back_aside;
pub use metrics::metrics_markdown;
pub use node::{CommitRule, Node};
pub use pair::transfer::NotHandedOver;
pub use process::{abort_on_panic, avoid_huge_pages, node_name};
pub use serve::Server;
