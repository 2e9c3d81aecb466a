//! Where the config record lives, and where members say that they are here: the contract, and what
//! keeps it.
//!
//! | file | decides |
//! |---|---|
//! | `contract` | what a coordinator promises |
//! | `json` | what is written, in a file or under a key |
//! | `file` | a directory shared by the processes of one host |
//! | `etcd` | keys and leases of an etcd cluster |
//! | `conformance` | how the promises are checked, of any adapter (feature `conformance`) |
//!
//! *Invariant:* nothing here decides a role; that is `election`'s. A coordinator stores, compares
//! and tells.
//!
//! Deliberately absent: the stream between members, and what the record means.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
mod etcd;
mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod json;

pub use contract::{Answer, Coordinator, Error, MemberInfo, Presence, Secret, Stored, Swap};
pub use etcd::{EtcdCoordinator, EtcdOptions, EtcdTls, EtcdUser};
pub use file::FileCoordinator;
