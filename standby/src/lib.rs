//! The standby's side of a pair, without the sockets: what is received, dropped, applied and
//! installed.
//!
//! | file | decides |
//! |---|---|
//! | `standby` | the log and the state of a member that follows: from the primary's messages to what is held |
//! | `sink` | a full sync: a state in the making, beside the one that is |
//! | `applying` | what of the log goes into the state, and when |
//! | `promotion` | from a standby to a primary |
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` alone; decides nothing by itself:
//! what it holds and does is what the primary's log says. No clock, no task, no socket.
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
