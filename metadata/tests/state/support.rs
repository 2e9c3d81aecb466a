//! A primary in a few lines: calls with one item, a clock that a test moves, and steps until nothing is left to do.
//!
//! Deliberately absent: any knowledge of the state beyond its public calls.

use std::cell::Cell;
use std::sync::Arc;

use oplog::{
    Appender, ClientId, Digest, DomainId, Draft, Entry, OP_EPOCH_START, Position, Rebuild, ReplicatedState, Secret,
    Tail, TailConfig,
};
use understudy_metadata::{
    Answer, Bound, Call, CallRefused, Config, ItemId, ListKeys, Metadata, Now, Outcome, Pin, Place, Placement,
    PutEndItem, PutRevokeItem, PutStart, PutStartItem, PutStartedAt, Refusal, Scope, SegmentId, SegmentKind,
    SegmentSpec, Settings, Steps, TransferFinishItem, TransferItem, TransferKind, TransferStartedAt,
};

/// Times that are easy to add up; clients live for good unless a test is about that.
pub(crate) fn config() -> Config {
    Config { settings: Settings { client_ttl_ms: 3_600_000, ..Settings::default() }, ..Config::default() }
}

pub(crate) fn client(who: u8) -> ClientId {
    ClientId([who; 16])
}

pub(crate) fn segment_id(n: u8) -> SegmentId {
    SegmentId([n; 16])
}

/// A memory segment of this id, with a name that says which it is ("m1").
pub(crate) fn memory(n: u8, name: &str, size: u64) -> SegmentSpec<'_> {
    SegmentSpec {
        id: segment_id(n),
        name,
        kind: SegmentKind::Memory,
        base: u64::from(n) << 32,
        size,
        endpoint: "10.0.0.1:1",
        protocol: "tcp",
        host: "",
        path: "",
    }
}

pub(crate) fn disk(n: u8, name: &str, size: u64) -> SegmentSpec<'_> {
    SegmentSpec { kind: SegmentKind::Disk, base: 0, path: "/data", ..memory(n, name, size) }
}

/// So many replicas in memory, as many on disk.
pub(crate) fn placed(memory_replicas: u32, disk_replicas: u32) -> PutStart<'static> {
    PutStart { placement: Placement { memory_replicas, disk_replicas, ..Placement::default() }, ..PutStart::default() }
}

/// What a lookup told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) size: u64,
    pub(crate) checksum: Option<u64>,
    pub(crate) places: Vec<Place>,
}

pub(crate) struct Primary {
    pub(crate) state: Metadata,
    pub(crate) tail: Arc<Tail>,
    pub(crate) config: Config,
    now_ms: Cell<u64>,
    /// Where the log that is kept begins.
    from: Position,
    /// The epoch in which its cluster began with nothing.
    born: u64,
    /// Off where a test breaks something on purpose.
    pub(crate) verify_at_end: bool,
}

impl Primary {
    pub(crate) fn new() -> Primary {
        Primary::with(config())
    }

    pub(crate) fn with(config: Config) -> Primary {
        Primary::with_tail(config, TailConfig::default())
    }

    pub(crate) fn with_tail(config: Config, tail: TailConfig) -> Primary {
        Primary::begun(config, tail, 1, |_, _| {})
    }

    /// Its log begins with this secret.
    pub(crate) fn with_secret(config: Config, secret: Secret) -> Primary {
        Primary::begun(config, TailConfig::default(), 1, |state, log| {
            let payload = &secret.payload_behind(0);
            let (domain, op_type) = (DomainId::ENGINE, OP_EPOCH_START);
            let draft = Draft { domain, op_type, timestamp_ms: 0, request: None, key: b"", payload };
            let frame = log.reserve(payload.len()).unwrap().append(&draft);
            state.apply(&frame.decode().unwrap()).unwrap();
        })
    }

    /// A cluster that lost all of its members, and begins anew with nothing in this epoch.
    pub(crate) fn anew(config: Config, epoch: u64) -> Primary {
        Primary::begun(config, TailConfig::default(), epoch, |state, log| {
            log.begin_epoch(epoch);
            let payload = &Secret([7; 16]).payload_behind(0);
            let (domain, op_type) = (DomainId::ENGINE, OP_EPOCH_START);
            let draft = Draft { domain, op_type, timestamp_ms: 0, request: None, key: b"", payload };
            let frame = log.reserve(payload.len()).unwrap().append(&draft);
            state.apply(&frame.decode().unwrap()).unwrap();
        })
    }

    fn begun(config: Config, tail: TailConfig, born: u64, begin: impl FnOnce(&Metadata, &mut Appender)) -> Primary {
        let state = Metadata::new(config.clone(), Position::default());
        let from = Position::default();
        let (tail, mut appender) = Tail::new(tail, from);
        begin(&state, &mut appender);
        let primary = Primary { state, tail, config, now_ms: Cell::new(1_000_000), from, born, verify_at_end: true };
        primary.state.lead(appender, primary.now(), born);
        primary
    }

    /// Promotes a state that has followed so far. Its log begins here, so it is not replayed at the end.
    pub(crate) fn promoted(state: Metadata, config: Config, now_ms: u64) -> Primary {
        Primary::promoted_in(state, config, now_ms, 1)
    }

    fn promoted_in(state: Metadata, config: Config, now_ms: u64, born: u64) -> Primary {
        let from = state.applied();
        let (tail, mut appender) = Tail::new(TailConfig::default(), from);
        appender.begin_epoch(from.epoch + 1);
        let primary = Primary { state, tail, config, now_ms: Cell::new(now_ms), from, born, verify_at_end: true };
        primary.state.lead(appender, primary.now(), born);
        primary
    }

    /// Two memory segments of 64 KiB, "m1" of client 1 and "m2" of client 2.
    pub(crate) fn with_two_segments() -> Primary {
        let primary = Primary::new();
        primary.mount(1, memory(1, "m1", 65536)).unwrap();
        primary.mount(2, memory(2, "m2", 65536)).unwrap();
        primary
    }

    pub(crate) fn now(&self) -> Now {
        Now { ttl_ms: self.now_ms.get(), wall_ms: 7 }
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.now_ms.set(self.now_ms.get() + ms);
    }

    pub(crate) fn call(&self, who: u8) -> Call<'static> {
        Call { client: client(who), number: 0, answered_below: 0, address: None, tenant: "", now: self.now() }
    }

    pub(crate) fn numbered(&self, who: u8, number: u64) -> Call<'static> {
        Call { number, ..self.call(who) }
    }

    pub(crate) fn heartbeat(&self, who: u8) -> bool {
        self.state.heartbeat(&self.call(who), "").unwrap().known
    }

    pub(crate) fn mount(&self, who: u8, segment: SegmentSpec<'_>) -> Outcome<bool> {
        one(self.state.mount(&self.call(who), &[segment])).map(|mounted| mounted.kept)
    }

    pub(crate) fn unmount(&self, who: u8, n: u8, grace_ms: u64) -> Outcome<()> {
        one(self.state.unmount(&self.call(who), grace_ms, &[segment_id(n)]))
    }

    pub(crate) fn start(&self, who: u8, key: &str, size: u64) -> Outcome<PutStartedAt> {
        self.start_as(who, &placed(1, 0), key, size)
    }

    pub(crate) fn start_over(&self, who: u8, key: &str, size: u64) -> Outcome<PutStartedAt> {
        self.start_as(who, &PutStart { replace: true, ..placed(1, 0) }, key, size)
    }

    pub(crate) fn start_as(&self, who: u8, how: &PutStart<'_>, key: &str, size: u64) -> Outcome<PutStartedAt> {
        one(self.state.put_start(&self.call(who), how, &[PutStartItem { key: key.as_bytes(), size }]))
    }

    pub(crate) fn end(&self, who: u8, key: &str, put: ItemId) -> Outcome<()> {
        self.end_scope(who, key, put, Scope::All, None)
    }

    pub(crate) fn end_scope(
        &self,
        who: u8,
        key: &str,
        put: ItemId,
        scope: Scope,
        checksum: Option<u64>,
    ) -> Outcome<()> {
        one(self.state.put_end(&self.call(who), scope, &[PutEndItem { key: key.as_bytes(), put, checksum }]))
    }

    pub(crate) fn revoke(&self, who: u8, key: &str, put: ItemId) -> Outcome<()> {
        one(self.state.put_revoke(&self.call(who), Scope::All, &[PutRevokeItem { key: key.as_bytes(), put }]))
    }

    /// Started and ended.
    pub(crate) fn put(&self, who: u8, key: &str, size: u64) -> PutStartedAt {
        self.put_as(who, &placed(1, 0), key, size)
    }

    pub(crate) fn put_as(&self, who: u8, how: &PutStart<'_>, key: &str, size: u64) -> PutStartedAt {
        let started = self.start_as(who, how, key, size).unwrap();
        self.end(who, key, started.put).unwrap();
        started
    }

    pub(crate) fn remove(&self, key: &str) -> Outcome<()> {
        one(self.state.remove(&self.call(9), false, &[key.as_bytes()]))
    }

    pub(crate) fn remove_forced(&self, key: &str) -> Outcome<()> {
        one(self.state.remove(&self.call(9), true, &[key.as_bytes()]))
    }

    pub(crate) fn pin(&self, key: &str, pin: Pin) -> Outcome<()> {
        one(self.state.pin(&self.call(9), pin, &[key.as_bytes()]))
    }

    /// Grants a lease where it finds something.
    pub(crate) fn lookup(&self, key: &str) -> Option<Seen> {
        self.lookup_in("", key).0
    }

    /// With the seq that the answer waits for.
    pub(crate) fn lookup_in(&self, tenant: &str, key: &str) -> (Option<Seen>, u64) {
        let mut seen = None;
        let keys = [key.as_bytes()];
        let found = self.state.lookup(tenant, keys.into_iter(), self.now(), |found| {
            seen = found.map(|found| Seen {
                size: found.size(),
                checksum: found.checksum(),
                places: found.places().collect(),
            });
        });
        (seen, found.unwrap().wait_seq)
    }

    /// Without a lease.
    pub(crate) fn keys(&self) -> Vec<String> {
        let all = ListKeys { tenant: "", prefix: b"", regex: "", limit: 10_000 };
        let page = self.state.list_keys(&all, None).unwrap();
        assert!(page.next.is_none(), "too many keys for one page");
        let mut keys: Vec<_> = page.keys.into_iter().map(|info| String::from_utf8(info.key.into()).unwrap()).collect();
        keys.sort();
        keys
    }

    pub(crate) fn transfer(
        &self,
        who: u8,
        kind: TransferKind,
        key: &str,
        source: &str,
        targets: &[&str],
    ) -> Outcome<TransferStartedAt> {
        let item = TransferItem { key: key.as_bytes(), source, targets: targets.to_vec() };
        one(self.state.transfer_start(&self.call(who), kind, &[item]))
    }

    pub(crate) fn end_transfer(&self, who: u8, kind: TransferKind, key: &str, id: ItemId) -> Outcome<()> {
        one(self.state.transfer_end(&self.call(who), kind, &[TransferFinishItem { key: key.as_bytes(), id }]))
    }

    pub(crate) fn revoke_transfer(&self, who: u8, kind: TransferKind, key: &str, id: ItemId) -> Outcome<()> {
        one(self.state.transfer_revoke(&self.call(who), kind, &[TransferFinishItem { key: key.as_bytes(), id }]))
    }

    /// Until there is nothing more to do now; what all of it did.
    pub(crate) fn step(&self) -> Steps {
        let mut sum = Steps::default();
        for _ in 0..10_000 {
            let done = self.state.step(self.now()).unwrap();
            sum.clients_expired += done.clients_expired;
            sum.segments_gone += done.segments_gone;
            sum.replicas_dropped += done.replicas_dropped;
            sum.puts_discarded += done.puts_discarded;
            sum.extents_released += done.extents_released;
            sum.objects_evicted += done.objects_evicted;
            sum.tasks_updated += done.tasks_updated;
            if !done.more {
                return sum;
            }
        }
        panic!("steps without end: {sum:?}");
    }

    /// As [`Primary::step`], then again when nobody can be using anything any more that was dropped.
    pub(crate) fn step_to_the_end(&self) -> Steps {
        let first = self.step();
        let kept = *self.state.settings().kept();
        self.pass(kept.object_lease_ms.max(kept.put_release_timeout_ms));
        let last = self.step();
        let mut sum = first;
        sum.segments_gone += last.segments_gone;
        sum.extents_released += last.extents_released;
        sum
    }

    /// Used and retired, of all segments.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let usage = self.state.segments(|_| true).results;
        usage.iter().fold((0, 0), |(used, retired), s| (used + s.used_bytes, retired + s.retired_bytes))
    }

    pub(crate) fn digest(&self) -> Digest {
        self.state.digest().1
    }

    /// All that is in the log, decoded.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let frames = self.tail.entries_since(self.from.seq, usize::MAX, usize::MAX).unwrap();
        frames.iter().map(|frame| frame.decode().unwrap()).collect()
    }

    /// Another member that has applied all of the log.
    pub(crate) fn follower(&self) -> Metadata {
        let state = Metadata::new(self.config.clone(), self.from);
        self.entries().iter().for_each(|entry| state.apply(entry).unwrap());
        state
    }

    /// Another member that has it all from images.
    pub(crate) fn rebuilt(&self) -> Metadata {
        let mut rebuild = self.state.rebuild();
        (0..self.state.shards()).for_each(|shard| rebuild.install(&self.state.capture(shard)).unwrap());
        rebuild.finish().unwrap()
    }

    /// The end of this primary: a follower leads, at the same time.
    /// Another member that was rebuilt from images takes over.
    pub(crate) fn fail_over_to_rebuilt(&self) -> Primary {
        Primary::promoted_in(self.rebuilt(), self.config.clone(), self.now_ms.get(), self.born)
    }

    pub(crate) fn fail_over(&self) -> Primary {
        Primary::promoted_in(self.follower(), self.config.clone(), self.now_ms.get(), self.born)
    }

    fn verify(&self) {
        self.state.check().unwrap();
        let rebuilt = self.rebuilt();
        rebuilt.check().unwrap();
        assert_eq!(rebuilt.digest(), self.state.digest(), "a state from images differs");
        if self.from.seq == 0 {
            let follower = self.follower();
            follower.check().unwrap();
            assert_eq!(follower.digest(), self.state.digest(), "a replay differs");
        }
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        if self.verify_at_end && !std::thread::panicking() {
            self.verify();
        }
    }
}

/// The only item of a call that was looked at.
pub(crate) fn one<T>(answer: Result<Answer<Vec<Outcome<T>>>, CallRefused>) -> Outcome<T> {
    let mut results = answer.unwrap().results;
    assert_eq!(results.len(), 1);
    results.pop().unwrap()
}

/// The field that a refused call names.
pub(crate) fn field_of<T: std::fmt::Debug>(answer: Result<T, CallRefused>) -> String {
    match answer.unwrap_err() {
        CallRefused::Invalid { field, .. } => field,
        other => panic!("not about a field: {other}"),
    }
}

/// For `unwrap_err` on answers that can't be printed.
/// Of an item that was refused at one.
pub(crate) fn bound_of(refusal: Refusal) -> Bound {
    match refusal {
        Refusal::Overloaded(at) => at.bound,
        other => panic!("{other}"),
    }
}

pub(crate) fn refusal<T>(outcome: Outcome<T>) -> Refusal {
    outcome.err().expect("it must be refused")
}
