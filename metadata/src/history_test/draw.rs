//! From one number to one thing that happens: which call, by whom, on what. Drawn with an eye on the model, so that ends
//! find their starts more often than not; now and then with none, so that refusals are met as well.
//!
//! Deliberately absent: state of its own. A history is a list of numbers, and every part of such a list is one too.

use oplog::Rng;

use super::model::{Model, Object};
use super::request::{From, Request, SEGMENTS};
use crate::*;

const TENANTS: [&str; 3] = ["", "blue", "red"];
const NAMES: [&str; 8] = ["", "m0", "m1", "m2", "m4", "d5", "d6", "nowhere"];
const PATTERNS: [&str; 4] = ["", "k[0-3]$", "^k", "(?i)K5|k7"];

/// Each value goes with each other one.
const CHANGES: [(&str, [&str; 2]); 8] = [
    ("client_ttl_ms", ["5000", "9000"]),
    ("object_lease_ms", ["500", "2000"]),
    ("soft_pin_ttl_ms", ["700", "1500"]),
    ("put_start_timeout_ms", ["1000", "4000"]),
    ("put_release_timeout_ms", ["2000", "5000"]),
    ("task_timeout_ms", ["600", "3000"]),
    ("eviction_high_watermark", ["0.5", "0.9"]),
    ("tombstones_max", ["1", "8"]),
];

pub(super) const CLIENTS: u8 = 4;

#[derive(Debug)]
pub(super) enum Event {
    /// Whether with a number.
    Call(From, bool, Request),
    /// The n-th numbered request again, modulo how many there were.
    Retry(usize),
    Heartbeats(Vec<u8>),
    Lookup {
        tenant: &'static str,
        keys: Vec<String>,
    },
    Quota {
        tenant: &'static str,
        bytes: u64,
    },
    /// Name and value.
    Settings(&'static str, &'static str),
    Pass {
        ms: u64,
    },
    Step,
    /// Until nothing is left to do.
    Rest,
    /// So many more shards are captured for another member.
    Capture {
        shards: u32,
    },
    FailOver {
        by_images: bool,
    },
}

struct Dice<'a> {
    rng: Rng,
    model: &'a Model,
}

pub(super) fn draw(number: u64, model: &Model) -> Event {
    let mut dice = Dice { rng: Rng::new(number), model };
    match dice.below(100) {
        0..6 => Event::Pass { ms: [1, 400, 1000, 1999, 3100, 5000][dice.below(6)] },
        6..12 => Event::Step,
        12..13 => Event::Rest,
        13..19 => Event::Heartbeats((0..CLIENTS).filter(|_| !dice.one_in(8)).collect()),
        19..23 => {
            let tenant = dice.tenant();
            Event::Lookup { tenant, keys: vec![dice.key(), dice.some_key(tenant, |_| true)] }
        }
        23..28 => Event::Retry(dice.rng.next() as usize),
        28 => Event::FailOver { by_images: dice.one_in(2) },
        29..32 => Event::Capture { shards: [200, 500, 1025][dice.below(3)] },
        32 => Event::Quota { tenant: dice.tenant(), bytes: [0, 0, 1000, 4000][dice.below(4)] },
        33 => {
            let (name, values) = CHANGES[dice.below(CHANGES.len())];
            Event::Settings(name, values[dice.below(2)])
        }
        34 => {
            let (client, name) = (dice.client(), dice.empty_tenant());
            let from = From { client, tenant: "", number: 0, answered_below: dice.below(4) as u64 };
            Event::Call(from, dice.one_in(2), Request::DeleteTenant { name })
        }
        _ => {
            let (client, tenant) = (dice.client(), dice.tenant());
            let (numbered, answered) = (dice.one_in(2), dice.below(4) as u64);
            let request = dice.request(tenant);
            let client = dice.owner_of(&request, tenant).unwrap_or(client);
            Event::Call(From { client, tenant, number: 0, answered_below: answered }, numbered, request)
        }
    }
}

impl Dice<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.rng.below(limit)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn client(&mut self) -> u8 {
        self.below(usize::from(CLIENTS)) as u8
    }

    fn tenant(&mut self) -> &'static str {
        TENANTS[[0, 0, 0, 1, 2][self.below(5)]]
    }

    /// Mostly; never the default one, which nobody may delete.
    fn empty_tenant(&mut self) -> &'static str {
        let is_empty = |name: &&str| self.model.objects.keys().all(|(tenant, _)| tenant != name);
        let empty = TENANTS[1..].iter().copied().find(is_empty).filter(|_| !self.one_in(4));
        empty.unwrap_or_else(|| TENANTS[1 + self.below(2)])
    }

    fn key(&mut self) -> String {
        format!("k{}", self.below(8))
    }

    fn segments(&mut self) -> Vec<usize> {
        (0..1 + self.below(3)).map(|_| self.below(SEGMENTS.len())).collect()
    }

    /// Mostly one that there is.
    fn some_key(&mut self, tenant: &str, is_it: impl Fn(&Object) -> bool) -> String {
        let found: Vec<String> = self
            .model
            .objects
            .iter()
            .filter(|((other, _), object)| other == tenant && is_it(object))
            .map(|((_, key), _)| key.clone())
            .collect();
        if found.is_empty() || self.one_in(8) { self.key() } else { found[self.below(found.len())].clone() }
    }

    fn scope(&mut self) -> Scope {
        [Scope::All, Scope::All, Scope::All, Scope::Memory, Scope::Disk][self.below(5)]
    }

    fn pin(&mut self) -> Pin {
        [Pin::None, Pin::None, Pin::Soft { ttl_ms: 1500 }, Pin::Hard][self.below(4)]
    }

    fn kind(&mut self) -> TransferKind {
        if self.one_in(2) { TransferKind::Copy } else { TransferKind::Move }
    }

    fn placement(&mut self) -> Placement<'static> {
        let (memory_replicas, disk_replicas) = [(1, 0), (1, 0), (1, 0), (2, 0), (1, 1), (0, 1), (3, 2)][self.below(7)];
        let preferred = (0..self.below(3)).map(|_| NAMES[self.below(NAMES.len())]).collect();
        Placement { memory_replicas, disk_replicas, preferred, same_host: self.one_in(4), best_effort: self.one_in(3) }
    }

    /// The id that the caller says: none, the right one, or another.
    fn id_of(&mut self, id: Option<ItemId>) -> ItemId {
        let id = id.unwrap_or_default();
        match self.below(6) {
            0..3 => ItemId::NONE,
            3 => ItemId(id.0.saturating_sub(1)),
            _ => id,
        }
    }

    fn request(&mut self, tenant: &'static str) -> Request {
        let (end_put, end_transfer) =
            (|object: &Object| object.put != ItemId::NONE || object.new.is_some(), |o: &Object| o.transfer.is_some());
        // Without segments nothing happens.
        let few = if self.model.segments.len() < 4 && self.one_in(2) { 10 } else { 100 };
        match self.below(few) {
            0..10 => Request::Mount { remount: self.one_in(3), segments: self.segments() },
            10 => Request::Mount { remount: true, segments: Vec::new() },
            11..13 => Request::Unmount { segments: self.segments(), grace_ms: [0, 0, 1500][self.below(3)] },
            13..36 => {
                let how = PutStart { placement: self.placement(), replace: self.one_in(2), pin: self.pin() };
                let sizes = [1, 64, 65, 100, 100, 300, 300, 700, 1500];
                let count = if self.one_in(40) { 300 } else { 1 + self.below(4) };
                let items = (0..count).map(|_| (self.key(), sizes[self.below(sizes.len())])).collect();
                Request::PutStart { how, items }
            }
            36..59 => {
                let key = self.some_key(tenant, end_put);
                let put = self.put_of(tenant, &key);
                let checksum = self.one_in(2).then(|| self.rng.next());
                Request::PutEnd { scope: self.scope(), items: vec![(key, self.id_of(put), checksum)] }
            }
            59..62 => {
                let key = self.some_key(tenant, end_put);
                let put = self.put_of(tenant, &key);
                Request::PutRevoke { scope: self.scope(), items: vec![(key, self.id_of(put))] }
            }
            62..68 => {
                let keys = (0..1 + self.below(3)).map(|_| self.some_key(tenant, |_| true)).collect();
                Request::Remove { force: self.one_in(3), keys }
            }
            68 => Request::RemoveMatching { force: self.one_in(3), regex: PATTERNS[self.below(PATTERNS.len())] },
            69..73 => Request::Pin { pin: self.pin(), keys: vec![self.some_key(tenant, |_| true)] },
            73..82 => {
                let key = self.some_key(tenant, |object| !object.is_unfinished());
                let targets = (0..[1, 1, 1, 2][self.below(4)])
                    .map(|_| NAMES[1 + self.below(NAMES.len() - 1)])
                    .collect::<Vec<_>>();
                let kind = if targets.len() > 1 { TransferKind::Copy } else { self.kind() };
                let source = if self.one_in(4) { NAMES[self.below(NAMES.len())] } else { "" };
                Request::TransferStart { kind, items: vec![(key, source, targets)] }
            }
            82..91 => {
                let key = self.some_key(tenant, end_transfer);
                let transfer =
                    self.model.objects.get(&(tenant.to_owned(), key.clone())).and_then(|o| o.transfer.clone());
                let kind =
                    transfer.as_ref().filter(|_| !self.one_in(8)).map_or(TransferKind::Copy, |transfer| transfer.kind);
                let id = self.id_of(transfer.map(|transfer| transfer.id));
                Request::TransferFinish { kind, ended: !self.one_in(3), items: vec![(key, id)] }
            }
            91..95 => {
                let item = |dice: &mut Self| {
                    let key = dice.some_key(tenant, |object| !object.is_unfinished());
                    (key, if dice.one_in(4) { "m1" } else { "" }, NAMES[1 + dice.below(NAMES.len() - 1)])
                };
                Request::CreateTasks { items: (0..1 + self.below(3)).map(|_| item(self)).collect() }
            }
            95..97 => Request::FetchTasks { limit: 1 + self.below(3) as u32 },
            _ => {
                let known: Vec<TaskId> = self.model.tasks.keys().copied().chain([77]).collect();
                let items = (0..1 + self.below(2)).map(|_| (known[self.below(known.len())], self.one_in(3)));
                Request::CompleteTasks { items: items.collect::<Vec<_>>() }
            }
        }
    }

    fn put_of(&self, tenant: &str, key: &str) -> Option<ItemId> {
        let object = self.model.objects.get(&(tenant.to_owned(), key.to_owned()))?;
        Some(object.new.as_ref().map_or(object.put, |new| new.put))
    }

    /// Mostly the client whose work it is.
    fn owner_of(&mut self, request: &Request, tenant: &str) -> Option<u8> {
        if self.one_in(8) {
            return None;
        }
        let object = |key: &str| self.model.objects.get(&(tenant.to_owned(), key.to_owned()));
        let owner = match request {
            Request::PutEnd { items, .. } => {
                object(&items[0].0).map(|object| object.new.as_ref().map_or(object.owner, |new| new.owner))
            }
            Request::PutRevoke { items, .. } => {
                object(&items[0].0).map(|object| object.new.as_ref().map_or(object.owner, |new| new.owner))
            }
            Request::TransferFinish { items, .. } => object(&items[0].0)?.transfer.as_ref().map(|t| t.owner),
            Request::Mount { segments, .. } => return segments.first().map(|at| (*at % 3) as u8),
            Request::Unmount { segments, .. } => return segments.first().map(|at| (*at % 3) as u8),
            Request::CompleteTasks { items } => self.model.tasks.get(&items[0].0).map(|task| task.assignee),
            Request::FetchTasks { .. } => self.model.tasks.values().next().map(|task| task.assignee),
            _ => None,
        };
        owner.map(|id| id.0[0] - 1)
    }
}
