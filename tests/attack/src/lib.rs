//! Attacks on a member over loopback: what it takes from the machine meanwhile, and what a polite
//! client notices.
//!
//! | file | has |
//! |---|---|
//! | `target` | the member: a process of its own, with objects whose lists are long |
//! | `raw` | a connection by hand, whose windows stay as small as its owner likes |
//! | `attacks` | each attack, by its name |
//! | `polite` | a client that asks and reads, one call after the other |
//! | `measure` | one attack with its figures |
//! | `report` | all of them as a page |
//!
//! *Invariant:* an attack uses what any client could send, and nothing but 127.0.0.1.
//!
//! Deliberately absent: what is right. Bounds are asserted by the short form
//! (`master/tests/failover/attacks.rs`).

mod attacks;
mod measure;
mod polite;
pub mod raw;
pub mod report;
mod target;

pub use attacks::Attack;
pub use measure::{Measured, measure};
pub use target::Target;
