//! What a client wants next: puts that are ended, revoked, replaced or left alone; removals, pins, lookups; tasks, created for
//! others and fetched; signs of life, and all of its segment told anew when it is not known.

use crate::cx::Cx;
use crate::options::Options;
use crate::requests::{Ask, KEYS, Key, Told};

const HEARTBEAT_EVERY_MS: u64 = 150;

#[derive(Debug)]
pub(super) struct Work {
    me: u8,
    mounted: bool,
    heartbeat_due: u64,
    started: Option<(Key, u64)>,
    tasks: Vec<u64>,
    segment_bytes: u64,
}

impl Work {
    pub(super) fn new(me: u8, options: &Options) -> Work {
        let segment_bytes = options.segment_bytes;
        Work { me, mounted: false, heartbeat_due: 0, started: None, tasks: Vec::new(), segment_bytes }
    }

    /// Another call than the one that was answered under this number, as a client asks that does
    /// not keep to the rules.
    pub(super) fn foreign(&self, cx: &mut Cx, answered: &Ask) -> Ask {
        let key = [self.me, cx.rng.below(KEYS) as u8];
        match answered {
            Ask::Remove { .. } => Ask::Pin { key, soft: false },
            _ => Ask::Remove { key, force: true },
        }
    }

    /// And whether it changes anything.
    pub(super) fn next(&mut self, cx: &mut Cx) -> (Ask, bool) {
        if !self.mounted {
            return (Ask::Remount { segment: self.me, bytes: self.segment_bytes }, true);
        }
        if cx.now >= self.heartbeat_due {
            self.heartbeat_due = cx.now + HEARTBEAT_EVERY_MS;
            return (Ask::Heartbeat, false);
        }
        if let Some((key, put)) = self.started.take() {
            // From here on the buffers may be somebody else's at any time.
            match cx.rng.below(20) {
                0 => {}
                1 => {
                    cx.checks.no_overlap.finished(put);
                    return (Ask::Revoke { key, put }, true);
                }
                _ => {
                    cx.checks.no_overlap.finished(put);
                    return (Ask::End { key, put }, true);
                }
            }
        }
        if let Some(id) = self.tasks.pop() {
            return (Ask::CompleteTask { id }, true);
        }
        let key = [self.me, cx.rng.below(KEYS) as u8];
        let anybody = [cx.rng.below(cx.options.clients as u64) as u8, key[1]];
        match cx.rng.below(100) {
            0..45 => {
                // Often the size that the key has had before: then a replacement may go in place.
                let size = if cx.rng.below(2) == 0 { 64 + 100 * u64::from(key[1]) } else { 64 + cx.rng.below(2_000) };
                (Ask::Start { key, size, replace: cx.rng.below(2) == 0 }, true)
            }
            45..55 => (Ask::Remove { key, force: cx.rng.below(2) == 0 }, true),
            55..61 => (Ask::Pin { key, soft: cx.rng.below(2) == 0 }, true),
            61 => self.large(cx),
            62..85 => (Ask::Lookup { key: anybody }, false),
            85..92 => {
                let target = cx.rng.below(cx.options.clients as u64) as u8;
                (Ask::CreateTask { key, target }, true)
            }
            _ => (Ask::FetchTasks, true),
        }
    }

    /// Of several parts, mostly.
    fn large(&self, cx: &mut Cx) -> (Ask, bool) {
        let (owner, either) = (self.me, cx.rng.below(2) == 0);
        match cx.rng.below(2) {
            0 => (Ask::PinMany { owner, soft: either }, true),
            _ => (Ask::RemoveMatching { owner, upper: either }, true),
        }
    }

    pub(super) fn on_told(&mut self, ask: &Ask, told: Told) {
        match (ask, told) {
            (Ask::Remount { .. }, Told::Mounted(mounted)) => self.mounted = mounted.is_ok(),
            (Ask::Heartbeat, Told::Known(known)) => self.mounted = known,
            (Ask::Start { key, .. }, Told::Started { put, .. }) => self.started = Some((*key, put)),
            (Ask::FetchTasks, Told::Tasks(ids)) => self.tasks = ids,
            _ => {}
        }
    }

    /// Whatever became of it: what may have to be known is asked anew.
    pub(super) fn on_unknown(&mut self, ask: &Ask) {
        if matches!(ask, Ask::Remount { .. }) {
            self.mounted = false;
        }
    }
}
