//! Everything that this domain holds twice, compared: digests with their records, segments with
//! their objects, clients with their unfinished work, totals with what they count.

use std::collections::BTreeMap;

use ledger::{Accounts, ItemId, TenantIx, same};
use oplog::{Digest, DomainId};

use crate::directory::Directory;
use crate::op::Retire;
use crate::owners::Owner;
use crate::state::Objects;
use crate::types::{SegmentIx, SegmentKind, extent};
use crate::view::View;

#[derive(Default)]
struct Seen {
    /// Start to end, per segment.
    ranges: BTreeMap<SegmentIx, BTreeMap<u64, u64>>,
    holders: BTreeMap<SegmentIx, usize>,
    /// Owner, hash of the key, tenant.
    unfinished: BTreeMap<ItemId, ([u8; 16], u64, TenantIx)>,
    tenants: BTreeMap<TenantIx, (u64, u64)>,
    objects: u64,
}

pub(crate) fn check(state: &Objects, accounts: &Accounts, dir: &Directory) -> Result<(), String> {
    let mut seen = Seen::default();
    for (number, shard) in state.shards.iter().enumerate() {
        let shard = shard.lock();
        let mut sum = Digest::default();
        for object in shard.iter() {
            sum += object.counted_digest(accounts.secret);
            see_object(dir, &mut seen, object)?;
            if object.hash.shard() != number {
                return Err(format!("key {:?} stands in shard {number}", object.key));
            }
        }
        same("digest of a shard", sum, shard.digest())?;
    }
    for segment in dir.segments.iter() {
        check_segment(&mut seen, segment)?;
    }
    same("objects", seen.objects, dir.objects)?;
    let mut listed = BTreeMap::new();
    for (id, owner) in dir.owners.iter() {
        let work = owner.unfinished.iter();
        listed.extend(work.map(|(item, work)| (*item, (id.0, work.hash.0, work.tenant))));
    }
    same("unfinished work", &seen.unfinished, &listed)?;
    check_directory(accounts, dir)?;
    let fresh = View::of(accounts, dir, state.view().seq()).since(&state.view());
    same("the view of readers", format!("{fresh:?}"), format!("{:?}", state.view()))?;
    for (ix, tenant) in accounts.tenants.iter() {
        let (objects, bytes) = seen.tenants.remove(&ix).unwrap_or_default();
        let usage = tenant.usage(DomainId::METADATA);
        same("objects of a tenant", objects, usage.items)?;
        same("bytes of a tenant", bytes, usage.bytes)?;
        let open = dir.tasks.iter().filter(|task| task.tenant == ix && !task.is_finished());
        same("open tasks of a tenant", open.count() as u64, usage.open)?;
    }
    same("an object of no tenant", seen.tenants.keys().next(), None)?;
    let stray = dir.tasks.iter().find(|t| !t.is_finished() && accounts.tenants.get(t.tenant).is_none());
    same("an open task of no tenant", stray.map(|task| task.id), None)
}

/// What stands in the directory alone.
fn check_directory(accounts: &Accounts, dir: &Directory) -> Result<(), String> {
    dir.segments.check()?;
    let mut shares = dir.segments.counted_shares();
    for work in dir.owners.iter().flat_map(|(_, owner)| owner.unfinished.values()) {
        shares.change(work.from, |share| share.extents += work.pieces);
    }
    same("what each address has", &shares, &dir.segments.shares)?;
    dir.tasks.check()?;
    let nothing = Owner::default();
    for (id, _) in accounts.clients.iter() {
        let owner = dir.owners.get(id).unwrap_or(&nothing);
        let owned = dir.segments.iter().filter(|segment| segment.info.client == id).map(|segment| segment.info.ix);
        same("segments of a client", owned.collect(), owner.segments.clone())?;
        let bytes = dir.segments.iter().filter(|segment| segment.info.client == id).map(|segment| segment.info.size);
        same("bytes in the segments of a client", bytes.sum(), owner.segment_bytes)?;
        let living = dir.segments.iter().filter(|segment| segment.info.client == id && segment.info.is_living());
        same("living segments of a client", living.map(|s| s.info.ix).collect(), owner.living.clone())?;
        let open = dir.tasks.iter().filter(|task| task.assignee() == id && !task.is_finished()).map(|task| task.id);
        same("tasks of a client", open.collect(), owner.tasks.clone())?;
    }
    let stranger = dir.owners.iter().find(|(id, _)| accounts.clients.get(*id).is_none());
    same("what a client has that is not known", stranger.map(|(id, _)| id), None)?;
    let orphan = dir.segments.iter().find(|segment| accounts.clients.get(segment.info.client).is_none());
    same("a segment of nobody", orphan.map(|segment| segment.info.ix), None)?;
    let orphan = dir.tasks.iter().find(|task| !task.is_finished() && accounts.clients.get(task.assignee()).is_none());
    same("an open task of nobody", orphan.map(|task| task.id), None)
}

fn see_object(dir: &Directory, seen: &mut Seen, object: &crate::object::Object) -> Result<(), String> {
    if object.is_empty() {
        return Err(format!("{:?} has neither a replica nor a replacement", object.key));
    }
    seen.objects += 1;
    let tenant = seen.tenants.entry(object.tenant).or_default();
    tenant.0 += 1;
    for (replica, size) in object.all_replicas() {
        let ix = replica.place.segment;
        let segment = dir.segments.get(ix).ok_or_else(|| format!("{:?} lies in no segment", object.key))?;
        same("holder", segment.holders().get(replica.index as usize), Some(object.hash))?;
        *seen.holders.entry(ix).or_default() += 1;
        tenant.1 += extent(size);
        if segment.info.kind == SegmentKind::Memory {
            add_range(seen.ranges.entry(ix).or_default(), replica.place.address, extent(size))?;
        }
    }
    let open = object.replicas.iter().any(|replica| !replica.complete);
    same("an open replica", open, !object.put.is_none())?;
    let put = (!object.put.is_none()).then_some((object.put, object.owner));
    let replacement = object.replacement().map(|new| (new.put, new.owner));
    let transfer = object.transfer().map(|transfer| (transfer.id, transfer.owner));
    let work = [put, replacement, transfer].into_iter().flatten();
    seen.unfinished.extend(work.map(|(id, owner)| (id, (owner.0, object.hash.0, object.tenant))));
    Ok(())
}

fn add_range(ranges: &mut BTreeMap<u64, u64>, start: u64, length: u64) -> Result<(), String> {
    let end = start + length;
    let before = ranges.range(..end).next_back();
    if let Some((other_start, other_end)) = before.filter(|(_, other_end)| **other_end > start) {
        return Err(format!("[{start}, {end}) overlaps [{other_start}, {other_end})"));
    }
    ranges.insert(start, end);
    Ok(())
}

fn check_segment(seen: &mut Seen, segment: &crate::segments::Segment) -> Result<(), String> {
    let info = &segment.info;
    let ranges = seen.ranges.entry(info.ix).or_default();
    let mut retired_bytes = 0;
    for extent in [Retire::AfterLease, Retire::AfterPut].into_iter().flat_map(|retire| segment.retired(retire).iter()) {
        retired_bytes += extent.bytes;
        if info.kind == SegmentKind::Memory {
            add_range(ranges, extent.address, extent.bytes)?;
        }
    }
    same("retired bytes", retired_bytes, segment.retired_bytes())?;
    same("holders", seen.holders.get(&info.ix).copied().unwrap_or(0), segment.holders().len())?;
    if info.kind == SegmentKind::Memory {
        if ranges.iter().any(|(start, end)| *start < info.base || *end > info.base + info.size) {
            return Err(format!("a buffer lies outside of segment {}", info.ix));
        }
        let taken: u64 = ranges.iter().map(|(start, end)| end - start).sum();
        same("used and retired bytes", taken, segment.used_bytes() + segment.retired_bytes())?;
        same("free bytes", segment.usable_bytes() - taken, segment.free_bytes())?;
    }
    let empty = segment.holders().is_empty() && segment.retired_bytes() == 0;
    same("an empty segment is one free range", empty, segment.is_whole())
}
