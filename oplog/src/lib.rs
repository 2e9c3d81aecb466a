//! The op log: what an entry looks like, how its bytes are checked, where the newest entries stand
//! in memory, which tasks wait for which of them, and what a state must do to be replicated.
//!
//! | file        | decides                                                                       |
//! |-------------|-------------------------------------------------------------------------------|
//! | `entry`     | the parts of an entry, and its place in history                               |
//! | `frame`     | an entry as bytes: header, limits, CRC                                        |
//! | `codec`     | a payload as bytes: the one caller of bincode                                 |
//! | `secret`    | the secret in a log, which keys the hashes of what clients choose             |
//! | `watch`     | which tasks wake when a seq is reached                                        |
//! | `ring`      | which frames are kept in memory (private, under the tail's lock)              |
//! | `tail`      | the readers' side of the newest part of the log                               |
//! | `appender`  | the one writer's side: it reserves a place before the state changes           |
//! | `state`     | the contract between the engine and a replicated state                        |
//! | `verifiable` | the contract for finding a difference between two states, and repairing it   |
//! | `rng`       | numbers from a seed, for a state that chooses and for tests                   |
//! | `conformance` | the checks that every replicated state must pass (feature `conformance`)    |
//!
//! Absent on purpose: an async runtime, clocks, randomness (`rng` is given its seed), threads,
//! files and sockets. Futures here use only the standard waker; time stamps come with the draft;
//! nothing here knows what an op means.

mod appender;
mod codec;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod entry;
mod error;
mod frame;
mod ring;
mod rng;
mod secret;
mod state;
mod tail;
mod verifiable;
mod watch;

pub use appender::{AppendFrameError, Appender, Slot};
pub use codec::{PAYLOAD_VERSION, decode_payload, encode_payload};
pub use entry::{ClientId, DomainId, Draft, Entry, OP_EPOCH_START, OP_TYPE_NEVER, Position, RequestStamp, prefix_hash};
pub use error::{Bound, DecodeError, Overloaded};
pub use frame::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES_MAX, FRAME_VERSION, Frame};
pub use rng::Rng;
pub use secret::Secret;
pub use state::{ApplyError, Digest, InstallError, Rebuild, ReplicatedState, ShardImage};
pub use tail::{FRAME_OVERHEAD_BYTES, Tail, TailConfig, TailConfigError, TailError, TailStats};
pub use verifiable::{
    Buckets, Difference, Digests, Mismatch, MismatchKind, OP_DIGEST, Part, PartsImage, RepairError, Sample,
    SampleRecord, ScrubCursor, ScrubStep, Verifiable,
};
pub use watch::{CloseReason, SeqWatch, Wait, WaitError, WaitOwned};
