//! Who is the primary: the config record, roles, tenure. After PacificA, with a coordinator that keeps one record.
//!
//! | file | decides |
//! |---|---|
//! | `record` | what the coordinator keeps, and which record may follow which |
//! | `timing` | the time limits, and the relations that safety rests on |
//! | `member` | one member's part: from events to actions |
//! | `leading` | the primary's part of it: commits, tenure, the in-sync set |
//!
//! *Invariant:* pure. Times are arguments, there is no randomness and no iteration order that differs between runs.
//!
//! Deliberately absent: the coordinator itself, connections, the log.

mod leading;
mod member;
mod record;
mod timing;

pub use member::{Action, Event, Member, Unclean};
pub use record::{ConfigRecord, Incarnation, MemberId, RecordError, Versioned};
pub use timing::{Millis, Timing, TimingError};
