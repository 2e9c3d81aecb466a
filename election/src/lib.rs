//! Who is the primary: the config record, roles, tenure. After PacificA, with a coordinator that
//! keeps one record.
//!
//! | file | decides |
//! |---|---|
//! | `record` | what the coordinator keeps, and which record may follow which |
//! | `timing` | the time limits, and the relations that safety rests on |
//! | `election` | one member's part: from events to actions |
//! | `loss` | whether the coordinator shows what was seen, or something older |
//! | `leading` | the primary's part of it: commits, tenure, the in-sync set |
//! | `ttl_clock` | which time counts for TTLs |
//! | `two_clocks` | a member's time, from two clocks of its host |
//!
//! *Invariant:* pure. Times are arguments, there is no randomness and no iteration order that
//! differs between runs.
//!
//! Deliberately absent: the coordinator itself, connections, the log.

mod election;
mod leading;
mod loss;
mod record;
mod timing;
mod ttl_clock;
mod two_clocks;

pub use election::{Action, Election, Event, Founding, Start, Unclean};
pub use loss::{Look, Lost};
pub use record::{ConfigRecord, Incarnation, MemberId, Seen, Versioned};
pub use timing::{Millis, Pace, Timing, TimingError};
pub use ttl_clock::{LeftOut, Service, TtlClock};
pub use two_clocks::{Moment, TwoClocks};
