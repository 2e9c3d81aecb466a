//! Puts: start, end, revoke.

use ledger::{Answer, Bound, Call, CallRefused, Fingerprint, ITEM_BYTES, Inconsistent, ItemId, Who, check_text};

use crate::apply::{Apply, replica_bit};
use crate::calls::place::Placement;
use crate::calls::{Decide, ItemCall, check_key};
use crate::hash::KeyHash;
use crate::object::{Object, Replicas};
use crate::op::{OpType, PutEnded, PutKind, PutRevoked, PutStarted, ReplicaMask, Retire};
use crate::segments::SegmentState;
use crate::state::Objects;
use crate::types::{
    OBJECT_BYTES_MAX, Outcome, Pin, Places, REPLICAS_MAX, Refusal, Scope, SegmentIx, SegmentKind, extent,
};

/// A place in an entry takes at most this.
const PLACE_BYTES: usize = 16;

#[derive(Clone, Copy, Debug)]
pub struct PutStartItem<'a> {
    pub key: &'a [u8],
    pub size: u64,
}

#[derive(Clone, Debug, Default)]
pub struct PutStart<'a> {
    pub placement: Placement<'a>,
    /// Otherwise a key that exists is refused.
    pub replace: bool,
    pub pin: Pin,
}

/// Where to write, and the name of the put.
#[derive(Clone, Debug)]
pub struct PutStartedAt {
    pub put: ItemId,
    pub places: Places,
}

#[derive(Clone, Copy, Debug)]
pub struct PutEndItem<'a> {
    pub key: &'a [u8],
    /// [`ItemId::NONE`]: the caller's current put of this key.
    pub put: ItemId,
    pub checksum: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct PutRevokeItem<'a> {
    pub key: &'a [u8],
    pub put: ItemId,
}

impl Objects {
    pub fn put_start(
        &self,
        call: &Call<'_>,
        how: &PutStart<'_>,
        items: &[PutStartItem<'_>],
    ) -> Result<Answer<Vec<Outcome<PutStartedAt>>>, CallRefused> {
        check_placement(&how.placement)?;
        self.run(call, how, items)
    }

    pub fn put_end(
        &self,
        call: &Call<'_>,
        scope: Scope,
        items: &[PutEndItem<'_>],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &PutEnd(scope), items)
    }

    pub fn put_revoke(
        &self,
        call: &Call<'_>,
        scope: Scope,
        items: &[PutRevokeItem<'_>],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &PutRevoke(scope), items)
    }
}

fn check_placement(placement: &Placement<'_>) -> Result<(), CallRefused> {
    let Placement { memory_replicas, disk_replicas, preferred, .. } = placement;
    for (field, count) in [("placement.replicas", *memory_replicas), ("placement.disk_replicas", *disk_replicas)] {
        if count > REPLICAS_MAX {
            return Err(CallRefused::invalid(field, format!("{count} replicas, the limit is {REPLICAS_MAX}")));
        }
    }
    if memory_replicas + disk_replicas == 0 {
        return Err(CallRefused::invalid("placement.replicas", "0 replicas, at least 1 is needed"));
    }
    if preferred.len() > REPLICAS_MAX as usize {
        let what = format!("{} names, the limit is {REPLICAS_MAX}", preferred.len());
        return Err(CallRefused::invalid("placement.preferred_segments", what));
    }
    preferred.iter().try_for_each(|name| check_text("placement.preferred_segments", name))
}

impl ItemCall for PutStart<'_> {
    const OP: OpType = OpType::PutStart;
    const MAKES_TENANT: bool = true;
    const BEGINS_WORK: bool = true;
    type Item<'a> = PutStartItem<'a>;
    type Done<'a> = PutStarted<'a>;
    type Result = PutStartedAt;

    fn check(&self, item: &PutStartItem<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_key(item.key, field)?;
        if item.size == 0 || item.size > OBJECT_BYTES_MAX {
            let what = format!("{} bytes, from 1 to {OBJECT_BYTES_MAX} are possible", item.size);
            return Err(CallRefused::invalid(field("size"), what));
        }
        Ok(())
    }

    fn fingerprint(&self, item: &PutStartItem<'_>, into: &mut Fingerprint) {
        let Placement { memory_replicas, disk_replicas, preferred, same_host, best_effort } = &self.placement;
        into.text(item.key);
        into.number(item.size);
        into.number((u64::from(*memory_replicas) << 32) | u64::from(*disk_replicas));
        into.number(u64::from(*same_host) | (u64::from(*best_effort) << 1) | (u64::from(self.replace) << 2));
        into.number(match self.pin {
            Pin::None => 0,
            Pin::Hard => 1,
            Pin::Soft { ttl_ms } => (u64::from(ttl_ms) << 2) | 2,
        });
        for name in preferred {
            into.text(name.as_bytes());
        }
    }

    fn bytes_max(&self, item: &PutStartItem<'_>) -> usize {
        let replicas = (self.placement.memory_replicas + self.placement.disk_replicas) as usize;
        // In place, the object has the replicas that it has.
        ITEM_BYTES + item.key.len() + PLACE_BYTES * if self.replace { 2 * REPLICAS_MAX as usize } else { replicas }
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, id: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item.key);
        let kind = {
            let shard = cx.shards[hash.shard()].lock();
            match shard.find(hash, cx.who.tenant, item.key) {
                None => Start::Fresh,
                Some(object) => self.start_over(cx, object, item.size)?,
            }
        };
        let started = |kind, places| PutStarted { key: item.key, size: item.size, pin: self.pin, kind, places };
        if let Start::InPlace(places) = kind {
            return Ok(started(PutKind::InPlace, places));
        }
        if matches!(kind, Start::Fresh) {
            cx.check_bound(Bound::Objects, cx.dir.objects, cx.config.objects_max)?;
        }
        let replicas = u64::from(self.placement.memory_replicas + self.placement.disk_replicas);
        if !cx.accounts.tenants.has_room(cx.who.tenant, extent(item.size).saturating_mul(replicas)) {
            return Err(Refusal::QuotaExceeded);
        }
        let places = cx.choose(&self.placement, item.size, id)?;
        let kind = if matches!(kind, Start::Fresh) { PutKind::Fresh } else { PutKind::Replacement };
        Ok(started(kind, places))
    }

    fn apply(cx: &mut Apply<'_>, who: Who, id: ItemId, done: &PutStarted<'_>) -> Result<(), Inconsistent> {
        cx.put_start(who.client, who.tenant, id, done)
    }

    fn result(done: &PutStarted<'_>, id: ItemId) -> PutStartedAt {
        PutStartedAt { put: id, places: done.places.clone() }
    }
}

enum Start {
    Fresh,
    Beside,
    InPlace(Places),
}

impl PutStart<'_> {
    /// How a put of a key that is there already begins.
    fn start_over(&self, cx: &Decide<'_>, object: &Object, size: u64) -> Outcome<Start> {
        let living = |ix| cx.dir.segments.get(ix).is_some_and(|segment| segment.info.is_living());
        let readable = object.replicas.iter().any(|replica| replica.complete && living(replica.place.segment));
        if readable && !self.replace {
            return Err(Refusal::AlreadyExists);
        }
        if object.is_unfinished() {
            return Err(Refusal::WriteInProgress);
        }
        // Whoever holds a lease reads the bytes that are there: then they stay until the new ones are whole.
        if object.size == size && self.is_placed_as_asked(cx, object) && !cx.is_leased(object) {
            let places = object.replicas.iter().map(|replica| replica.place).collect();
            return Ok(Start::InPlace(Places(places)));
        }
        Ok(Start::Beside)
    }
}

impl PutStart<'_> {
    /// It lies in as many segments of each kind, and all of them still take new objects.
    fn is_placed_as_asked(&self, cx: &Decide<'_>, object: &Object) -> bool {
        let mut counts = (0, 0);
        let all_open = object.replicas.iter().all(|replica| {
            let segment = cx.dir.segments.get(replica.place.segment);
            segment.is_some_and(|segment| {
                match segment.info.kind {
                    SegmentKind::Memory => counts.0 += 1,
                    SegmentKind::Disk => counts.1 += 1,
                }
                segment.info.state == SegmentState::Mounted
            })
        });
        all_open && counts == (self.placement.memory_replicas, self.placement.disk_replicas)
    }
}

/// The put that an end or a revoke means: its replicas, and whether it replaces something.
fn find_put(object: &Object, cx: &Decide<'_>, put: ItemId) -> Outcome<(ItemId, Replicas, bool)> {
    let (current, owner, replicas, replaces) = match object.replacement() {
        Some(new) => (new.put, new.owner, &new.replicas, true),
        None => (object.put, object.owner, &object.replicas, false),
    };
    if current.is_none() {
        return Err(Refusal::NotWriting);
    }
    if owner != cx.who.client {
        return Err(Refusal::NotOwner);
    }
    if !put.is_none() && put != current {
        return Err(Refusal::StalePut);
    }
    Ok((current, replicas.clone(), replaces))
}

/// Those replicas of a put that are still being written and of the given scope.
fn open_mask(cx: &Decide<'_>, replicas: &Replicas, scope: Scope) -> Outcome<ReplicaMask> {
    let kind = |ix: SegmentIx| cx.dir.segments.get(ix).map_or(SegmentKind::Memory, |segment| segment.info.kind);
    let mask = replicas
        .iter()
        .enumerate()
        .filter(|(_, replica)| !replica.complete && scope.covers(kind(replica.place.segment)))
        .fold(0, |mask, (at, _)| mask | replica_bit(at));
    if mask == 0 { Err(Refusal::NotWriting) } else { Ok(mask) }
}

pub(crate) struct PutEnd(pub(crate) Scope);

impl ItemCall for PutEnd {
    const OP: OpType = OpType::PutEnd;
    type Item<'a> = PutEndItem<'a>;
    type Done<'a> = PutEnded<'a>;
    type Result = ();

    fn check(&self, item: &PutEndItem<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_key(item.key, field)
    }

    fn fingerprint(&self, item: &PutEndItem<'_>, into: &mut Fingerprint) {
        into.text(item.key);
        into.number(item.put.0);
        into.number((u64::from(item.checksum.is_some()) << 2) | self.0 as u64);
        into.number(item.checksum.unwrap_or(0));
    }

    fn bytes_max(&self, item: &PutEndItem<'_>) -> usize {
        ITEM_BYTES + item.key.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item.key);
        let shard = cx.shards[hash.shard()].lock();
        let object = shard.find(hash, cx.who.tenant, item.key).ok_or(Refusal::NotFound)?;
        let (put, replicas, replaces) = find_put(object, cx, item.put)?;
        let done = open_mask(cx, &replicas, self.0)?;
        let retire_old = if replaces && cx.is_leased(object) { Retire::AfterLease } else { Retire::Now };
        Ok(PutEnded { key: item.key, put, done, checksum: item.checksum, retire_old })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, _: ItemId, done: &PutEnded<'_>) -> Result<(), Inconsistent> {
        cx.put_end(who.tenant, done)
    }

    fn result(_: &PutEnded<'_>, _: ItemId) {}
}

pub(crate) struct PutRevoke(Scope);

impl ItemCall for PutRevoke {
    const OP: OpType = OpType::PutRevoke;
    type Item<'a> = PutRevokeItem<'a>;
    type Done<'a> = PutRevoked<'a>;
    type Result = ();

    fn check(&self, item: &PutRevokeItem<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        check_key(item.key, field)
    }

    fn fingerprint(&self, item: &PutRevokeItem<'_>, into: &mut Fingerprint) {
        into.text(item.key);
        into.number(item.put.0);
        into.number(self.0 as u64);
    }

    fn bytes_max(&self, item: &PutRevokeItem<'_>) -> usize {
        ITEM_BYTES + item.key.len()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let hash = KeyHash::of(cx.accounts.secret, cx.who.tenant, item.key);
        let shard = cx.shards[hash.shard()].lock();
        let object = shard.find(hash, cx.who.tenant, item.key).ok_or(Refusal::NotFound)?;
        let (put, replicas, _) = find_put(object, cx, item.put)?;
        let dropped = open_mask(cx, &replicas, self.0)?;
        Ok(PutRevoked { key: item.key, put, dropped })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, _: ItemId, done: &PutRevoked<'_>) -> Result<(), Inconsistent> {
        cx.put_revoke(who.tenant, done)
    }

    fn result(_: &PutRevoked<'_>, _: ItemId) {}
}
