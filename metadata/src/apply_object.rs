//! What each op does to an object: its puts, removal, eviction, pins and transfers.
//!
//! A closure that changes an object first looks whether it fits, and changes nothing where it does not.
//!
//! Deliberately absent: the locks and what a change implies in the directory (`apply`).

use ledger::{Applied, ItemId, TenantIx};
use oplog::ClientId;

use crate::apply::{Aftermath, Apply, Misfit, check_retire, check_unread, covers, no_object, replica_bit, split};
use crate::fit::{PLACES_MAX, check_key};
use crate::hash::KeyHash;
use crate::object::{Object, Replacement, Replica, Replicas, Transfer};
use crate::op::{
    Evicted, KeyRef, Pinned, PutEnded, PutKind, PutRevoked, PutStarted, Removed, ReplicaMask, Retire, TransferFinished,
    TransferStarted,
};
use crate::types::{SegmentIx, TransferKind};

impl Apply<'_> {
    pub(crate) fn put_start(
        &mut self,
        client: ClientId,
        tenant: TenantIx,
        id: ItemId,
        item: &PutStarted<'_>,
    ) -> Applied {
        let hash = KeyHash::of(self.accounts.secret, tenant, item.key);
        check_key(item.key)?;
        match item.kind {
            PutKind::Fresh => self.put_start_fresh(client, tenant, id, item, hash),
            PutKind::InPlace => self.put_start_in_place(client, tenant, id, item, hash),
            PutKind::Replacement => self.put_start_beside(client, tenant, id, item, hash),
        }
    }

    fn put_start_fresh(
        &mut self,
        client: ClientId,
        tenant: TenantIx,
        id: ItemId,
        item: &PutStarted<'_>,
        hash: KeyHash,
    ) -> Applied {
        if self.shards[hash.shard()].lock().holds(self.seq) {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let replicas = self.attach_all(&item.places, item.size, tenant, hash)?;
        let mut shard = self.shards[hash.shard()].lock();
        if shard.find(hash, tenant, item.key).is_some() {
            return Err(no_object("a fresh put of a key that exists", tenant, item.key));
        }
        shard.insert(Object {
            key: item.key.into(),
            hash,
            size: item.size,
            seq: self.seq,
            owner: client,
            put: id,
            checksum: None,
            replicas,
            extra: None,
            tenant,
            pin: item.pin,
            pinned_at_ms: now_ms,
            // Not leased, but as fresh as if it had just been read.
            lease_until_ms: now_ms,
        });
        drop(shard);
        self.object_came(tenant);
        self.work_began(client, id, (hash, tenant), item.places.len());
        Ok(())
    }

    fn put_start_beside(
        &mut self,
        client: ClientId,
        tenant: TenantIx,
        id: ItemId,
        item: &PutStarted<'_>,
        hash: KeyHash,
    ) -> Applied {
        if self.shards[hash.shard()].lock().holds(self.seq) {
            return Ok(());
        }
        let replicas = self.attach_all(&item.places, item.size, tenant, hash)?;
        let new = Replacement { put: id, owner: client, size: item.size, pin: item.pin, replicas };
        self.edit(hash, tenant, item.key, "a replacement", |object, _| {
            if object.is_unfinished() {
                return Err(Misfit::State);
            }
            object.extra_mut().replacement = Some(new);
            Ok(())
        })?;
        self.work_began(client, id, (hash, tenant), item.places.len());
        Ok(())
    }

    fn put_start_in_place(
        &mut self,
        client: ClientId,
        tenant: TenantIx,
        id: ItemId,
        item: &PutStarted<'_>,
        hash: KeyHash,
    ) -> Applied {
        let (source, now_ms) = (self.source, self.now_ms());
        let done = self.edit(hash, tenant, item.key, "a put in place", |object, _| {
            let places = object.replicas.iter().map(|replica| replica.place);
            if object.is_unfinished() || object.size != item.size || !places.eq(item.places.iter().copied()) {
                return Err(Misfit::State);
            }
            check_unread(source, object)?;
            object.owner = client;
            object.put = id;
            object.checksum = None;
            object.pin = item.pin;
            object.pinned_at_ms = now_ms;
            object.replicas.iter_mut().for_each(|replica| replica.complete = false);
            Ok(())
        })?;
        if done {
            self.work_began(client, id, (hash, tenant), item.places.len());
        }
        Ok(())
    }

    pub(crate) fn put_end(&mut self, tenant: TenantIx, item: &PutEnded<'_>) -> Applied {
        let hash = KeyHash::of(self.accounts.secret, tenant, item.key);
        let (source, now_ms) = (self.source, self.now_ms());
        self.edit(hash, tenant, item.key, "the end of a put", |object, after| {
            if object.replacement().is_some_and(|new| new.put == item.put) {
                check_retire(source, item.retire_old, object)?;
                let Some(new) = object.take_replacement() else { return Err(Misfit::State) };
                after.lose(std::mem::replace(&mut object.replicas, new.replicas), object.size, item.retire_old);
                (object.owner, object.put, object.size, object.pin) = (new.owner, new.put, new.size, new.pin);
                object.pinned_at_ms = now_ms;
                object.lease_until_ms = now_ms;
                object.checksum = None;
            }
            if object.put != item.put || item.put.is_none() {
                return Err(Misfit::State);
            }
            for (at, replica) in object.replicas.iter_mut().enumerate() {
                replica.complete |= covers(item.done, at);
            }
            object.checksum = item.checksum.or(object.checksum);
            settle_put(object, after);
            Ok(())
        })
        .map(drop)
    }

    pub(crate) fn put_revoke(&mut self, tenant: TenantIx, item: &PutRevoked<'_>) -> Applied {
        self.drop_work(tenant, item.key, item.put, item.dropped, Aftermath::free)
    }

    /// A put or a transfer that is given up: by its owner, or for it.
    pub(crate) fn discard(&mut self, object: &KeyRef<'_>, id: ItemId) -> Applied {
        self.drop_work(object.tenant, object.key, id, ReplicaMask::MAX, Aftermath::give_up)
    }

    /// Of a put, what is complete stays, whatever the mask says.
    fn drop_work(&mut self, tenant: TenantIx, key: &[u8], id: ItemId, mask: ReplicaMask, lose: LoseWork) -> Applied {
        let hash = KeyHash::of(self.accounts.secret, tenant, key);
        self.edit(hash, tenant, key, "work to drop", |object, after| {
            if id.is_none() {
                return Err(Misfit::State);
            } else if object.put == id {
                let whole = object.replicas.iter().enumerate().filter(|(_, replica)| replica.complete);
                let mask = whole.fold(mask, |mask, (at, _)| mask & !replica_bit(at));
                let size = object.size;
                lose(after, split(&mut object.replicas, mask), size, (object.owner, id));
                settle_put(object, after);
            } else if let Some(extra) = object.extra.as_deref_mut()
                && let Some(new) = extra.replacement.as_mut().filter(|new| new.put == id)
            {
                let (owner, size) = (new.owner, new.size);
                lose(after, split(&mut new.replicas, mask), size, (owner, id));
                if new.replicas.is_empty() {
                    object.take_replacement();
                    after.ended.push((owner, id));
                }
            } else if object.transfer().is_some_and(|transfer| transfer.id == id)
                && let Some(transfer) = object.take_transfer()
            {
                lose(after, transfer.targets, object.size, (transfer.owner, id));
                after.ended.push((transfer.owner, id));
            } else {
                return Err(Misfit::State);
            }
            Ok(())
        })
        .map(drop)
    }

    pub(crate) fn remove(&mut self, tenant: TenantIx, item: &Removed<'_>) -> Applied {
        let hash = KeyHash::of(self.accounts.secret, tenant, item.key);
        let source = self.source;
        self.edit(hash, tenant, item.key, "a removal", |object, after| {
            check_retire(source, item.retire, object)?;
            let (replicas, size) = (std::mem::take(&mut object.replicas), object.size);
            if object.put.is_none() {
                after.lose(replicas, size, item.retire);
            } else {
                after.give_up(replicas, size, (object.owner, object.put));
                after.ended.push((object.owner, object.put));
            }
            drop_extra(object, after);
            Ok(())
        })
        .map(drop)
    }

    pub(crate) fn evict(&mut self, item: &Evicted<'_>) -> Applied {
        let KeyRef { tenant, key } = item.object;
        let hash = KeyHash::of(self.accounts.secret, tenant, key);
        let source = self.source;
        let done = self.edit(hash, tenant, key, "an eviction", |object, after| {
            if object.is_unfinished() {
                return Err(Misfit::State);
            }
            check_unread(source, object)?;
            let size = object.size;
            after.lose(split(&mut object.replicas, item.dropped), size, Retire::Now);
            Ok(())
        })?;
        if done {
            self.object_evicted();
        }
        Ok(())
    }

    /// An object loses what it has in a segment that is going. Whoever looked it up before may be reading it, and whoever
    /// began to write does not know: the same memory may be mounted again.
    pub(crate) fn drop_replicas(&mut self, segment: SegmentIx, object: &KeyRef<'_>) -> Applied {
        let KeyRef { tenant, key } = *object;
        let hash = KeyHash::of(self.accounts.secret, tenant, key);
        self.edit(hash, tenant, key, "a replica to drop", |object, after| {
            let take = |replicas: &mut Replicas, whole: bool| {
                let there = |replica: &Replica| replica.place.segment == segment && replica.complete == whole;
                let there = replicas.iter().enumerate().filter(|(_, replica)| there(replica));
                let mask = there.fold(0, |mask, (at, _)| mask | replica_bit(at));
                split(replicas, mask)
            };
            let size = object.size;
            after.lose(take(&mut object.replicas, true), size, Retire::AfterLease);
            after.give_up(take(&mut object.replicas, false), size, (object.owner, object.put));
            if !object.put.is_none() {
                settle_put(object, after);
            }
            if let Some(extra) = object.extra.as_deref_mut() {
                if let Some(new) = &mut extra.replacement {
                    after.give_up(take(&mut new.replicas, false), new.size, (new.owner, new.put));
                }
                if let Some(transfer) = &mut extra.transfer {
                    after.give_up(take(&mut transfer.targets, false), size, (transfer.owner, transfer.id));
                }
            }
            if object.replacement().is_some_and(|new| new.replicas.is_empty())
                && let Some(new) = object.take_replacement()
            {
                after.ended.push((new.owner, new.put));
            }
            // Its owner may be copying bytes that are no longer the object's.
            let has_source = |ix| object.replicas.iter().any(|replica| replica.place.segment == ix);
            if object.transfer().is_some_and(|transfer| transfer.targets.is_empty() || !has_source(transfer.source)) {
                drop_transfer(object, after);
            }
            Ok(())
        })
        .map(drop)
    }

    pub(crate) fn pin(&mut self, tenant: TenantIx, item: &Pinned<'_>) -> Applied {
        let hash = KeyHash::of(self.accounts.secret, tenant, item.key);
        let now_ms = self.now_ms();
        self.edit(hash, tenant, item.key, "a pin", |object, _| {
            object.pin = item.pin;
            object.pinned_at_ms = now_ms;
            Ok(())
        })
        .map(drop)
    }

    pub(crate) fn transfer_start(
        &mut self,
        client: ClientId,
        tenant: TenantIx,
        id: ItemId,
        item: &TransferStarted<'_>,
    ) -> Applied {
        let hash = KeyHash::of(self.accounts.secret, tenant, item.key);
        if self.shards[hash.shard()].lock().holds(self.seq) {
            return Ok(());
        }
        let targets = self.attach_all(&item.targets, item.size, tenant, hash)?;
        let transfer = Transfer { id, owner: client, kind: item.kind, source: item.source.segment, targets };
        self.edit(hash, tenant, item.key, "the start of a transfer", |object, _| {
            let places = object.replicas.len() + item.targets.len();
            if object.is_unfinished() || object.size != item.size || places > PLACES_MAX {
                return Err(Misfit::State);
            }
            object.extra_mut().transfer = Some(transfer);
            Ok(())
        })?;
        self.work_began(client, id, (hash, tenant), item.targets.len());
        Ok(())
    }

    pub(crate) fn transfer_finish(&mut self, tenant: TenantIx, item: &TransferFinished<'_>) -> Applied {
        if !item.ended {
            return self.drop_work(tenant, item.key, item.id, ReplicaMask::MAX, Aftermath::free);
        }
        let hash = KeyHash::of(self.accounts.secret, tenant, item.key);
        let source = self.source;
        self.edit(hash, tenant, item.key, "the end of a transfer", |object, after| {
            let kind = object.transfer().filter(|transfer| transfer.id == item.id).ok_or(Misfit::State)?.kind;
            if kind == TransferKind::Move {
                check_retire(source, item.retire_source, object)?;
            }
            let Some(transfer) = object.take_transfer() else { return Err(Misfit::State) };
            if kind == TransferKind::Move {
                let source = object.replicas.iter().position(|replica| replica.place.segment == transfer.source);
                let size = object.size;
                after.lose(split(&mut object.replicas, source.map_or(0, replica_bit)), size, item.retire_source);
            }
            object.replicas.extend(transfer.targets.into_iter().map(|replica| Replica { complete: true, ..replica }));
            after.ended.push((transfer.owner, transfer.id));
            Ok(())
        })
        .map(drop)
    }
}

/// How replicas go that were being written: see [`Aftermath::free`] and [`Aftermath::give_up`].
type LoseWork = fn(&mut Aftermath, Replicas, u64, (ClientId, ItemId));

/// A put of which nothing is being written any more has ended.
fn settle_put(object: &mut Object, after: &mut Aftermath) {
    if object.replicas.iter().all(|replica| replica.complete) {
        after.ended.push((object.owner, std::mem::take(&mut object.put)));
    }
}

fn drop_transfer(object: &mut Object, after: &mut Aftermath) {
    if let Some(transfer) = object.take_transfer() {
        after.give_up(transfer.targets, object.size, (transfer.owner, transfer.id));
        after.ended.push((transfer.owner, transfer.id));
    }
}

fn drop_extra(object: &mut Object, after: &mut Aftermath) {
    if let Some(new) = object.take_replacement() {
        after.give_up(new.replicas, new.size, (new.owner, new.put));
        after.ended.push((new.owner, new.put));
    }
    drop_transfer(object, after);
}
