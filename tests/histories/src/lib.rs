//! What clients did and were told, and whether it fits the promises. One file for each promise:
//!
//! | file | finds |
//! |---|---|
//! | `linear` | answers about one key that no order of its calls explains |
//! | `set_full` | something acknowledged that is missing, something that no client put |
//! | `once` | a request that ran twice, or never |
//! | `overlap` | a byte that two objects had at the same time |
//! | `one_writer` | two primaries: by epochs, positions and the answering member |
//!
//! Each takes recorded operations and returns faults, in words. No fault: they fit. Three results
//! of a call matter: acknowledged, refused, and *unknown*, which may have run at any time after it
//! was sent, or never.
//!
//! *Architecture invariant:* nothing of the product is known here except its promises. No clock, no
//! socket.
//!
//! Deliberately absent: how operations come about.

mod history;
mod linear;
mod once;
mod one_writer;
mod overlap;
mod register;
mod set_full;

pub use history::{Answer, Buffer, Fault, IfExists, Moment, Op, OpKind, Outcome, Position, Why, by_key};
pub use linear::{Linear, linearizable};
pub use once::{Counter, at_most_once};
pub use one_writer::one_writer;
pub use overlap::{Hold, held_apart, holds};
pub use set_full::{FinalVersions, set_full};
