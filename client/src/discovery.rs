//! Finding the primary in another way than by asking members.
//!
//! The directory is asked if there is no address to begin with, and whenever a whole round of
//! members has not helped. Its answer is a hint: the member itself decides whether it is the
//! primary, and its answers count like those of any other member.
//!
//! Deliberately absent: watching. Members redirect faster than a directory can report.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// The primary that has announced itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// `host:port` or `http://host:port`.
    pub address: String,
}

/// What [`Discovery::primary`] returns. None: no primary is known there.
pub type Discovered<'a> = Pin<Box<dyn Future<Output = Result<Option<Announced>, String>> + Send + 'a>>;

/// A directory that knows the primary: see `EtcdDiscovery` (feature `etcd`), or write your own.
pub trait Discovery: Send + Sync + fmt::Debug {
    /// Asks the directory. It must answer within [`crate::Options::connect_timeout`].
    fn primary(&self) -> Discovered<'_>;
}
