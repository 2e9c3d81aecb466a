//! Members, etcd and the links between them, as real processes and sockets, to be broken: for the
//! failover tests and chaos.
//!
//! | file | has |
//! |---|---|
//! | `process` | a process that ends with its owner |
//! | `cluster`, `view` | members, and what they say of themselves |
//! | `etcd` | one's own, alone or three of them |
//! | `proxy`, `linked` | links that can be cut, narrow, or long |
//! | `record` | who holds every acknowledged write, by the coordinator's word |
//!
//! A wait that takes too long panics, with what was seen last: in a test that is the failure.
//!
//! Deliberately absent: clients, and what is right or wrong.

pub mod cluster;
pub mod etcd;
pub mod linked;
pub mod process;
pub mod proxy;
pub mod record;
pub mod view;
