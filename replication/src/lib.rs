//! The primary's side of a pair, without the sockets: where a peer goes on, and what it is sent.
//!
//! | file | decides |
//! |---|---|
//! | `plan` | what a peer and this log have in common, and so whether the log or a full sync helps it |
//! | `batch` | which entries go into one message |
//! | `gather` | whether it goes at once |
//! | `images` | a full sync as messages: shard by shard, chunk by chunk |
//! | `window` | how many bytes are on their way |
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` alone. No clock, no task, no socket.
//!
//! Deliberately absent: who is in the set and what is committed (`election`), and the streams (`master`).

mod batch;
mod gather;
mod images;
mod plan;
mod window;

pub use batch::{Batch, BatchLimits, next_batch};
pub use gather::Gather;
pub use images::Images;
pub use plan::{PeerLog, Start, SyncedPart, plan};
pub use window::Window;
