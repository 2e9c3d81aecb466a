//! The standby's side of a pair, without sockets: what it receives, drops, applies and installs.
//!
//! | file | decides |
//! |---|---|
//! | `standby` | the log and the state of a standby, built from the primary's messages |
//! | `sink` | a full sync: a new state, built beside the current one |
//! | `applying` | which entries go into the state, and when |
//! | `promotion` | from a standby to a primary |
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` alone; decides nothing by itself:
//! all that it holds and does follows from the primary's log. No clock, no task, no socket.
//!
//! Deliberately absent: who the primary is (`election`), and the streams (`master`).

mod applying;
mod error;
mod promotion;
mod sink;
mod standby;

pub use applying::{Applied, apply_committed};
pub use error::StandbyError;
pub use promotion::{Promotion, begin_epoch};
pub use standby::{Hand, Standby, SyncProgress};
