//! One node as a complete metadata master over gRPC: a library, for the command `understudy` and for tests.
//!
//! | file | decides |
//! |---|---|
//! | `config` | what can be set, where it comes from, what is refused, and the pages about it |
//! | `clock` | times |
//! | `gate` | whether a call may be taken, and its answer go out |
//! | `node` | the state with its log, gate and clocks: one member |
//! | `health` | one verdict on a cluster, from what its members say |
//! | `guard` | the parent that sees a member end, and says so |
//! | `membership` | what a member says of itself, and to which coordinator |
//! | `pair` | a member among others: the shell around election, replication, coordinator |
//! | `upkeep` | when the state does what is due by itself |
//! | `faults` | what tests do to a member, to see it found (feature `faults`) |
//! | `verify`, `scrub` | whether this member is what its log says; a look at all of its records now and then |
//! | `grpc` | the wire: connections, unary calls, sessions, and the way of each request to the state and back |
//! | `listen` | the connections of all ports: who is let in, and who is cut off |
//! | `http`, `metrics` | the admin HTTP; every metric, and what counts calls |
//! | `serve` | a node from its configuration to its end: signals, graceful stop |
//! | `budget`, `memory`, `process`, `logging` | shared memory, what the allocator keeps, this process, its log |
//! | `background` | how much of a CPU bulk work takes |
//! | `reload` | settings that change in a running process |
//! | `cluster_status`, `cluster_news` | the cluster as this member knows it, for people and programs; and what the log says of its changes |
//! | `cluster_settings` | those that belong to the cluster, as one list |
//! | `plain` | text from elsewhere, without what steers a terminal; sizes for people |
//!
//! *Invariant:* nothing here decides what a call means; it is carried to `metadata` and its answer back.
//!
//! Deliberately absent: what is promised of roles and logs; `election`, `replication` and `standby` decide that.

mod background;
mod budget;
pub mod clock;
mod cluster_news;
mod cluster_settings;
mod cluster_status;
pub mod config;
#[cfg(feature = "faults")]
mod faults;
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
mod verify;

pub use gate::{Gate, Standing};
pub use grpc::in_process;
pub use grpc::server::BindError;
pub use memory::give_memory_back_aside;
pub use metrics::metrics_markdown;
pub use node::{CommitRule, Node};
pub use pair::transfer::NotHandedOver;
pub use process::{abort_on_panic, avoid_huge_pages, node_name};
pub use serve::Server;
