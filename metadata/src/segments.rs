//! The segments: what space there is, whose it is, and which objects lie in it.
//!
//! Each segment names the objects that lie in it (`holders`), so that an unmount costs what the segment holds. A
//! replica knows its index there; taking one out moves the last one into its place, and the caller tells that one.
//!
//! Invariant: a byte of a memory segment is free, or in exactly one replica, or in exactly one retired extent.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::sync::Arc;

use ledger::{Address, Inconsistent, RecordHash, digest_of_numbers, same};
use oplog::{ClientId, Digest};

use crate::hash::{KeyHash, table};
use crate::holders::Holders;
use crate::op::{Retire, SegmentRecord};
use crate::open::{Holding, Open};
use crate::queue::Queue;
use crate::ranges::{Extent, Ranges};
use crate::shares::Shares;
use crate::space::{RangeError, Space};
use crate::types::{Place, SegmentId, SegmentIx, SegmentKind, extent};

#[derive(Clone, Copy, PartialEq, Eq, Debug, bincode::Encode, bincode::Decode)]
pub enum SegmentState {
    Mounted,
    Draining { grace_ms: u64 },
    Unmounting,
}

/// What everybody may know of a segment. Replaced as a whole when its state changes.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    pub ix: SegmentIx,
    pub id: SegmentId,
    pub client: ClientId,
    pub name: String,
    pub kind: SegmentKind,
    pub base: u64,
    pub size: u64,
    pub endpoint: String,
    pub protocol: String,
    pub host: String,
    pub path: String,
    pub state: SegmentState,
}

impl SegmentInfo {
    pub(crate) fn new(ix: SegmentIx, client: ClientId, record: SegmentRecord, state: SegmentState) -> SegmentInfo {
        let SegmentRecord { id, name, kind, base, size, endpoint, protocol, host, path } = record;
        SegmentInfo { ix, id, client, name, kind, base, size, endpoint, protocol, host, path, state }
    }

    pub(crate) fn record(&self) -> SegmentRecord {
        SegmentRecord {
            id: self.id,
            name: self.name.clone(),
            kind: self.kind,
            base: self.base,
            size: self.size,
            endpoint: self.endpoint.clone(),
            protocol: self.protocol.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
        }
    }

    /// Its replicas may be read.
    pub fn is_living(&self) -> bool {
        self.state != SegmentState::Unmounting
    }

    fn extent(&self) -> Extent<'_> {
        Extent { client: self.client, kind: self.kind, base: self.base, size: self.size, path: &self.path }
    }

    /// The file of a replica in a disk segment.
    pub fn file_path(&self, address: u64) -> String {
        format!("{}/{:016x}", self.path.trim_end_matches('/'), address)
    }

    fn digest(&self) -> Digest {
        let state = match self.state {
            SegmentState::Mounted => 0,
            SegmentState::Unmounting => 1,
            SegmentState::Draining { grace_ms } => grace_ms.saturating_add(2),
        };
        RecordHash::new(table::SEGMENTS)
            .number(u64::from(self.ix))
            .text(&self.id.0)
            .text(&self.client.0)
            .text(self.name.as_bytes())
            .number(self.kind as u64)
            .number(self.base)
            .number(self.size)
            .text(self.endpoint.as_bytes())
            .text(self.protocol.as_bytes())
            .text(self.host.as_bytes())
            .text(self.path.as_bytes())
            .number(state)
            .finish()
    }
}

/// Free ranges that are looked at under one hold of the lock.
const CHECKED_AT_ONCE: usize = 2000;

/// Space of something dropped that a client may still read or write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retired {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    /// Volatile.
    pub(crate) since_ms: u64,
    /// Volatile: the address whose clients began to write here, and gave it up.
    pub(crate) from: Option<Address>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) info: Arc<SegmentInfo>,
    /// Of a memory segment.
    space: Option<Space>,
    used_bytes: u64,
    holders: Holders,
    after_lease: Queue<Retired>,
    after_put: Queue<Retired>,
    retired_bytes: u64,
    /// Volatile: when the drain began.
    pub(crate) draining_since_ms: u64,
    /// Volatile: where its mount came from.
    from: Option<Address>,
}

impl Segment {
    fn new(info: SegmentInfo, from: Option<Address>) -> Segment {
        let usable = info.size / crate::types::SPACE_UNIT * crate::types::SPACE_UNIT;
        let space = (info.kind == SegmentKind::Memory).then(|| Space::new(info.ix, info.base, usable));
        Segment {
            info: Arc::new(info),
            space,
            used_bytes: 0,
            holders: Holders::default(),
            after_lease: Queue::default(),
            after_put: Queue::default(),
            retired_bytes: 0,
            draining_since_ms: 0,
            from,
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    fn free_digest(&self) -> Digest {
        self.space.as_ref().map_or(Digest::default(), Space::digest)
    }

    pub(crate) fn retired_bytes(&self) -> u64 {
        self.retired_bytes
    }

    pub(crate) fn holders(&self) -> &Holders {
        &self.holders
    }

    pub(crate) fn usable_bytes(&self) -> u64 {
        self.info.size / crate::types::SPACE_UNIT * crate::types::SPACE_UNIT
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        match &self.space {
            Some(space) => space.free_bytes(),
            None => self.info.size.saturating_sub(self.used_bytes + self.retired_bytes),
        }
    }

    /// Nothing lies here and nothing is retired; the free space is one range.
    pub(crate) fn is_whole(&self) -> bool {
        self.holders.is_empty() && self.retired_bytes == 0 && self.space.as_ref().is_none_or(Space::is_whole)
    }

    /// The address for an object of `size` bytes, if it fits. `file` names it on disk.
    fn choose(&self, size: u64, file: u64) -> Option<u64> {
        match &self.space {
            Some(space) => space.choose(extent(size)),
            None => (self.free_bytes() >= extent(size)).then_some(file),
        }
    }

    /// To those who choose from it.
    fn holding(&self) -> Holding {
        let room_bytes = self.space.as_ref().map_or_else(|| self.free_bytes(), Space::longest);
        let usable_bytes = self.usable_bytes();
        Holding { count: 1, usable_bytes, used_bytes: self.used_bytes, room_bytes, usable_bytes_max: usable_bytes }
    }

    pub(crate) fn retired(&self, retire: Retire) -> &Queue<Retired> {
        match retire {
            Retire::AfterPut => &self.after_put,
            Retire::AfterLease | Retire::Now => &self.after_lease,
        }
    }

    /// Retired extents and free ranges, a few at a time. `Ok(false)`: all are looked at, and are what is kept of them.
    fn check_next(&mut self) -> Result<bool, String> {
        self.space.as_mut().map_or(Ok(false), |space| space.check_next(CHECKED_AT_ONCE))
    }

    fn retired_mut(&mut self, retire: Retire) -> &mut Queue<Retired> {
        match retire {
            Retire::AfterPut => &mut self.after_put,
            Retire::AfterLease | Retire::Now => &mut self.after_lease,
        }
    }
}

fn retired_digest(segment: SegmentIx, retire: Retire, retired: &Retired) -> Digest {
    let whose = (u64::from(segment) << 2) | retire as u64;
    digest_of_numbers(table::RETIRED, [whose, retired.address, retired.bytes])
}

/// The index of a replica of another object has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) holder: KeyHash,
    pub(crate) segment: SegmentIx,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("segment {0} is not there")]
    Missing(SegmentIx),
    #[error("segment {ix}: {error}")]
    Range { ix: SegmentIx, error: RangeError },
    #[error("segment {ix} names {len} objects, not one at {index}")]
    Index { ix: SegmentIx, len: usize, index: u32 },
    #[error("segment {ix} has {have} retired extents, {wanted} were to be released")]
    Retired { ix: SegmentIx, have: usize, wanted: u32 },
    #[error("segment {0} is there already")]
    Twice(SegmentIx),
    #[error("segment {ix} takes what segment {other} of the same client has")]
    Shared { ix: SegmentIx, other: SegmentIx },
    #[error("segment {ix} goes with {bytes} bytes that a client may still read or write")]
    InUse { ix: SegmentIx, bytes: u64 },
    #[error("segment {ix} of {size} bytes is more than can be counted")]
    NoNumber { ix: SegmentIx, size: u64 },
    #[error("segment {ix} has no room for {bytes} bytes")]
    Full { ix: SegmentIx, bytes: u64 },
    #[error("segment {0} never retires space that is free at once")]
    Never(SegmentIx),
}

impl From<SegmentError> for Inconsistent {
    fn from(error: SegmentError) -> Inconsistent {
        Inconsistent::Other(error.to_string())
    }
}

/// Segments in one chunk of the readers' view.
pub(crate) const CHUNK: u32 = 256;

pub(crate) fn chunk_of(ix: SegmentIx) -> u32 {
    ix / CHUNK
}

#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_ix: BTreeMap<SegmentIx, Segment>,
    by_id: BTreeMap<SegmentId, SegmentIx>,
    by_name: BTreeMap<String, Vec<SegmentIx>>,
    by_host: BTreeMap<String, Vec<SegmentIx>>,
    ranges: Ranges,
    /// Mounted ones, to choose from.
    open_memory: Open,
    open_disk: Open,
    pub(crate) draining: BTreeSet<SegmentIx>,
    pub(crate) unmounting: BTreeSet<SegmentIx>,
    /// With something retired.
    pub(crate) retiring: BTreeSet<SegmentIx>,
    /// Chunks of the readers' view that have changed since it was made.
    pub(crate) changed_chunks: BTreeSet<u32>,
    next_ix: SegmentIx,
    digest: Digest,
    /// Of the free ranges of all segments.
    free_digest: Digest,
    /// Of all segments; so no sum over segments can overflow.
    all_bytes: u64,
    memory_bytes: u64,
    memory_used_bytes: u64,
    retired_bytes: u64,
    retired_extents: u64,
    pub(crate) shares: Shares,
}

impl Segments {
    pub(crate) fn digest(&self) -> Digest {
        self.digest + digest_of_numbers(table::COUNTERS, [0, u64::from(self.next_ix)])
    }

    /// Of the free ranges of all segments: it follows from who lies where, and is kept by itself.
    pub(crate) fn free_digest(&self) -> Digest {
        self.free_digest
    }

    /// Infos and retired extents, counted.
    pub(crate) fn counted_digest(&self) -> Digest {
        let mut digest = digest_of_numbers(table::COUNTERS, [0, u64::from(self.next_ix)]);
        for (&ix, segment) in &self.by_ix {
            digest += segment.info.digest();
            for retire in [Retire::AfterLease, Retire::AfterPut] {
                digest += segment.retired(retire).iter().map(|r| retired_digest(ix, retire, r)).sum::<Digest>();
            }
        }
        digest
    }

    /// The free ranges of one segment after the other, a few at a time, from the segment `next` on. `None`: these were all.
    pub(crate) fn check_next(&mut self, next: u128) -> Result<Option<u128>, String> {
        let from = SegmentIx::try_from(next).unwrap_or(SegmentIx::MAX);
        let Some((&ix, segment)) = self.by_ix.range_mut(from..).next() else { return Ok(None) };
        let more = segment.check_next().map_err(|what| format!("segment {ix}: {what}"))?;
        Ok(Some(u128::from(ix) + u128::from(!more)))
    }

    /// What each keeps of its free ranges makes what is kept of all.
    pub(crate) fn check_free(&self) -> Result<(), String> {
        let sum = self.by_ix.values().filter_map(|segment| segment.space.as_ref()).map(Space::digest).sum();
        same("digest of the free ranges of all segments", sum, self.free_digest)
    }

    pub(crate) fn next_ix(&self) -> SegmentIx {
        self.next_ix
    }

    /// There is a number for one more segment of this size, and for the sum.
    pub(crate) fn have_room(&self, size: u64) -> bool {
        self.next_ix < SegmentIx::MAX && self.all_bytes.checked_add(size).is_some()
    }

    pub(crate) fn set_next_ix(&mut self, next: SegmentIx) {
        self.next_ix = self.next_ix.max(next);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_ix.len()
    }

    pub(crate) fn all_bytes(&self) -> u64 {
        self.all_bytes
    }

    /// Of all memory segments.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub(crate) fn memory_used_bytes(&self) -> u64 {
        self.memory_used_bytes
    }

    pub(crate) fn retired_bytes(&self) -> u64 {
        self.retired_bytes
    }

    pub(crate) fn retired_extents(&self) -> u64 {
        self.retired_extents
    }

    pub(crate) fn get(&self, ix: SegmentIx) -> Option<&Segment> {
        self.by_ix.get(&ix)
    }

    pub(crate) fn ix_of(&self, id: SegmentId) -> Option<SegmentIx> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn named(&self, name: &str) -> &[SegmentIx] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn on_host(&self, host: &str) -> &[SegmentIx] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn sharing(&self, extent: &Extent<'_>) -> Option<&Segment> {
        self.get(self.ranges.sharing(extent)?)
    }

    pub(crate) fn open(&self, kind: SegmentKind) -> &Open {
        match kind {
            SegmentKind::Memory => &self.open_memory,
            SegmentKind::Disk => &self.open_disk,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.by_ix.values()
    }

    pub(crate) fn range(&self, range: impl RangeBounds<SegmentIx>) -> impl Iterator<Item = &Segment> {
        self.by_ix.range(range).map(|(_, segment)| segment)
    }

    /// Eviction could make room for so many replicas of an object of this size in memory.
    pub(crate) fn could_hold(&self, size: u64, replicas: usize) -> bool {
        let mut from = 0;
        (0..replicas).all(|_| {
            let next = self.open_memory.next_that(from, |holding| holding.usable_bytes_max >= extent(size));
            next.is_some_and(|(place, _)| {
                from = place + 1;
                true
            })
        })
    }

    /// Where in `ix` an object of `size` bytes would go, if the segment takes new objects of this kind.
    pub(crate) fn place(&self, ix: SegmentIx, kind: SegmentKind, size: u64, file: u64) -> Option<Place> {
        let segment = self.by_ix.get(&ix)?;
        if segment.info.kind != kind || segment.info.state != SegmentState::Mounted {
            return None;
        }
        segment.choose(size, file).map(|address| Place { segment: ix, address })
    }

    pub(crate) fn free_ratio(&self, ix: SegmentIx) -> f64 {
        self.by_ix.get(&ix).map_or(0.0, |segment| segment.free_bytes() as f64 / segment.info.size as f64)
    }

    pub(crate) fn mount(
        &mut self,
        ix: SegmentIx,
        client: ClientId,
        record: SegmentRecord,
        state: SegmentState,
        from: Option<Address>,
    ) -> Result<(), SegmentError> {
        if self.by_ix.contains_key(&ix) || self.by_id.contains_key(&record.id) {
            return Err(SegmentError::Twice(ix));
        }
        if ix == SegmentIx::MAX || !self.have_room(record.size) {
            return Err(SegmentError::NoNumber { ix, size: record.size });
        }
        let info = SegmentInfo::new(ix, client, record, state);
        if let Some(other) = self.ranges.sharing(&info.extent()) {
            return Err(SegmentError::Shared { ix, other });
        }
        self.all_bytes += info.size;
        self.ranges.insert(&info.extent(), ix);
        self.digest += info.digest();
        self.by_id.insert(info.id, ix);
        self.by_name.entry(info.name.clone()).or_default().push(ix);
        self.by_host.entry(info.host.clone()).or_default().push(ix);
        if info.kind == SegmentKind::Memory {
            self.memory_bytes += info.size;
        }
        let segment = Segment::new(info, from);
        self.shares.change(from, |share| share.segments += 1);
        self.free_digest += segment.free_digest();
        self.by_ix.insert(ix, segment);
        self.list(ix, state);
        self.next_ix = self.next_ix.max(ix + 1);
        Ok(())
    }

    fn list(&mut self, ix: SegmentIx, state: SegmentState) {
        match state {
            SegmentState::Mounted => {
                if let Some(segment) = self.by_ix.get(&ix) {
                    open_of(&mut self.open_memory, &mut self.open_disk, segment).set(ix, segment.holding());
                }
            }
            SegmentState::Draining { .. } => drop(self.draining.insert(ix)),
            SegmentState::Unmounting => drop(self.unmounting.insert(ix)),
        }
        self.changed_chunks.insert(chunk_of(ix));
    }

    fn unlist(&mut self, ix: SegmentIx) {
        self.open_memory.remove(ix);
        self.open_disk.remove(ix);
        self.draining.remove(&ix);
        self.unmounting.remove(&ix);
        self.changed_chunks.insert(chunk_of(ix));
    }

    /// What it holds, or has room for, has changed.
    pub(crate) fn relist(&mut self, ix: SegmentIx) {
        let Some(segment) = self.by_ix.get(&ix) else { return };
        if segment.info.state == SegmentState::Mounted {
            open_of(&mut self.open_memory, &mut self.open_disk, segment).set(ix, segment.holding());
        }
        match segment.retired_bytes {
            0 => drop(self.retiring.remove(&ix)),
            _ => drop(self.retiring.insert(ix)),
        }
    }

    pub(crate) fn set_state(&mut self, ix: SegmentIx, state: SegmentState, now_ms: u64) -> Result<(), SegmentError> {
        let segment = self.by_ix.get_mut(&ix).ok_or(SegmentError::Missing(ix))?;
        self.digest -= segment.info.digest();
        let info = SegmentInfo { state, ..(*segment.info).clone() };
        self.digest += info.digest();
        segment.info = Arc::new(info);
        segment.draining_since_ms = now_ms;
        self.unlist(ix);
        self.list(ix, state);
        Ok(())
    }

    /// It must hold nothing, and nobody may be using what it held: the next segment of its client may have its addresses.
    pub(crate) fn remove(&mut self, ix: SegmentIx) -> Result<Arc<SegmentInfo>, SegmentError> {
        let segment = self.by_ix.get(&ix).ok_or(SegmentError::Missing(ix))?;
        if !segment.holders.is_empty() {
            return Err(SegmentError::Index { ix, len: segment.holders.len(), index: 0 });
        }
        if segment.retired_bytes > 0 {
            return Err(SegmentError::InUse { ix, bytes: segment.retired_bytes });
        }
        let segment = self.by_ix.remove(&ix).ok_or(SegmentError::Missing(ix))?;
        self.ranges.remove(&segment.info.extent());
        self.digest -= segment.info.digest();
        self.free_digest -= segment.free_digest();
        self.all_bytes -= segment.info.size;
        if segment.info.kind == SegmentKind::Memory {
            self.memory_bytes -= segment.info.size;
        }
        self.unlist(ix);
        self.shares.change(segment.from, |share| share.segments -= 1);
        self.by_id.remove(&segment.info.id);
        forget(&mut self.by_name, &segment.info.name, ix);
        forget(&mut self.by_host, &segment.info.host, ix);
        Ok(segment.info)
    }

    /// The space of a replica at `place`.
    pub(crate) fn take(&mut self, place: Place, size: u64) -> Result<(), SegmentError> {
        self.take_bytes(place.segment, place.address, extent(size))
    }

    /// Of memory. Of a disk, only the sum counts.
    fn take_bytes(&mut self, ix: SegmentIx, address: u64, bytes: u64) -> Result<(), SegmentError> {
        let segment = self.by_ix.get_mut(&ix).ok_or(SegmentError::Missing(ix))?;
        if let Some(space) = &mut segment.space {
            let before = space.digest();
            space.take(address, bytes).map_err(|error| SegmentError::Range { ix, error })?;
            self.free_digest += space.digest() - before;
        }
        Ok(())
    }

    /// The space of many replicas that are held already. In the order of their addresses what is free stays in few pieces; in
    /// another one, millions of replicas make millions of pieces first.
    pub(crate) fn take_all(&mut self, mut places: Vec<(Place, u64)>) -> Result<(), SegmentError> {
        places.sort_unstable_by_key(|(place, _)| (place.segment, place.address));
        let touch = |(one, size): &(Place, u64), (next, _): &(Place, u64)| {
            one.segment == next.segment && one.address.checked_add(extent(*size)) == Some(next.address)
        };
        for neighbours in places.chunk_by(touch) {
            let first = neighbours[0].0;
            let bytes = neighbours.iter().fold(0_u64, |bytes, (_, size)| bytes.saturating_add(extent(*size)));
            if self.take_bytes(first.segment, first.address, bytes).is_err() {
                // One by one, to tell which of them it is.
                neighbours.iter().try_for_each(|(place, size)| self.take(*place, *size))?;
            }
        }
        places.dedup_by_key(|(place, _)| place.segment);
        places.iter().for_each(|(place, _)| self.relist(place.segment));
        Ok(())
    }

    /// A replica comes to lie where its space is taken, before or after; the answer is its index among the holders. The caller
    /// lists the segment anew.
    pub(crate) fn hold(&mut self, ix: SegmentIx, size: u64, holder: KeyHash) -> Result<u32, SegmentError> {
        let segment = self.by_ix.get_mut(&ix).ok_or(SegmentError::Missing(ix))?;
        let bytes = extent(size);
        let room_bytes = match segment.space {
            Some(_) => segment.usable_bytes().saturating_sub(segment.used_bytes),
            None => segment.free_bytes(),
        };
        if room_bytes < bytes {
            return Err(SegmentError::Full { ix, bytes });
        }
        if segment.space.is_some() {
            self.memory_used_bytes += bytes;
        }
        segment.used_bytes += bytes;
        segment.holders.push(holder);
        Ok((segment.holders.len() - 1) as u32)
    }

    /// A replica no longer lies at `place`. The caller tells the moved one.
    pub(crate) fn detach(
        &mut self,
        place: Place,
        size: u64,
        index: u32,
        retire: Retire,
        since: (u64, Option<Address>),
    ) -> Result<Option<Moved>, SegmentError> {
        let ix = place.segment;
        let bytes = extent(size);
        let segment = self.by_ix.get_mut(&ix).ok_or(SegmentError::Missing(ix))?;
        if segment.holders.swap_remove(index as usize).is_none() {
            return Err(SegmentError::Index { ix, len: segment.holders.len(), index });
        }
        segment.used_bytes -= bytes;
        if segment.space.is_some() {
            self.memory_used_bytes -= bytes;
        }
        let from = segment.holders.len() as u32;
        // None where the last one went: nobody has moved.
        let moved = segment.holders.get(index as usize);
        let moved = moved.map(|holder| Moved { holder, segment: ix, from, to: index });
        let (since_ms, from) = since;
        self.free_or_retire(ix, Retired { address: place.address, bytes, since_ms, from }, retire)?;
        Ok(moved)
    }

    fn free_or_retire(&mut self, ix: SegmentIx, extent: Retired, retire: Retire) -> Result<(), SegmentError> {
        let segment = self.by_ix.get_mut(&ix).ok_or(SegmentError::Missing(ix))?;
        match (retire, &mut segment.space) {
            (Retire::Now, Some(space)) => {
                let before = space.digest();
                space.give_back(extent.address, extent.bytes).map_err(|error| SegmentError::Range { ix, error })?;
                self.free_digest += space.digest() - before;
            }
            (Retire::Now, None) => {}
            (Retire::AfterLease | Retire::AfterPut, _) => {
                self.digest += retired_digest(ix, retire, &extent);
                self.retired_bytes += extent.bytes;
                self.retired_extents += 1;
                segment.retired_bytes += extent.bytes;
                segment.retired_mut(retire).push_back(extent);
            }
        }
        self.relist(ix);
        Ok(())
    }

    /// The oldest `count` retired extents become free.
    pub(crate) fn release(&mut self, ix: SegmentIx, retire: Retire, count: u32) -> Result<(), SegmentError> {
        if retire == Retire::Now {
            return Err(SegmentError::Never(ix));
        }
        let segment = self.by_ix.get_mut(&ix).ok_or(SegmentError::Missing(ix))?;
        let have = segment.retired(retire).len();
        if have < count as usize {
            return Err(SegmentError::Retired { ix, have, wanted: count });
        }
        for _ in 0..count {
            let Some(extent) = segment.retired_mut(retire).pop_front() else { break };
            self.digest -= retired_digest(ix, retire, &extent);
            self.retired_bytes -= extent.bytes;
            self.retired_extents -= 1;
            self.shares.change(extent.from, |share| share.extents -= 1);
            segment.retired_bytes -= extent.bytes;
            if let Some(space) = &mut segment.space {
                let before = space.digest();
                space.give_back(extent.address, extent.bytes).map_err(|error| SegmentError::Range { ix, error })?;
                self.free_digest += space.digest() - before;
            }
        }
        self.relist(ix);
        Ok(())
    }

    /// What each address has here, counted.
    pub(crate) fn counted_shares(&self) -> Shares {
        let mut counted = Shares::default();
        for segment in self.by_ix.values() {
            counted.change(segment.from, |share| share.segments += 1);
            for extent in segment.after_lease.iter().chain(segment.after_put.iter()) {
                counted.change(extent.from, |share| share.extents += 1);
            }
        }
        counted
    }

    /// What is kept twice, compared.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sum = |of: fn(&Segment) -> u64| self.by_ix.values().map(of).sum::<u64>();
        let memory = |segment: &Segment| segment.info.kind == SegmentKind::Memory;
        let of_memory = |of: fn(&Segment) -> u64| self.by_ix.values().filter(|s| memory(s)).map(of).sum::<u64>();
        same("bytes of all segments", sum(|segment| segment.info.size), self.all_bytes)?;
        same("bytes of memory", of_memory(|segment| segment.info.size), self.memory_bytes)?;
        same("used bytes of memory", of_memory(|segment| segment.used_bytes), self.memory_used_bytes)?;
        same("retired bytes", sum(|segment| segment.retired_bytes), self.retired_bytes)?;
        let extents = |segment: &Segment| segment.after_lease.len() + segment.after_put.len();
        same("retired extents", self.by_ix.values().map(extents).sum::<usize>() as u64, self.retired_extents)?;
        let listed = |open: &Open| open.iter().collect::<Vec<_>>();
        let holding = |kind| {
            let open =
                self.by_ix.values().filter(move |s| s.info.kind == kind && s.info.state == SegmentState::Mounted);
            open.map(|segment| (segment.info.ix, segment.holding())).collect::<Vec<_>>()
        };
        same("open memory", holding(SegmentKind::Memory), listed(&self.open_memory))?;
        same("open disk", holding(SegmentKind::Disk), listed(&self.open_disk))?;
        let retiring = self.by_ix.values().filter(|segment| segment.retired_bytes > 0).map(|segment| segment.info.ix);
        same("segments with something retired", retiring.collect(), self.retiring.clone())?;
        let mut digest = Digest::default();
        let mut again = Segments::default();
        for (&ix, segment) in &self.by_ix {
            let SegmentInfo { client, state, .. } = *segment.info;
            digest += segment.info.digest();
            for retire in [Retire::AfterLease, Retire::AfterPut] {
                digest += segment.retired(retire).iter().map(|r| retired_digest(ix, retire, r)).sum::<Digest>();
            }
            again.mount(ix, client, segment.info.record(), state, segment.from).map_err(|error| error.to_string())?;
        }
        same("digest of the segments", digest, self.digest)?;
        self.check_free()?;
        same("segments by id", &again.by_id, &self.by_id)?;
        same("segments by name", &again.by_name, &self.by_name)?;
        same("segments by host", &again.by_host, &self.by_host)?;
        same("ranges", &again.ranges, &self.ranges)?;
        same("draining segments", &again.draining, &self.draining)?;
        same("unmounting segments", &again.unmounting, &self.unmounting)?;
        same("a segment with a number to come", again.next_ix > self.next_ix, false)
    }

    #[cfg(feature = "faults")]
    pub(crate) fn first_space(&mut self) -> Option<&mut Space> {
        self.by_ix.values_mut().find_map(|segment| segment.space.as_mut())
    }

    #[cfg(feature = "faults")]
    pub(crate) fn lose_free_space(&mut self) -> Option<String> {
        let space = self.first_space()?;
        let (before, start) = (space.digest(), space.choose(64)?);
        space.take(start, 64).ok()?;
        let change = space.digest() - before;
        self.free_digest += change;
        Some(format!("64 bytes at {start:#x}"))
    }

    /// While a state is rebuilt from an image: a retired extent as the image has it.
    pub(crate) fn install_retired(
        &mut self,
        ix: SegmentIx,
        retire: Retire,
        at: (u64, u64),
    ) -> Result<(), SegmentError> {
        let (address, bytes) = at;
        self.take_bytes(ix, address, bytes)?;
        let segment = self.by_ix.get(&ix).ok_or(SegmentError::Missing(ix))?;
        if segment.space.is_none() && segment.free_bytes() < bytes {
            return Err(SegmentError::Full { ix, bytes });
        }
        self.free_or_retire(ix, Retired { address, bytes, since_ms: 0, from: None }, retire)
    }
}

fn open_of<'a>(memory: &'a mut Open, disk: &'a mut Open, segment: &Segment) -> &'a mut Open {
    match segment.info.kind {
        SegmentKind::Memory => memory,
        SegmentKind::Disk => disk,
    }
}

/// The lists are in order: numbers only grow.
fn forget(index: &mut BTreeMap<String, Vec<SegmentIx>>, name: &str, ix: SegmentIx) {
    if let Some(listed) = index.get_mut(name) {
        if let Ok(at) = listed.binary_search(&ix) {
            listed.remove(at);
        }
        if listed.is_empty() {
            index.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an image that nobody in their right mind has made. Their sum would be more than a number holds.
    #[test]
    fn replicas_that_take_more_than_their_segment_has_are_not_counted() {
        let mut segments = Segments::default();
        let record = SegmentRecord {
            id: SegmentId([1; 16]),
            name: "m1".to_owned(),
            kind: SegmentKind::Memory,
            base: 4096,
            size: 1 << 50,
            endpoint: String::new(),
            protocol: String::new(),
            host: String::new(),
            path: String::new(),
        };
        segments.mount(1, ClientId([1; 16]), record, SegmentState::Mounted, None).unwrap();
        assert_eq!(segments.hold(1, 1 << 50, KeyHash(1)).unwrap(), 0);
        for _ in 0..20_000 {
            assert!(matches!(segments.hold(1, 1 << 50, KeyHash(2)), Err(SegmentError::Full { ix: 1, .. })));
        }
        assert_eq!(segments.memory_used_bytes(), 1 << 50);
        // Twice the same place, and one behind the end: named, whatever stands beside it.
        let at = |address| (Place { segment: 1, address }, 64);
        let twice = segments.take_all(vec![at(4096), at(4160), at(4160)]).unwrap_err();
        assert!(matches!(twice, SegmentError::Range { ix: 1, .. }), "{twice}");
        let behind = segments.take_all(vec![at(4096 + (1 << 50) - 64), at(4096 + (1 << 50))]).unwrap_err();
        assert!(behind.to_string().contains("[1125899906846720, 1125899906846784) is not free"), "{behind}");
    }
}
