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
use oplog::RequestStamp;

use crate::accounts::{Applying, Deciding};
use crate::bounds::AtBound;
use crate::call::{Call, CallRefused, ItemId, Op, Source, Who};
use crate::clients::Keep;
use crate::domain::Domain;
use crate::entry::{draft_of, own_op_failed, payload_of};
use crate::errors::Inconsistent;
use crate::hash::Fingerprint;
use crate::ops::ClientOp;
use crate::writer::{Writer, WriterGuard};

/// What became of one item.
pub type Outcome<C> = Result<<C as ItemCall>::Result, <C as ItemCall>::Refusal>;

/// One method that works on a list of items.
pub trait ItemCall: Sized {
    type Domain: Domain;
    const OP: Op;
    const KEEP: Keep;
    /// Makes the tenant where it is new, with the first item that is not refused.
    const MAKES_TENANT: bool = false;
    /// The client has told with it all that it has.
    const INTRODUCES: bool = false;
    /// The request's list, as the contract calls it.
    const LIST: &'static str = "items";
    /// One item of the request.
    type Item<'a>;
    /// What the log says of an item that was not refused.
    type Done<'a>: Encode + BorrowDecode<'a, ()>;
    /// What the log says of one that was. The pipeline itself refuses items at a bound only.
    type Refusal: Encode + for<'a> BorrowDecode<'a, ()> + Copy + From<AtBound>;
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

    /// Bounds that a part with so many items would meet, before anything of it is decided.
    fn check_bounds(
        &self,
        _: &Self::Domain,
        _: &<Self::Domain as Domain>::Own,
        _: &Call<'_>,
        _items: usize,
    ) -> Result<(), CallRefused> {
        Ok(())
    }

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
        results: &mut Vec<Outcome<C>>,
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
