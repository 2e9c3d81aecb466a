//! One whole member without I/O: what it decides as a primary and as a standby.
//!
//! | file | decides |
//! |---|---|
//! | `member` | what follows at once from what the election says: commits, the gate, the tenure, the role |
//! | `gate` | whether a call may be taken, and its answer go out |
//! | `peers`, `outgoing`, `pace` | the primary's side of its streams: who has one, and what goes out when |
//! | `ride`, `riding` | the standby's side of its stream: what is taken, brought, and answered, and in which order |
//! | `news`, `fresh`, `reads` | how far behind a standby is, and whether it may answer a read |
//! | `clock_rate` | how fast another member's clock runs, for people |
//! | `applying` | what of the log goes into the state, and the comparison of digests |
//! | `doubts`, `questions`, `repairing` | samples, repairs, and what the election hears of them |
//! | `transfer`, `leaving` | giving the place of the primary to another member; also before this one ends |
//! | `looked` | what is asked of the coordinator in one look, and what the election hears of it |
//! | `life` | log and state, from one role to the next |
//! | `reach` | how all that runs beside a member tells it what happened |
//! | `settings` | what a member is started with, and the bounds of all of this |
//!
//! A [`Member`] is a machine: it is told what happened and when, and says what is to be done. It
//! decides about cursors and ranges. Whatever costs what it holds (copying entries out of the log,
//! capturing a shard, taking in a message, applying) is done beside it, by [`Outgoing`],
//! [`Riding`], [`Questions`] and [`Life`], which ask the member before and tell it after
//! ([`Reach`]).
//!
//! *Invariant:* knows the state through `oplog::ReplicatedState` and `oplog::Verifiable` alone. No
//! clock, no task, no socket. `master` carries a member; the simulator carries the same one.
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
pub use gate::{Effect, Gate, Standing, deposed};
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
