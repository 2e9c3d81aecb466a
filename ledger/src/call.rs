//! A call as every domain sees it: who calls, what it is answered, why it is refused; and what is
//! checked of every call.
//!
//! Deliberately absent: wire types, and what items are.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use bincode::{Decode, Encode};
use oplog::{ClientId, DomainId};

use crate::bounds::{AtBound, Bound};

/// Most items of one call.
pub const CALL_ITEMS_MAX: usize = 10_000;
/// Most items of one entry. A longer call becomes several entries, with the writer lock given back
/// in between.
pub const ENTRY_ITEMS_MAX: usize = 256;
/// Longest name, endpoint, host, path or pattern.
pub const TEXT_BYTES_MAX: usize = 1024;
/// What an item takes in an entry beside its key.
pub const ITEM_BYTES: usize = 64;

/// After a refusal at a bound that others have to make room at.
pub const BOUND_RETRY_MS: u32 = 1000;

/// Bits of an [`ItemId`] that count the item within its entry.
const ITEM_BITS: u32 = 12;

/// A tenant's number in this state. 0 is the default tenant.
pub type TenantIx = u32;

/// In whose name an entry acts.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub client: ClientId,
    pub tenant: TenantIx,
}

/// Where an op comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// This member has just decided it, at this time of its TTL clock, for a caller at this address.
    Decided { now_ms: u64, from: Option<Address> },
    /// The log says it. Deadlines start at this member's promotion.
    Logged,
}

impl Source {
    pub fn now_ms(self) -> u64 {
        match self {
            Source::Decided { now_ms, .. } => now_ms,
            Source::Logged => 0,
        }
    }

    /// What counts by address is counted by the member that decided it, and by no other.
    pub fn from(self) -> Option<Address> {
        match self {
            Source::Decided { from, .. } => from,
            Source::Logged => None,
        }
    }
}

/// What an entry is; the number is the domain's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    pub domain: DomainId,
    pub number: u8,
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of domain {}", self.number, self.domain)
    }
}

impl Op {
    pub(crate) fn as_number(self) -> u64 {
        (u64::from(self.domain.0) << 8) | u64::from(self.number)
    }
}

/// Names a put or a transfer: the seq of the entry that started it and its place in it, so it is
/// never used again and grows with time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct ItemId(pub u64);

impl ItemId {
    /// Nothing is under way; in a request: the caller's current one.
    pub const NONE: ItemId = ItemId(0);

    pub fn new(seq: u64, item: usize) -> ItemId {
        assert!(item < 1 << ITEM_BITS && seq < 1 << (64 - ITEM_BITS), "item {item} of seq {seq} has no id");
        ItemId((seq << ITEM_BITS) | item as u64)
    }

    /// `None`: from an entry that no primary wrote.
    pub fn checked(seq: u64, item: usize) -> Option<ItemId> {
        (item < 1 << ITEM_BITS && seq < 1 << (64 - ITEM_BITS)).then(|| ItemId::new(seq, item))
    }

    /// Of the entry that began it.
    pub fn seq(self) -> u64 {
        self.0 >> ITEM_BITS
    }

    pub fn is_none(self) -> bool {
        self == ItemId::NONE
    }
}

/// Why a whole call was refused. Nothing has changed, but for [`CallRefused::InPart`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallRefused {
    #[error("{field}: {what}")]
    Invalid { field: String, what: String },
    /// `at`: nothing, where it is no bound of the state that was met.
    #[error("overloaded: {what}")]
    Overloaded { what: String, at: Option<AtBound>, retry_after_ms: u32 },
    #[error("this member is not the primary")]
    NotPrimary,
    /// A retry with the same number goes on from there, or tells that it cannot.
    #[error("the first {done} items have run, and then: {why}")]
    InPart { done: u64, why: Box<CallRefused> },
    /// It would be again.
    #[error("regex: matching it with the keys takes too long")]
    Slow,
    #[error("request {number} was sent before with another body")]
    RequestReused { number: u64 },
    #[error("request {number} is older than the answers kept for this client (they start at {kept_from})")]
    RequestExpired { number: u64, kept_from: u64 },
}

impl CallRefused {
    pub fn invalid(field: impl Into<String>, what: impl Into<String>) -> CallRefused {
        CallRefused::Invalid { field: field.into(), what: what.into() }
    }

    pub fn at_bound(bound: Bound, have: u64, limit: u64, retry_after_ms: u32) -> CallRefused {
        let at = AtBound { bound, have, limit };
        CallRefused::Overloaded { what: at.to_string(), at: Some(at), retry_after_ms }
    }

    /// Of a call of which so many items had run before: no answer may say that it did not run.
    pub fn after(self, done: u64) -> CallRefused {
        match self {
            CallRefused::Overloaded { .. } | CallRefused::NotPrimary | CallRefused::Slow if done > 0 => {
                CallRefused::InPart { done, why: Box::new(self) }
            }
            _ => self,
        }
    }
}

impl From<oplog::Overloaded> for CallRefused {
    fn from(full: oplog::Overloaded) -> CallRefused {
        let of = |bound, have: usize, max: usize| Some(AtBound { bound, have: have as u64, limit: max as u64 });
        let at = match full.bound {
            oplog::Bound::TailEntries { entries, max, .. } => of(Bound::TailEntries, entries, max),
            oplog::Bound::TailBytes { bytes, needed, max, .. } => of(Bound::TailBytes, bytes + needed, max),
            oplog::Bound::EntryBytes { needed, max } => of(Bound::TailBytes, needed, max),
            oplog::Bound::Waiters { .. } => None,
        };
        CallRefused::Overloaded { retry_after_ms: full.retry_after_ms, what: full.to_string(), at }
    }
}

/// The two times of a call, both given by the shell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Runs only while the master is well: its own stalls are left out. All deadlines are measured
    /// on it.
    pub ttl_ms: u64,
    /// For people who read the log. Decides nothing.
    pub wall_ms: u64,
}

/// Where a client calls from, as far as callers can be told apart: one host, or one network of
/// IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address(NonZeroU64);

impl Address {
    /// Other bits are another address; the two largest numbers are no host's and no network's, and
    /// count as one.
    pub fn new(bits: u64) -> Address {
        Address(NonZeroU64::MIN.saturating_add(bits))
    }
}

/// Addresses of which nothing is known any more take no memory.
pub fn forget_one(counts: &mut BTreeMap<Address, usize>, address: Address) {
    match counts.get_mut(&address) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(&address)),
    }
}

/// Who calls, and when.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub client: ClientId,
    /// `None`: from within, where no bound by address counts.
    pub address: Option<Address>,
    /// 0: not protected against running twice.
    pub number: u64,
    pub answered_below: u64,
    pub tenant: &'a str,
    pub now: Now,
}

/// An answer and the seq that must be committed before it may go out.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    pub results: T,
    pub position: oplog::Position,
}

impl<T, R> Answer<Vec<Result<T, R>>> {
    /// In the words of a domain.
    pub fn refused_as<Q: From<R>>(self) -> Answer<Vec<Result<T, Q>>> {
        let Answer { results, position } = self;
        Answer { results: results.into_iter().map(|result| result.map_err(Q::from)).collect(), position }
    }
}

pub fn check_call(call: &Call<'_>) -> Result<(), CallRefused> {
    if call.client == ClientId::default() {
        return Err(CallRefused::invalid("caller.client_id", "16 bytes, not all zero, are needed"));
    }
    // The number after it is needed too: the first one that may still run.
    if call.number == u64::MAX {
        return Err(CallRefused::invalid("caller.request_number", format!("{}, the limit is one below", call.number)));
    }
    check_text("caller.tenant", call.tenant)
}

pub fn check_text(field: &str, text: &str) -> Result<(), CallRefused> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(CallRefused::invalid(field, format!("{} bytes, the limit is {TEXT_BYTES_MAX}", text.len())));
    }
    Ok(())
}

pub fn check_count(list: &str, count: usize) -> Result<(), CallRefused> {
    if count > CALL_ITEMS_MAX {
        return Err(CallRefused::invalid(list, format!("{count} items, the limit is {CALL_ITEMS_MAX}")));
    }
    Ok(())
}

/// Whether there is room for one more.
pub fn check_bound(bound: Bound, have: usize, limit: usize) -> Result<(), CallRefused> {
    if have < limit { Ok(()) } else { Err(CallRefused::at_bound(bound, have as u64, limit as u64, BOUND_RETRY_MS)) }
}
