//! The tenants: names, quotas, and how much each holds.
//!
//! Invariants: a number is never used again, so that nothing that was told of a tenant can be taken for another one of its name; a
//! tenant that goes holds no object and has no open task; the default tenant stays.
//!
//! Deliberately absent: when a tenant goes. An operator says so, or the primary makes room for a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oplog::Digest;

use crate::errors::{Inconsistent, require, same};
use crate::hash::{RecordHash, Table, digest_of_numbers};
use crate::types::{Address, TenantIx, forget_one};

/// Stands for a tenant that does not exist: no object is in it.
pub(crate) const NO_TENANT: TenantIx = TenantIx::MAX;
pub(crate) const DEFAULT_TENANT: TenantIx = 0;

#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: Arc<str>,
    /// 0: none.
    pub(crate) quota_bytes: u64,
    /// Follow from the objects.
    pub(crate) used_bytes: u64,
    pub(crate) objects: u64,
    /// Follows from the tasks: those that are open.
    pub(crate) tasks: u64,
    /// From where the client called that made it, as long as the primary of that moment leads. Volatile.
    made_from: Option<Address>,
}

impl Tenant {
    fn digest(&self, ix: TenantIx) -> Digest {
        let mut hash = RecordHash::new(Table::Tenants);
        hash.number(ix.into()).text(self.name.as_bytes()).number(self.quota_bytes).finish()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.objects == 0 && self.used_bytes == 0 && self.tasks == 0
    }
}

#[derive(Debug)]
pub(crate) struct Tenants {
    by_ix: BTreeMap<TenantIx, Tenant>,
    by_name: BTreeMap<Arc<str>, TenantIx>,
    /// Empty and without a quota, but for the default one: nobody would miss them.
    idle: BTreeSet<TenantIx>,
    /// How many are not idle of those that were made from each. Volatile.
    by_address: BTreeMap<Address, usize>,
    next_ix: TenantIx,
    digest: Digest,
    /// Came or went since readers were last told.
    pub(crate) changed_names: Vec<Arc<str>>,
}

impl Tenants {
    pub(crate) fn new() -> Tenants {
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

    pub(crate) fn digest(&self) -> Digest {
        self.digest + self.counter_digest()
    }

    fn counter_digest(&self) -> Digest {
        digest_of_numbers(Table::Counters, [2, self.next_ix.into()])
    }

    /// Names and quotas, counted.
    pub(crate) fn counted_digest(&self) -> Digest {
        self.by_ix.iter().map(|(ix, tenant)| tenant.digest(*ix)).sum::<Digest>() + self.counter_digest()
    }

    /// How much each holds: it follows from the objects.
    pub(crate) fn usage_digest(&self) -> Digest {
        let usage = |(ix, tenant): (&TenantIx, &Tenant)| {
            digest_of_numbers(Table::Usage, [u64::from(*ix), tenant.used_bytes, tenant.objects])
        };
        self.by_ix.iter().map(usage).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_ix.len()
    }

    /// Of the next one that is made.
    pub(crate) fn next_ix(&self) -> TenantIx {
        self.next_ix
    }

    pub(crate) fn ix_of(&self, name: &str) -> Option<TenantIx> {
        if name.is_empty() { Some(DEFAULT_TENANT) } else { self.by_name.get(name).copied() }
    }

    pub(crate) fn get(&self, ix: TenantIx) -> Option<&Tenant> {
        self.by_ix.get(&ix)
    }

    /// In the order in which they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TenantIx, &Tenant)> {
        self.by_ix.iter().map(|(ix, tenant)| (*ix, tenant))
    }

    /// The oldest one that nobody would miss.
    pub(crate) fn first_idle(&self) -> Option<TenantIx> {
        self.idle.first().copied()
    }

    pub(crate) fn is_idle(&self, ix: TenantIx) -> bool {
        self.idle.contains(&ix)
    }

    /// `false`: the number is neither there nor the next one, or the name is another one's.
    pub(crate) fn set(&mut self, ix: TenantIx, name: &str, quota_bytes: u64) -> bool {
        if ix == self.next_ix && ix != NO_TENANT {
            if self.by_name.contains_key(name) {
                return false;
            }
            let name: Arc<str> = name.into();
            let tenant =
                Tenant { name: Arc::clone(&name), quota_bytes, used_bytes: 0, objects: 0, tasks: 0, made_from: None };
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

    /// From an image: rising numbers, the default one first. `false`: they are not, or the name is another one's.
    pub(crate) fn install(&mut self, ix: TenantIx, name: &str, quota_bytes: u64) -> bool {
        if ix == DEFAULT_TENANT {
            return self.next_ix == DEFAULT_TENANT + 1 && self.set(ix, name, quota_bytes);
        }
        if ix < self.next_ix || ix == NO_TENANT {
            return false;
        }
        self.next_ix = ix;
        self.set(ix, name, quota_bytes)
    }

    pub(crate) fn set_next_ix(&mut self, next: TenantIx) {
        self.next_ix = self.next_ix.max(next);
    }

    pub(crate) fn remove(&mut self, ix: TenantIx) -> Result<(), Inconsistent> {
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
    pub(crate) fn made_from(&mut self, ix: TenantIx, address: Option<Address>) {
        if let Some(tenant) = self.by_ix.get_mut(&ix).filter(|tenant| is_idle(ix, tenant)) {
            tenant.made_from = address;
        }
    }

    /// Idle ones do not count.
    pub(crate) fn count_from(&self, address: Address) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    pub(crate) fn has_room(&self, ix: TenantIx, bytes: u64) -> bool {
        self.get(ix).is_none_or(|tenant| {
            tenant.quota_bytes == 0 || tenant.used_bytes.saturating_add(bytes) <= tenant.quota_bytes
        })
    }

    /// What is kept twice, compared.
    pub(crate) fn check(&self) -> Result<(), String> {
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

    pub(crate) fn usage_mut(&mut self, ix: TenantIx) -> Option<&mut u64> {
        self.by_ix.get_mut(&ix).map(|tenant| &mut tenant.used_bytes)
    }

    pub(crate) fn object_came(&mut self, ix: TenantIx) {
        self.count(ix, |tenant| tenant.objects += 1);
    }

    /// Its bytes have gone before.
    pub(crate) fn object_went(&mut self, ix: TenantIx) {
        self.count(ix, |tenant| tenant.objects -= 1);
    }

    pub(crate) fn task_came(&mut self, ix: TenantIx) {
        self.count(ix, |tenant| tenant.tasks += 1);
    }

    /// It is not open any more.
    pub(crate) fn task_ended(&mut self, ix: TenantIx) {
        self.count(ix, |tenant| tenant.tasks -= 1);
    }

    fn count(&mut self, ix: TenantIx, change: impl FnOnce(&mut Tenant)) {
        let Some(tenant) = self.by_ix.get_mut(&ix) else { return };
        let was_idle = is_idle(ix, tenant);
        change(tenant);
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

/// Objects say whether there are bytes, too: those of an object that goes are counted down right after it.
fn is_idle(ix: TenantIx, tenant: &Tenant) -> bool {
    ix != DEFAULT_TENANT && tenant.quota_bytes == 0 && tenant.objects == 0 && tenant.tasks == 0
}
