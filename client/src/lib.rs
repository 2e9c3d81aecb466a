//! The Rust SDK of Understudy.
//!
//! A [`Client`] finds the primary among the addresses it is given (or by a [`Discovery`]), keeps
//! many calls in flight on one stream, and sends a call again if its answer is lost, with the same
//! request number, so that it runs once. It sends heartbeats, and mounts its segments again if the
//! primary has forgotten them.
//!
//! ```no_run
//! use understudy_client::{Client, Force, Options, PutOptions, Segment};
//!
//! # fn write(_: &understudy_client::Replica, _: &[u8]) {}
//! # async fn example() -> Result<(), understudy_client::Error> {
//! let client = Client::connect(Options::new(["10.0.0.7:7400", "10.0.0.8:7400"])).await?;
//!
//! // Offer 1 GiB of registered memory.
//! client.mount_segment(&Segment::memory("gpu-0", 0x7f00_0000_0000, 1 << 30, "10.0.0.9:12345")).await?;
//!
//! // Start, write the bytes to every replica, end. Dropped without an end, the put is revoked.
//! let bytes = b"what the key stands for";
//! let put = client.put("key", bytes.len() as u64, PutOptions::default()).await?;
//! for replica in put.replicas() {
//!     write(replica, bytes);
//! }
//! put.end(None).await?;
//!
//! // Read it from one of its replicas, as long as the lease holds.
//! if let Some(found) = client.get("key").await? {
//!     let replica = &found.object.replicas[0];
//!     println!("{} bytes at {} until {:?}", found.object.size, replica.segment.endpoint, found.leased_until);
//! }
//!
//! // Many keys cost little more than one.
//! for removed in client.remove(&["key", "other"], Force::No).await?.results {
//!     println!("{removed:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When a call fails
//!
//! [`Error`] says what to do next. `OVERLOADED`, `NOT_PRIMARY`, `SHUTTING_DOWN` and lost
//! connections are retried until the call's deadline ([`Options::deadline`],
//! [`Client::with_deadline`]). After that, [`Error::Deadline`] means that nothing was changed, and
//! [`Error::OutcomeUnknown`] that the call may have run. The refusal of one item is in its result
//! and does not affect the other items of the call.
//!
//! # Giving a call up
//!
//! To drop the future of a call gives the call up: it may have run, as with
//! [`Error::OutcomeUnknown`]. If the start of a put ([`Client::put`]) is given up or its outcome is
//! unknown, the put is revoked in the background.
//!
//! # Reading from standbys
//!
//! [`Client::with_reads`] makes a handle that reads at the standbys, and at the primary if they
//! cannot answer. It never returns what a failover can take back. It reads its own writes if it is
//! given their position:
//!
//! ```no_run
//! # use understudy_client::{Client, Force, ReadOptions};
//! # use std::time::Duration;
//! # async fn example(client: Client) -> Result<(), understudy_client::Error> {
//! let removed = client.remove_one("key", Force::No).await?;
//! let reads = ReadOptions { min_position: Some(removed), max_staleness: Some(Duration::from_secs(1)) };
//! assert!(!client.with_reads(reads).exists_one("key").await?);
//! # Ok(())
//! # }
//! ```
//!
//! A standby grants no lease. See [`ReadOptions`] before you read bytes by its answer.
//!
//! Deliberately absent: how the bytes of objects travel between hosts.

mod answers;
mod api;
#[doc(hidden)]
pub mod attempts;
mod backoff;
mod calls;
mod client;
mod codec;
mod convert;
mod dial;
mod discovery;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod flight;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heartbeat;
mod ids;
mod items;
mod link;
mod mounts;
mod numbers;
mod options;
mod put;
#[doc(hidden)]
pub mod route;
mod session;
mod standbys;
mod starting;
mod trip;
mod types;
mod unary;
mod way;

pub use answers::{
    Cluster, Existing, Heard, Items, KeyInfo, KeyPage, Lookup, Lookups, Member, Mounted, Object, PutStarted,
    PutsStarted, Removed, SegmentList, SegmentStatus, Setting, Status, Task, TaskList, Tenant, TransferStarted,
    Transferred, Verification,
};
pub use client::{Client, Stats};
pub use discovery::{Announced, Discovered, Discovery};
pub use error::{Error, Refused};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdDiscovery, EtcdOptions, EtcdTls, EtcdUser};
pub use ids::{ClientId, HistoryId, Position, SegmentId};
pub use items::{
    CopyStartItem, Force, ListKeys, MoveStartItem, NewTask, PutEndItem, PutOptions, PutRevokeItem, PutStartItem,
    TaskResult, TransferFinishItem,
};
pub use mounts::{ClientState, Liveness, Mount, OwnSegment};
pub use options::{Heartbeat, Numbering, Options, ReadOptions, Transport};
pub use proto::v1::{IfExists, Pin, Reason, ReplicaScope, SegmentKind, SegmentState, TaskKind, TaskState};
pub use put::Put;
pub use types::{Location, Replica, Segment, SegmentRef};
