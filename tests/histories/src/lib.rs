//! What clients did and what they were told, and whether it fits the promises. One file for each
//! promise:
//!
//! | file | finds |
//! |---|---|
//! | `linear` | answers about one key that no order of its calls explains |
//! | `set_full` | something acknowledged that is missing, something there that nobody put |
//! | `once` | a request that ran twice, or never |
//! | `overlap` | a byte that two objects had at the same time |
//! | `one_writer` | two primaries: by epochs, positions and who answered |
//!
//! Each takes recorded operations and returns faults, in words; no fault: it fits. Three results of
//! a call matter: acknowledged, refused, and *unknown*, which may have run at any time after it was
//! sent, or never.
//!
//! *Architecture invariant:* nothing of the product is known here but what it promises. No clock,
//! no socket.
//!
//! Deliberately absent: how operations come about.

mod history;
mod linear;
mod once;
mod one_writer;
mod overlap;
mod register;
mod set_full;

pub use history::{Answer, Buffer, Call, Fault, IfExists, Moment, Op, Outcome, Position, Why, by_key};
pub use linear::{Linear, linearizable};
pub use once::{Counter, at_most_once};
pub use one_writer::one_writer;
pub use overlap::{Hold, held_apart, holds};
pub use set_full::{Held, set_full};
