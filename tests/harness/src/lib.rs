//! Members, etcd and the links between them, as real processes and sockets that can be broken: for
//! the failover tests and chaos.
//!
//! | file | has |
//! |---|---|
//! | `process` | a process that ends with its owner |
//! | `cluster`, `view` | members, and what they say of themselves |
//! | `etcd` | etcd, one instance or three |
//! | `proxy`, `linked` | links that can be cut, narrow, or long |
//! | `record` | which members hold every acknowledged write, as the coordinator shows it |
//!
//! A wait that takes too long panics with what was seen last, which is the failure of the test.
//!
//! Deliberately absent: clients, and verdicts.

pub mod cluster;
pub mod etcd;
pub mod linked;
pub mod process;
pub mod proxy;
pub mod record;
pub mod view;
