//! The primary's side of a pair, without the sockets: where a peer goes on, and what it is sent.
//!
//! | file | decides |
//! |---|---|
//! | `plan` | what a peer and this log have in common, and so whether the log or a full sync helps it |
//! | `batch` | which entries go into one message |
//! | `gather` | whether it goes at once |
//! | `images` | a full sync as messages: shard by shard, chunk by chunk |
//! | `feed` | what a peer is sent next: images and the log beside them, or the log |
//! | `receipt` | what a peer's receipt counts for |
//! | `wire` | what a peer holds, as it says so |
//! | `window` | how many bytes are on their way |
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` alone. No clock, no task, no socket.
//!
//! Deliberately absent: who is in the set and what is committed (`election`), and the streams (`master`).

mod batch;
mod feed;
mod gather;
mod images;
mod plan;
mod receipt;
mod window;
mod wire;

pub use batch::{Batch, BatchLimits, next_batch};
pub use feed::{Feed, Step};
pub use gather::Gather;
pub use images::Images;
pub use plan::{PeerLog, Start, SyncedPart, plan};
pub use receipt::{Counted, counted};
pub use window::Window;
