//! A deterministic simulator: whole clusters, one millisecond at a time, over the production core of the election.
//!
//! A run is a pure function of the seed. The seed draws how many members there are and which faults can happen: lost and
//! late messages, crashes that lose all memory, pauses, links cut in one direction, a coordinator that is away or does
//! not say what became of a swap, clocks that run at different rates.

mod checks;
mod coordinator;
mod member;
mod options;
mod rng;
mod world;

pub use world::{Summary, World};
