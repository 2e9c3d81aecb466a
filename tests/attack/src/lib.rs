//! Attacks on a member over loopback: what they cost the member, and what a polite client notices.
//!
//! | file | has |
//! |---|---|
//! | `target` | the member: a process of its own, with objects whose lists are long |
//! | `raw` | a connection by hand, with windows of any size |
//! | `attacks` | each attack, by its name |
//! | `polite` | a client that makes one call after the other |
//! | `measure` | one attack with its figures |
//! | `report` | the figures of all attacks as a page |
//!
//! *Invariant:* an attack uses what any client could send, and nothing but 127.0.0.1.
//!
//! Deliberately absent: verdicts. The short form (`cli/tests/failover/attacks.rs`) asserts
//! bounds.

mod attacks;
mod measure;
mod polite;
pub mod raw;
pub mod report;
mod target;

pub use attacks::Attack;
pub use measure::{Measured, measure};
pub use target::Target;
