//! The admin HTTP: metrics, probes, and the status for programs and as a page.
//!
//! | file | decides |
//! |---|---|
//! | `server` | the listener, its thread, its bounds |
//! | `pages` | what each path returns |
//! | `probes` | alive, ready, promotable |
//! | `facts` | what a node shows |
//! | `html` | the status page |
//!
//! *Invariant:* nothing here changes the node; at most two requests at a time take locks of the
//! state.
//!
//! Deliberately absent: TLS and passwords, as on the port for clients; content that is loaded from
//! elsewhere.

mod facts;
mod html;
mod pages;
pub(crate) mod probes;
mod server;

#[cfg(test)]
pub(crate) use facts::{Cluster, HealthOf, Limits, Mine, PeerWindow, Place, Reign, Setting, Status, Verification};
pub(crate) use facts::{Facts, MemberFacts};
pub(crate) use server::{AdminServer, bind};
