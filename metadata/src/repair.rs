//! What a repair does to objects: those of a bucket that differ from another member's image are
//! replaced by what the image says.
//!
//! Where a record takes other space than it should, or has changed without an entry and does not
//! say any more which it took, what is implied cannot be trusted: then the last shard must come
//! too.
//!
//! Invariant: all that is wrong is out before anything comes in, since it may stand in the place,
//! or hold the space, of what is right.

use std::collections::BTreeMap;

use ledger::{Applying, Inconsistent, Source, TenantIx};
use oplog::{Digest, Mismatch, Part, RepairError, Secret};

use crate::apply::{Apply, Misfit, no_object};
use crate::compare::mismatch;
use crate::image::imply;
use crate::object::Object;
use crate::op::Retire;
use crate::shard::in_bucket;
use crate::state::{Objects, Own};

type Key = (TenantIx, Box<[u8]>);

/// What becomes of one bucket. Both lists are in the order of the keys, those that the other side lacks last.
#[derive(Debug)]
pub struct Plan {
    part: Part,
    /// Taken out, and then put in if the image has them.
    wrong: Vec<Object>,
    missing: Vec<Object>,
}

impl Plan {
    pub(crate) fn needs_whole(&self, state: &Objects, secret: Secret) -> Option<&'static str> {
        if !is_sound(state, self.part, secret) {
            return Some("its records are not what is kept of them");
        }
        let same = self.wrong.len() == self.missing.len()
            && self.wrong.iter().zip(&self.missing).all(|(wrong, right)| wrong.footprint() == right.footprint());
        (!same).then_some("its records take other space than they should")
    }
}

fn is_sound(state: &Objects, part: Part, secret: Secret) -> bool {
    let shard = state.scan(part.shard as usize);
    let counted: Digest = in_bucket(&shard, part.bucket).map(|object| object.counted_digest(secret)).sum();
    shard.buckets()[part.bucket as usize] == counted
}

pub(crate) fn plan(
    state: &Objects,
    part: Part,
    theirs: Vec<Object>,
    secret: Secret,
) -> Result<(Plan, Vec<Mismatch>), RepairError> {
    let mut theirs_by_key: BTreeMap<Key, Object> = BTreeMap::new();
    for object in theirs {
        let key = (object.tenant, object.key.clone());
        if theirs_by_key.insert(key, object).is_some() {
            return Err(RepairError::Inconsistent {
                what: format!("bucket {} of shard {} holds a key twice", part.bucket, part.shard),
            });
        }
    }
    let (mut found, mut wrong, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let shard = state.scan(part.shard as usize);
    // A key that has changed may be another one's now: the hash tells whose place the record has.
    let mut mine: BTreeMap<(Key, u64), &Object> = BTreeMap::new();
    for object in in_bucket(&shard, part.bucket) {
        mine.insert(((object.tenant, object.key.clone()), object.hash.0), object);
    }
    for ((key, _), ours) in &mine {
        let theirs = theirs_by_key.remove(key);
        let Some(mismatch) = mismatch(secret, part, Some(ours), theirs.as_ref()) else { continue };
        found.push(mismatch);
        wrong.push(ours.copied());
        missing.extend(theirs);
    }
    for theirs in theirs_by_key.into_values() {
        found.extend(mismatch(secret, part, None, Some(&theirs)));
        missing.push(theirs);
    }
    Ok((Plan { part, wrong, missing }, found))
}

/// With what they imply.
pub(crate) fn carry_out(state: &Objects, mut cx: Applying<'_, Own>, plans: Vec<Plan>) -> Result<(), String> {
    for plan in &plans {
        for wrong in &plan.wrong {
            take_out(state, &mut cx, wrong).map_err(|error| error.to_string())?;
        }
    }
    // All that was wrong is out: its space may be what the right ones need.
    let places = plans.iter().flat_map(|plan| &plan.missing).flat_map(Object::places).collect();
    for mut object in plans.into_iter().flat_map(|plan| plan.missing) {
        imply(cx.accounts, &mut cx.own.dir, &mut object).map_err(|error| error.to_string())?;
        state.shards[object.hash.shard()].lock().insert(object);
    }
    cx.own.dir.segments.take_all(places).map_err(|error| error.to_string())
}

fn take_out(state: &Objects, cx: &mut Applying<'_, Own>, wrong: &Object) -> Result<(), Inconsistent> {
    let Applying { accounts, own, seq, .. } = cx;
    let mut apply = Apply::of(state, Applying { accounts, own, seq: *seq, source: Source::Logged });
    let done = apply.edit(wrong.hash, wrong.tenant, &wrong.key, "repair", |object, after| {
        let (put, owner, size) = (object.put, object.owner, object.size);
        if !put.is_none() {
            after.ended.push((owner, put));
        }
        after.lose(std::mem::take(&mut object.replicas), size, Retire::Now);
        if let Some(new) = object.take_replacement() {
            after.ended.push((new.owner, new.put));
            after.lose(new.replicas, new.size, Retire::Now);
        }
        if let Some(transfer) = object.take_transfer() {
            after.ended.push((transfer.owner, transfer.id));
            after.lose(transfer.targets, size, Retire::Now);
        }
        Ok::<(), Misfit>(())
    })?;
    if done { Ok(()) } else { Err(no_object("repair", wrong.tenant, &wrong.key)) }
}

/// The objects alone.
pub(crate) fn replace(state: &Objects, plans: Vec<Plan>) -> Result<(), String> {
    for plan in &plans {
        let taken = state.shards[plan.part.shard as usize].lock().take_out(&plan.wrong);
        if taken != plan.wrong.len() {
            let (wrong, Part { shard, bucket }) = (plan.wrong.len(), plan.part);
            return Err(format!(
                "{wrong} records of bucket {bucket} of shard {shard} are wrong, {taken} were found again"
            ));
        }
    }
    for object in plans.into_iter().flat_map(|plan| plan.missing) {
        state.shards[object.hash.shard()].lock().insert(object);
    }
    Ok(())
}
