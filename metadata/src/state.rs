//! The domain as a whole: 1024 object shards behind a lock each, the directory in the ledger, behind
//! the writer lock.
//!
//! A thread that changes anything holds the writer lock, so the order of the log is the order of the
//! changes. Readers take one shard lock at a time and never the writer's, so a long batch of writes
//! does not stop them; what they see too early is held back by the seq that their answer waits for.
//! Every use of the writer lock is a step of at most
//! [`ENTRY_ITEMS_MAX`](crate::types::ENTRY_ITEMS_MAX) items.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use ledger::{Accounts, Applying, CallRefused, Held, Inconsistent, Ledger, Now, Op};
use oplog::{Position, RequestStamp, Rng};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::apply::Apply;
use crate::config::Config;
use crate::directory::Directory;
use crate::op::OpType;
use crate::shard::Shard;
use crate::steps::round::Rounds;
use crate::types::OBJECT_SHARDS;
use crate::view::View;

/// Slots of a shard's table that are looked at under one lock.
const SCAN_SLOTS: usize = 1024;
/// A shard that has moved its records this often while it was looked at is looked at in one piece.
const SCAN_TRIES_MAX: u32 = 4;

/// What lies where: this domain.
#[derive(Debug)]
pub struct Objects {
    pub(crate) config: Config,
    pub(crate) shards: Box<[Mutex<Shard>]>,
    pub(crate) ledger: Ledger<Own>,
    pub(crate) view: RwLock<Arc<View>>,
}

/// All of this domain that only the writer touches. Opaque outside of this crate.
#[derive(Debug)]
pub struct Own {
    pub(crate) dir: Directory,
    /// Volatile from here on.
    pub(crate) rng: Rng,
    /// A put found no space since the last round of eviction, and an eviction could help it.
    pub(crate) pressed: bool,
    /// The cluster began anew with nothing: until then, by the TTL clock, clients of before may use what they were promised.
    pub(crate) closed_until_ms: u64,
    /// An eviction that takes several steps goes on until no more memory than this is used.
    pub(crate) evict_to: Option<u64>,
    pub(crate) rounds: Rounds,
}

impl Own {
    pub(crate) fn new(config: &Config) -> Own {
        let (rng, rounds) = (Rng::new(config.seed), Rounds::default());
        Own { dir: Directory::new(), rng, pressed: false, closed_until_ms: 0, evict_to: None, rounds }
    }
}

impl Objects {
    pub(crate) fn empty(config: Config, applied: Position) -> Objects {
        let ledger = Ledger::new(Own::new(&config), applied, config.ledger());
        let view = {
            let writer = ledger.unmeasured();
            RwLock::new(Arc::new(View::of(&writer.accounts, &writer.own.dir, applied.seq)))
        };
        let shards = (0..OBJECT_SHARDS).map(|_| Mutex::new(Shard::default())).collect();
        Objects { config, shards, ledger, view }
    }

    /// Segments and tenants as readers see them.
    pub fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    #[track_caller]
    pub(crate) fn write(&self) -> WriterGuard<'_> {
        WriterGuard { state: self, writer: self.ledger.write() }
    }

    /// A shard's lock for more than one object.
    #[track_caller]
    pub(crate) fn scan(&self, shard: usize) -> ScanGuard<'_> {
        let guard = self.shards[shard].lock();
        ScanGuard { _held: self.ledger.times.begin(), guard }
    }

    /// All records of a shard that are there all the while, in pieces, each under a lock of its
    /// own; what comes or goes meanwhile may be seen or not. `look` is told which slots are next.
    /// From 0 on it begins anew: maybe not for the first time, since a table that grows moves its
    /// records.
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

    /// Where the directory is another one: of what has gone with the one before nothing tells.
    pub(crate) fn renew_view(&self, accounts: &mut Accounts, dir: &mut Directory, seq: u64) {
        (accounts.changed, dir.view_stale) = (false, false);
        dir.segments.changed_chunks.clear();
        accounts.tenants.changed_names.clear();
        *self.view.write() = Arc::new(View::of(accounts, dir, seq));
    }
}

impl<'a> Apply<'a> {
    pub(crate) fn of(state: &'a Objects, cx: Applying<'a, Own>) -> Apply<'a> {
        let Applying { accounts, own, seq, source } = cx;
        Apply { accounts, dir: &mut own.dir, shards: &state.shards, config: &state.config, seq, source }
    }
}

/// The writer, and the state that it writes.
pub(crate) struct WriterGuard<'a> {
    state: &'a Objects,
    writer: ledger::WriterGuard<'a, Own>,
}

/// A shard whose lock is held, and for how long that is.
#[derive(Debug)]
pub struct ScanGuard<'a> {
    _held: Held<'a>,
    guard: MutexGuard<'a, Shard>,
}

impl Deref for ScanGuard<'_> {
    type Target = Shard;
    fn deref(&self) -> &Shard {
        &self.guard
    }
}

impl<'a> Deref for WriterGuard<'a> {
    type Target = ledger::WriterGuard<'a, Own>;
    fn deref(&self) -> &Self::Target {
        &self.writer
    }
}

impl DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.writer
    }
}

impl WriterGuard<'_> {
    pub(crate) fn hand_over(self) {
        self.writer.hand_over();
    }

    /// Logs one op of the master's own, and applies it like anybody else would.
    pub(crate) fn commit_op<T: bincode::Encode>(
        &mut self,
        op: impl Into<Op>,
        value: &T,
        now: Now,
    ) -> Result<(), CallRefused> {
        self.writer.commit(self.state, op.into(), value, now, None, 0)
    }

    pub(crate) fn commit_stamped<T: bincode::Encode>(
        &mut self,
        op: OpType,
        value: &T,
        now: Now,
        stamp: Option<RequestStamp>,
        items: u64,
    ) -> Result<(), CallRefused> {
        self.writer.commit(self.state, op.into(), value, now, stamp.map(|stamp| (stamp, op.keep())), items)
    }

    pub(crate) fn commit_items<T: bincode::Encode>(
        &mut self,
        op: OpType,
        value: T,
        now: Now,
        stamp: Option<RequestStamp>,
        apply_items: impl FnOnce(&mut T, &mut Apply<'_>) -> Result<(), Inconsistent>,
    ) -> Result<T, CallRefused> {
        let (state, stamp) = (self.state, stamp.map(|stamp| (stamp, op.keep())));
        let apply = |value: &mut T, cx: Applying<'_, Own>| apply_items(value, &mut Apply::of(state, cx));
        self.writer.commit_items(state, op.into(), value, now, stamp, apply)
    }
}
