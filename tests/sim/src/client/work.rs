//! What a client does next: puts that are ended, revoked, replaced or abandoned; removals, pins,
//! lookups; tasks, created for others and fetched; heartbeats, and a remount when the primary asks
//! for one. In some runs it also puts into tenants of its own, of which there is room for fewer
//! than there are names: such objects are removed soon, and the tenant is deleted.

use std::collections::VecDeque;

use crate::cx::Cx;
use crate::options::Options;
use crate::requests::{Ask, KEYS, Key, Request, Told};

const HEARTBEAT_EVERY_MS: u64 = 150;
/// Besides the default one. One more than there is room for.
const TENANTS: u64 = 3;

#[derive(Debug)]
pub(super) struct Work {
    me: u8,
    mounted: bool,
    heartbeat_due: u64,
    started: Option<(u8, Key, u64)>,
    /// The next calls, one right after the other.
    next: VecDeque<(u8, Ask)>,
    tasks: Vec<u64>,
    segment_bytes: u64,
}

impl Work {
    pub(super) fn new(me: u8, options: &Options) -> Work {
        let segment_bytes = options.segment_bytes;
        Work {
            me,
            mounted: false,
            heartbeat_due: 0,
            started: None,
            next: VecDeque::new(),
            tasks: Vec::new(),
            segment_bytes,
        }
    }

    /// Another call than the one that was answered with this number, as from a client that breaks
    /// the rules.
    pub(super) fn foreign(&self, cx: &mut Cx, answered: &Ask) -> Ask {
        let key = [self.me, cx.rng.below(KEYS) as u8];
        match answered {
            Ask::Remove { .. } => Ask::Pin { key, soft: false },
            _ => Ask::Remove { key, force: true },
        }
    }

    /// Returns the tenant, the call, and whether it changes anything.
    pub(super) fn next(&mut self, cx: &mut Cx) -> (u8, (Ask, bool)) {
        if !self.mounted {
            return (0, (Ask::Remount { segment: self.me, bytes: self.segment_bytes }, true));
        }
        if cx.now >= self.heartbeat_due {
            self.heartbeat_due = cx.now + HEARTBEAT_EVERY_MS;
            return (0, (Ask::Heartbeat, false));
        }
        if let Some((tenant, ask)) = self.next.pop_front() {
            let changes = !matches!(ask, Ask::Lookup { .. });
            return (tenant, (ask, changes));
        }
        let begun = self.started.as_ref().map(|(tenant, ..)| *tenant);
        // A call whose tenant finds no place has to wait.
        let any = cx.chaos && cx.options.tenants && cx.rng.below(5) == 0;
        let tenant = begun.unwrap_or_else(|| if any { 1 + cx.rng.below(TENANTS) as u8 } else { 0 });
        let (ask, changes) = self.next_in(cx, tenant);
        // A call that creates no tenant may use any.
        (tenant, (ask, changes))
    }

    fn next_in(&mut self, cx: &mut Cx, tenant: u8) -> (Ask, bool) {
        if let Some((_, key, put)) = self.started.take() {
            // From here on the buffers may belong to another put at any time.
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
                // Often the previous size of the key, so that a replacement may be in place.
                let size = if cx.rng.below(2) == 0 { 64 + 100 * u64::from(key[1]) } else { 64 + cx.rng.below(2_000) };
                (Ask::Start { key, size, replace: cx.rng.below(2) == 0 }, true)
            }
            45..55 => (Ask::Remove { key, force: cx.rng.below(2) == 0 }, true),
            55..61 => (Ask::Pin { key, soft: cx.rng.below(2) == 0 }, true),
            61 => self.large(cx),
            62..85 => (Ask::Lookup { key: anybody }, false),
            85..92 if tenant == 0 => {
                let target = cx.rng.below(cx.options.clients as u64) as u8;
                (Ask::CreateTask { key, target }, true)
            }
            _ => (Ask::FetchTasks, true),
        }
    }

    /// Mostly of several parts.
    fn large(&self, cx: &mut Cx) -> (Ask, bool) {
        let (owner, either) = (self.me, cx.rng.below(2) == 0);
        match cx.rng.below(2) {
            0 => (Ask::PinMany { owner, soft: either }, true),
            _ => (Ask::RemoveMatching { owner, upper: either }, true),
        }
    }

    pub(super) fn on_told(&mut self, request: &Request, told: Told) {
        let tenant = request.tenant;
        match (&request.ask, told) {
            (Ask::Remount { .. }, Told::Mounted(mounted)) => self.mounted = mounted.is_ok(),
            (Ask::Heartbeat, Told::Known(known)) => self.mounted = known,
            (Ask::Start { key, .. }, Told::Started { put, .. }) => self.started = Some((tenant, *key, put)),
            (Ask::End { key, .. }, Told::Done(Ok(()))) if tenant > 0 => {
                let key = *key;
                let removal = [Ask::Remove { key, force: true }, Ask::DeleteTenant { tenant }, Ask::Lookup { key }];
                self.next.extend(removal.map(|ask| (tenant, ask)));
            }
            (Ask::FetchTasks, Told::Tasks(ids)) => self.tasks = ids,
            _ => {}
        }
    }

    /// Whatever became of it: the client asks again for what it must know.
    pub(super) fn on_unknown(&mut self, ask: &Ask) {
        if matches!(ask, Ask::Remount { .. }) {
            self.mounted = false;
        }
    }
}
