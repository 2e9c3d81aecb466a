//! The calls that change something. Each is decided item by item under the writer lock, and every item is applied
//! before the next one is decided; then one entry tells the log what became of all of them ([`ledger::WriterGuard::run_part`]).
//!
//! ```text
//!   known request? ──► bounds, tenant ──► a part: reserve, decide, apply, append, keep the answer ──► the next part
//! ```
//!
//! A call of more than [`ENTRY_ITEMS_MAX`] items takes several such rounds and gives the lock back in between. Its
//! record under the request number says how far it got, so a retry, or a second copy of the request that runs at the
//! same time, goes on from there. Where a round finds the log full, or this member deposed, the call ends as
//! [`CallRefused::InPart`]; without a number, in a full log, the answer tells what was done and that the rest was not.

pub(crate) mod pattern;
pub(crate) mod pin;
pub(crate) mod place;
pub(crate) mod put;
pub(crate) mod remove;
pub(crate) mod remove_many;
pub(crate) mod segment;
mod settings;
pub(crate) mod task;
pub(crate) mod tenant;
pub(crate) mod transfer;

use bincode::{BorrowDecode, Encode};
use ledger::{
    Accounts, Address, Answer, AnswerRecord, Applying, AtBound, BOUND_RETRY_MS, Bound, Call, CallRefused, Deciding,
    ENTRY_ITEMS_MAX, Fingerprint, ForgetAnswersOp, ITEM_BYTES, Inconsistent, ItemId, Known, LedgerOp, NO_TENANT, Now,
    Op, PartOf, RequestBody, TenantIx, Who, check_bound, check_call, check_count,
};
use oplog::{DecodeError, DomainId, Rng, Secret};
use parking_lot::Mutex;

use crate::apply::Apply;
use crate::config::Config;
use crate::directory::Directory;
use crate::op::{ClientOp, OpType};
use crate::shard::Shard;
use crate::state::{Metadata, Own, WriterGuard};
use crate::types::{KEY_BYTES_MAX, Outcome, Refusal};

const ANSWERS_RETRY_MS: u32 = 10;
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
    pub(crate) fn of(state: &'a Metadata, cx: Deciding<'a, Own>) -> Decide<'a> {
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
struct Items<'m, C>(&'m C);

impl<C: ItemCall> ledger::ItemCall for Items<'_, C> {
    type Domain = Metadata;
    const OP: Op = Op { domain: DomainId::METADATA, number: C::OP as u8 };
    const INTRODUCES: bool = C::INTRODUCES;
    type Item<'a> = C::Item<'a>;
    type Done<'a> = C::Done<'a>;
    type Refusal = Refusal;
    type Result = C::Result;

    fn decide<'a>(
        &self,
        state: &Metadata,
        cx: Deciding<'_, Own>,
        id: ItemId,
        item: &C::Item<'a>,
    ) -> Outcome<C::Done<'a>> {
        self.0.decide(&mut Decide::of(state, cx), id, item)
    }

    fn apply(
        state: &Metadata,
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

impl Metadata {
    pub(crate) fn run<C: ItemCall>(
        &self,
        call: &Call<'_>,
        method: &C,
        items: &[C::Item<'_>],
    ) -> Result<Answer<Vec<Outcome<C::Result>>>, CallRefused> {
        let body = check_request(self.view().secret(), call, method, items)?;
        let mut results = Vec::with_capacity(items.len());
        let mut writer = self.write();
        loop {
            // A standby knows the answers too, but it may not give them.
            writer.check_primary().map_err(|refused| refused.after(results.len() as u64))?;
            if let Known::Begun(record) = self.known(&writer, call, &body)?
                && record.items > results.len() as u64
            {
                replay::<C>(record, &mut results).map_err(|_| unreadable(call))?;
            }
            if results.len() >= items.len() {
                return Ok(Answer { results, position: writer.applied() });
            }
            let end = items.len().min(results.len() + ENTRY_ITEMS_MAX);
            let part = &items[results.len()..end];
            match self.run_part(&mut writer, call, method, &body, part, &mut results) {
                // Without a number nobody could ask again how the first parts went.
                Err(CallRefused::Overloaded { at: Some(at), .. }) if call.number == 0 && !results.is_empty() => {
                    results.resize_with(items.len(), || Err(Refusal::Overloaded(at)));
                }
                done => done.map_err(|refused| refused.after(results.len() as u64))?,
            }
            if results.len() >= items.len() {
                return Ok(Answer { results, position: writer.applied() });
            }
            writer.step_aside();
        }
    }

    pub(crate) fn known<'w>(
        &self,
        writer: &'w WriterGuard<'_>,
        call: &Call<'_>,
        body: &RequestBody,
    ) -> Result<Known<'w>, CallRefused> {
        // It was hashed before this member led: its own hash would not be found again.
        if body.secret != writer.accounts.secret {
            return Err(CallRefused::NotPrimary);
        }
        writer.accounts.clients.known(call, body, self.config.answers_max, self.config.answer_bytes_max)
    }

    fn run_part<C: ItemCall>(
        &self,
        writer: &mut WriterGuard<'_>,
        call: &Call<'_>,
        method: &C,
        body: &RequestBody,
        items: &[C::Item<'_>],
        results: &mut Vec<Outcome<C::Result>>,
    ) -> Result<(), CallRefused> {
        self.check_client_bound(writer, call)?;
        if C::BEGINS_WORK {
            self.check_work_bounds(writer, call, items.len())?;
        }
        self.make_answer_room(writer, call)?;
        let bytes = ITEM_BYTES + items.iter().map(|item| method.bytes_max(item)).sum::<usize>();
        let tenant = self.tenant_for(writer, call, method, items, bytes)?;
        let stamp = (call.number != 0).then(|| {
            let Config { answers_max, answer_bytes_max, .. } = self.config;
            (writer.accounts.clients.stamp(call, body.hash, answers_max, answer_bytes_max), C::OP.keep())
        });
        let part = PartOf { call, who: Who { client: call.client, tenant }, stamp, bytes };
        writer.run_part(self, &Items(method), part, items, results)
    }

    /// Of a numbered call: its answer will be kept.
    pub(crate) fn make_answer_room(&self, writer: &mut WriterGuard<'_>, call: &Call<'_>) -> Result<(), CallRefused> {
        if call.number == 0 {
            return Ok(());
        }
        let Config { answers_max, answer_bytes_max, answer_bytes_total_max, .. } = self.config;
        writer.accounts.clients.check_room(call, answers_max, answer_bytes_max)?;
        let kept = writer.accounts.clients.answer_bytes();
        if kept <= answer_bytes_total_max {
            return Ok(());
        }
        // At once somewhat more than must be, so that not every call has to.
        let surplus = kept - answer_bytes_total_max + answer_bytes_total_max / 64;
        let Some((client, below)) = writer.accounts.clients.answers_to_forget(surplus, ENTRY_ITEMS_MAX, call) else {
            return Ok(());
        };
        writer.commit_op(LedgerOp::ForgetAnswers, &ForgetAnswersOp { client: client.0, below }, call.now)?;
        // What has begun goes on: there are few long calls at a time.
        if writer.accounts.clients.answer_bytes() <= answer_bytes_total_max || writer.accounts.clients.has_begun(call) {
            return Ok(());
        }
        let (have, limit) = (kept as u64, answer_bytes_total_max as u64);
        Err(CallRefused::at_bound(Bound::AnswerBytes, have, limit, ANSWERS_RETRY_MS))
    }

    pub(crate) fn check_client_bound(&self, writer: &WriterGuard<'_>, call: &Call<'_>) -> Result<(), CallRefused> {
        let clients = &writer.accounts.clients;
        if clients.get(call.client).is_some() {
            return Ok(());
        }
        let Config { clients_max, clients_per_address_max, .. } = self.config;
        check_bound(Bound::Clients, clients.count(), clients_max)?;
        let count = call.address.map_or(0, |address| clients.count_from(address));
        check_bound(Bound::ClientsPerAddress, count, clients_per_address_max)
    }

    /// After all members have ended, space that clients mount again may be in use by those that were promised it before: no put takes
    /// any until these promises are over. Removals are never refused for what they retire: they are what makes room.
    fn check_work_bounds(&self, writer: &WriterGuard<'_>, call: &Call<'_>, count: usize) -> Result<(), CallRefused> {
        let left_ms = writer.own.closed_until_ms.saturating_sub(call.now.ttl_ms);
        if left_ms > 0 {
            let what = "this cluster began anew with nothing, and clients of before may still read or write what they were promised".to_owned();
            let retry_after_ms = u32::try_from(left_ms).unwrap_or(u32::MAX).min(CLOSED_RETRY_MS);
            return Err(CallRefused::Overloaded { what, at: None, retry_after_ms });
        }
        let Config { retired_extents_max, extents_per_address_max, client_puts_max, .. } = self.config;
        let segments = &writer.own.dir.segments;
        let extents = call.address.map_or(0, |address| segments.share_of(address).extents);
        if extents >= extents_per_address_max {
            let bound = Bound::ExtentsPerAddress;
            return Err(CallRefused::at_bound(bound, extents, extents_per_address_max, BOUND_RETRY_MS));
        }
        let retired = segments.retired_extents();
        if retired >= retired_extents_max {
            return Err(CallRefused::at_bound(Bound::RetiredExtents, retired, retired_extents_max, BOUND_RETRY_MS));
        }
        let owner = writer.own.dir.owners.get(call.client);
        let under_way = owner.map_or(0, |owner| owner.unfinished.len()) + count;
        if under_way > client_puts_max {
            let (have, limit) = (under_way as u64, client_puts_max as u64);
            return Err(CallRefused::at_bound(Bound::ClientPuts, have, limit, BOUND_RETRY_MS));
        }
        Ok(())
    }

    /// A new one is made only if its first entry, of so many bytes, follows.
    fn tenant_for<C: ItemCall>(
        &self,
        writer: &mut WriterGuard<'_>,
        call: &Call<'_>,
        method: &C,
        items: &[C::Item<'_>],
        bytes: usize,
    ) -> Result<TenantIx, CallRefused> {
        match writer.accounts.tenants.ix_of(call.tenant) {
            Some(ix) if C::MAKES_TENANT && writer.accounts.tenants.is_idle(ix) => {
                self.take_up_tenant(writer, call, ix).map(|()| ix)
            }
            Some(ix) => Ok(ix),
            None if C::MAKES_TENANT && self.takes_any(writer, call, method, items) => {
                self.make_tenant_for(writer, call, bytes)
            }
            None => Ok(NO_TENANT),
        }
    }

    /// Whether any of the items would not be refused in a tenant without objects.
    fn takes_any<C: ItemCall>(
        &self,
        writer: &mut WriterGuard<'_>,
        call: &Call<'_>,
        method: &C,
        items: &[C::Item<'_>],
    ) -> bool {
        let next_seq = writer.applied().seq + 1;
        items.iter().enumerate().any(|(at, item)| {
            let who = Who { client: call.client, tenant: NO_TENANT };
            let mut decide = Decide::of(self, writer.deciding(who, call));
            method.decide(&mut decide, ItemId::new(next_seq, at), item).is_ok()
        })
    }
}

/// Of a request that some state could accept, what is compared of its body; without a number, where
/// no retry will ask, only what is at hand.
pub(crate) fn check_request<C: ItemCall>(
    secret: Secret,
    call: &Call<'_>,
    method: &C,
    items: &[C::Item<'_>],
) -> Result<RequestBody, CallRefused> {
    check_call(call)?;
    check_count(C::LIST, items.len())?;
    for (at, item) in items.iter().enumerate() {
        method.check(item, &|name| C::field(at, name))?;
    }
    let mut print = Fingerprint::new(secret, C::OP.into(), call.tenant);
    if call.number != 0 {
        items.iter().for_each(|item| method.fingerprint(item, &mut print));
    }
    Ok(print.finish(items.len()))
}

/// The answer that the entries of a request gave, beyond what is in `results` already.
fn replay<C: ItemCall>(record: &AnswerRecord, results: &mut Vec<Outcome<C::Result>>) -> Result<(), DecodeError> {
    let mut at = 0;
    for (seq, payload) in &record.parts {
        let op: ClientOp<C::Done<'_>> = oplog::decode_payload(payload)?;
        for (item, outcome) in op.items.iter().enumerate() {
            if at == results.len() {
                let too_many = || DecodeError::Payload { reason: format!("item {item} of seq {seq} has no id") };
                let id = ItemId::checked(*seq, item).ok_or_else(too_many)?;
                results.push(outcome.as_ref().map(|done| C::result(done, id)).map_err(|refusal| *refusal));
            }
            at += 1;
        }
    }
    Ok(())
}

/// The kept answer is no answer any more: its memory has changed. That is as if it were forgotten;
/// the scrub tells what happened.
#[cold]
pub(crate) fn unreadable(call: &Call<'_>) -> CallRefused {
    CallRefused::RequestExpired { number: call.number, kept_from: call.number.saturating_add(1) }
}
