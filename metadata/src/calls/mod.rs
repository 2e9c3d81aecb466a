//! The calls of this domain that change something: how each checks, decides and applies an item. The
//! ledger runs them ([`ledger::run`]).

pub(crate) mod pattern;
pub(crate) mod pin;
pub(crate) mod place;
pub(crate) mod put;
pub(crate) mod remove;
pub(crate) mod remove_many;
pub(crate) mod segment;
mod settings;
pub(crate) mod task;
pub(crate) mod transfer;

use bincode::{BorrowDecode, Encode};
use ledger::{
    Accounts, Address, Answer, Applying, AtBound, BOUND_RETRY_MS, Bound, Call, CallRefused, Deciding, Fingerprint,
    Inconsistent, ItemId, Keep, Now, Op, Who,
};
use oplog::{DomainId, Rng};
use parking_lot::Mutex;

use crate::apply::Apply;
use crate::config::Config;
use crate::directory::Directory;
use crate::op::OpType;
use crate::shard::Shard;
use crate::state::{Objects, Own};
use crate::types::{KEY_BYTES_MAX, Outcome, Refusal};

/// Longest wait before a put is tried again that may not begin yet.
const CLOSED_RETRY_MS: u32 = 1000;

/// One method that works on a list of items.
pub(crate) trait ItemCall {
    const OP: OpType;
    /// Makes the tenant where it is new, with the first item that is not refused.
    const MAKES_TENANT: bool = false;
    /// A put or a transfer is under way after it, whose space may have to wait one day before it is used again.
    const BEGINS_WORK: bool = false;
    /// The client has told all its segments with it.
    const INTRODUCES: bool = false;
    /// The request's list, as the contract calls it.
    const LIST: &'static str = "items";
    /// One item of the request.
    type Item<'a>;
    /// What the log says of an item that was not refused.
    type Done<'a>: Encode + BorrowDecode<'a, ()>;
    /// What the caller is told.
    type Result;

    /// Where a field of an item stands.
    fn field(at: usize, name: &str) -> String {
        format!("{}[{at}].{name}", Self::LIST)
    }

    /// Refuses what no state could accept, naming the field. Changes nothing.
    fn check(&self, item: &Self::Item<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused>;
    /// Goes into the hash that tells a retry from another request under the same number.
    fn fingerprint(&self, item: &Self::Item<'_>, into: &mut Fingerprint);
    /// At least what the item takes in the entry.
    fn bytes_max(&self, item: &Self::Item<'_>) -> usize;
    fn decide<'a>(&self, cx: &mut Decide<'_>, id: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>>;
    fn apply(cx: &mut Apply<'_>, who: Who, id: ItemId, done: &Self::Done<'_>) -> Result<(), Inconsistent>;
    fn result(done: &Self::Done<'_>, id: ItemId) -> Self::Result;
}

/// All that a decision may look at.
pub(crate) struct Decide<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) dir: &'a Directory,
    pub(crate) shards: &'a [Mutex<Shard>],
    pub(crate) config: &'a Config,
    pub(crate) rng: &'a mut Rng,
    pub(crate) pressed: &'a mut bool,
    pub(crate) who: Who,
    pub(crate) from: Option<Address>,
    pub(crate) now: Now,
    pub(crate) grace_from_ms: Option<u64>,
}

impl<'a> Decide<'a> {
    pub(crate) fn of(state: &'a Objects, cx: Deciding<'a, Own>) -> Decide<'a> {
        let Deciding { accounts, own, who, from, now, grace_from_ms } = cx;
        let Own { dir, rng, pressed, .. } = own;
        let (shards, config) = (&state.shards[..], &state.config);
        Decide { accounts, dir, shards, config, rng, pressed, who, from, now, grace_from_ms }
    }
}

impl Decide<'_> {
    /// Whether there is room for one more.
    pub(crate) fn check_bound(&self, bound: Bound, have: u64, limit: u64) -> Outcome<()> {
        if have < limit { Ok(()) } else { Err(Refusal::Overloaded(AtBound { bound, have, limit })) }
    }

    /// A reader may still rely on what it was told.
    pub(crate) fn is_leased(&self, object: &crate::object::Object) -> bool {
        let until = object.lease_until_ms.max(self.lease_grace_until());
        until > self.now.ttl_ms
    }

    /// A member that was promoted does not know what was leased before: everything was, for one lease.
    fn lease_grace_until(&self) -> u64 {
        self.grace_from_ms
            .map_or(0, |from_ms| from_ms + self.accounts.in_force(self.config.settings).kept().object_lease_ms)
    }
}

/// A method, as the ledger runs it.
pub(crate) struct Items<'m, C>(pub(crate) &'m C);

impl<C: ItemCall> ledger::ItemCall for Items<'_, C> {
    type Domain = Objects;
    const OP: Op = Op { domain: DomainId::METADATA, number: C::OP as u8 };
    const KEEP: Keep = C::OP.keep();
    const MAKES_TENANT: bool = C::MAKES_TENANT;
    const INTRODUCES: bool = C::INTRODUCES;
    const LIST: &'static str = C::LIST;
    type Item<'a> = C::Item<'a>;
    type Done<'a> = C::Done<'a>;
    type Refusal = Refusal;
    type Result = C::Result;

    fn field(at: usize, name: &str) -> String {
        C::field(at, name)
    }

    fn check(&self, item: &C::Item<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        self.0.check(item, field)
    }

    fn fingerprint(&self, item: &C::Item<'_>, into: &mut Fingerprint) {
        self.0.fingerprint(item, into);
    }

    fn bytes_max(&self, item: &C::Item<'_>) -> usize {
        self.0.bytes_max(item)
    }

    fn check_bounds(&self, state: &Objects, own: &Own, call: &Call<'_>, items: usize) -> Result<(), CallRefused> {
        if C::BEGINS_WORK { check_work_bounds(&state.config, own, call, items) } else { Ok(()) }
    }

    fn decide<'a>(
        &self,
        state: &Objects,
        cx: Deciding<'_, Own>,
        id: ItemId,
        item: &C::Item<'a>,
    ) -> Outcome<C::Done<'a>> {
        self.0.decide(&mut Decide::of(state, cx), id, item)
    }

    fn apply(
        state: &Objects,
        cx: Applying<'_, Own>,
        who: Who,
        id: ItemId,
        done: &C::Done<'_>,
    ) -> Result<(), Inconsistent> {
        C::apply(&mut Apply::of(state, cx), who, id, done)
    }

    fn result(done: &C::Done<'_>, id: ItemId) -> C::Result {
        C::result(done, id)
    }
}

pub(crate) fn check_key(key: &[u8], field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
    if key.is_empty() {
        return Err(CallRefused::invalid(field("key"), "empty, at least 1 byte is needed"));
    }
    if key.len() > KEY_BYTES_MAX {
        let what = format!("{} bytes, the limit is {KEY_BYTES_MAX}", key.len());
        return Err(CallRefused::invalid(field("key"), what));
    }
    Ok(())
}

impl Objects {
    pub(crate) fn run<C: ItemCall>(
        &self,
        call: &Call<'_>,
        method: &C,
        items: &[C::Item<'_>],
    ) -> Result<Answer<Vec<Outcome<C::Result>>>, CallRefused> {
        ledger::run(self, call, &Items(method), items)
    }
}

/// After all members have ended, space that clients mount again may be in use by those that were promised it before: no put takes
/// any until these promises are over. Removals are never refused for what they retire: they are what makes room.
fn check_work_bounds(config: &Config, own: &Own, call: &Call<'_>, count: usize) -> Result<(), CallRefused> {
    let left_ms = own.closed_until_ms.saturating_sub(call.now.ttl_ms);
    if left_ms > 0 {
        let what = "this cluster began anew with nothing, and clients of before may still read or write what they were promised".to_owned();
        let retry_after_ms = u32::try_from(left_ms).unwrap_or(u32::MAX).min(CLOSED_RETRY_MS);
        return Err(CallRefused::Overloaded { what, at: None, retry_after_ms });
    }
    let Config { retired_extents_max, extents_per_address_max, client_puts_max, .. } = *config;
    let segments = &own.dir.segments;
    let extents = segments.shares.of(call.address).extents;
    // One address never has all, whatever the whole is.
    let limit = extents_per_address_max.min(retired_extents_max.div_ceil(2));
    if extents >= limit {
        return Err(CallRefused::at_bound(Bound::ExtentsPerAddress, extents, limit, BOUND_RETRY_MS));
    }
    let retired = segments.retired_extents();
    if retired >= retired_extents_max {
        return Err(CallRefused::at_bound(Bound::RetiredExtents, retired, retired_extents_max, BOUND_RETRY_MS));
    }
    let owner = own.dir.owners.get(call.client);
    let under_way = owner.map_or(0, |owner| owner.unfinished.len()) + count;
    if under_way > client_puts_max {
        let (have, limit) = (under_way as u64, client_puts_max as u64);
        return Err(CallRefused::at_bound(Bound::ClientPuts, have, limit, BOUND_RETRY_MS));
    }
    Ok(())
}
