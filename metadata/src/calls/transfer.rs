//! Copies and moves of a replica: a client starts one, carries the bytes over, and ends or revokes it.

use ledger::{
    Answer, AtBound, Bound, Call, CallRefused, Fingerprint, ITEM_BYTES, Inconsistent, ItemId, Who, check_text,
};

use crate::apply::Apply;
use crate::calls::place::NAMED_MAX;
use crate::calls::{Decide, ItemCall, check_key};
use crate::fit::PLACES_MAX;
use crate::hash::KeyHash;
use crate::object::{Object, Replica};
use crate::op::{OpType, Retire, TransferFinished, TransferStarted};
use crate::state::Objects;
use crate::types::{Outcome, Place, Places, REPLICAS_MAX, Refusal, SegmentKind, TransferKind, extent};

#[derive(Clone, Debug)]
pub struct TransferItem<'a> {
    pub key: &'a [u8],
    /// Name of the segment to read from; empty: any with a complete replica.
    pub source: &'a str,
    /// Names; a move has exactly one.
    pub targets: Vec<&'a str>,
}

#[derive(Clone, Debug)]
pub struct TransferStartedAt {
    pub id: ItemId,
    pub size: u64,
    pub source: Place,
    pub targets: Places,
}

#[derive(Clone, Copy, Debug)]
pub struct TransferFinishItem<'a> {
    pub key: &'a [u8],
    /// [`ItemId::NONE`]: the caller's current transfer of this key.
    pub id: ItemId,
}

impl Objects {
    pub fn transfer_start(
        &self,
        call: &Call<'_>,
        kind: TransferKind,
        items: &[TransferItem<'_>],
    ) -> Result<Answer<Vec<Outcome<TransferStartedAt>>>, CallRefused> {
        self.run(call, &TransferStart(kind), items)
    }

    pub fn transfer_end(
        &self,
        call: &Call<'_>,
        kind: TransferKind,
        items: &[TransferFinishItem<'_>],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &TransferFinish { kind, ended: true }, items)
    }

    pub fn transfer_revoke(
        &self,
        call: &Call<'_>,
        kind: TransferKind,
        items: &[TransferFinishItem<'_>],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &TransferFinish { kind, ended: false }, items)
    }
}

pub(crate) fn check_transfer(
    kind: TransferKind,
    item: &TransferItem<'_>,
    field: &dyn Fn(&str) -> String,
) -> Result<(), CallRefused> {
    check_key(item.key, field)?;
    check_text(&field("source_segment"), item.source)?;
    let limit = if kind == TransferKind::Move { 1 } else { REPLICAS_MAX as usize };
    if item.targets.is_empty() || item.targets.len() > limit {
        let what = format!("{} targets, from 1 to {limit} are possible", item.targets.len());
        return Err(CallRefused::invalid(field("target_segments"), what));
    }
    item.targets.iter().try_for_each(|target| check_text(&field("target_segments"), target))
}

pub(crate) fn fingerprint_transfer(item: &TransferItem<'_>, into: &mut Fingerprint) {
    into.text(item.key);
    into.text(item.source.as_bytes());
    into.number(item.targets.len() as u64);
    item.targets.iter().for_each(|target| into.text(target.as_bytes()));
}

impl Decide<'_> {
    /// The replica to read from: in the segment of this name, or in any.
    pub(crate) fn source_of(&self, object: &Object, name: &str) -> Outcome<Replica> {
        let fits = |replica: &&Replica| {
            let segment = self.dir.segments.get(replica.place.segment);
            replica.complete && segment.is_some_and(|s| s.info.is_living() && (name.is_empty() || s.info.name == name))
        };
        object.replicas.iter().find(fits).copied().ok_or(Refusal::ReplicaNotFound)
    }

    fn target_in(&self, name: &str, object: &Object, id: ItemId, chosen: &Places) -> Outcome<Place> {
        let named = self.dir.segments.named(name);
        if named.is_empty() {
            return Err(Refusal::SegmentNotFound);
        }
        let mut refusal = Refusal::NoSpace;
        for &ix in named.iter().take(NAMED_MAX) {
            if object.replicas.iter().any(|replica| replica.place.segment == ix) {
                refusal = Refusal::ReplicaExists;
                continue;
            }
            let kind = self.dir.segments.get(ix).map_or(SegmentKind::Memory, |segment| segment.info.kind);
            if let Some(place) = self.place_in(ix, kind, object.size, id, chosen) {
                return Ok(place);
            }
        }
        Err(refusal)
    }
}

pub(crate) struct TransferStart(TransferKind);

impl ItemCall for TransferStart {
    const OP: OpType = OpType::TransferStart;
    const BEGINS_WORK: bool = true;
    type Item<'a> = TransferItem<'a>;
    type Done<'a> = TransferStarted<'a>;
    type Result = TransferStartedAt;

    fn check(&self, item: &TransferItem<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_transfer(self.0, item, field)
    }

    fn fingerprint(&self, item: &TransferItem<'_>, into: &mut Fingerprint) {
        into.number(self.0 as u64);
        fingerprint_transfer(item, into);
    }

    fn bytes_max(&self, item: &TransferItem<'_>) -> usize {
        2 * ITEM_BYTES + item.key.len() + 16 * item.targets.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, id: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item.key);
        let shard = cx.shards[hash.shard()].lock();
        let object = shard.find(hash, cx.who.tenant, item.key).ok_or(Refusal::NotFound)?;
        if object.is_unfinished() {
            return Err(Refusal::WriteInProgress);
        }
        let source = cx.source_of(object, item.source)?;
        let replicas = object.replicas.len() + item.targets.len();
        if replicas > PLACES_MAX {
            let (have, limit) = (replicas as u64, PLACES_MAX as u64);
            return Err(Refusal::Overloaded(AtBound { bound: Bound::Replicas, have, limit }));
        }
        let bytes = extent(object.size).saturating_mul(item.targets.len() as u64);
        if !cx.accounts.tenants.has_room(cx.who.tenant, bytes) {
            return Err(Refusal::QuotaExceeded);
        }
        let mut targets = Places::default();
        for name in &item.targets {
            let place = cx.target_in(name, object, id, &targets)?;
            targets.0.push(place);
        }
        Ok(TransferStarted { key: item.key, kind: self.0, size: object.size, source: source.place, targets })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, id: ItemId, done: &TransferStarted<'_>) -> Result<(), Inconsistent> {
        cx.transfer_start(who.client, who.tenant, id, done)
    }

    fn result(done: &TransferStarted<'_>, id: ItemId) -> TransferStartedAt {
        TransferStartedAt { id, size: done.size, source: done.source, targets: done.targets.clone() }
    }
}

pub(crate) struct TransferFinish {
    pub(crate) kind: TransferKind,
    pub(crate) ended: bool,
}

impl ItemCall for TransferFinish {
    const OP: OpType = OpType::TransferFinish;
    type Item<'a> = TransferFinishItem<'a>;
    type Done<'a> = TransferFinished<'a>;
    type Result = ();

    fn check(&self, item: &TransferFinishItem<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_key(item.key, field)
    }

    fn fingerprint(&self, item: &TransferFinishItem<'_>, into: &mut Fingerprint) {
        into.text(item.key);
        into.number(item.id.0);
        into.number((self.kind as u64) << 1 | u64::from(self.ended));
    }

    fn bytes_max(&self, item: &TransferFinishItem<'_>) -> usize {
        ITEM_BYTES + item.key.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item.key);
        let shard = cx.shards[hash.shard()].lock();
        let object = shard.find(hash, cx.who.tenant, item.key).ok_or(Refusal::NotFound)?;
        let transfer = object.transfer().filter(|transfer| transfer.kind == self.kind).ok_or(Refusal::NotWriting)?;
        if transfer.owner != cx.who.client {
            return Err(Refusal::NotOwner);
        }
        if !item.id.is_none() && item.id != transfer.id {
            return Err(Refusal::StalePut);
        }
        let retire_source = if cx.is_leased(object) { Retire::AfterLease } else { Retire::Now };
        Ok(TransferFinished { key: item.key, id: transfer.id, ended: self.ended, retire_source })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, _: ItemId, done: &TransferFinished<'_>) -> Result<(), Inconsistent> {
        cx.transfer_finish(who.tenant, done)
    }

    fn result(_: &TransferFinished<'_>, _: ItemId) {}
}
