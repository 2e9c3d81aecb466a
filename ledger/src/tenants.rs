//! The tenants: names, quotas, and how much each holds.
//!
//! Invariants: a number is never used again, so that nothing that was told of a tenant can be taken
//! for another one of its name; a tenant that goes holds nothing in any domain; the default tenant
//! stays.
//!
//! Deliberately absent: when a tenant goes. An operator says so, or the primary makes room for a
//! new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oplog::{Digest, DomainId};
use smallvec::SmallVec;

use crate::call::{Address, TenantIx, forget_one};
use crate::errors::{Inconsistent, require, same};
use crate::hash::{RecordHash, digest_of_numbers, table};

/// Stands for a tenant that does not exist: no object is in it.
pub const NO_TENANT: TenantIx = TenantIx::MAX;
pub const DEFAULT_TENANT: TenantIx = 0;

#[derive(Clone, Debug)]
pub struct Tenant {
    pub name: Arc<str>,
    /// 0: none.
    pub quota_bytes: u64,
    /// Of each domain that holds something, in their order. Follows from what they hold.
    usage: SmallVec<[(DomainId, Usage); 1]>,
    /// From where the client called that made it, as long as the primary of that moment leads.
    /// Volatile.
    made_from: Option<Address>,
}

/// What one domain holds of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Counted against the quota, with those of all other domains.
    pub bytes: u64,
    /// Things that are there for good: a tenant that has any is no idle one.
    pub items: u64,
    /// Work that is under way for it: likewise.
    pub open: u64,
}

impl Usage {
    fn is_empty(&self) -> bool {
        *self == Usage::default()
    }
}

impl Tenant {
    pub fn usage(&self, domain: DomainId) -> Usage {
        self.usage.iter().find(|(id, _)| *id == domain).map(|(_, usage)| *usage).unwrap_or_default()
    }

    pub fn used_bytes(&self) -> u64 {
        self.usage.iter().map(|(_, usage)| usage.bytes).sum()
    }

    pub fn items(&self) -> u64 {
        self.usage.iter().map(|(_, usage)| usage.items).sum()
    }

    pub fn open(&self) -> u64 {
        self.usage.iter().map(|(_, usage)| usage.open).sum()
    }

    fn digest(&self, ix: TenantIx) -> Digest {
        let mut hash = RecordHash::new(table::TENANTS);
        hash.number(ix.into()).text(self.name.as_bytes()).number(self.quota_bytes).finish()
    }

    pub fn is_empty(&self) -> bool {
        self.usage.iter().all(|(_, usage)| usage.is_empty())
    }
}

#[derive(Debug)]
pub struct Tenants {
    by_ix: BTreeMap<TenantIx, Tenant>,
    by_name: BTreeMap<Arc<str>, TenantIx>,
    /// Empty and without a quota, but for the default one: nobody would miss them.
    idle: BTreeSet<TenantIx>,
    /// How many are not idle of those that were made from each. Volatile.
    by_address: BTreeMap<Address, usize>,
    next_ix: TenantIx,
    digest: Digest,
    /// Came or went since readers were last told.
    pub changed_names: Vec<Arc<str>>,
}

impl Default for Tenants {
    /// The default tenant alone.
    fn default() -> Tenants {
        let mut tenants = Tenants {
            by_ix: BTreeMap::new(),
            by_name: BTreeMap::new(),
            idle: BTreeSet::new(),
            by_address: BTreeMap::new(),
            next_ix: DEFAULT_TENANT,
            digest: Digest::default(),
            changed_names: Vec::new(),
        };
        tenants.set(DEFAULT_TENANT, "", 0);
        tenants
    }
}

impl Tenants {
    pub fn digest(&self) -> Digest {
        self.digest + self.counter_digest()
    }

    fn counter_digest(&self) -> Digest {
        digest_of_numbers(table::COUNTERS, [0, self.next_ix.into()])
    }

    /// Names and quotas, counted.
    pub fn counted_digest(&self) -> Digest {
        self.by_ix.iter().map(|(ix, tenant)| tenant.digest(*ix)).sum::<Digest>() + self.counter_digest()
    }

    /// How much each holds: it follows from what the domains hold.
    pub fn usage_digest(&self) -> Digest {
        let of_domain = |ix: TenantIx, domain: DomainId, usage: Usage| {
            digest_of_numbers(table::USAGE, [ix.into(), domain.0.into(), usage.bytes, usage.items, usage.open])
        };
        let of_tenant = |(ix, tenant): (&TenantIx, &Tenant)| {
            let used = tenant.usage.iter().filter(|(_, usage)| !usage.is_empty());
            used.map(|(domain, usage)| of_domain(*ix, *domain, *usage)).sum::<Digest>()
        };
        self.by_ix.iter().map(of_tenant).sum()
    }

    /// How many there are, the default one included.
    pub fn count_all(&self) -> usize {
        self.by_ix.len()
    }

    /// Of the next one that is made.
    pub fn next_ix(&self) -> TenantIx {
        self.next_ix
    }

    pub fn ix_of(&self, name: &str) -> Option<TenantIx> {
        if name.is_empty() { Some(DEFAULT_TENANT) } else { self.by_name.get(name).copied() }
    }

    pub fn get(&self, ix: TenantIx) -> Option<&Tenant> {
        self.by_ix.get(&ix)
    }

    /// In the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = (TenantIx, &Tenant)> {
        self.by_ix.iter().map(|(ix, tenant)| (*ix, tenant))
    }

    /// The oldest one that nobody would miss.
    pub fn first_idle(&self) -> Option<TenantIx> {
        self.idle.first().copied()
    }

    pub fn is_idle(&self, ix: TenantIx) -> bool {
        self.idle.contains(&ix)
    }

    /// `false`: the number is neither there nor the next one, or the name is another one's.
    pub fn set(&mut self, ix: TenantIx, name: &str, quota_bytes: u64) -> bool {
        if ix == self.next_ix && ix != NO_TENANT {
            if self.by_name.contains_key(name) {
                return false;
            }
            let name: Arc<str> = name.into();
            let tenant = Tenant { name: Arc::clone(&name), quota_bytes, usage: SmallVec::new(), made_from: None };
            self.digest += tenant.digest(ix);
            self.by_ix.insert(ix, tenant);
            self.by_name.insert(Arc::clone(&name), ix);
            self.changed_names.push(name);
            self.next_ix += 1;
            self.relist(ix);
            return true;
        }
        let Some(tenant) = self.by_ix.get_mut(&ix).filter(|tenant| *tenant.name == *name) else { return false };
        self.digest -= tenant.digest(ix);
        tenant.quota_bytes = quota_bytes;
        self.digest += tenant.digest(ix);
        self.relist(ix);
        true
    }

    /// From an image: rising numbers, the default one first. `false`: they are not, or the name is
    /// another one's.
    pub fn install(&mut self, ix: TenantIx, name: &str, quota_bytes: u64) -> bool {
        if ix == DEFAULT_TENANT {
            return self.next_ix == DEFAULT_TENANT + 1 && self.set(ix, name, quota_bytes);
        }
        if ix < self.next_ix || ix == NO_TENANT {
            return false;
        }
        self.next_ix = ix;
        self.set(ix, name, quota_bytes)
    }

    pub fn set_next_ix(&mut self, next: TenantIx) {
        self.next_ix = self.next_ix.max(next);
    }

    pub fn remove(&mut self, ix: TenantIx) -> Result<(), Inconsistent> {
        let tenant = self.by_ix.get(&ix).filter(|_| ix != DEFAULT_TENANT);
        let Some(tenant) = tenant else { return Err(Inconsistent::Other(format!("no tenant {ix} that can go"))) };
        require(tenant.is_empty(), || format!("tenant {ix} goes with {tenant:?}"))?;
        self.digest -= tenant.digest(ix);
        let was_idle = self.idle.remove(&ix);
        if let Some(tenant) = self.by_ix.remove(&ix) {
            self.by_name.remove(&tenant.name);
            self.changed_names.push(tenant.name);
            if let Some(address) = tenant.made_from.filter(|_| !was_idle) {
                forget_one(&mut self.by_address, address);
            }
        }
        Ok(())
    }

    /// Right after it was made, without a quota.
    pub fn made_from(&mut self, ix: TenantIx, address: Option<Address>) {
        if let Some(tenant) = self.by_ix.get_mut(&ix).filter(|tenant| is_idle(ix, tenant)) {
            tenant.made_from = address;
        }
    }

    /// Idle ones do not count.
    pub fn count_from(&self, address: Address) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    pub fn has_room(&self, ix: TenantIx, bytes: u64) -> bool {
        self.get(ix).is_none_or(|tenant| {
            tenant.quota_bytes == 0 || tenant.used_bytes().saturating_add(bytes) <= tenant.quota_bytes
        })
    }

    /// What is kept twice, compared.
    pub fn check(&self) -> Result<(), String> {
        same("digest of the tenants", self.counted_digest(), self.digest())?;
        let names = self.iter().map(|(ix, tenant)| (tenant.name.clone(), ix));
        same("names of the tenants", names.collect(), self.by_name.clone())?;
        let idle = self.iter().filter(|(ix, tenant)| is_idle(*ix, tenant)).map(|(ix, _)| ix);
        same("idle tenants", idle.collect(), self.idle.clone())?;
        let mut by_address = BTreeMap::new();
        let busy = self.iter().filter(|(ix, tenant)| !is_idle(*ix, tenant));
        let addresses = busy.filter_map(|(_, tenant)| tenant.made_from);
        addresses.for_each(|address| *by_address.entry(address).or_default() += 1);
        same("busy tenants by address", &by_address, &self.by_address)?;
        same("a tenant with a number to come", self.by_ix.range(self.next_ix..).next().is_some(), false)?;
        same("the default tenant", self.by_name.get(""), Some(&DEFAULT_TENANT))
    }

    /// What a domain holds of a tenant has changed. A tenant that is not there holds nothing.
    pub fn count(&mut self, ix: TenantIx, domain: DomainId, change: impl FnOnce(&mut Usage)) {
        let Some(tenant) = self.by_ix.get_mut(&ix) else { return };
        let was_idle = is_idle(ix, tenant);
        let at = match tenant.usage.iter().position(|(id, _)| *id >= domain) {
            Some(at) if tenant.usage[at].0 == domain => at,
            at => {
                let at = at.unwrap_or(tenant.usage.len());
                tenant.usage.insert(at, (domain, Usage::default()));
                at
            }
        };
        change(&mut tenant.usage[at].1);
        if is_idle(ix, tenant) != was_idle {
            self.relist(ix);
        }
    }

    fn relist(&mut self, ix: TenantIx) {
        let Some(tenant) = self.by_ix.get(&ix) else { return };
        let address = tenant.made_from;
        match is_idle(ix, tenant) {
            true if self.idle.insert(ix) => {
                if let Some(address) = address {
                    forget_one(&mut self.by_address, address);
                }
            }
            false if self.idle.remove(&ix) => {
                if let Some(address) = address {
                    *self.by_address.entry(address).or_default() += 1;
                }
            }
            true | false => {}
        }
    }
}

/// Items say whether there are bytes, too: those of an item that goes are counted down right after
/// it.
fn is_idle(ix: TenantIx, tenant: &Tenant) -> bool {
    ix != DEFAULT_TENANT
        && tenant.quota_bytes == 0
        && tenant.usage.iter().all(|(_, usage)| usage.items == 0 && usage.open == 0)
}
