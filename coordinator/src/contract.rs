//! What a coordinator promises, in the words that every adapter keeps and the conformance suite
//! checks.
//!
//! Invariants:
//! - Swaps are linearizable: of all that compare the same revision at most one happens, and a read
//!   that begins after a swap was answered sees it. Revisions of the record only grow.
//! - A swap compares the record itself, too: a store that was restored from a backup gives
//!   revisions out again.
//! - A swap that fails with an [`Error`] may have happened, or may yet happen.
//! - Every call ends by itself, within the time limit that the adapter was made with.
//!
//! Deliberately absent: retries. Whoever asks decides when to ask again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use election::{ConfigRecord, Incarnation, Seen, Versioned};
use tokio::sync::watch;

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What one incarnation of a member proves itself by to other members. Only those that read the
/// coordinator see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; Secret::BYTES]);

impl Secret {
    pub const BYTES: usize = 16;
}

/// Never shown: not in a log, not in an error.
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
    /// The process that it is, in words that the same host can check when it is gone. Empty:
    /// unknown.
    pub process: String,
    /// The newest that it knows of its cluster. `None`: it holds nothing, so that a new cluster may
    /// begin beside it.
    pub seen: Option<Seen>,
    /// `None`: it shows none, and can prove itself to nobody.
    pub secret: Option<Secret>,
}

/// What a coordinator holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    pub record: Option<Versioned>,
    /// What the store calls itself; another one after it was made anew or restored. 0: it has no
    /// name.
    pub store: u64,
}

/// What became of a swap that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swap {
    /// It has happened; the record has this revision now.
    Done { revision: u64 },
    /// The record was another one: this swap will not happen.
    Refused,
}

/// As long as this is held, others see the member. Dropped, the member goes as soon as can be.
pub trait Presence: Send + Sync + fmt::Debug {
    /// Over as soon as the member can no longer be seen, although this is held: e.g. its lease has
    /// ended. Then join again.
    fn lost(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Tells clients that look here that this member is the primary of `epoch`, at its address.
    /// Goes with the presence.
    fn announce(&self, epoch: u64) -> Answer<'_, ()>;

    /// Tells other members what this one knows of its cluster from now on.
    fn tell(&self, seen: Option<Seen>) -> Answer<'_, ()>;
}

pub trait Coordinator: Send + Sync + fmt::Debug {
    fn read(&self) -> Answer<'_, Stored>;

    /// Compares with the record and its revision (`None`: there is no record), and swaps.
    fn swap(&self, expect: Option<Versioned>, to: ConfigRecord) -> Answer<'_, Swap>;

    /// Says that a member is here. [`Error::Taken`] while another incarnation of it is: a second
    /// copy was started.
    fn join(&self, me: MemberInfo) -> Answer<'_, Box<dyn Presence>>;

    /// Those that are here now, by member id.
    fn members(&self) -> Answer<'_, Vec<MemberInfo>>;

    /// Proof, not a guess: the process that was this incarnation has ended. `false`: not known.
    fn is_dead(&self, who: Incarnation) -> Answer<'_, bool>;

    /// Whoever has seen that process end (its guard) says so.
    fn report_dead(&self, who: Incarnation) -> Answer<'_, ()>;

    /// Who announced itself as the primary last and is still here, with its epoch. For clients.
    fn announced(&self) -> Answer<'_, Option<(u64, MemberInfo)>>;

    /// Changes whenever the record or the members may have: a hint to read, which may come late or
    /// for nothing.
    fn changes(&self) -> watch::Receiver<u64>;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer, or an answer that says nothing. What was asked for may have happened.
    #[error("{what}: no answer from {place}: {why}")]
    Unavailable { what: &'static str, place: String, why: String },
    /// Something is there that this version cannot read. A person must look.
    #[error("{place} holds something that is not ours or is damaged: {why}")]
    Damaged { place: String, why: String },
    /// Another living process is this member.
    #[error("member {name:?} runs already, at {address}: stop that one, or give this one another --node-name")]
    Taken { name: String, who: Incarnation, address: String },
    /// The coordinator does not let this member in.
    #[error("{place} refused {what}: {why}")]
    Denied { what: &'static str, place: String, why: String },
}
