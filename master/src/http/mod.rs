//! The admin HTTP: metrics, probes, and the status for programs and for people.
//!
//! | file | decides |
//! |---|---|
//! | `server` | the listener, its thread, its bounds |
//! | `pages` | which path gives what |
//! | `probes` | alive, ready, promotable |
//! | `facts` | what there is to be seen |
//! | `html` | the page for people |
//!
//! *Invariant:* nothing here changes the node; what costs locks is done twice at a time at most.
//!
//! Deliberately absent: TLS and passwords, as on the port for clients; and anything to load from
//! elsewhere.

mod facts;
mod html;
mod pages;
pub(crate) mod probes;
mod server;

#[cfg(test)]
pub(crate) use facts::{Cluster, HealthOf, Limits, Mine, PeerWindow, Place, Reign, Setting, Status, Verification};
pub(crate) use facts::{Facts, Member};
pub(crate) use server::{AdminServer, bind};
