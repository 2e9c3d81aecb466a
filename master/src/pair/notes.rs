//! What a standby knows of how far it is behind, for people and for reads: unknown, unless something fresh is known.
//!
//! Invariant: as long as anything was heard, this member's state is on the log of the primary that it was heard from, or a
//! full sync is under way; both are forgotten when the primary is.
//!
//! Deliberately absent: anything that a decision about roles rests on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use standby::SyncProgress;
use tokio::sync::watch;

use crate::pair::fresh::Fresh;

#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The primary's committed seq, as it last said.
    committed: AtomicU64,
    /// On `boot_ms`, when it said so; 0: never.
    heard_ms: AtomicU64,
    in_sync: AtomicBool,
    sync: Mutex<Option<SyncProgress>>,
    fresh: Mutex<Fresh>,
    /// Wakes reads that wait for this member to come further.
    moved: watch::Sender<()>,
}

impl Notes {
    /// Before anything is applied that this allows to apply.
    pub(crate) fn committed(&self, committed: u64, as_of_ms: u64) {
        self.committed.fetch_max(committed, Ordering::Release);
        self.fresh.lock().committed(committed, as_of_ms);
        self.moved();
    }

    /// The message is taken, with all that it brought.
    pub(crate) fn heard(&self, in_sync: bool, now_ms: u64) {
        self.in_sync.store(in_sync, Ordering::Relaxed);
        self.heard_ms.store(now_ms, Ordering::Release);
        self.moved();
    }

    pub(crate) fn forget(&self) {
        self.heard_ms.store(0, Ordering::Release);
        self.committed.store(0, Ordering::Release);
        self.in_sync.store(false, Ordering::Relaxed);
        *self.sync.lock() = None;
        *self.fresh.lock() = Fresh::default();
        self.moved();
    }

    /// What the primary last said is committed, and how long ago.
    pub(crate) fn last(&self, now_ms: u64) -> Option<(u64, u64)> {
        match self.heard_ms.load(Ordering::Acquire) {
            0 => None,
            heard_ms => Some((self.committed.load(Ordering::Acquire), now_ms.saturating_sub(heard_ms))),
        }
    }

    /// The moment of which everything that was committed then is in a state that has applied so much. Unknown: `None`.
    pub(crate) fn fresh_as_of_ms(&self, applied: u64) -> Option<u64> {
        self.fresh.lock().as_of_ms(applied)
    }

    /// As the primary last said.
    pub(crate) fn is_in_sync(&self) -> bool {
        self.in_sync.load(Ordering::Relaxed)
    }

    pub(crate) fn set_sync(&self, progress: Option<SyncProgress>) {
        let mut sync = self.sync.lock();
        if *sync != progress {
            *sync = progress;
        }
    }

    pub(crate) fn sync(&self) -> Option<SyncProgress> {
        *self.sync.lock()
    }

    /// Something was heard or applied.
    pub(crate) fn moved(&self) {
        self.moved.send_replace(());
    }

    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}
