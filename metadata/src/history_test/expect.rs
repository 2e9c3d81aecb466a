//! What becomes of a request: each item's refusal by the rules written down once more, and the effect of what is taken.
//!
//! Deliberately absent: puts (`expect_put`), steps of the primary (`audit`), and retries, which must change nothing (`world`).

use oplog::ClientId;

use super::audit::is_open;
use super::model::{Model, Name, Segment, Transfer};
use super::request::{From, Reply, Request, SEGMENTS, client};
use crate::op::Retire;
use crate::types::extent;
use crate::*;

pub(super) type Checked = Result<(), String>;

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, got: T) -> Checked {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// The same for what a refusal alone can tell.
pub(super) fn same_refusal<T: std::fmt::Debug>(what: &str, expected: Outcome<()>, got: &Outcome<T>) -> Checked {
    same(what, expected, got.as_ref().map(|_| ()).map_err(|refusal| *refusal))
}

impl Model {
    /// Compares the reply to a request with the rules, and makes its effect.
    pub(super) fn expect(&mut self, from: From, request: &Request, reply: &Reply) -> Checked {
        let id = client(from.client);
        match (request, reply) {
            (Request::Mount { remount, segments }, Reply::Mounted(results)) => {
                if *remount {
                    let others = self.segments.values_mut().filter(|s| s.client == id && !segments.contains(&s.spec));
                    others.for_each(|segment| segment.state = SegmentState::Unmounting);
                }
                let pairs = segments.iter().zip(results);
                pairs.into_iter().try_for_each(|(spec, result)| self.mount(id, *spec, result))?;
                if *remount {
                    self.ensure(id);
                    self.clients.entry(id).or_default().introduced = true;
                }
            }
            (Request::Unmount { segments, grace_ms }, Reply::Done(results)) => {
                let pairs = segments.iter().zip(results);
                pairs.into_iter().try_for_each(|(spec, result)| self.unmount(id, *spec, *grace_ms, result))?;
            }
            (Request::PutStart { how, items }, Reply::Started(results)) => {
                if results.iter().any(Result::is_ok) {
                    self.tenants.entry(from.tenant.to_owned()).or_insert(0);
                }
                for ((key, size), result) in items.iter().zip(results) {
                    self.put_start(id, how, &name(from, key), *size, result)?;
                }
            }
            (Request::PutEnd { scope, items }, Reply::Done(results)) => {
                for ((key, put, checksum), result) in items.iter().zip(results) {
                    self.put_end(id, *scope, &name(from, key), *put, *checksum, result)?;
                }
            }
            (Request::PutRevoke { scope, items }, Reply::Done(results)) => {
                for ((key, put), result) in items.iter().zip(results) {
                    self.put_revoke(id, *scope, &name(from, key), *put, result)?;
                }
            }
            (Request::Remove { force, keys }, Reply::Done(results)) => {
                for (key, result) in keys.iter().zip(results) {
                    let removed = self.remove(&name(from, key), *force);
                    same_refusal(&format!("removal of {key}"), removed, result)?;
                }
            }
            (Request::RemoveMatching { force, regex }, Reply::Many(sum)) => {
                let expected = self.remove_matching(from.tenant, regex, *force);
                same("removal by pattern", &expected, sum)?;
            }
            (Request::Pin { pin, keys }, Reply::Done(results)) => {
                for (key, result) in keys.iter().zip(results) {
                    let object = self.objects.get_mut(&name(from, key)).ok_or(Refusal::NotFound);
                    same_refusal(&format!("pin of {key}"), object.map(|object| object.pin = *pin), result)?;
                }
            }
            (Request::TransferStart { kind, items }, Reply::Transfers(results)) => {
                for ((key, source, targets), result) in items.iter().zip(results) {
                    self.transfer_start(id, *kind, &name(from, key), source, targets, result)?;
                }
            }
            (Request::TransferFinish { kind, ended, items }, Reply::Done(results)) => {
                for ((key, transfer), result) in items.iter().zip(results) {
                    let done = self.transfer_finish(id, *kind, *ended, &name(from, key), *transfer);
                    same_refusal(&format!("end of a transfer of {key}"), done, result)?;
                }
            }
            (Request::CreateTasks { .. } | Request::FetchTasks { .. } | Request::CompleteTasks { .. }, _) => {
                self.expect_tasks(from, request, reply)?;
            }
            (Request::DeleteTenant { name }, Reply::Done(results)) => {
                same_refusal(&format!("deletion of {name}"), self.delete_tenant(name), &results[0])?;
            }
            _ => return Err(format!("{reply:?} to {request:?}")),
        }
        if from.number != 0 {
            self.ensure(id);
        }
        Ok(())
    }

    fn mount(&mut self, id: ClientId, spec: usize, result: &Outcome<bool>) -> Checked {
        let wanted = SEGMENTS[spec];
        let known =
            self.segments.iter().find(|(_, segment)| segment.spec == spec).map(|(ix, known)| (*ix, known.clone()));
        let overlaps = |other: &Segment| {
            let other_spec = other.spec();
            let both = |kind| wanted.kind == kind && other_spec.kind == kind;
            let shared = wanted.base < other_spec.base + other_spec.size && other_spec.base < wanted.base + wanted.size;
            let path = |spec: SegmentSpec<'static>| spec.path.trim_end_matches('/');
            other.client == id
                && (both(SegmentKind::Memory) && shared || both(SegmentKind::Disk) && path(wanted) == path(other_spec))
        };
        let holds =
            |ix| self.objects.values().any(|object| object.places().iter().any(|(place, _)| place.segment == ix));
        // Of several that share something, the last one has the word.
        let shared = self.segments.values().filter(|other| overlaps(other)).max_by_key(|other| other.spec().base);
        let expected = match (&known, shared) {
            (Some((_, known)), _) if known.client != id => Err(Refusal::SegmentConflict),
            (Some((ix, known)), _) if known.state == SegmentState::Unmounting && holds(*ix) => {
                Err(Refusal::SegmentBusy)
            }
            (Some((_, known)), _) => Ok(known.state != SegmentState::Unmounting),
            (None, Some(shared)) if shared.state == SegmentState::Unmounting => Err(Refusal::SegmentBusy),
            (None, Some(_)) => Err(Refusal::SegmentConflict),
            (None, None) => Ok(false),
        };
        same(&format!("mount of {}", wanted.name), &expected, result)?;
        if let Some((ix, known)) = known.filter(|_| expected == Ok(false)) {
            // It is back, with what is retired in it.
            self.segments.insert(ix, Segment { state: SegmentState::Mounted, ..known });
        } else if expected == Ok(false) {
            let fresh = Segment { spec, client: id, state: SegmentState::Mounted, draining_since_ms: 0 };
            self.segments.insert(self.next_segment, fresh);
            self.next_segment += 1;
        }
        if expected.is_ok() {
            self.ensure(id);
        }
        Ok(())
    }

    fn unmount(&mut self, id: ClientId, spec: usize, grace_ms: u64, result: &Outcome<()>) -> Checked {
        let now_ms = self.now_ms;
        let known = self.segments.values_mut().find(|segment| segment.spec == spec);
        let expected = match known {
            None => Err(Refusal::SegmentNotFound),
            Some(known) if known.client != id => Err(Refusal::NotOwner),
            Some(known) if known.state == SegmentState::Unmounting => Err(Refusal::SegmentBusy),
            Some(known) => {
                known.draining_since_ms = now_ms;
                known.state =
                    if grace_ms == 0 { SegmentState::Unmounting } else { SegmentState::Draining { grace_ms } };
                Ok(())
            }
        };
        same_refusal("unmount", expected, result)
    }

    fn remove(&mut self, name: &Name, force: bool) -> Outcome<()> {
        let object = self.objects.get(name).ok_or(Refusal::NotFound)?.clone();
        let leased = object.replicas.iter().any(|(_, whole)| *whole) && self.is_leased(&object);
        if !force && object.is_unfinished() {
            return Err(Refusal::WriteInProgress);
        }
        if !force && object.pin == Pin::Hard {
            return Err(Refusal::Pinned);
        }
        if !force && leased {
            return Err(Refusal::Leased);
        }
        let retire = match leased {
            _ if object.put != ItemId::NONE => Retire::AfterPut,
            true => Retire::AfterLease,
            false => Retire::Now,
        };
        let own = object.replicas.iter().map(|(place, _)| (*place, object.size)).collect();
        self.lose(own, retire, object.lease_until_ms);
        self.drop_extra(name);
        self.began_ms.remove(&object.put);
        self.objects.remove(name);
        Ok(())
    }

    fn remove_matching(&mut self, tenant: &str, regex: &str, force: bool) -> RemovedMany {
        let regex = regex::Regex::new(regex).expect("the patterns are right");
        let names: Vec<Name> =
            self.objects.keys().filter(|(t, key)| t == tenant && regex.is_match(key)).cloned().collect();
        let mut sum = RemovedMany::default();
        for name in names {
            match self.remove(&name, force) {
                Ok(()) => sum.removed += 1,
                Err(_) => sum.refused += 1,
            }
        }
        sum
    }

    fn delete_tenant(&mut self, name: &str) -> Outcome<()> {
        if !self.tenants.contains_key(name) {
            return Err(Refusal::TenantNotFound);
        }
        let objects = self.objects.keys().filter(|(tenant, _)| tenant == name).count() as u64;
        let tasks = self.tasks.values().filter(|task| task.tenant == name && is_open(task)).count() as u64;
        if objects + tasks > 0 {
            return Err(Refusal::TenantNotEmpty { objects, tasks });
        }
        self.tenants.remove(name);
        Ok(())
    }

    fn transfer_start(
        &mut self,
        id: ClientId,
        kind: TransferKind,
        name: &Name,
        source: &str,
        targets: &[&str],
        result: &Outcome<(ItemId, u64, Place, Vec<Place>)>,
    ) -> Checked {
        let what = format!("start of a transfer of {name:?}");
        if let Err(refusal) = self.may_transfer(name, source, targets) {
            return same_refusal(&what, Err(refusal), result);
        }
        same_refusal(&what, Ok(()), result)?;
        let (transfer, size, from, places) = result.clone().map_err(|refusal| refusal.to_string())?;
        places.iter().try_for_each(|place| self.check_new_place(*place, size))?;
        let object = self.objects.get_mut(name).ok_or("it is gone")?;
        same(&what, true, object.replicas.contains(&(from, true)) && object.size == size)?;
        object.transfer = Some(Transfer { id: transfer, owner: id, kind, source: from.segment, targets: places });
        self.began_ms.insert(transfer, self.now_ms);
        self.ensure(id);
        Ok(())
    }

    pub(super) fn named(&self, name: &str) -> Vec<SegmentIx> {
        self.segments.iter().filter(|(_, segment)| segment.spec().name == name).map(|(ix, _)| *ix).collect()
    }

    fn may_transfer(&self, name: &Name, source: &str, targets: &[&str]) -> Outcome<()> {
        let object = self.objects.get(name).ok_or(Refusal::NotFound)?;
        if object.is_unfinished() {
            return Err(Refusal::WriteInProgress);
        }
        let from = |place: &Place| source.is_empty() || self.segments[&place.segment].spec().name == source;
        if !self.readable(object).iter().any(from) {
            return Err(Refusal::ReplicaNotFound);
        }
        if !self.has_quota(&name.0, extent(object.size) * targets.len() as u64) {
            return Err(Refusal::QuotaExceeded);
        }
        let mut chosen: Vec<SegmentIx> = Vec::new();
        for target in targets {
            let named = self.named(target);
            if named.is_empty() {
                return Err(Refusal::SegmentNotFound);
            }
            let holds = |ix: &SegmentIx| object.replicas.iter().any(|(place, _)| place.segment == *ix);
            let fits = |ix: &&SegmentIx| !holds(ix) && !chosen.contains(ix) && self.fits(**ix, object.size);
            match named.iter().find(fits) {
                Some(ix) => chosen.push(*ix),
                None if named.iter().any(holds) => return Err(Refusal::ReplicaExists),
                None => return Err(Refusal::NoSpace),
            }
        }
        Ok(())
    }

    fn transfer_finish(
        &mut self,
        id: ClientId,
        kind: TransferKind,
        ended: bool,
        name: &Name,
        wanted: ItemId,
    ) -> Outcome<()> {
        let object = self.objects.get(name).ok_or(Refusal::NotFound)?;
        let transfer = object.transfer.clone().filter(|transfer| transfer.kind == kind).ok_or(Refusal::NotWriting)?;
        if transfer.owner != id {
            return Err(Refusal::NotOwner);
        }
        if wanted != ItemId::NONE && wanted != transfer.id {
            return Err(Refusal::StalePut);
        }
        let mut object = object.clone();
        object.transfer = None;
        self.began_ms.remove(&transfer.id);
        if ended {
            let leased = self.is_leased(&object);
            let at = object.replicas.iter().position(|(place, _)| place.segment == transfer.source);
            if let Some(at) = at.filter(|_| kind == TransferKind::Move) {
                let (place, _) = object.replicas.remove(at);
                let retire = if leased { Retire::AfterLease } else { Retire::Now };
                self.lose(vec![(place, object.size)], retire, object.lease_until_ms);
            }
            object.replicas.extend(transfer.targets.into_iter().map(|place| (place, true)));
        }
        self.objects.insert(name.clone(), object);
        Ok(())
    }
}

pub(super) fn name(from: From, key: &str) -> Name {
    (from.tenant.to_owned(), key.to_owned())
}
