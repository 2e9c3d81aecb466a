//! The calls that change something. Each is decided item by item under the writer lock, and every
//! item is applied before the next one is decided; then one entry tells the log what became of all
//! of them ([`WriterGuard::run_part`]).
//!
//! ```text
//!   known request? ──► bounds, tenant ──► a part: reserve, decide, apply, append, keep the answer ──► the next part
//! ```
//!
//! A call of more than [`ENTRY_ITEMS_MAX`] items takes several such rounds and gives the lock back
//! in between. Its record under the request number says how far it got, so a retry, or a second copy
//! of the request that runs at the same time, goes on from there. Where a round finds the log full,
//! or this member deposed, the call ends as [`CallRefused::InPart`]; without a number, in a full
//! log, the answer tells what was done and that the rest was not.

use oplog::{DecodeError, RequestStamp, Secret};

use crate::bounds::Bound;
use crate::call::{Answer, Call, CallRefused, ENTRY_ITEMS_MAX, ITEM_BYTES, ItemId, TenantIx, Who};
use crate::call::{check_bound, check_call, check_count};
use crate::clients::{AnswerRecord, Known};
use crate::config::Config;
use crate::domain::Domain;
use crate::hash::{Fingerprint, RequestBody};
use crate::ops::{ClientOp, ForgetAnswersOp, LedgerOp};
use crate::run::{ItemCall, Outcome, PartOf};
use crate::tenants::NO_TENANT;
use crate::writer::WriterGuard;

const ANSWERS_RETRY_MS: u32 = 10;

/// What a call with items is answered.
pub type Answered<C> = Result<Answer<Vec<Outcome<C>>>, CallRefused>;

/// Runs a call from its first item to its last.
pub fn run<C: ItemCall>(domain: &C::Domain, call: &Call<'_>, method: &C, items: &[C::Item<'_>]) -> Answered<C> {
    let body = check_request(domain.secret(), call, method, items)?;
    let mut results = Vec::with_capacity(items.len());
    let mut writer = domain.ledger().write();
    loop {
        // A standby knows the answers too, but it may not give them.
        writer.check_primary().map_err(|refused| refused.after(results.len() as u64))?;
        if let Known::Begun(record) = writer.known(call, &body)?
            && record.items > results.len() as u64
        {
            replay::<C>(record, &mut results).map_err(|_| unreadable(call))?;
        }
        if results.len() >= items.len() {
            return Ok(Answer { results, position: writer.applied() });
        }
        let end = items.len().min(results.len() + ENTRY_ITEMS_MAX);
        let part = &items[results.len()..end];
        match next_part(domain, &mut writer, call, method, &body, part, &mut results) {
            // Without a number no retry could ask how the first parts went.
            Err(CallRefused::Overloaded { at: Some(at), .. }) if call.number == 0 && !results.is_empty() => {
                results.resize_with(items.len(), || Err(at.into()));
            }
            done => done.map_err(|refused| refused.after(results.len() as u64))?,
        }
        if results.len() >= items.len() {
            return Ok(Answer { results, position: writer.applied() });
        }
        writer.step_aside();
    }
}

fn next_part<C: ItemCall>(
    domain: &C::Domain,
    writer: &mut WriterGuard<'_, <C::Domain as Domain>::Own>,
    call: &Call<'_>,
    method: &C,
    body: &RequestBody,
    items: &[C::Item<'_>],
    results: &mut Vec<Outcome<C>>,
) -> Result<(), CallRefused> {
    writer.check_client_bound(call)?;
    method.check_bounds(domain, &writer.own, call, items.len())?;
    writer.make_answer_room(domain, call)?;
    let bytes = ITEM_BYTES + items.iter().map(|item| method.bytes_max(item)).sum::<usize>();
    let tenant = tenant_for(domain, writer, call, method, items, bytes)?;
    let stamp = writer.stamp(call, body).map(|stamp| (stamp, C::KEEP));
    let part = PartOf { call, who: Who { client: call.client, tenant }, stamp, bytes };
    writer.run_part(domain, method, part, items, results)
}

/// A new one is made only if its first entry, of so many bytes, follows.
fn tenant_for<C: ItemCall>(
    domain: &C::Domain,
    writer: &mut WriterGuard<'_, <C::Domain as Domain>::Own>,
    call: &Call<'_>,
    method: &C,
    items: &[C::Item<'_>],
    bytes: usize,
) -> Result<TenantIx, CallRefused> {
    match writer.accounts.tenants.ix_of(call.tenant) {
        Some(ix) if C::MAKES_TENANT && writer.accounts.tenants.is_idle(ix) => {
            writer.take_up_tenant(call, ix).map(|()| ix)
        }
        Some(ix) => Ok(ix),
        None if C::MAKES_TENANT && takes_any(domain, writer, call, method, items) => {
            writer.make_tenant_for(domain, call, bytes)
        }
        None => Ok(NO_TENANT),
    }
}

/// Whether any of the items would not be refused in a tenant that holds nothing.
fn takes_any<C: ItemCall>(
    domain: &C::Domain,
    writer: &mut WriterGuard<'_, <C::Domain as Domain>::Own>,
    call: &Call<'_>,
    method: &C,
    items: &[C::Item<'_>],
) -> bool {
    let next_seq = writer.applied().seq + 1;
    items.iter().enumerate().any(|(at, item)| {
        let who = Who { client: call.client, tenant: NO_TENANT };
        method.decide(domain, writer.deciding(who, call), ItemId::new(next_seq, at), item).is_ok()
    })
}

impl<O> WriterGuard<'_, O> {
    /// What is known of a numbered request. Other calls are new.
    pub fn known(&self, call: &Call<'_>, body: &RequestBody) -> Result<Known<'_>, CallRefused> {
        // It was hashed before this member led: its own hash would not be found again.
        if body.secret != self.accounts.secret {
            return Err(CallRefused::NotPrimary);
        }
        self.accounts.clients.known(call, body, self.config.answers_max, self.config.answer_bytes_max)
    }

    /// How the next entry of a numbered request is stamped.
    pub fn stamp(&self, call: &Call<'_>, body: &RequestBody) -> Option<RequestStamp> {
        let Config { answers_max, answer_bytes_max, .. } = self.config;
        let stamp = || self.accounts.clients.stamp(call, body.hash, answers_max, answer_bytes_max);
        (call.number != 0).then(stamp)
    }

    /// For a client that is not known yet.
    pub fn check_client_bound(&self, call: &Call<'_>) -> Result<(), CallRefused> {
        let clients = &self.accounts.clients;
        if clients.get(call.client).is_some() {
            return Ok(());
        }
        check_bound(Bound::Clients, clients.count(), self.config.clients_max)?;
        let count = call.address.map_or(0, |address| clients.count_from(address));
        check_bound(Bound::ClientsPerAddress, count, self.config.clients_per_address_max)
    }

    /// Of a numbered call: its answer will be kept.
    pub fn make_answer_room<D: Domain<Own = O>>(&mut self, domain: &D, call: &Call<'_>) -> Result<(), CallRefused> {
        if call.number == 0 {
            return Ok(());
        }
        let Config { answers_max, answer_bytes_max, answer_bytes_total_max, .. } = self.config;
        self.accounts.clients.check_room(call, answers_max, answer_bytes_max)?;
        let kept = self.accounts.clients.answer_bytes();
        if kept <= answer_bytes_total_max {
            return Ok(());
        }
        // At once somewhat more than must be, so that not every call has to.
        let surplus = kept - answer_bytes_total_max + answer_bytes_total_max / 64;
        let Some((client, below)) = self.accounts.clients.answers_to_forget(surplus, ENTRY_ITEMS_MAX, call) else {
            return Ok(());
        };
        let op = ForgetAnswersOp { client: client.0, below };
        self.commit(domain, LedgerOp::ForgetAnswers.into(), &op, call.now, None, 0)?;
        // What has begun goes on: there are few long calls at a time.
        if self.accounts.clients.answer_bytes() <= answer_bytes_total_max || self.accounts.clients.has_begun(call) {
            return Ok(());
        }
        let (have, limit) = (kept as u64, answer_bytes_total_max as u64);
        Err(CallRefused::at_bound(Bound::AnswerBytes, have, limit, ANSWERS_RETRY_MS))
    }
}

/// Of a request that some state could accept, what is compared of its body; without a number, where
/// no retry will ask, only what is at hand.
pub fn check_request<C: ItemCall>(
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
    let mut print = Fingerprint::new(secret, C::OP, call.tenant);
    if call.number != 0 {
        items.iter().for_each(|item| method.fingerprint(item, &mut print));
    }
    Ok(print.finish(items.len()))
}

/// The answer that the entries of a request gave, beyond what is in `results` already.
fn replay<C: ItemCall>(record: &AnswerRecord, results: &mut Vec<Outcome<C>>) -> Result<(), DecodeError> {
    let mut at = 0;
    for (seq, payload) in &record.parts {
        let op: ClientOp<C::Done<'_>, C::Refusal> = oplog::decode_payload(payload)?;
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
pub fn unreadable(call: &Call<'_>) -> CallRefused {
    CallRefused::RequestExpired { number: call.number, kept_from: call.number.saturating_add(1) }
}
