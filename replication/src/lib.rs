//! The primary's side of a pair, without sockets: where a peer continues, and what it is sent.
//!
//! | file | decides |
//! |---|---|
//! | `plan` | what a peer's log and this one share, and so whether it needs a full sync |
//! | `batch` | which entries go into one message |
//! | `images` | a full sync as messages: shard by shard, chunk by chunk |
//! | `feed` | what a peer is sent next: images and the log beside them, or the log |
//! | `proof` | whether a peer, or a primary, is the member that the coordinator shows |
//! | `roll` | which members the coordinator shows, or showed last |
//! | `receipt` | what a peer's receipt counts for |
//! | `wire` | how a peer says what it holds |
//! | `window` | how many bytes are on their way |
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` alone. No clock, no task, no
//! socket.
//!
//! Deliberately absent: who is in the set and what is committed (`election`), and the streams
//! (`master`).

mod batch;
mod feed;
mod images;
mod plan;
mod proof;
mod receipt;
mod roll;
mod window;
mod wire;

pub use batch::{Batch, BatchLimits, next_batch};
pub use feed::{Feed, Step};
pub use images::Images;
pub use plan::{PeerLog, Start, SyncedPart, plan};
pub use proof::{Admitted, Challenged, Greeting, NONCE_BYTES, Nonce, NotAdmitted, Pass, SECRET_BYTES, Secret};
pub use receipt::{Counted, counted};
pub use roll::Roll;
pub use window::Window;
