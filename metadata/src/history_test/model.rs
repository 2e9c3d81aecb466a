//! What the state should be, kept in the plainest way: lists that are searched, rules that are written down once more.
//!
//! The model decides nothing that the state may choose (places, ids, what is evicted); it takes those from the answers
//! and from the log, and says whether they were right.
//!
//! Deliberately absent: how requests change it (`expect`) and what the primary does of its own accord (`audit`).

use std::collections::BTreeMap;

use oplog::ClientId;

use super::request::SEGMENTS;
use crate::op::Retire;
use crate::types::extent;
use crate::*;

/// Tenant and key.
pub(super) type Name = (String, String);

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) owner: ClientId,
    pub(super) put: ItemId,
    pub(super) checksum: Option<u64>,
    pub(super) pin: Pin,
    pub(super) lease_until_ms: u64,
    /// And whether it is whole.
    pub(super) replicas: Vec<(Place, bool)>,
    pub(super) new: Option<New>,
    pub(super) transfer: Option<Transfer>,
}

#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) put: ItemId,
    pub(super) owner: ClientId,
    pub(super) size: u64,
    pub(super) pin: Pin,
    pub(super) places: Vec<Place>,
}

#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) id: ItemId,
    pub(super) owner: ClientId,
    pub(super) kind: TransferKind,
    pub(super) source: SegmentIx,
    pub(super) targets: Vec<Place>,
}

impl Object {
    pub(super) fn is_unfinished(&self) -> bool {
        self.put != ItemId::NONE || self.new.is_some() || self.transfer.is_some()
    }

    /// With the size of each.
    pub(super) fn places(&self) -> Vec<(Place, u64)> {
        let own = self.replicas.iter().map(|(place, _)| (*place, self.size));
        let new = self.new.iter().flat_map(|new| new.places.iter().map(|place| (*place, new.size)));
        let targets = self.transfer.iter().flat_map(|t| t.targets.iter().map(|place| (*place, self.size)));
        own.chain(new).chain(targets).collect()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Which of [`SEGMENTS`].
    pub(super) spec: usize,
    pub(super) client: ClientId,
    pub(super) state: SegmentState,
    pub(super) draining_since_ms: u64,
}

impl Segment {
    pub(super) fn spec(&self) -> SegmentSpec<'static> {
        SEGMENTS[self.spec]
    }
}

#[derive(Clone, Debug)]
pub(super) struct RetiredExtent {
    pub(super) place: Place,
    pub(super) bytes: u64,
    pub(super) retire: Retire,
    pub(super) since_ms: u64,
    pub(super) lease_until_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) expired: bool,
    pub(super) introduced: bool,
    pub(super) heard_ms: u64,
}

#[derive(Clone, Debug)]
pub(super) struct TaskRow {
    pub(super) tenant: String,
    pub(super) assignee: ClientId,
    pub(super) state: TaskState,
    pub(super) since_ms: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) settings: Settings,
    /// The longer waits, and since when they are kept for what was promised before.
    pub(super) owed: Option<(Settings, u64)>,
    pub(super) now_ms: u64,
    pub(super) grace_from_ms: Option<u64>,
    pub(super) objects: BTreeMap<Name, Object>,
    pub(super) segments: BTreeMap<SegmentIx, Segment>,
    /// Oldest first.
    pub(super) retired: Vec<RetiredExtent>,
    pub(super) clients: BTreeMap<ClientId, Client>,
    /// Quotas.
    pub(super) tenants: BTreeMap<String, u64>,
    pub(super) tasks: BTreeMap<TaskId, TaskRow>,
    pub(super) finished: Vec<TaskId>,
    /// When each put and transfer that is under way began.
    pub(super) began_ms: BTreeMap<ItemId, u64>,
    pub(super) next_segment: SegmentIx,
}

impl Model {
    pub(super) fn new(config: Config, now_ms: u64) -> Model {
        Model {
            settings: config.settings,
            owed: None,
            config,
            now_ms,
            grace_from_ms: None,
            objects: BTreeMap::new(),
            segments: BTreeMap::new(),
            retired: Vec::new(),
            clients: BTreeMap::new(),
            tenants: BTreeMap::from([(String::new(), 0)]),
            tasks: BTreeMap::new(),
            finished: Vec::new(),
            began_ms: BTreeMap::new(),
            next_segment: 0,
        }
    }

    /// What was promised is kept for as long as this says.
    pub(super) fn kept(&self) -> &Settings {
        self.owed.as_ref().map_or(&self.settings, |(owed, _)| owed)
    }

    /// By the longest way that anything promised can take.
    pub(super) fn is_paid(&self, owed: &Settings, since_ms: u64) -> bool {
        let put_ms = owed.put_start_timeout_ms + owed.put_release_timeout_ms;
        let waits = [put_ms, owed.client_ttl_ms, owed.object_lease_ms, owed.task_timeout_ms];
        waits.into_iter().all(|wait_ms| self.now_ms >= since_ms + wait_ms)
    }

    pub(super) fn change_settings(&mut self, to: Settings) {
        if to == self.settings {
            return;
        }
        let kept = *self.kept();
        let owed = Settings {
            client_ttl_ms: kept.client_ttl_ms.max(to.client_ttl_ms),
            object_lease_ms: kept.object_lease_ms.max(to.object_lease_ms),
            put_start_timeout_ms: kept.put_start_timeout_ms.max(to.put_start_timeout_ms),
            put_release_timeout_ms: kept.put_release_timeout_ms.max(to.put_release_timeout_ms),
            task_timeout_ms: kept.task_timeout_ms.max(to.task_timeout_ms),
            ..to
        };
        self.owed = (owed != to).then_some((owed, self.now_ms));
        self.settings = to;
    }

    pub(super) fn kind(&self, ix: SegmentIx) -> SegmentKind {
        self.segments[&ix].spec().kind
    }

    pub(super) fn is_living(&self, ix: SegmentIx) -> bool {
        self.segments[&ix].state != SegmentState::Unmounting
    }

    pub(super) fn readable(&self, object: &Object) -> Vec<Place> {
        let whole = object.replicas.iter().filter(|(_, whole)| *whole).map(|(place, _)| *place);
        whole.filter(|place| self.is_living(place.segment)).collect()
    }

    /// A reader may be at its bytes.
    pub(super) fn is_leased(&self, object: &Object) -> bool {
        let grace = self.grace_from_ms.is_some_and(|from| self.now_ms < from + self.kept().object_lease_ms);
        grace || object.lease_until_ms > self.now_ms
    }

    /// So much time has passed, counted from the promotion at the earliest.
    pub(super) fn is_over(&self, since_ms: u64, duration_ms: u64) -> bool {
        self.now_ms >= since_ms.max(self.grace_from_ms.unwrap_or(0)) + duration_ms
    }

    /// What is taken of a segment: start and end.
    pub(super) fn taken(&self, ix: SegmentIx) -> Vec<(u64, u64)> {
        let places = self.objects.values().flat_map(Object::places);
        let live = places.filter(|(place, _)| place.segment == ix).map(|(place, size)| (place.address, extent(size)));
        let retired = self.retired.iter().filter(|r| r.place.segment == ix).map(|r| (r.place.address, r.bytes));
        let mut taken: Vec<_> = live.chain(retired).map(|(start, bytes)| (start, start + bytes)).collect();
        taken.sort_unstable();
        taken
    }

    pub(super) fn taken_bytes(&self, ix: SegmentIx) -> u64 {
        self.taken(ix).iter().map(|(start, end)| end - start).sum()
    }

    /// An object of this size finds room in this segment.
    pub(super) fn fits(&self, ix: SegmentIx, size: u64) -> bool {
        let spec = self.segments[&ix].spec();
        if self.segments[&ix].state != SegmentState::Mounted {
            return false;
        }
        if spec.kind == SegmentKind::Disk {
            return spec.size.saturating_sub(self.taken_bytes(ix)) >= extent(size);
        }
        let end = spec.base + spec.size / 64 * 64;
        let mut from = spec.base;
        for (start, stop) in self.taken(ix).into_iter().chain([(end, end)]) {
            if start - from >= extent(size) {
                return true;
            }
            from = stop;
        }
        false
    }

    pub(super) fn segments_that_fit(&self, kind: SegmentKind, size: u64) -> usize {
        self.segments.keys().filter(|ix| self.kind(**ix) == kind && self.fits(**ix, size)).count()
    }

    /// Somebody new may lie at this place: it is free, and its segment takes new objects.
    pub(super) fn check_new_place(&self, place: Place, size: u64) -> Result<(), String> {
        let segment = self.segments.get(&place.segment).ok_or_else(|| format!("{place:?} is nowhere"))?;
        let spec = segment.spec();
        if segment.state != SegmentState::Mounted {
            return Err(format!("{place:?} is in a segment that is {:?}", segment.state));
        }
        if spec.kind == SegmentKind::Disk {
            let left = spec.size.saturating_sub(self.taken_bytes(place.segment));
            return if left >= extent(size) { Ok(()) } else { Err(format!("{place:?}: {left} bytes left for {size}")) };
        }
        let (start, end) = (place.address, place.address + extent(size));
        if start < spec.base || end > spec.base + spec.size {
            return Err(format!("{place:?} + {size} lies outside of {spec:?}"));
        }
        match self.taken(place.segment).into_iter().find(|(other, stop)| *other < end && *stop > start) {
            Some(other) => Err(format!("{place:?} + {size} overlaps {other:?}, which is in use")),
            None => Ok(()),
        }
    }

    pub(super) fn used_bytes(&self, tenant: &str) -> u64 {
        let objects = self.objects.iter().filter(|((other, _), _)| other == tenant);
        objects.flat_map(|(_, object)| object.places()).map(|(_, size)| extent(size)).sum()
    }

    pub(super) fn has_quota(&self, tenant: &str, bytes: u64) -> bool {
        let quota = self.tenants.get(tenant).copied().unwrap_or(0);
        quota == 0 || self.used_bytes(tenant) + bytes <= quota
    }

    /// Whoever speaks through the log is there and alive.
    pub(super) fn ensure(&mut self, id: ClientId) {
        let now_ms = self.now_ms;
        let client = self.clients.entry(id).or_default();
        client.expired = false;
        client.heard_ms = client.heard_ms.max(now_ms);
    }

    pub(super) fn lose(&mut self, places: Vec<(Place, u64)>, retire: Retire, lease_until_ms: u64) {
        if retire == Retire::Now {
            return;
        }
        let since_ms = self.now_ms;
        self.retired.extend(places.into_iter().map(|(place, size)| RetiredExtent {
            place,
            bytes: extent(size),
            retire,
            since_ms,
            lease_until_ms: if retire == Retire::AfterLease { lease_until_ms } else { 0 },
        }));
    }

    /// What is left empty does not exist.
    pub(super) fn sweep(&mut self, name: &Name) {
        if self.objects.get(name).is_some_and(|object| object.replicas.is_empty() && object.new.is_none()) {
            self.objects.remove(name);
        }
    }

    /// A put of which nothing is open any more has ended.
    pub(super) fn settle(&mut self, name: &Name) {
        let Some(object) = self.objects.get_mut(name) else { return };
        if object.put != ItemId::NONE && object.replicas.iter().all(|(_, whole)| *whole) {
            self.began_ms.remove(&object.put);
            object.put = ItemId::NONE;
        }
    }

    /// The end of everything that is under way with an object, but for its own put.
    pub(super) fn drop_extra(&mut self, name: &Name) {
        let Some(object) = self.objects.get_mut(name) else { return };
        let size = object.size;
        if let Some(new) = object.new.take() {
            self.began_ms.remove(&new.put);
            self.lose(new.places.into_iter().map(|place| (place, new.size)).collect(), Retire::AfterPut, 0);
        }
        let Some(object) = self.objects.get_mut(name) else { return };
        if let Some(transfer) = object.transfer.take() {
            self.began_ms.remove(&transfer.id);
            self.lose(transfer.targets.into_iter().map(|place| (place, size)).collect(), Retire::AfterPut, 0);
        }
    }

    /// Every time that was not in the log starts again.
    pub(super) fn promote(&mut self) {
        let now_ms = self.now_ms;
        self.grace_from_ms = Some(now_ms);
        let lease_until_ms = now_ms + self.kept().object_lease_ms;
        self.owed = self.owed.map(|(owed, _)| (owed, now_ms));
        self.objects.values_mut().for_each(|object| object.lease_until_ms = lease_until_ms);
        self.segments.values_mut().for_each(|segment| segment.draining_since_ms = now_ms);
        self.retired.iter_mut().for_each(|extent| extent.since_ms = now_ms);
        self.clients.values_mut().for_each(|client| client.heard_ms = now_ms);
        self.tasks.values_mut().for_each(|task| task.since_ms = now_ms);
        self.began_ms.values_mut().for_each(|began| *began = now_ms);
    }
}
