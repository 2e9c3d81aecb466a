//! The tenants: names, quotas, and how much each holds. A tenant is never removed, so its number stays its own.

use std::collections::BTreeMap;

use oplog::Digest;

use crate::check::same;
use crate::hash::{RecordHash, Table, digest_of_numbers};
use crate::types::TenantIx;

#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// 0: none.
    pub(crate) quota_bytes: u64,
    /// Follow from the objects.
    pub(crate) used_bytes: u64,
    pub(crate) objects: u64,
}

impl Tenant {
    fn digest(&self, ix: usize) -> Digest {
        RecordHash::new(Table::Tenants).number(ix as u64).text(self.name.as_bytes()).number(self.quota_bytes).finish()
    }
}

#[derive(Debug)]
pub(crate) struct Tenants {
    by_ix: Vec<Tenant>,
    by_name: BTreeMap<String, TenantIx>,
    digest: Digest,
}

impl Tenants {
    pub(crate) fn new() -> Tenants {
        let mut tenants = Tenants { by_ix: Vec::new(), by_name: BTreeMap::new(), digest: Digest::default() };
        tenants.set(0, "", 0);
        tenants
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Names and quotas, counted.
    pub(crate) fn counted_digest(&self) -> Digest {
        self.by_ix.iter().enumerate().map(|(ix, tenant)| tenant.digest(ix)).sum()
    }

    /// How much each holds: it follows from the objects.
    pub(crate) fn usage_digest(&self) -> Digest {
        let usage = |(ix, tenant): (usize, &Tenant)| {
            digest_of_numbers(Table::Usage, [ix as u64, tenant.used_bytes, tenant.objects])
        };
        self.by_ix.iter().enumerate().map(usage).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_ix.len()
    }

    pub(crate) fn ix_of(&self, name: &str) -> Option<TenantIx> {
        if name.is_empty() { Some(0) } else { self.by_name.get(name).copied() }
    }

    pub(crate) fn get(&self, ix: TenantIx) -> Option<&Tenant> {
        self.by_ix.get(ix as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tenant> {
        self.by_ix.iter()
    }

    /// `false`: the number is neither there nor the next one, or the name is another one's.
    pub(crate) fn set(&mut self, ix: TenantIx, name: &str, quota_bytes: u64) -> bool {
        let at = ix as usize;
        if at == self.by_ix.len() {
            if self.by_name.contains_key(name) {
                return false;
            }
            let tenant = Tenant { name: name.to_owned(), quota_bytes, used_bytes: 0, objects: 0 };
            self.digest += tenant.digest(at);
            self.by_ix.push(tenant);
            self.by_name.insert(name.to_owned(), ix);
            return true;
        }
        let Some(tenant) = self.by_ix.get_mut(at).filter(|tenant| tenant.name == name) else { return false };
        self.digest -= tenant.digest(at);
        tenant.quota_bytes = quota_bytes;
        self.digest += tenant.digest(at);
        true
    }

    pub(crate) fn has_room(&self, ix: TenantIx, bytes: u64) -> bool {
        self.get(ix).is_none_or(|tenant| {
            tenant.quota_bytes == 0 || tenant.used_bytes.saturating_add(bytes) <= tenant.quota_bytes
        })
    }

    /// What is kept twice, compared.
    pub(crate) fn check(&self) -> Result<(), String> {
        let digest = self.by_ix.iter().enumerate().map(|(ix, tenant)| tenant.digest(ix)).sum();
        same("digest of the tenants", digest, self.digest)?;
        let names = self.by_ix.iter().enumerate().map(|(ix, tenant)| (tenant.name.clone(), ix as TenantIx));
        same("names of the tenants", names.collect(), self.by_name.clone())
    }

    pub(crate) fn usage_mut(&mut self, ix: TenantIx) -> Option<&mut Tenant> {
        self.by_ix.get_mut(ix as usize)
    }
}
