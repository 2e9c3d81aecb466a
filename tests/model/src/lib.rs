//! A formal model of the election, for a checker that visits every reachable state.
//!
//! It says in some hundred lines what `election/` does in more. It leaves out what safety does not
//! rest on (when a member is suspected, how much may lag), and lets the network, the coordinator
//! and the members do whatever they may do, in any order.
//!
//! - [`rules`]: bounds of an instance, and mistakes made on purpose
//! - `words`, `state`: what a state is
//! - `leading`, `member`, `loss`: the protocol
//! - [`model`]: what may happen next
//! - `properties`: what must hold, and what must be reached
//! - `symmetry`: members' names do not matter
//!
//! Deliberately absent: liveness, which the simulator (`tests/sim`) looks at; numbers of
//! milliseconds; the log's transport.

mod leading;
mod loss;
mod member;
pub mod model;
mod properties;
pub mod rules;
mod state;
mod symmetry;
mod words;
