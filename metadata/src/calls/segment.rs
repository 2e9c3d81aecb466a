//! Segments and the liveness of their clients.

use std::collections::BTreeSet;
use std::ops;
use std::sync::Arc;

use ledger::{
    Answer, AtBound, Bound, Call, CallRefused, ENTRY_ITEMS_MAX, Fingerprint, ITEM_BYTES, Inconsistent, ItemId, Known,
    RequestBody, Who, check_call, check_text,
};

use crate::apply::Apply;
use crate::calls::{Decide, ItemCall, Items};
use crate::config::Config;
use crate::op::{ClientOp, Mounted, OpType, SegmentRecord, Unmounted};
use crate::ranges::Extent;
use crate::segments::{SegmentInfo, SegmentState};
use crate::state::Objects;
use crate::tasks::TaskState;
use crate::types::{Outcome, Refusal, SEGMENT_BYTES_MAX, SPACE_UNIT, SegmentId, SegmentIx, SegmentKind, TaskId};
use ledger::check_request;

#[derive(Clone, Copy, Debug)]
pub struct SegmentSpec<'a> {
    pub id: SegmentId,
    pub name: &'a str,
    pub kind: SegmentKind,
    pub base: u64,
    pub size: u64,
    pub endpoint: &'a str,
    pub protocol: &'a str,
    pub host: &'a str,
    pub path: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub struct MountedAt {
    /// It was there already, and so are its objects.
    pub kept: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    pub known: bool,
    pub tasks_waiting: bool,
    pub client_ttl_ms: u64,
    pub position: oplog::Position,
}

/// A segment with what is in it.
#[derive(Clone, Debug)]
pub struct SegmentUsage {
    pub info: Arc<SegmentInfo>,
    pub used_bytes: u64,
    pub objects: u64,
    pub retired_bytes: u64,
}

impl Objects {
    /// A client that is not known must remount. `host`: empty where the client does not say.
    pub fn heartbeat(&self, call: &Call<'_>, host: &str) -> Result<Heartbeat, CallRefused> {
        check_call(call)?;
        check_text("host", host)?;
        let mut writer = self.write();
        if !writer.is_primary() {
            return Err(CallRefused::NotPrimary);
        }
        let known = writer.accounts.clients.heard(call.client, call.now.ttl_ms);
        writer.accounts.clients.came_from(call.client, call.address);
        let mut tasks_waiting = false;
        if !host.is_empty() && writer.accounts.clients.get(call.client).is_some() {
            let owner = writer.own.dir.owners.ensure(call.client);
            if owner.host != host {
                owner.host = host.to_owned();
            }
        }
        if let Some(owner) = writer.own.dir.owners.get(call.client) {
            let waits =
                |id: &TaskId| writer.own.dir.tasks.get(*id).is_some_and(|task| task.state == TaskState::Waiting);
            tasks_waiting = owner.tasks.iter().any(waits);
        }
        let client_ttl_ms = writer.in_force().settings.client_ttl_ms;
        Ok(Heartbeat { known, tasks_waiting, client_ttl_ms, position: writer.applied() })
    }

    pub fn mount(
        &self,
        call: &Call<'_>,
        items: &[SegmentSpec<'_>],
    ) -> Result<Answer<Vec<Outcome<MountedAt>>>, CallRefused> {
        self.run(call, &Mount::<false>, items)
    }

    /// All segments of the client: what is mounted with the same range keeps its objects, and what is not among them goes.
    /// It makes the client known.
    pub fn remount(
        &self,
        call: &Call<'_>,
        items: &[SegmentSpec<'_>],
    ) -> Result<Answer<Vec<Outcome<MountedAt>>>, CallRefused> {
        let body = check_request(self.view().secret(), call, &Items(&Mount::<true>), items)?;
        let unmounted = self.unmount_others(call, &body, items)?;
        let answer = self.run(call, &Mount::<true>, items).map_err(|refused| refused.after(unmounted))?;
        self.introduce(call, &body).map_err(|refused| refused.after(unmounted + items.len() as u64))?;
        Ok(Answer { position: self.write().applied(), ..answer })
    }

    /// In steps, and before anything of the request is in the log: whatever of it is known, this is done, and a retry
    /// leaves alone what has been mounted since. Tells how many went.
    fn unmount_others(
        &self,
        call: &Call<'_>,
        body: &RequestBody,
        items: &[SegmentSpec<'_>],
    ) -> Result<u64, CallRefused> {
        let named: BTreeSet<SegmentId> = items.iter().map(|item| item.id).collect();
        let mut writer = self.write();
        let (mut unmounted, mut looked_at) = (0, ops::Bound::Unbounded);
        writer.check_primary()?;
        if matches!(writer.known(call, body)?, Known::New) {
            // What would refuse the request does so before anything goes.
            writer.check_client_bound(call)?;
            writer.make_answer_room(self, call)?;
        }
        loop {
            writer.check_primary().map_err(|refused| refused.after(unmounted))?;
            if matches!(writer.known(call, body)?, Known::Begun(_)) {
                return Ok(unmounted);
            }
            let Some(owner) = writer.own.dir.owners.get(call.client) else { return Ok(unmounted) };
            let next: Vec<SegmentIx> =
                owner.living.range((looked_at, ops::Bound::Unbounded)).take(ENTRY_ITEMS_MAX).copied().collect();
            let Some(last) = next.last() else { return Ok(unmounted) };
            looked_at = ops::Bound::Excluded(*last);
            let is_named =
                |ix: &SegmentIx| writer.own.dir.segments.get(*ix).is_some_and(|s| named.contains(&s.info.id));
            let others = next.into_iter().filter(|ix| !is_named(ix));
            let others: Vec<Outcome<Unmounted>> = others.map(|ix| Ok(Unmounted { ix, grace_ms: 0 })).collect();
            if !others.is_empty() {
                let count = others.len() as u64;
                let op = ClientOp { client: call.client.0, tenant: 0, items: others };
                let done = writer.commit_op(OpType::UnmountSegment, &op, call.now);
                done.map_err(|refused| refused.after(unmounted))?;
                unmounted += count;
            }
            writer.step_aside();
        }
    }

    fn introduce(&self, call: &Call<'_>, body: &RequestBody) -> Result<(), CallRefused> {
        let mut writer = self.write();
        let nothing: ClientOp<Mounted> = ClientOp { client: call.client.0, tenant: 0, items: Vec::new() };
        if call.number != 0 && matches!(writer.known(call, body)?, Known::New) {
            // Without an item there is no entry yet that a retry would find.
            writer.check_client_bound(call)?;
            writer.make_answer_room(self, call)?;
            let Config { answers_max, answer_bytes_max, .. } = self.config;
            let stamp = writer.accounts.clients.stamp(call, body.hash, answers_max, answer_bytes_max);
            writer.commit_stamped(OpType::RemountSegments, &nothing, call.now, Some(stamp), 0)?;
            writer.accounts.clients.came_from(call.client, call.address);
            return Ok(());
        }
        if !writer.accounts.clients.heard(call.client, call.now.ttl_ms) {
            // There was no item, or this is a retry of what was said before the client expired: the log has nothing yet
            // that makes it known.
            writer.check_client_bound(call)?;
            writer.commit_op(OpType::RemountSegments, &nothing, call.now)?;
        }
        writer.accounts.clients.came_from(call.client, call.address);
        Ok(())
    }

    pub fn unmount(
        &self,
        call: &Call<'_>,
        grace_ms: u64,
        ids: &[SegmentId],
    ) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &Unmount { grace_ms }, ids)
    }

    /// In steps: it is no picture of one moment where segments come and go meanwhile.
    pub fn segments(&self, wanted: impl Fn(&SegmentInfo) -> bool) -> Answer<Vec<SegmentUsage>> {
        let mut writer = self.write();
        let (mut results, mut looked_at) = (Vec::new(), ops::Bound::Unbounded);
        loop {
            let segments = writer.own.dir.segments.range((looked_at, ops::Bound::Unbounded)).take(ENTRY_ITEMS_MAX);
            let mut last = None;
            for segment in segments {
                last = Some(segment.info.ix);
                if wanted(&segment.info) {
                    results.push(SegmentUsage {
                        info: segment.info.clone(),
                        used_bytes: segment.used_bytes(),
                        objects: segment.holders().len() as u64,
                        retired_bytes: segment.retired_bytes(),
                    });
                }
            }
            let Some(last) = last else { return Answer { results, position: writer.applied() } };
            looked_at = ops::Bound::Excluded(last);
            writer.step_aside();
        }
    }
}

pub(crate) struct Mount<const REMOUNT: bool>;

impl<const REMOUNT: bool> ItemCall for Mount<REMOUNT> {
    const OP: OpType = if REMOUNT { OpType::RemountSegments } else { OpType::MountSegment };
    const INTRODUCES: bool = REMOUNT;
    const LIST: &'static str = "segments";
    type Item<'a> = SegmentSpec<'a>;
    type Done<'a> = Mounted;
    type Result = MountedAt;

    fn check(&self, item: &SegmentSpec<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        if item.id == SegmentId([0; 16]) {
            return Err(CallRefused::invalid(field("id"), "16 bytes, not all zero, are needed"));
        }
        if item.size < SPACE_UNIT || item.size > SEGMENT_BYTES_MAX {
            let what = format!("{} bytes, from {SPACE_UNIT} to {SEGMENT_BYTES_MAX} are possible", item.size);
            return Err(CallRefused::invalid(field("size"), what));
        }
        if item.base.checked_add(item.size).is_none() {
            let what = format!("{:#x} + {} bytes is beyond the address space", item.base, item.size);
            return Err(CallRefused::invalid(field("base"), what));
        }
        if item.name.is_empty() {
            return Err(CallRefused::invalid(field("name"), "empty, a name is needed"));
        }
        if item.kind == SegmentKind::Disk && item.path.is_empty() {
            return Err(CallRefused::invalid(field("path"), "empty, a disk segment needs its directory"));
        }
        let texts = [
            ("name", item.name),
            ("endpoint", item.endpoint),
            ("protocol", item.protocol),
            ("host", item.host),
            ("path", item.path),
        ];
        texts.into_iter().try_for_each(|(name, text)| check_text(&field(name), text))
    }

    fn fingerprint(&self, item: &SegmentSpec<'_>, into: &mut Fingerprint) {
        into.text(&item.id.0);
        into.number(item.kind as u64);
        into.number(item.base);
        into.number(item.size);
        for text in [item.name, item.endpoint, item.protocol, item.host, item.path] {
            into.text(text.as_bytes());
        }
    }

    fn bytes_max(&self, item: &SegmentSpec<'_>) -> usize {
        let texts = [item.name, item.endpoint, item.protocol, item.host, item.path];
        2 * ITEM_BYTES + texts.iter().map(|text| text.len() + 4).sum::<usize>()
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let record = SegmentRecord {
            id: item.id,
            name: item.name.to_owned(),
            kind: item.kind,
            base: item.base,
            size: item.size,
            endpoint: item.endpoint.to_owned(),
            protocol: item.protocol.to_owned(),
            host: item.host.to_owned(),
            path: item.path.to_owned(),
        };
        let segments = &cx.dir.segments;
        if let Some(known) = segments.ix_of(item.id).and_then(|ix| segments.get(ix)) {
            let info = &known.info;
            return match info.state {
                _ if info.client != cx.who.client || info.record() != record => Err(Refusal::SegmentConflict),
                SegmentState::Unmounting if known.holders().is_empty() => Ok(Mounted::Again { ix: info.ix }),
                SegmentState::Unmounting => Err(Refusal::SegmentBusy),
                SegmentState::Mounted | SegmentState::Draining { .. } => Ok(Mounted::Kept { ix: info.ix }),
            };
        }
        cx.check_bound(Bound::Segments, segments.len() as u64, cx.config.segments_max as u64)?;
        if !segments.have_room(item.size) {
            let have = segments.all_bytes().saturating_add(item.size);
            return Err(Refusal::Overloaded(AtBound { bound: Bound::SegmentBytes, have, limit: u64::MAX }));
        }
        let owner = cx.dir.owners.get(cx.who.client);
        let (count, bytes) = owner.map_or((0, 0), |owner| (owner.segments.len(), owner.segment_bytes));
        cx.check_bound(Bound::ClientSegments, count as u64, cx.config.client_segments_max as u64)?;
        let (bytes, limit) = (bytes.saturating_add(item.size), cx.config.client_segment_bytes_max);
        if bytes > limit {
            return Err(Refusal::Overloaded(AtBound { bound: Bound::ClientSegmentBytes, have: bytes, limit }));
        }
        let mounted = segments.shares.of(cx.from).segments as u64;
        cx.check_bound(Bound::SegmentsPerAddress, mounted, cx.config.segments_per_address_max as u64)?;
        check_shared(cx, item)?;
        Ok(Mounted::New { ix: segments.next_ix(), record })
    }

    fn apply(cx: &mut Apply<'_>, who: Who, _: ItemId, done: &Mounted) -> Result<(), Inconsistent> {
        cx.mount(who.client, done)
    }

    fn result(done: &Mounted, _: ItemId) -> MountedAt {
        MountedAt { kept: matches!(done, Mounted::Kept { .. }) }
    }
}

/// What is going may still be read or written by somebody.
fn check_shared(cx: &Decide<'_>, item: &SegmentSpec<'_>) -> Outcome<()> {
    let SegmentSpec { kind, base, size, path, .. } = *item;
    match cx.dir.segments.sharing(&Extent { client: cx.who.client, kind, base, size, path }) {
        None => Ok(()),
        Some(other) if other.info.is_living() => Err(Refusal::SegmentConflict),
        Some(_) => Err(Refusal::SegmentBusy),
    }
}

pub(crate) struct Unmount {
    grace_ms: u64,
}

impl ItemCall for Unmount {
    const OP: OpType = OpType::UnmountSegment;
    const LIST: &'static str = "segment_ids";
    type Item<'a> = SegmentId;
    type Done<'a> = Unmounted;
    type Result = ();

    fn check(&self, _: &SegmentId, _: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        Ok(())
    }

    fn fingerprint(&self, item: &SegmentId, into: &mut Fingerprint) {
        into.text(&item.0);
        into.number(self.grace_ms);
    }

    fn bytes_max(&self, _: &SegmentId) -> usize {
        ITEM_BYTES
    }

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let segments = &cx.dir.segments;
        let segment = segments.ix_of(*item).and_then(|ix| segments.get(ix)).ok_or(Refusal::SegmentNotFound)?;
        if segment.info.client != cx.who.client {
            return Err(Refusal::NotOwner);
        }
        if segment.info.state == SegmentState::Unmounting {
            return Err(Refusal::SegmentBusy);
        }
        Ok(Unmounted { ix: segment.info.ix, grace_ms: self.grace_ms })
    }

    fn apply(cx: &mut Apply<'_>, _: Who, _: ItemId, done: &Unmounted) -> Result<(), Inconsistent> {
        cx.unmount(done)
    }

    fn result(_: &Unmounted, _: ItemId) {}
}
