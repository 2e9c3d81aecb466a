//! What becomes of a put: its start, its end, its revocation.
//!
//! Deliberately absent: everything else that a client may ask for (`expect`).

use oplog::ClientId;

use super::expect::{Checked, same, same_refusal};
use super::model::{Model, Name, New, Object};
use crate::op::Retire;
use crate::types::extent;
use crate::*;

impl Model {
    pub(super) fn put_start(
        &mut self,
        id: ClientId,
        how: &PutStart<'static>,
        name: &Name,
        size: u64,
        result: &Outcome<(ItemId, Vec<Place>)>,
    ) -> Checked {
        let what = format!("start of {name:?} with {size} bytes");
        let (in_memory, on_disk) = (how.placement.memory_replicas as usize, how.placement.disk_replicas as usize);
        let mut in_place = false;
        if let Some(object) = self.objects.get(name) {
            if !self.readable(object).is_empty() && !how.replace {
                return same_refusal(&what, Err(Refusal::AlreadyExists), result);
            }
            if object.is_unfinished() {
                return same_refusal(&what, Err(Refusal::WriteInProgress), result);
            }
            let of = |kind| object.replicas.iter().filter(|(place, _)| self.kind(place.segment) == kind).count();
            let open = |(place, _): &(Place, bool)| self.segments[&place.segment].state == SegmentState::Mounted;
            in_place = object.size == size
                && (of(SegmentKind::Memory), of(SegmentKind::Disk)) == (in_memory, on_disk)
                && object.replicas.iter().all(open)
                && !self.is_leased(object);
        }
        if !in_place {
            if !self.objects.contains_key(name) && self.objects.len() as u64 >= self.config.objects_max {
                let (have, limit) = (self.objects.len() as u64, self.config.objects_max);
                let full = Refusal::Overloaded(AtBound { bound: Bound::Objects, have, limit });
                return same_refusal(&what, Err(full), result);
            }
            if !self.has_quota(&name.0, extent(size) * (in_memory + on_disk) as u64) {
                return same_refusal(&what, Err(Refusal::QuotaExceeded), result);
            }
        }
        self.put_started(id, how, name, size, in_place, result)
    }

    fn put_started(
        &mut self,
        id: ClientId,
        how: &PutStart<'static>,
        name: &Name,
        size: u64,
        in_place: bool,
        result: &Outcome<(ItemId, Vec<Place>)>,
    ) -> Checked {
        let what = format!("start of {name:?} with {size} bytes");
        let Placement { memory_replicas, disk_replicas, best_effort, .. } = how.placement;
        if !in_place {
            let found = |kind, wanted: u32| self.segments_that_fit(kind, size).min(wanted as usize);
            let expected = [found(SegmentKind::Memory, memory_replicas), found(SegmentKind::Disk, disk_replicas)];
            let all = expected == [memory_replicas as usize, disk_replicas as usize];
            let enough = all || (best_effort && expected != [0, 0]);
            if !enough {
                return same_refusal(&what, Err(Refusal::NoSpace), result);
            }
            same_refusal(&what, Ok(()), result)?;
            let (_, places) = result.as_ref().map_err(|refusal| refusal.to_string())?;
            let of = |kind| places.iter().filter(|place| self.kind(place.segment) == kind).count();
            same(&what, expected, [of(SegmentKind::Memory), of(SegmentKind::Disk)])?;
            for (at, place) in places.iter().enumerate() {
                self.check_new_place(*place, size)?;
                let apart = places[..at].iter().all(|other| other.segment != place.segment);
                same("replicas in one segment", true, apart)?;
            }
        }
        same_refusal(&what, Ok(()), result)?;
        let (put, places) = result.clone().map_err(|refusal| refusal.to_string())?;
        self.ensure(id);
        self.began_ms.insert(put, self.now_ms);
        match self.objects.get_mut(name) {
            Some(object) if in_place => {
                let own: Vec<Place> = object.replicas.iter().map(|(place, _)| *place).collect();
                object.replicas.iter_mut().for_each(|(_, whole)| *whole = false);
                (object.owner, object.put, object.pin, object.checksum) = (id, put, how.pin, None);
                same("places of a put in place", own, places)
            }
            Some(object) => {
                object.new = Some(New { put, owner: id, size, pin: how.pin, places });
                Ok(())
            }
            None => {
                let replicas = places.into_iter().map(|place| (place, false)).collect();
                let (pin, lease_until_ms) = (how.pin, 0);
                let (checksum, new, transfer) = (None, None, None);
                let fresh = Object { size, owner: id, put, checksum, pin, lease_until_ms, replicas, new, transfer };
                self.objects.insert(name.clone(), fresh);
                Ok(())
            }
        }
    }

    /// The put that somebody means, if it is his, and the replicas of it that are open and in the scope.
    fn open_put(&self, id: ClientId, scope: Scope, name: &Name, put: ItemId) -> Outcome<(ItemId, Vec<Place>)> {
        let object = self.objects.get(name).ok_or(Refusal::NotFound)?;
        let (current, owner, open) = match &object.new {
            Some(new) => (new.put, new.owner, new.places.clone()),
            None => {
                let open = object.replicas.iter().filter(|(_, whole)| !whole).map(|(place, _)| *place);
                (object.put, object.owner, open.collect())
            }
        };
        if current == ItemId::NONE {
            return Err(Refusal::NotWriting);
        }
        if owner != id {
            return Err(Refusal::NotOwner);
        }
        if put != ItemId::NONE && put != current {
            return Err(Refusal::StalePut);
        }
        let covered = open.into_iter().filter(|place| match scope {
            Scope::All => true,
            Scope::Memory => self.kind(place.segment) == SegmentKind::Memory,
            Scope::Disk => self.kind(place.segment) == SegmentKind::Disk,
        });
        let covered: Vec<Place> = covered.collect();
        if covered.is_empty() { Err(Refusal::NotWriting) } else { Ok((current, covered)) }
    }

    pub(super) fn put_end(
        &mut self,
        id: ClientId,
        scope: Scope,
        name: &Name,
        put: ItemId,
        checksum: Option<u64>,
        result: &Outcome<()>,
    ) -> Checked {
        let open = self.open_put(id, scope, name, put);
        same_refusal(&format!("end of {name:?}"), open.as_ref().map(|_| ()).map_err(|refusal| *refusal), result)?;
        let (Ok((_, done)), Some(object)) = (open, self.objects.get(name)) else { return Ok(()) };
        let leased = self.is_leased(object);
        let mut object = object.clone();
        if let Some(new) = object.new.take() {
            let fresh: Vec<_> = new.places.into_iter().map(|place| (place, false)).collect();
            let old = std::mem::replace(&mut object.replicas, fresh);
            let old = old.into_iter().map(|(place, _)| (place, object.size)).collect();
            let retire = if leased { Retire::AfterLease } else { Retire::Now };
            self.lose(old, retire, object.lease_until_ms);
            (object.put, object.owner, object.size, object.pin) = (new.put, new.owner, new.size, new.pin);
            (object.checksum, object.lease_until_ms) = (None, 0);
        }
        object.replicas.iter_mut().filter(|(place, _)| done.contains(place)).for_each(|(_, whole)| *whole = true);
        object.checksum = checksum.or(object.checksum);
        self.objects.insert(name.clone(), object);
        self.settle(name);
        Ok(())
    }

    pub(super) fn put_revoke(
        &mut self,
        id: ClientId,
        scope: Scope,
        name: &Name,
        put: ItemId,
        result: &Outcome<()>,
    ) -> Checked {
        let open = self.open_put(id, scope, name, put);
        same_refusal(&format!("revoke of {name:?}"), open.as_ref().map(|_| ()).map_err(|refusal| *refusal), result)?;
        if let Ok((put, places)) = open {
            self.drop_put(name, put, &places);
        }
        Ok(())
    }

    /// A put loses these places; the caller says where they go.
    pub(super) fn drop_put(&mut self, name: &Name, put: ItemId, places: &[Place]) {
        let Some(object) = self.objects.get_mut(name) else { return };
        match &mut object.new {
            Some(new) => new.places.retain(|place| !places.contains(place)),
            None => object.replicas.retain(|(place, _)| !places.contains(place)),
        }
        if object.new.as_ref().is_some_and(|new| new.places.is_empty()) {
            object.new = None;
            self.began_ms.remove(&put);
        }
        self.settle(name);
        self.sweep(name);
    }
}
