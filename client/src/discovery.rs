//! Finding the primary some other way than by asking members for it.
//!
//! It is asked when there is no address to begin with, and whenever a whole round of members has
//! not helped. What it says is a hint: the member decides itself whether it is the primary, and
//! what it answers counts as that of any other member.
//!
//! Deliberately absent: watching. Members redirect faster than any directory can tell.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Who has announced itself as the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// `host:port` or `http://host:port`.
    pub address: String,
}

/// What [`Discovery::primary`] gives: nobody, if no primary is known there.
pub type Discovered<'a> = Pin<Box<dyn Future<Output = Result<Option<Announced>, String>> + Send + 'a>>;

/// A directory that knows who is the primary: see `EtcdDiscovery` (feature `etcd`), or bring your
/// own.
pub trait Discovery: Send + Sync + fmt::Debug {
    /// Asks the directory. It has [`crate::Options::connect_timeout`] for an answer.
    fn primary(&self) -> Discovered<'_>;
}
