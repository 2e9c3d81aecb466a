//! How a change of one object is carried through: under its shard's lock, then, with that lock given back, in the
//! directory. The primary goes this way right after it decided, a standby when it has received the entry, a rebuilt
//! state when it catches up: there is no second way to change anything that is replicated.
//!
//! At most one shard lock is held at any time.
//!
//! An error here means that the log and this state disagree. What was applied of the entry stays applied, so the state
//! is lost: it takes nothing more (a standby is rebuilt; a primary, which wrote the op itself, must not go on).
//!
//! Readers take no part in the writer lock, so between a decision and its application an object may have been promised
//! to one. Where the decision counted on nobody reading, that is looked at again under the shard's lock; then nothing is
//! changed, and the item is decided anew.
//!
//! Deliberately absent: what each op does to an object (`apply_object`) and to the directory (`apply_op`).

use ledger::{Accounts, Applied, Inconsistent, ItemId, Mode, Source, TenantIx, require};
use oplog::{ClientId, DomainId};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::config::Config;
use crate::directory::{Directory, Gone};
use crate::fit::check_size;
use crate::hash::KeyHash;
use crate::object::{Object, Replica, Replicas};
use crate::op::{ReplicaMask, Retire};
use crate::owners::Unfinished;
use crate::segments::{Moved, SegmentError};
use crate::shard::Shard;
use crate::types::{Place, extent};

pub(crate) fn no_object(what: &'static str, tenant: TenantIx, key: &[u8]) -> Inconsistent {
    Inconsistent::Other(format!("{what}: no object \"{}\" of tenant {tenant} in that state", key.escape_ascii()))
}

/// For a change that counts on nobody reading.
pub(crate) fn check_unread(source: Source, object: &Object) -> Result<(), Misfit> {
    match source {
        Source::Decided { now_ms, .. } if object.lease_until_ms > now_ms => Err(Misfit::Promised),
        Source::Decided { .. } | Source::Logged => Ok(()),
    }
}

pub(crate) fn check_retire(source: Source, retire: Retire, object: &Object) -> Result<(), Misfit> {
    if retire == Retire::Now { check_unread(source, object) } else { Ok(()) }
}

/// When space that the object loses begins to wait. A lease may have been granted at a later time than the one that
/// the writer came with.
fn retired_ms(source: Source, object: &Object, lease_ms: impl FnOnce() -> u64) -> u64 {
    match source {
        Source::Decided { now_ms, .. } if object.lease_until_ms > now_ms => {
            now_ms.max(object.lease_until_ms.saturating_sub(lease_ms()))
        }
        Source::Decided { now_ms, .. } => now_ms,
        Source::Logged => 0,
    }
}

/// Why an object was not changed. Nothing of the change has been made.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// It is not in the state that the change is for.
    State,
    Promised,
}

/// One entry being applied.
pub(crate) struct Apply<'a> {
    pub(crate) accounts: &'a mut Accounts,
    pub(crate) dir: &'a mut Directory,
    pub(crate) shards: &'a [Mutex<Shard>],
    pub(crate) config: &'a Config,
    pub(crate) seq: u64,
    pub(crate) source: Source,
}

/// What is to do in the directory after an object has changed.
#[derive(Default)]
pub(crate) struct Aftermath {
    gone: SmallVec<[Gone; 2]>,
    pub(crate) ended: SmallVec<[(ClientId, ItemId); 1]>,
    object_went: bool,
    retired_ms: u64,
}

impl Aftermath {
    pub(crate) fn lose(&mut self, replicas: Replicas, size: u64, retire: Retire) {
        self.lose_all(replicas, size, retire, None);
    }

    /// Replicas of work whose client writes no more.
    pub(crate) fn free(&mut self, replicas: Replicas, size: u64, _: (ClientId, ItemId)) {
        self.lose(replicas, size, Retire::Now);
    }

    /// Replicas of work whose client may not know for a while that it is over.
    pub(crate) fn give_up(&mut self, replicas: Replicas, size: u64, work: (ClientId, ItemId)) {
        self.lose_all(replicas, size, Retire::AfterPut, Some(work));
    }

    fn lose_all(&mut self, replicas: Replicas, size: u64, retire: Retire, work: Option<(ClientId, ItemId)>) {
        let gone = |Replica { place, index, .. }| Gone { place, size, index, retire, work };
        self.gone.extend(replicas.into_iter().map(gone));
    }
}

/// The bit of the n-th replica; none beyond what an object can have.
pub(crate) fn replica_bit(at: usize) -> ReplicaMask {
    u32::try_from(at).ok().and_then(|at| ReplicaMask::checked_shl(1, at)).unwrap_or(0)
}

pub(crate) fn covers(mask: ReplicaMask, at: usize) -> bool {
    mask & replica_bit(at) != 0
}

/// Takes out the replicas that the mask covers.
pub(crate) fn split(replicas: &mut Replicas, mask: ReplicaMask) -> Replicas {
    let mut at = 0;
    let mut taken = Replicas::new();
    replicas.retain(|replica| {
        let covered = covers(mask, at);
        at += 1;
        if covered {
            taken.push(*replica);
        }
        !covered
    });
    taken
}

impl Apply<'_> {
    pub(crate) fn now_ms(&self) -> u64 {
        self.source.now_ms()
    }

    pub(crate) fn attach_all(
        &mut self,
        places: &[Place],
        size: u64,
        tenant: TenantIx,
        hash: KeyHash,
    ) -> Result<Replicas, Inconsistent> {
        check_size(size)?;
        require(!places.is_empty(), || "an object without a place".to_owned())?;
        // A directory that is rebuilt may be of a moment at which the tenant, and all that was in it, had gone.
        let is_there = self.accounts.mode == Mode::Rebuilding || self.accounts.tenants.get(tenant).is_some();
        require(is_there, || format!("no tenant {tenant}"))?;
        let mut replicas = Replicas::new();
        for &place in places {
            let index = self.attach(place, size, tenant, hash)?;
            replicas.push(Replica { place, index, complete: false });
        }
        Ok(replicas)
    }

    /// A replica of an object of `size` bytes comes to lie at `place`; the answer is its index there.
    pub(crate) fn attach(
        &mut self,
        place: Place,
        size: u64,
        tenant: TenantIx,
        holder: KeyHash,
    ) -> Result<u32, SegmentError> {
        if !self.accounts.is_live() {
            return Ok(0);
        }
        self.dir.segments.take(place, size)?;
        let index = self.dir.hold(&mut self.accounts.tenants, place.segment, size, tenant, holder)?;
        self.dir.segments.relist(place.segment);
        Ok(index)
    }

    fn detach(&mut self, gone: &Gone, tenant: TenantIx, retired_ms: u64) -> Result<Option<Moved>, SegmentError> {
        if !self.accounts.is_live() {
            return Ok(None);
        }
        self.accounts.tenants.count(tenant, DomainId::METADATA, |usage| usage.bytes -= extent(gone.size));
        let from = gone.work.and_then(|work| self.dir.owners.give_up_piece(work));
        self.dir.segments.detach(gone.place, gone.size, gone.index, gone.retire, (retired_ms, from))
    }

    pub(crate) fn object_came(&mut self, tenant: TenantIx) {
        if self.accounts.is_live() {
            self.dir.object_came(&mut self.accounts.tenants, tenant);
        }
    }

    fn object_went(&mut self, tenant: TenantIx) {
        if self.accounts.is_live() {
            self.dir.objects -= 1;
            self.accounts.tenants.count(tenant, DomainId::METADATA, |usage| usage.items -= 1);
        }
    }

    /// While it is rebuilt, the directory's image has counted it.
    pub(crate) fn object_evicted(&mut self) {
        if self.accounts.is_live() {
            self.dir.evicted_total = self.dir.evicted_total.saturating_add(1);
        }
    }

    pub(crate) fn work_began(&mut self, client: ClientId, id: ItemId, at: (KeyHash, TenantIx), pieces: usize) {
        let ((hash, tenant), from) = (at, self.source.from());
        let work = Unfinished { hash, tenant, since_ms: self.now_ms(), from, pieces: pieces as u64 };
        if self.accounts.is_live() {
            self.accounts.clients.ensure(client, work.since_ms);
            self.dir.segments.shares.change(work.from, |share| share.extents += work.pieces);
            self.dir.owners.ensure(client).unfinished.insert(id, work);
        }
    }

    pub(crate) fn work_ended(&mut self, client: ClientId, id: ItemId) {
        if self.accounts.is_live()
            && let Some(work) = self.dir.owners.get_mut(client).and_then(|owner| owner.unfinished.remove(&id))
        {
            self.dir.segments.shares.change(work.from, |share| share.extents -= work.pieces);
        }
    }

    /// Changes one object and then what it implies. `Ok(false)`: the image that the shard came from held it already.
    pub(crate) fn edit(
        &mut self,
        hash: KeyHash,
        tenant: TenantIx,
        key: &[u8],
        what: &'static str,
        change: impl FnOnce(&mut Object, &mut Aftermath) -> Result<(), Misfit>,
    ) -> Result<bool, Inconsistent> {
        let mut after = Aftermath::default();
        {
            let mut shard = self.shards[hash.shard()].lock();
            if shard.holds(self.seq) {
                return Ok(false);
            }
            let done = shard.edit(hash, tenant, key, self.seq, |object| {
                let lease_ms = || self.accounts.in_force(self.config.settings).kept().object_lease_ms;
                after.retired_ms = retired_ms(self.source, object, lease_ms);
                change(object, &mut after)?;
                after.object_went = object.is_empty();
                Ok(())
            });
            match done {
                Some(Ok(())) => {}
                Some(Err(Misfit::Promised)) => return Err(Inconsistent::DecideAnew),
                Some(Err(Misfit::State)) | None => return Err(no_object(what, tenant, key)),
            }
        }
        self.finish(tenant, after)?;
        Ok(true)
    }

    fn finish(&mut self, tenant: TenantIx, after: Aftermath) -> Applied {
        let Aftermath { mut gone, ended, object_went, retired_ms } = after;
        if object_went {
            self.object_went(tenant);
        }
        for at in 0..gone.len() {
            let moved = self.detach(&gone[at], tenant, retired_ms)?;
            if let Some(moved) = moved {
                self.tell(moved, &mut gone[at + 1..])?;
            }
        }
        for (client, id) in ended {
            self.work_ended(client, id);
        }
        Ok(())
    }

    /// A segment has moved a holder to another index: either one of those that are about to go, or an object's.
    fn tell(&mut self, moved: Moved, going: &mut [Gone]) -> Applied {
        let is_it = |segment, index| segment == moved.segment && index == moved.from;
        if let Some(gone) = going.iter_mut().find(|gone| is_it(gone.place.segment, gone.index)) {
            gone.index = moved.to;
            return Ok(());
        }
        let mut shard = self.shards[moved.holder.shard()].lock();
        let holds = |object: &Object| object.all_replicas().any(|(r, _)| is_it(r.place.segment, r.index));
        let replica = shard
            .find_volatile_by(moved.holder, holds)
            .and_then(|object| object.all_replicas_mut().find(|r| is_it(r.place.segment, r.index)));
        match replica {
            Some(replica) => replica.index = moved.to,
            None => {
                let Moved { segment, from, .. } = moved;
                return Err(Inconsistent::Other(format!("segment {segment} names no object at {from}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
