//! What a standby knows of how far it is behind, for people and for reads: unknown, unless something fresh is known.
//!
//! Deliberately absent: anything that a decision about roles rests on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use standby::SyncProgress;

#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The primary's committed seq, as it last said.
    committed: AtomicU64,
    /// On `boot_ms`, when it said so; 0: never.
    heard_ms: AtomicU64,
    in_sync: AtomicBool,
    sync: Mutex<Option<SyncProgress>>,
}

impl Notes {
    pub(crate) fn heard(&self, committed: u64, in_sync: bool, now_ms: u64) {
        self.in_sync.store(in_sync, Ordering::Relaxed);
        self.committed.store(committed, Ordering::Relaxed);
        self.heard_ms.store(now_ms, Ordering::Release);
    }

    pub(crate) fn forget(&self) {
        self.heard_ms.store(0, Ordering::Release);
        self.in_sync.store(false, Ordering::Relaxed);
        *self.sync.lock() = None;
    }

    /// What the primary last said is committed, and how long ago.
    pub(crate) fn last(&self, now_ms: u64) -> Option<(u64, u64)> {
        match self.heard_ms.load(Ordering::Acquire) {
            0 => None,
            heard_ms => Some((self.committed.load(Ordering::Relaxed), now_ms.saturating_sub(heard_ms))),
        }
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
}
