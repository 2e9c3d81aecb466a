//! Removal of named keys.

use ledger::{Answer, Call, CallRefused, Fingerprint, ITEM_BYTES, Inconsistent, ItemId, Who};

use crate::apply::Apply;
use crate::calls::{Decide, ItemCall, check_key};
use crate::hash::KeyHash;
use crate::object::Object;
use crate::op::{OpType, Removed, Retire};
use crate::state::Objects;
use crate::types::{Outcome, Pin, Refusal};

impl Objects {
    /// `force`: also what is leased, pinned or being written. Its space is reused only when nobody can be using it.
    pub fn remove(
        &self,
        call: &Call<'_>,
        force: bool,
        keys: &[&[u8]],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &Remove { force }, keys)
    }
}

impl Decide<'_> {
    pub(crate) fn may_remove(&self, object: &Object, force: bool) -> Outcome<Retire> {
        // As it is looked at again under the shard's lock, whatever state the object is in.
        let leased = self.is_leased(object);
        if force {
            return Ok(if leased { Retire::AfterLease } else { Retire::Now });
        }
        if object.is_unfinished() {
            return Err(Refusal::WriteInProgress);
        }
        if object.pin == Pin::Hard {
            return Err(Refusal::Pinned);
        }
        if leased { Err(Refusal::Leased) } else { Ok(Retire::Now) }
    }
}

pub(crate) struct Remove {
    pub(crate) force: bool,
}

impl ItemCall for Remove {
    const OP: OpType = OpType::Remove;
    const LIST: &'static str = "keys";
    type Item<'a> = &'a [u8];
    type Done<'a> = Removed<'a>;
    type Result = ();

    fn field(at: usize, _: &str) -> String {
        format!("{}[{at}]", Self::LIST)
    }

    fn check(&self, item: &&[u8], field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_key(item, field)
    }

    fn fingerprint(&self, item: &&[u8], into: &mut Fingerprint) {
        into.text(item);
        into.number(u64::from(self.force));
    }

    fn bytes_max(&self, item: &&[u8]) -> usize {
        ITEM_BYTES + item.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item);
        let shard = cx.shards[hash.shard()].lock();
        let object = shard.find(hash, cx.who.tenant, item).ok_or(Refusal::NotFound)?;
        let retire = cx.may_remove(object, self.force)?;
        Ok(Removed { key: item, retire })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, _: ItemId, done: &Removed<'_>) -> Result<(), Inconsistent> {
        cx.remove(who.tenant, done)
    }

    fn result(_: &Removed<'_>, _: ItemId) {}
}
