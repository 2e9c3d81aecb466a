//! The state as a whole: 1024 object shards behind a lock each, the directory behind the writer lock.
//!
//! Whoever changes anything holds the writer lock, so the order of the log is the order of the changes. Readers take
//! one shard lock at a time and never the writer's, so a long batch of writes does not stop them; what they see too
//! early is held back by the seq that their answer waits for. Every use of the writer lock is a step of at most
//! [`ENTRY_ITEMS_MAX`](crate::types::ENTRY_ITEMS_MAX) items.

use std::ops::{Deref, DerefMut, Range};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::{Accounts, CallRefused, InForce, Inconsistent, Now};
use oplog::{Appender, ApplyError, Digest, Digests, DomainId, Draft, Frame, OP_DIGEST, Position, RequestStamp, Slot};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::apply::{Apply, Source};
use crate::config::Config;
use crate::directory::Directory;
use crate::op::OpType;
use crate::rng::Rng;
use crate::shard::Shard;
use crate::steps::round::Rounds;
use crate::types::OBJECT_SHARDS;
use crate::view::View;

/// Slots of a shard's table that are looked at under one lock.
const SCAN_SLOTS: usize = 1024;
/// A shard that has moved its records this often while it was looked at is looked at in one piece.
const SCAN_TRIES_MAX: u32 = 4;

/// The metadata of one member.
#[derive(Debug)]
pub struct Metadata {
    pub(crate) config: Config,
    pub(crate) shards: Box<[Mutex<Shard>]>,
    writer: Mutex<Writer>,
    view: RwLock<Arc<View>>,
    /// Longest time that one lock was held.
    held_ns_max: AtomicU64,
    /// Where it was taken.
    held_at: Mutex<Option<&'static Location<'static>>>,
}

/// All that only one at a time may touch.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) accounts: Accounts,
    pub(crate) dir: Directory,
    /// Of the primary; a standby has none, and so cannot write.
    pub(crate) log: Option<Appender>,
    pub(crate) applied: Position,
    pub(crate) rng: Rng,
    /// When this member became the primary: every TTL counts from then at the earliest. `None`: of an empty state.
    pub(crate) grace_from_ms: Option<u64>,
    /// When this primary changed the settings last: what is owed since then counts from there, or from its promotion.
    pub(crate) owed_from_ms: u64,
    /// A put found no space since the last round of eviction, and an eviction could help it.
    pub(crate) pressed: bool,
    /// An eviction that takes several steps goes on until no more memory than this is used.
    pub(crate) evict_to: Option<u64>,
    pub(crate) rounds: Rounds,
    /// An entry did not fit and may have been applied in part: nothing more is taken.
    pub(crate) lost: Option<ApplyError>,
    pub(crate) scratch: Vec<u8>,
}

impl Writer {
    /// Of the shard that is behind all others.
    pub(crate) fn directory_digest(&self) -> Digest {
        self.accounts.digest() + self.dir.digest()
    }

    pub(crate) fn implied_digest(&self) -> Digest {
        self.accounts.tenants.usage_digest() + self.dir.implied_digest()
    }
}

impl Metadata {
    /// Empty, at `applied`; a standby until [`Metadata::lead`].
    pub fn new(config: Config, applied: Position) -> Metadata {
        let (accounts, dir) = (Accounts::new(), Directory::new());
        let rng = Rng::new(config.seed);
        let view = RwLock::new(Arc::new(View::of(&accounts, &dir, applied.seq)));
        let writer = Writer {
            accounts,
            dir,
            log: None,
            applied,
            rng,
            grace_from_ms: None,
            owed_from_ms: 0,
            pressed: false,
            evict_to: None,
            rounds: Rounds::default(),
            lost: None,
            scratch: Vec::new(),
        };
        Metadata {
            config,
            shards: (0..OBJECT_SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            writer: Mutex::new(writer),
            view,
            held_ns_max: AtomicU64::new(0),
            held_at: Mutex::new(None),
        }
    }

    /// From now on this member writes, into `log`; the settings of the cluster first, where it has none. Costs the same however many objects there are: every TTL restarts by
    /// one number.
    pub fn lead(&self, log: Appender, now: Now) {
        let mut writer = self.write();
        assert_eq!(log.next_seq(), writer.applied.seq + 1, "the log must go on where the state stands");
        assert!(log.epoch() >= writer.applied.epoch, "epoch {} after {}", log.epoch(), writer.applied.epoch);
        if let Some(lost) = &writer.lost {
            panic!("a state that is lost cannot lead: {lost}");
        }
        // Where nothing ever was but the start of the first epoch, no client holds anything.
        writer.grace_from_ms = (writer.applied.seq > 1).then_some(now.ttl_ms);
        (writer.pressed, writer.evict_to) = (false, None);
        writer.log = Some(log);
        if writer.accounts.settings.get().is_none() {
            let own = InForce::started_with(self.config.settings);
            // Without room in the log it is the first step of the upkeep.
            drop(writer.commit_settings(own.change_to(own.settings), now));
        }
    }

    /// From now on this member only applies.
    pub fn follow(&self) -> Option<Appender> {
        self.write().log.take()
    }

    /// Segments and tenants as readers see them.
    pub fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Longest time that a lock of this state was held so far. 0 without a clock.
    pub fn lock_held_ns_max(&self) -> u64 {
        self.held_ns_max.load(Ordering::Relaxed)
    }

    /// Where the lock was taken that was held longest.
    pub fn lock_held_at(&self) -> Option<&'static Location<'static>> {
        *self.held_at.lock()
    }

    pub fn position(&self) -> Position {
        self.write().applied
    }

    #[track_caller]
    pub(crate) fn write(&self) -> WriterGuard<'_> {
        let guard = self.writer.lock();
        WriterGuard { held: Held::begin(self), state: self, guard }
    }

    /// Of faults and checks that tests make.
    pub(crate) fn unmeasured(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    /// As the primary: logs the digests of the state as it stands, for every other member to compare with its own at the same
    /// seq.
    pub fn log_digests(&self, now: Now) -> Result<Digests, CallRefused> {
        let mut writer = self.write();
        let digests = self.digests_of(&writer);
        let Writer { log, scratch, .. } = &mut *writer;
        let log = log.as_mut().ok_or(CallRefused::NotPrimary)?;
        scratch.clear();
        digests.encode(scratch);
        let slot = log.reserve(scratch.len())?;
        let at = slot.position();
        let draft = Draft {
            domain: DomainId::ENGINE,
            op_type: OP_DIGEST,
            timestamp_ms: now.wall_ms,
            request: None,
            key: b"",
            payload: scratch,
        };
        let frame = slot.append(&draft);
        writer.appended(&frame);
        Ok(Digests { at, ..digests })
    }

    /// Where ops come from that this member decides now.
    pub(crate) fn decided(&self, accounts: &Accounts, now: Now) -> Source {
        Source::Decided { now_ms: now.ttl_ms, lease_ms: accounts.in_force(self.config.settings).kept().object_lease_ms }
    }

    /// A shard's lock for more than one object.
    #[track_caller]
    pub(crate) fn scan(&self, shard: usize) -> ScanGuard<'_> {
        let guard = self.shards[shard].lock();
        ScanGuard { _held: Held::begin(self), guard }
    }

    /// All records of a shard that are there all the while, in pieces, each under a lock of its own; what comes or goes meanwhile may
    /// be seen or not. `look` is told which slots are next. From 0 on it begins anew: maybe not for the first time, since a table
    /// that grows moves its records.
    pub(crate) fn scan_in_pieces(&self, shard: usize, mut look: impl FnMut(&Shard, Range<usize>)) {
        let (mut from, mut moves, mut tries) = (0, 0, 0);
        loop {
            let ScanGuard { _held: held, guard } = self.scan(shard);
            if from > 0 && guard.moves() != moves {
                (from, tries) = (0, tries + 1);
            }
            moves = guard.moves();
            let slots = guard.slots();
            let upto = if tries < SCAN_TRIES_MAX { slots.min(from + SCAN_SLOTS) } else { slots };
            look(&guard, from..upto);
            if upto == slots {
                return;
            }
            from = upto;
            drop(held);
            MutexGuard::unlock_fair(guard);
        }
    }

    pub(crate) fn digest_of(&self, writer: &Writer) -> Digest {
        self.shards.iter().map(|shard| shard.lock().digest()).sum::<Digest>() + writer.directory_digest()
    }
}

/// Measures how long a lock is held.
struct Held<'a> {
    state: &'a Metadata,
    since_ns: u64,
    at: &'static Location<'static>,
}

impl<'a> Held<'a> {
    #[track_caller]
    fn begin(state: &'a Metadata) -> Held<'a> {
        Held { state, since_ns: (state.config.lock_clock_ns)(), at: Location::caller() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = (self.state.config.lock_clock_ns)().saturating_sub(self.since_ns);
        if held > self.state.held_ns_max.load(Ordering::Relaxed)
            && held > self.state.held_ns_max.fetch_max(held, Ordering::Relaxed)
        {
            *self.state.held_at.lock() = Some(self.at);
        }
    }
}

/// The writer lock. Field order matters: the time is taken before the lock is given back.
pub(crate) struct WriterGuard<'a> {
    held: Held<'a>,
    state: &'a Metadata,
    guard: MutexGuard<'a, Writer>,
}

pub(crate) struct ScanGuard<'a> {
    _held: Held<'a>,
    guard: MutexGuard<'a, Shard>,
}

impl Deref for ScanGuard<'_> {
    type Target = Shard;
    fn deref(&self) -> &Shard {
        &self.guard
    }
}

impl Deref for WriterGuard<'_> {
    type Target = Writer;
    fn deref(&self) -> &Writer {
        &self.guard
    }
}

impl DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.guard
    }
}

impl WriterGuard<'_> {
    /// Gives the lock to whoever waits for it longest. Dropped, it goes to whoever is quickest, and that is most often the one who
    /// has just had it.
    pub(crate) fn hand_over(self) {
        let WriterGuard { held, guard, .. } = self;
        drop(held);
        MutexGuard::unlock_fair(guard);
    }

    /// Lets others in, between two steps of one piece of work.
    pub(crate) fn step_aside(&mut self) {
        let clock = self.state.config.lock_clock_ns;
        let at = self.held.at;
        drop(std::mem::replace(&mut self.held, Held { state: self.state, since_ns: u64::MAX, at }));
        MutexGuard::unlocked_fair(&mut self.guard, || {});
        self.held.since_ns = clock();
    }

    /// Logs one op of the master's own, and applies it like anybody else would.
    pub(crate) fn commit_op<T: bincode::Encode>(&mut self, op: OpType, value: &T, now: Now) -> Result<(), CallRefused> {
        self.commit_stamped(op, value, now, None, 0)
    }

    /// Refuses only before anything has changed: the slot is held from there on until the entry is in it.
    pub(crate) fn commit_stamped<T: bincode::Encode>(
        &mut self,
        op: OpType,
        value: &T,
        now: Now,
        stamp: Option<RequestStamp>,
        items: u64,
    ) -> Result<(), CallRefused> {
        let source = self.state.decided(&self.guard.accounts, now);
        let Writer { accounts, dir, log, scratch, .. } = &mut *self.guard;
        let slot = reserve_for(log, scratch, value)?;
        let seq = slot.seq();
        let mut apply = Apply { accounts, dir, shards: &self.state.shards, seq, source };
        if let Err(error) = apply.op(op, scratch) {
            own_op_failed(op, seq, &error);
        }
        let frame = slot.append(&draft_of(op, now, stamp, scratch));
        self.logged(op, &frame, now, stamp, items);
        Ok(())
    }

    /// As [`WriterGuard::commit_stamped`], for an op of which some items may have been promised to readers since they
    /// were chosen: `apply_items` applies them one by one, and leaves out those. It may make the op smaller, never
    /// larger: its room in the log is taken before.
    pub(crate) fn commit_items<T: bincode::Encode>(
        &mut self,
        op: OpType,
        mut value: T,
        now: Now,
        stamp: Option<RequestStamp>,
        apply_items: impl FnOnce(&mut T, &mut Apply<'_>) -> Result<(), Inconsistent>,
    ) -> Result<T, CallRefused> {
        let source = self.state.decided(&self.guard.accounts, now);
        let Writer { accounts, dir, log, scratch, .. } = &mut *self.guard;
        let slot = reserve_for(log, scratch, &value)?;
        let (seq, room) = (slot.seq(), scratch.len());
        if let Err(error) =
            apply_items(&mut value, &mut Apply { accounts, dir, shards: &self.state.shards, seq, source })
        {
            own_op_failed(op, seq, &error);
        }
        scratch.clear();
        oplog::encode_payload(&value, scratch);
        if scratch.len() > room {
            own_op_failed(
                op,
                seq,
                &format_args!("it grew from {room} to {} bytes while it was applied", scratch.len()),
            );
        }
        let frame = slot.append(&draft_of(op, now, stamp, scratch));
        self.logged(op, &frame, now, stamp, 0);
        Ok(value)
    }

    fn logged(&mut self, op: OpType, frame: &Frame, now: Now, stamp: Option<RequestStamp>, items: u64) {
        let Writer { accounts, scratch, .. } = &mut *self.guard;
        if let Some(stamp) = stamp {
            let payload = payload_of(frame, scratch.len());
            accounts.clients.record(&stamp, op.into(), op.keep(), payload, items, (frame.position().seq, now.ttl_ms));
        }
        self.appended(frame);
    }

    /// The entry is in the log and in the state.
    pub(crate) fn appended(&mut self, frame: &Frame) {
        self.guard.applied = frame.position();
        self.refresh_view();
    }

    pub(crate) fn refresh_view(&mut self) {
        if std::mem::take(&mut self.guard.dir.view_stale) {
            let chunks = std::mem::take(&mut self.guard.dir.segments.changed_chunks);
            let names = std::mem::take(&mut self.guard.accounts.tenants.changed_names);
            let view =
                self.state.view().next(&self.guard.accounts, &self.guard.dir, chunks, names, self.guard.applied.seq);
            *self.state.view.write() = Arc::new(view);
        }
    }

    /// Where the directory is another one: of what has gone with the one before nothing tells.
    pub(crate) fn renew_view(&mut self) {
        let seq = self.guard.applied.seq;
        let Writer { accounts, dir, .. } = &mut *self.guard;
        dir.view_stale = false;
        dir.segments.changed_chunks.clear();
        accounts.tenants.changed_names.clear();
        *self.state.view.write() = Arc::new(View::of(accounts, dir, seq));
    }
}

/// Encodes the value into the scratch and takes a place for it in the log. Where there is none, or no log, nothing has
/// changed.
fn reserve_for<'l, T: bincode::Encode>(
    log: &'l mut Option<Appender>,
    scratch: &mut Vec<u8>,
    value: &T,
) -> Result<Slot<'l>, CallRefused> {
    let log = log.as_mut().ok_or(CallRefused::NotPrimary)?;
    scratch.clear();
    oplog::encode_payload(value, scratch);
    Ok(log.reserve(scratch.len())?)
}

pub(crate) fn draft_of(op: OpType, now: Now, stamp: Option<RequestStamp>, payload: &[u8]) -> Draft<'_> {
    let timestamp_ms = now.wall_ms;
    Draft { domain: DomainId::METADATA, op_type: op as u8, timestamp_ms, request: stamp, key: b"", payload }
}

/// The payload's bytes within a frame: they are its end.
pub(crate) fn payload_of(frame: &Frame, length: usize) -> bytes::Bytes {
    let bytes = frame.as_bytes();
    bytes.slice(bytes.len() - length..)
}

/// The primary wrote an op that its own state refuses. Going on would spread it.
#[cold]
pub(crate) fn own_op_failed(op: OpType, seq: u64, error: &dyn std::fmt::Display) -> ! {
    panic!("op {op:?} at seq {seq} does not fit the state that decided it: {error}")
}
