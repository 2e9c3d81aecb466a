//! Pins: soft ones are evicted last, hard ones never.

use ledger::{Answer, Call, CallRefused, Fingerprint, ITEM_BYTES, Inconsistent, ItemId, Who};

use crate::apply::Apply;
use crate::calls::{Decide, ItemCall, check_key};
use crate::hash::KeyHash;
use crate::op::{OpType, Pinned};
use crate::state::Objects;
use crate::types::{Outcome, Pin, Refusal};

impl Objects {
    /// [`Pin::None`] takes a pin away.
    pub fn pin(&self, call: &Call<'_>, pin: Pin, keys: &[&[u8]]) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &SetPin(pin), keys)
    }
}

pub(crate) struct SetPin(Pin);

impl ItemCall for SetPin {
    const OP: OpType = OpType::Pin;
    const LIST: &'static str = "keys";
    type Item<'a> = &'a [u8];
    type Done<'a> = Pinned<'a>;
    type Result = ();

    fn field(at: usize, _: &str) -> String {
        format!("{}[{at}]", Self::LIST)
    }

    fn check(&self, item: &&[u8], field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_key(item, field)
    }

    fn fingerprint(&self, item: &&[u8], into: &mut Fingerprint) {
        into.text(item);
        into.number(match self.0 {
            Pin::None => 0,
            Pin::Hard => 1,
            Pin::Soft { ttl_ms } => (u64::from(ttl_ms) << 2) | 2,
        });
    }

    fn bytes_max(&self, item: &&[u8]) -> usize {
        ITEM_BYTES + item.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item);
        let shard = cx.shards[hash.shard()].lock();
        shard.find(hash, cx.who.tenant, item).ok_or(Refusal::NotFound)?;
        Ok(Pinned { key: item, pin: self.0 })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, _: ItemId, done: &Pinned<'_>) -> Result<(), Inconsistent> {
        cx.pin(who.tenant, done)
    }

    fn result(_: &Pinned<'_>, _: ItemId) {}
}
