//! One whole member without I/O: what it decides as a primary and as a standby.
//!
//! | file | decides |
//! |---|---|
//! | `member` | what follows at once from the election's actions: commits, the gate, the tenure, the role |
//! | `gate` | whether a call may be accepted, and its answer go out |
//! | `peers`, `outgoing`, `pace` | the primary's side of its streams: which peers have one, and what is sent when |
//! | `ride`, `riding` | the standby's side of its stream: what is accepted, stored and answered, in which order |
//! | `news`, `fresh`, `reads` | how far behind a standby is, and whether it may answer a read |
//! | `clock_rate` | how fast another member's clock runs, for a warning |
//! | `applying` | which entries go into the state, and the comparison of digests |
//! | `doubts`, `questions`, `repairing` | samples, repairs, and what the election learns of them |
//! | `transfer`, `leaving` | handing over to another member, also before this one ends |
//! | `looked` | what one look asks the coordinator, and what the election learns |
//! | `life` | log and state, from one role to the next |
//! | `reach` | how code that runs beside a member reports to it |
//! | `settings` | what a member is started with, and all bounds |
//!
//! A [`Member`] is a machine: it is told what happened and when, and returns what to do. It decides
//! about cursors and ranges. Work whose cost depends on the data (copying entries out of the log,
//! capturing a shard, storing a message, applying) is done beside it, by [`Outgoing`], [`Riding`],
//! [`Questions`] and [`Life`], which ask the member before and report to it after ([`Reach`]).
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` and `oplog::Verifiable` alone. No
//! clock, no task, no socket. `master` runs a member; the simulator runs the same one.
//!
//! Deliberately absent: who the primary is (`election`), and what objects are.

mod applying;
mod clock_rate;
mod doubts;
mod fresh;
mod gate;
mod leaving;
mod life;
mod looked;
mod member;
mod news;
mod outgoing;
mod pace;
mod peers;
mod questions;
mod reach;
mod reads;
mod repairing;
mod ride;
mod riding;
mod settings;
mod transfer;

pub use applying::{Compared, compare};
pub use clock_rate::RateError;
pub use doubts::Sampled;
pub use gate::{CallKind, Gate, Standing, deposed};
pub use leaving::Leaving;
pub use life::{Life, Rise, Stock};
pub use looked::Looked;
pub use member::{Action, LostData, Member, NotRetimed, Role};
pub use outgoing::{Next, Outgoing, Turn};
pub use peers::{NotAsked, NotServed, Peer, Sending, StreamEnd, StreamId, incarnation, incarnation_to_wire};
pub use questions::{Doing, Questions};
pub use reach::Reach;
pub use reads::{Asked, Unmet};
pub use repairing::Ended;
pub use ride::{Holding, RideEnd};
pub use riding::{Riding, Step};
pub use settings::{COMPARED_WITHIN_MS, DRAIN_WITHIN_MS, PEERS_MAX, SILENT_MS_MAX, Settings, TAKEN_WITHIN_MS};
pub use transfer::{NotTransferred, Occasion, Transferred};
