//! A reader comes in the moment between a decision and its application: what it was promised is kept.
//!
//! The moment is made by a call that decides like another one, and then lets a reader in.

use ledger::{Applying, Call, CallRefused, Fingerprint, ItemId, Now, Who};
use oplog::{ClientId, Position, Tail, TailConfig};

use super::*;
use crate::calls::put::{PutEnd, PutStart, PutStartItem};
use crate::calls::remove::Remove;
use crate::calls::transfer::{TransferFinish, TransferFinishItem, TransferItem};
use crate::calls::{Decide, ItemCall};
use crate::op::{Evicted, KeyRef, OpType};
use crate::types::{Outcome, Pin, Refusal, Scope, SegmentId, SegmentKind, TransferKind};
use crate::{Config, Metadata, Placement, PutEndItem, SegmentSpec};
use ledger::Writer;

const KEY: &[u8] = b"key";

struct Meanwhile<'s, C> {
    inner: C,
    state: &'s Metadata,
}

impl<C: ItemCall> ItemCall for Meanwhile<'_, C> {
    const OP: OpType = C::OP;
    type Item<'a> = C::Item<'a>;
    type Done<'a> = C::Done<'a>;
    type Result = C::Result;

    fn check(&self, item: &C::Item<'_>, field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        self.inner.check(item, field)
    }
    fn fingerprint(&self, item: &C::Item<'_>, into: &mut Fingerprint) {
        self.inner.fingerprint(item, into);
    }
    fn bytes_max(&self, item: &C::Item<'_>) -> usize {
        self.inner.bytes_max(item)
    }
    fn decide<'a>(&self, cx: &mut Decide<'_>, id: ItemId, item: &C::Item<'a>) -> Outcome<C::Done<'a>> {
        let decided = self.inner.decide(cx, id, item);
        self.state.lookup("", [KEY].into_iter(), cx.now, |_| {}).expect("a lookup");
        decided
    }
    fn apply(cx: &mut Apply<'_>, who: Who, id: ItemId, done: &C::Done<'_>) -> Result<(), Inconsistent> {
        C::apply(cx, who, id, done)
    }
    fn result(done: &C::Done<'_>, id: ItemId) -> C::Result {
        C::result(done, id)
    }
}

fn call() -> Call<'static> {
    let now = Now { ttl_ms: 1000, wall_ms: 0 };
    Call { client: ClientId([1; 16]), number: 0, answered_below: 0, address: None, tenant: "", now }
}

fn how(replace: bool) -> PutStart<'static> {
    let placement = Placement { memory_replicas: 1, ..Placement::default() };
    PutStart { placement, replace, pin: Pin::None }
}

fn start(state: &Metadata, size: u64) -> ItemId {
    let item = PutStartItem { key: KEY, size };
    state.put_start(&call(), &how(true), &[item]).expect("a call").results[0].as_ref().expect("a put").put
}

/// One object that nobody has read, in a primary with two segments.
fn with_an_object() -> Metadata {
    let state = Metadata::new(Config::default(), Position::default());
    let (_, appender) = Tail::new(TailConfig::default(), Position::default());
    state.lead(appender, Now::default(), 1);
    let segment = |n: u8, name| SegmentSpec {
        id: SegmentId([n; 16]),
        name,
        kind: SegmentKind::Memory,
        base: u64::from(n) << 20,
        size: 4096,
        endpoint: "",
        protocol: "",
        host: "",
        path: "",
    };
    state.mount(&call(), &[segment(1, "m1"), segment(2, "m2")]).expect("a mount");
    let put = start(&state, 100);
    let end = PutEndItem { key: KEY, put, checksum: None };
    state.put_end(&call(), Scope::All, &[end]).expect("an end");
    state
}

fn run<C: ItemCall>(state: &Metadata, inner: C, item: C::Item<'_>) -> Outcome<C::Result> {
    let answer = state.run(&call(), &Meanwhile { inner, state }, &[item]).expect("a call");
    state.check().expect("a consistent state");
    answer.results.into_iter().next().expect("one result")
}

fn retired(state: &Metadata) -> u64 {
    state.totals().retired_bytes
}

#[test]
fn an_object_that_is_read_meanwhile_is_not_removed() {
    let state = with_an_object();
    assert_eq!(run(&state, Remove { force: false }, KEY).err(), Some(Refusal::Leased));
    assert_eq!(state.totals().objects, 1);
}

#[test]
fn an_object_that_is_read_meanwhile_leaves_its_bytes_when_it_is_removed_by_force() {
    let state = with_an_object();
    assert!(run(&state, Remove { force: true }, KEY).is_ok());
    assert_eq!((state.totals().objects, retired(&state)), (0, 128));
}

#[test]
fn an_object_that_is_read_meanwhile_is_not_overwritten_in_place() {
    let state = with_an_object();
    assert!(run(&state, how(true), PutStartItem { key: KEY, size: 100 }).is_ok());
    assert_eq!(state.totals().memory_used_bytes, 256, "the new version lies beside the old one");
}

#[test]
fn an_old_version_that_is_read_meanwhile_leaves_its_bytes() {
    let state = with_an_object();
    let put = start(&state, 300);
    assert!(run(&state, PutEnd(Scope::All), PutEndItem { key: KEY, put, checksum: None }).is_ok());
    assert_eq!(retired(&state), 128);
}

#[test]
fn the_source_of_a_move_that_is_read_meanwhile_leaves_its_bytes() {
    let state = with_an_object();
    let move_to = |name| TransferItem { key: KEY, source: "", targets: vec![name] };
    let started = ["m1", "m2"].map(|name| {
        state.transfer_start(&call(), TransferKind::Move, &[move_to(name)]).expect("a call").results[0].is_ok()
    });
    assert!(started.contains(&true));
    let end = TransferFinish { kind: TransferKind::Move, ended: true };
    assert!(run(&state, end, TransferFinishItem { key: KEY, id: ItemId::NONE }).is_ok());
    assert_eq!(retired(&state), 128);
}

#[test]
fn an_eviction_leaves_out_what_is_read_meanwhile() {
    let state = with_an_object();
    state.lookup("", [KEY].into_iter(), call().now, |_| {}).expect("a lookup");
    let mut writer = state.write();
    let writer = &mut **writer;
    let before = ledger::digest_of(&*state, writer);
    let Writer { accounts, own, .. } = &mut *writer;
    let source = Source::Decided { now_ms: 1000, from: None };
    let mut apply = Apply::of(&state, Applying { accounts, own, seq: 99, source });
    let item = Evicted { object: KeyRef { tenant: 0, key: KEY }, dropped: 1 };
    assert!(matches!(apply.evict(&item), Err(Inconsistent::DecideAnew)));
    assert_eq!(ledger::digest_of(&*state, writer), before);
    let Writer { accounts, own, .. } = &mut *writer;
    let mut logged = Apply::of(&state, Applying { accounts, own, seq: 99, source: Source::Logged });
    assert!(logged.evict(&item).is_ok(), "a follower does what the log says");
    assert_eq!(state.shards.iter().map(|shard| shard.lock().len()).sum::<usize>(), 0);
}
