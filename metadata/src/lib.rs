//! The replicated state of the master: which object lies where, who owns it, and how long it stays.
//!
//! | file | decides |
//! |---|---|
//! | `types`, `config`, `hash` | ids, bounds, hashes |
//! | `object`, `shard` | an object's record and its table, with their digest |
//! | `space`, `segments`, `holders`, `queue` | free space, segments, who lies in them, what waits to be free |
//! | `open`, `ranges` | which segments there are to choose from, and which would share what they take |
//! | `owners`, `tasks` | what each client has here, work for clients |
//! | `directory`, `view` | all of those together, and what readers see of them |
//! | `op`, `apply`, `apply_object`, `apply_op` | what the log says, and what that does |
//! | `fit` | what of an entry or an image is not believed |
//! | `calls/*` | what clients ask for: decided item by item, logged, applied |
//! | `steps/*` | what the primary does of its own accord: unmounts, discards, eviction |
//! | `read` | lookups, lists, totals |
//! | `state` | the shards' locks, and this state in the ledger |
//! | `replicated`, `image` | this domain as the ledger sees it; its part of images |
//! | `compare`, `repair` | what records differ in, and how they become the same |
//! | `faults` | what tests do to a state, to see it found (feature `faults`) |
//! | `check` | everything that is held twice, compared |
//!
//! *Invariant:* the primary decides, then applies what it decided through the same code as a standby; nothing else
//! changes what is replicated.
//!
//! Deliberately absent: tokio, sockets, clocks, thread-local randomness, wire types. Times come as arguments.

mod apply;
mod apply_object;
mod apply_op;
mod calls;
mod check;
mod compare;
mod config;
mod directory;
#[cfg(feature = "faults")]
mod faults;
mod fit;
mod hash;
#[cfg(test)]
mod history_test;
mod holders;
mod image;
mod object;
mod op;
mod open;
mod owners;
mod queue;
mod ranges;
mod read;
mod repair;
mod replicated;
mod segments;
mod shard;
mod shares;
mod space;
mod state;
mod steps;
mod tasks;
mod types;
mod view;

pub use calls::pattern::{Going, Pace, Unhurried};
pub use calls::place::Placement;
pub use calls::put::{PutEndItem, PutRevokeItem, PutStart, PutStartItem, PutStartedAt};
pub use calls::remove_many::RemovedMany;
pub use calls::segment::{Heartbeat, MountedAt, SegmentSpec, SegmentUsage};
pub use calls::task::{TaskDone, TaskInfo, TaskPage, TaskSpec};
pub use calls::transfer::{TransferFinishItem, TransferItem, TransferStartedAt};
pub use compare::{PartsDifference, compare_parts};
pub use config::{Config, Strategy};
#[cfg(feature = "faults")]
pub use faults::Fault;
#[cfg(feature = "faults")]
pub use ledger::COLLIDING;
pub use ledger::{
    Address, Answer, AtBound, Bound, CALL_ITEMS_MAX, Call, CallRefused, InForce, ItemId, LedgerOp, Now, Settings,
    TEXT_BYTES_MAX,
};
pub use op::OpType;
pub use read::{Found, KeyInfo, ListKeys, Looked, Page, PageStart, TenantUsage, Totals};
pub use segments::{SegmentInfo, SegmentState};
pub use state::{Objects, Own};
pub use steps::Stepped;
pub use tasks::{Task, TaskState};
pub use types::{
    KEY_BYTES_MAX, OBJECT_BYTES_MAX, OBJECT_SHARDS, Outcome, Pin, Place, Places, REPLICAS_MAX, Refusal, SHARD_BUCKETS,
    Scope, SegmentId, SegmentIx, SegmentKind, TaskId, TransferKind,
};
pub use view::View;

/// The metadata of one member.
pub type Metadata = ledger::State<Objects>;
/// What steps did.
pub type Steps = ledger::Steps<Stepped>;
/// It in the making, from images of another member.
pub type MetadataRebuild = ledger::Rebuilding<Objects>;
