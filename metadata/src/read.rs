//! Reads: lookups, existence, lists, totals. None of them takes the writer lock but the totals.
//!
//! A read sees what is applied, which may not be committed yet. So each says which seq its answer waits for: of what it
//! found, the last change; of what it did not find, the last change of the shard, since a removal may be on its way; of
//! what a segment hides, the last change of the segments; of a tenant that is not there, the same, since it may have been deleted.

use std::sync::Arc;

use ledger::{
    Accounts, AtBound, Bound, CALL_ITEMS_MAX, CallRefused, DEFAULT_TENANT, InForce, NO_TENANT, Now, check_count,
    check_text,
};
use oplog::{DomainId, Position};

use crate::calls::check_key;
use crate::calls::pattern::{Going, Matching, Pace, Unhurried, caller_is_gone, pattern};
use crate::config::Config;
use crate::directory::Directory;
use crate::hash::KeyHash;
use crate::object::Object;
use crate::state::{Objects, Own};
use crate::types::{OBJECT_SHARDS, Pin, Place};
use crate::view::View;
use ledger::{Writer, digest_of};

/// What a lookup told, as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looked {
    /// The seq that must be committed before any of it may be told.
    pub wait_seq: u64,
    /// How long what was found stays where it is. 0: nothing was leased.
    pub lease_ms: u64,
}

/// What a lookup tells about one key.
#[derive(Debug)]
pub struct Found<'a> {
    object: &'a Object,
    view: &'a View,
}

impl Found<'_> {
    pub fn size(&self) -> u64 {
        self.object.size
    }

    pub fn checksum(&self) -> Option<u64> {
        self.object.checksum
    }

    /// Complete ones on living segments.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        readable_places(self.object, self.view)
    }
}

fn readable_places<'a>(object: &'a Object, view: &'a View) -> impl Iterator<Item = Place> + 'a {
    let living = |place: &Place| view.segment(place.segment).is_some_and(|info| info.is_living());
    object.replicas.iter().filter(|replica| replica.complete).map(|replica| replica.place).filter(living)
}

/// Whether a whole replica can be told, and whether one can not, since its segment is going.
fn visibility(object: &Object, view: &View) -> (bool, bool) {
    let whole = object.replicas.iter().filter(|replica| replica.complete);
    whole.fold((false, false), |(readable, hidden), replica| {
        let living = view.segment(replica.place.segment).is_some_and(|info| info.is_living());
        (readable || living, hidden || !living)
    })
}

/// One key of a list.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    pub key: Box<[u8]>,
    pub size: u64,
    pub replicas: u32,
    pub complete: bool,
    pub pin: Pin,
}

/// Where the next page of a list begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageStart {
    pub shard: u16,
    /// The last key of that shard that was looked at.
    pub after: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
pub struct ListKeys<'a> {
    pub tenant: &'a str,
    pub prefix: &'a [u8],
    /// Empty: all.
    pub regex: &'a str,
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct Page {
    pub keys: Vec<KeyInfo>,
    pub next: Option<PageStart>,
    pub wait_seq: u64,
}

/// Totals of the state.
#[derive(Clone, Debug)]
pub struct Totals {
    pub applied: Position,
    pub digest: oplog::Digest,
    pub objects: u64,
    pub unfinished: u64,
    pub segments: u64,
    pub clients: u64,
    pub tasks: u64,
    pub tenants: u64,
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
    pub retired_bytes: u64,
    pub retired_extents: u64,
    /// Bounds of all clients together that are met.
    pub full: Vec<AtBound>,
    pub evicted_total: u64,
}

/// A tenant with what it holds.
#[derive(Clone, Debug)]
pub struct TenantUsage {
    pub name: String,
    pub quota_bytes: u64,
    pub used_bytes: u64,
    pub objects: u64,
}

impl Objects {
    /// Tells `found` about each key in turn (`None`: it is not there) and grants the objects' leases.
    pub fn lookup<'k>(
        &self,
        tenant: &str,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
        now: Now,
        mut found: impl FnMut(Option<Found<'_>>),
    ) -> Result<Looked, CallRefused> {
        let view = self.view();
        let InForce { settings, changed_seq, .. } = self.settings_in(&view);
        let lease_ms = settings.object_lease_ms;
        let mut is_leased = false;
        let wait_seq = self.look(view, tenant, keys, Some(now.ttl_ms + lease_ms), |object| {
            is_leased |= object.is_some();
            found(object);
        })?;
        // A primary that has not heard of the longer lease would not keep it.
        Ok(Looked { wait_seq: if is_leased { wait_seq.max(changed_seq) } else { wait_seq }, lease_ms })
    }

    /// As [`Objects::lookup`], but nothing is leased: for a member whose leases would protect nothing.
    pub fn lookup_unleased<'k>(
        &self,
        tenant: &str,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
        found: impl FnMut(Option<Found<'_>>),
    ) -> Result<Looked, CallRefused> {
        Ok(Looked { wait_seq: self.look(self.view(), tenant, keys, None, found)?, lease_ms: 0 })
    }

    fn look<'k>(
        &self,
        mut view: Arc<View>,
        tenant: &str,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
        lease_until_ms: Option<u64>,
        mut found: impl FnMut(Option<Found<'_>>),
    ) -> Result<u64, CallRefused> {
        check_text("caller.tenant", tenant)?;
        check_count("keys", keys.len())?;
        for (at, key) in keys.clone().enumerate() {
            check_key(key, &|_| format!("keys[{at}]"))?;
        }
        // A tenant of this name may have been deleted, its objects removed before, and the name given to a new one, by entries that are
        // not committed. The default one stays.
        let (tenant, absent_seq) = match view.tenant(tenant) {
            Some(DEFAULT_TENANT) => (DEFAULT_TENANT, 0),
            found => (found.unwrap_or(NO_TENANT), view.tenants_seq()),
        };
        let mut wait_seq = 0;
        for key in keys {
            let hash = KeyHash::of(view.secret(), tenant, key);
            let mut shard = self.shards[hash.shard()].lock();
            let last_seq = shard.last_seq();
            let object = shard.find_volatile(hash, tenant, key);
            let look = |view: &View| object.as_ref().map_or((false, false), |object| visibility(object, view));
            let (mut readable, mut hidden) = look(&view);
            if hidden {
                // The object may have come to lie in a segment that was mounted since. Under the
                // shard's lock the newest view is not older than the object.
                view = self.view();
                (readable, hidden) = look(&view);
            }
            if hidden {
                wait_seq = wait_seq.max(view.seq());
            }
            match object.filter(|_| readable) {
                Some(object) => {
                    object.lease_until_ms = object.lease_until_ms.max(lease_until_ms.unwrap_or(0));
                    wait_seq = wait_seq.max(object.seq);
                    found(Some(Found { object, view: &view }));
                }
                None => {
                    wait_seq = wait_seq.max(last_seq).max(absent_seq);
                    found(None);
                }
            }
        }
        Ok(wait_seq)
    }

    /// One page, in the order of shards and, within one, of keys.
    pub fn list_keys(&self, what: &ListKeys<'_>, from: Option<&PageStart>) -> Result<Page, CallRefused> {
        self.list_keys_at(what, from, &mut Unhurried)
    }

    /// As [`Objects::list_keys`]; the page ends where `pace` says that time is up, maybe with no key at all.
    pub fn list_keys_at(
        &self,
        what: &ListKeys<'_>,
        from: Option<&PageStart>,
        pace: &mut dyn Pace,
    ) -> Result<Page, CallRefused> {
        check_text("caller.tenant", what.tenant)?;
        if what.limit == 0 || what.limit > CALL_ITEMS_MAX {
            let text = format!("{}, from 1 to {CALL_ITEMS_MAX} are possible", what.limit);
            return Err(CallRefused::invalid("limit", text));
        }
        let matcher = match what.regex {
            "" => None,
            regex => Some(pattern("regex", regex)?),
        };
        let view = self.view();
        let tenant = view.tenant(what.tenant).unwrap_or(NO_TENANT);
        let wanted = |object: &&Object| object.tenant == tenant && object.key.starts_with(what.prefix);
        let mut page = Page { keys: Vec::new(), next: None, wait_seq: view.seq() };
        let first = from.map_or(0, |from| usize::from(from.shard));
        for at in first..OBJECT_SHARDS {
            let after: &[u8] = from.filter(|from| usize::from(from.shard) == at).map_or(&[], |from| &from.after);
            let mut keys: Vec<KeyInfo> = Vec::new();
            self.scan_in_pieces(at, |shard, slots| {
                if slots.start == 0 {
                    keys.clear();
                }
                // Not older than the objects.
                let view = self.view();
                page.wait_seq = page.wait_seq.max(shard.last_seq()).max(view.seq());
                let rest = slots.filter_map(|slot| shard.slot(slot)).filter(|object| *object.key > *after);
                keys.extend(rest.filter(wanted).map(|object| key_info(object, &view)));
            });
            pace.pause();
            keys.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            // A pattern takes its time, so it runs without the lock; in order, so that it can go on where it was ended.
            let is_match = |key: &[u8]| matcher.as_ref().is_none_or(|regex| regex.is_match(key));
            let (going, looked_at) = pick(&mut keys, &is_match, pace);
            let room = what.limit - page.keys.len();
            let cut = keys.len() > room;
            keys.truncate(room);
            page.keys.append(&mut keys);
            if cut || page.keys.len() == what.limit {
                let after = page.keys.last().map(|info| info.key.clone()).unwrap_or_default();
                page.next = Some(PageStart { shard: at as u16, after });
                break;
            }
            match going {
                Going::On => {}
                Going::TimeIsUp => {
                    page.next = match looked_at {
                        Some(after) => Some(PageStart { shard: at as u16, after }),
                        None if at + 1 == OBJECT_SHARDS => None,
                        None => Some(PageStart { shard: at as u16 + 1, after: Box::default() }),
                    };
                    break;
                }
                Going::CallerIsGone => return Err(caller_is_gone()),
            }
        }
        Ok(page)
    }

    pub fn totals(&self) -> Totals {
        let writer = self.write();
        let Writer { accounts, own: Own { dir, .. }, .. } = &**writer;
        Totals {
            applied: writer.applied(),
            digest: digest_of(self, &writer),
            objects: dir.objects,
            unfinished: dir.owners.iter().map(|(_, owner)| owner.unfinished.len() as u64).sum(),
            segments: dir.segments.len() as u64,
            clients: accounts.clients.count() as u64,
            tasks: dir.tasks.len() as u64,
            tenants: accounts.tenants.count_all() as u64,
            memory_bytes: dir.segments.memory_bytes(),
            memory_used_bytes: dir.segments.memory_used_bytes(),
            retired_bytes: dir.segments.retired_bytes(),
            retired_extents: dir.segments.retired_extents(),
            full: self.full(accounts, dir),
            evicted_total: dir.evicted_total,
        }
    }

    /// Bounds of all clients together that are met: what needs more is refused.
    fn full(&self, accounts: &Accounts, dir: &Directory) -> Vec<AtBound> {
        let Config { objects_max, segments_max, clients_max, tenants_max, tasks_max, retired_extents_max, .. } =
            self.config;
        let have = [
            (Bound::Objects, dir.objects, objects_max),
            (Bound::Segments, dir.segments.len() as u64, segments_max as u64),
            (Bound::Clients, accounts.clients.count() as u64, clients_max as u64),
            (Bound::Tasks, dir.tasks.len() as u64, tasks_max as u64),
            (Bound::RetiredExtents, dir.segments.retired_extents(), retired_extents_max),
        ];
        // An idle tenant makes room, and a cluster without tenants wants none.
        let tenants = accounts.tenants.count_all() as u64;
        let is_full = accounts.tenants.first_idle().is_none() && tenants > 1;
        let tenants = is_full.then_some((Bound::Tenants, tenants, tenants_max as u64));
        let full = have.into_iter().chain(tenants).filter(|(_, have, limit)| have >= limit);
        full.map(|(bound, have, limit)| AtBound { bound, have, limit }).collect()
    }

    /// Of the answers that are kept for retries.
    pub fn answer_bytes(&self) -> usize {
        self.write().accounts.clients.answer_bytes()
    }

    pub fn tenants(&self) -> (Position, Vec<TenantUsage>) {
        let writer = self.write();
        let usage = writer.accounts.tenants.iter().map(|(_, tenant)| TenantUsage {
            name: tenant.name.as_ref().to_owned(),
            quota_bytes: tenant.quota_bytes,
            used_bytes: tenant.used_bytes(),
            objects: tenant.usage(DomainId::METADATA).items,
        });
        (writer.applied(), usage.collect())
    }
}

/// Leaves those that match, up to where it is ended; tells the last key that was looked at, where there are more.
fn pick(keys: &mut Vec<KeyInfo>, is_match: &dyn Fn(&[u8]) -> bool, pace: &mut dyn Pace) -> (Going, Option<Box<[u8]>>) {
    let mut matching = Matching::begin(pace);
    let mut going = Going::On;
    let mut looked_at = None;
    keys.retain(|info| {
        if going != Going::On {
            return false;
        }
        let matches = is_match(&info.key);
        going = matching.next(&info.key);
        if going != Going::On {
            looked_at = Some(info.key.clone());
        }
        matches
    });
    match going {
        Going::On => (matching.end(), None),
        going => (going, looked_at),
    }
}

fn key_info(object: &Object, view: &Arc<View>) -> KeyInfo {
    let replicas = readable_places(object, view).count() as u32;
    KeyInfo { key: object.key.clone(), size: object.size, replicas, complete: replicas > 0, pin: object.pin }
}
