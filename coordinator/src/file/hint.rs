//! When something in the directory may have changed: a thread looks every few milliseconds.
//!
//! Invariants: the thread ends when its [`Hint`] is dropped; every change causes at least one hint.
//! Times of files are no finer than the kernel's tick, so a change right after a look may look the
//! same: each change causes one more hint, one look later.
//!
//! Deliberately absent: inotify. It does not report locks, and a member leaves by its lock.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use election::MemberId;
use tokio::sync::watch;

use super::dir::Dir;
use crate::contract::Error;

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Hint {
    receiver: watch::Receiver<u64>,
    /// Nothing is ever sent here: when it is dropped, the thread ends.
    _alive: SyncSender<()>,
}

impl Hint {
    pub(super) fn start(dir: Arc<Dir>) -> Result<Hint, Error> {
        let (changes, receiver) = watch::channel(0);
        let (alive, ended) = sync_channel(0);
        let mut seen = Seen::look(&dir);
        let mut again = false;
        let run = move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = Seen::look(&dir);
                let changed = now != seen;
                if changed || again {
                    changes.send_modify(|count| *count += 1);
                }
                (seen, again) = (now, changed);
            }
        };
        std::thread::Builder::new().name("file-changes".to_owned()).spawn(run).map_err(|error| Error::Unavailable {
            what: "starting a thread",
            place: "the system".to_owned(),
            why: error.to_string(),
        })?;
        Ok(Hint { receiver, _alive: alive })
    }

    pub(super) fn receiver(&self) -> watch::Receiver<u64> {
        self.receiver.clone()
    }
}

/// Device, inode, length, and the time of the last change.
type Stat = Option<(u64, u64, u64, i64, i64)>;

#[derive(PartialEq, Eq, Clone, Debug)]
struct Seen {
    places: [Stat; 3],
    here: BTreeSet<MemberId>,
}

impl Seen {
    fn look(dir: &Dir) -> Seen {
        Seen { places: dir.places().map(stat), here: here(dir).unwrap_or_default() }
    }
}

fn stat(path: &Path) -> Stat {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
}

fn here(dir: &Dir) -> Option<BTreeSet<MemberId>> {
    let ids = dir.member_ids().ok()?;
    Some(ids.into_iter().filter(|id| dir.is_held(*id).unwrap_or(false)).collect())
}
