//! One part of a call: its items are decided one by one, each applied before the next one is
//! decided, and one entry tells the log what became of all of them.
//!
//! ```text
//!   reserve a slot ──► for each item: decide, apply ──► append ──► keep the answer
//!   (or Overloaded,                                     (cannot fail)
//!    nothing changed)
//! ```
//!
//! Deliberately absent: which requests are known, and which bounds are met before.

use bincode::{BorrowDecode, Encode};
use oplog::{ClientId, RequestStamp};

use crate::accounts::Accounts;
use crate::call::{Address, Call, CallRefused, ItemId, Now, Op, Source, TenantIx, Who};
use crate::clients::Keep;
use crate::domain::{Applying, Domain};
use crate::errors::Inconsistent;
use crate::writer::{Writer, WriterGuard, draft_of, own_op_failed, payload_of};

/// One method that works on a list of items.
pub trait ItemCall {
    type Domain: Domain;
    const OP: Op;
    /// The client has told with it all that it has.
    const INTRODUCES: bool = false;
    /// One item of the request.
    type Item<'a>;
    /// What the log says of an item that was not refused.
    type Done<'a>: Encode + BorrowDecode<'a, ()>;
    /// What the log says of one that was.
    type Refusal: Encode + Copy;
    /// What the caller is told.
    type Result;

    fn decide<'a>(
        &self,
        domain: &Self::Domain,
        cx: Deciding<'_, <Self::Domain as Domain>::Own>,
        id: ItemId,
        item: &Self::Item<'a>,
    ) -> Result<Self::Done<'a>, Self::Refusal>;

    fn apply(
        domain: &Self::Domain,
        cx: Applying<'_, <Self::Domain as Domain>::Own>,
        who: Who,
        id: ItemId,
        done: &Self::Done<'_>,
    ) -> Result<(), Inconsistent>;

    fn result(done: &Self::Done<'_>, id: ItemId) -> Self::Result;
}

/// All that a decision may look at. Of what is the domain's own it may change only what is not
/// replicated.
#[derive(Debug)]
pub struct Deciding<'a, O> {
    pub accounts: &'a Accounts,
    pub own: &'a mut O,
    pub who: Who,
    /// Where the caller is.
    pub from: Option<Address>,
    pub now: Now,
    pub grace_from_ms: Option<u64>,
}

/// A call of a client, or one part of a long one, as the log has it.
#[derive(Debug, Encode, BorrowDecode)]
pub struct ClientOp<T, R> {
    pub client: [u8; 16],
    pub tenant: TenantIx,
    pub items: Vec<Result<T, R>>,
}

impl<T, R> ClientOp<T, R> {
    pub fn who(&self) -> Who {
        Who { client: ClientId(self.client), tenant: self.tenant }
    }
}

/// How a part goes into the log.
#[derive(Clone, Copy, Debug)]
pub struct PartOf<'a> {
    pub call: &'a Call<'a>,
    pub who: Who,
    /// Of a numbered request.
    pub stamp: Option<(RequestStamp, Keep)>,
    /// At least what its entry takes.
    pub bytes: usize,
}

impl<O> Writer<O> {
    pub fn deciding(&mut self, who: Who, call: &Call<'_>) -> Deciding<'_, O> {
        let Writer { accounts, own, grace_from_ms, .. } = self;
        Deciding { accounts, own, who, from: call.address, now: call.now, grace_from_ms: *grace_from_ms }
    }
}

impl<O> WriterGuard<'_, O> {
    pub fn run_part<C>(
        &mut self,
        domain: &C::Domain,
        method: &C,
        part: PartOf<'_>,
        items: &[C::Item<'_>],
        results: &mut Vec<Result<C::Result, C::Refusal>>,
    ) -> Result<(), CallRefused>
    where
        C: ItemCall<Domain: Domain<Own = O>>,
    {
        let PartOf { call, who, stamp, bytes } = part;
        let Writer { accounts, own, log, scratch, grace_from_ms, .. } = &mut **self;
        let slot = log.as_mut().ok_or(CallRefused::NotPrimary)?.reserve(bytes)?;
        let seq = slot.seq();
        let mut op = ClientOp { client: who.client.0, tenant: who.tenant, items: Vec::with_capacity(items.len()) };
        let source = Source::Decided { now_ms: call.now.ttl_ms, from: call.address };
        for (at, item) in items.iter().enumerate() {
            let id = ItemId::new(seq, at);
            let mut again = false;
            let outcome = loop {
                let (from, now) = (call.address, call.now);
                let deciding = Deciding { accounts, own, who, from, now, grace_from_ms: *grace_from_ms };
                let outcome = method.decide(domain, deciding, id, item);
                let Ok(done) = &outcome else { break outcome };
                match C::apply(domain, Applying { accounts, own, seq, source }, who, id, done) {
                    Ok(()) => break outcome,
                    // What has changed counts from now on for all of this call, so that this
                    // happens once at most.
                    Err(Inconsistent::DecideAnew) if !again => again = true,
                    Err(error) => own_op_failed(C::OP, seq, &error),
                }
            };
            results.push(outcome.as_ref().map(|done| C::result(done, id)).map_err(|refusal| *refusal));
            op.items.push(outcome);
        }
        // A retry must be told the same; without a number, what is refused as a whole leaves no
        // trace.
        if stamp.is_none() && op.items.iter().all(Result::is_err) && !C::INTRODUCES {
            return Ok(());
        }
        accounts.begin(who, C::INTRODUCES, source);
        scratch.clear();
        oplog::encode_payload(&op, scratch);
        let frame = slot.append(&draft_of(C::OP, call.now, stamp.map(|(stamp, _)| stamp), scratch));
        if let Some((stamp, keep)) = stamp {
            let payload = payload_of(&frame, scratch.len());
            accounts.clients.record(&stamp, C::OP, keep, payload, items.len() as u64, (seq, call.now.ttl_ms));
        }
        accounts.clients.came_from(call.client, call.address);
        self.appended(domain, &frame);
        Ok(())
    }
}
