//! The store of the config record and of the members' presences: the contract, and its adapters.
//!
//! | file | decides |
//! |---|---|
//! | `contract` | what a coordinator promises |
//! | `json` | the content of a file or a key |
//! | `file` | a directory shared by the processes of one host |
//! | `etcd` | keys and leases of an etcd cluster |
//! | `conformance` | checks of the promises, for any adapter (feature `conformance`) |
//!
//! *Invariant:* nothing here decides a role; `election` does. A coordinator stores, compares and
//! tells.
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
