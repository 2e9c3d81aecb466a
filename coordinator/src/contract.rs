//! What a coordinator promises. Every adapter keeps it, and the conformance suite checks it.
//!
//! Invariants:
//! - Swaps are linearizable: of all swaps that compare the same revision, at most one happens, and
//!   a read that begins after a swap was answered sees it. Revisions of the record only grow.
//! - A swap compares the record itself, too, since a store that was restored from a backup may use
//!   revisions again.
//! - A swap that fails with an [`Error`] may have happened, or may yet happen.
//! - Every call ends by itself, within the time limit that the adapter was made with.
//!
//! Deliberately absent: retries. The caller decides when to ask again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use election::{ConfigRecord, Incarnation, Seen, Versioned};
use tokio::sync::watch;

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// By this an incarnation of a member proves itself to other members. Only processes that can read
/// the coordinator see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; Secret::BYTES]);

impl Secret {
    pub const BYTES: usize = 16;
}

/// A secret is never shown, neither in a log nor in an error.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a member says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberInfo {
    pub who: Incarnation,
    pub name: String,
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` for other members.
    pub peer_address: String,
    /// Identifies the process, so that another process on the same host can check whether it has
    /// ended. Empty: unknown.
    pub process: String,
    /// The newest that it knows of its cluster. `None`: it holds nothing, so a new cluster may be
    /// founded beside it.
    pub seen: Option<Seen>,
    /// `None`: it shows none, and cannot prove itself to any member.
    pub secret: Option<Secret>,
}

/// What a coordinator holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    pub record: Option<Versioned>,
    /// The store's id. It changes when the store is created anew or restored. 0: it has none.
    pub store: u64,
}

/// The outcome of a swap that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swap {
    /// It has happened; the record has this revision now.
    Done { revision: u64 },
    /// The record was another one: this swap will never happen.
    Refused,
}

/// While this is held, other processes see the member. When it is dropped, the member disappears as
/// soon as possible.
pub trait Presence: Send + Sync + fmt::Debug {
    /// Returns once other processes cannot see the member any more although this is held, for
    /// example because its lease has ended. Then join again.
    fn lost(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Announces to clients that this member is the primary of `epoch`, with its address. The
    /// announcement ends with the presence.
    fn announce(&self, epoch: u64) -> Answer<'_, ()>;

    /// Shows other members what this one knows of its cluster.
    fn tell(&self, seen: Option<Seen>) -> Answer<'_, ()>;
}

pub trait Coordinator: Send + Sync + fmt::Debug {
    fn read(&self) -> Answer<'_, Stored>;

    /// Compares the record and its revision (`None`: there is no record), and swaps.
    fn swap(&self, expect: Option<Versioned>, to: ConfigRecord) -> Answer<'_, Swap>;

    /// Shows that a member is here. [`Error::NameInUse`] while another incarnation of it is here: a
    /// second copy was started.
    fn join(&self, me: MemberInfo) -> Answer<'_, Box<dyn Presence>>;

    /// Those that are here now, by member id.
    fn members(&self) -> Answer<'_, Vec<MemberInfo>>;

    /// Proof, not a guess: the process of this incarnation has ended. `false`: not known.
    fn is_dead(&self, who: Incarnation) -> Answer<'_, bool>;

    /// Reports that the process of this incarnation has ended. Its guard, which has seen it end,
    /// calls this.
    fn report_dead(&self, who: Incarnation) -> Answer<'_, ()>;

    /// The newest primary that announced itself and is still here, with its epoch. For clients.
    fn announced(&self) -> Answer<'_, Option<(u64, MemberInfo)>>;

    /// Changes whenever the record or the members may have changed. A hint to read again, which may
    /// come late or without a change.
    fn changes(&self) -> watch::Receiver<u64>;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There was no answer, or one without a result. The request may have been carried out.
    #[error("{what}: no answer from {place}: {why}")]
    Unavailable { what: &'static str, place: String, why: String },
    /// The coordinator holds something that this version cannot read. An operator must look.
    #[error("{place} holds something that no member wrote or that is damaged: {why}")]
    Damaged { place: String, why: String },
    /// Another living process is this member.
    #[error("member {name:?} runs already, at {address}: stop that one, or give this one another --node-name")]
    NameInUse { name: String, who: Incarnation, address: String },
    /// The coordinator does not admit this member.
    #[error("{place} refused {what}: {why}")]
    Denied { what: &'static str, place: String, why: String },
}
