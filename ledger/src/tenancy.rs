//! How tenants come and go: with the first thing that one holds, by a quota, and by an operator's
//! word once one is empty.
//!
//! Where `tenants_max` is met, a tenant that is empty and has no quota makes room for a new one: no
//! client would miss it, since it comes back with its next object. So a caller that makes tenants by
//! the thousand keeps no other caller out, unless it also keeps something in each.

use std::marker::PhantomData;

use oplog::Position;

use crate::accounts::{Applying, Deciding};
use crate::bounds::Bound;
use crate::call::{Call, CallRefused, ITEM_BYTES, ItemId, Now, Op, TenantIx, Who, check_bound, check_text};
use crate::calls::{Answered, run};
use crate::clients::Keep;
use crate::domain::Domain;
use crate::errors::Inconsistent;
use crate::hash::Fingerprint;
use crate::ops::{LedgerOp, TenantGoneOp, TenantKept, TenantOp};
use crate::run::ItemCall;
use crate::state::State;
use crate::tenants::NO_TENANT;
use crate::writer::WriterGuard;

impl<D: Domain> State<D> {
    /// Makes the tenant where it is new. 0: no quota.
    pub fn set_tenant_quota(&self, name: &str, quota_bytes: u64, now: Now) -> Result<Position, CallRefused> {
        check_text("tenant", name)?;
        let mut writer = self.ledger().write();
        match writer.accounts.tenants.ix_of(name) {
            Some(tenant) => {
                let op = TenantOp { tenant, name: name.to_owned(), quota_bytes };
                writer.commit(&**self, LedgerOp::Tenant.into(), &op, now, None, 0)?;
            }
            None => drop(writer.make_tenant(&**self, name, quota_bytes, now, None)?),
        }
        Ok(writer.applied())
    }

    /// One that is empty goes, with its quota.
    pub fn delete_tenant(&self, call: &Call<'_>, name: &str) -> Answered<DeleteTenant<D>> {
        run(&**self, call, &DeleteTenant(PhantomData), &[name])
    }
}

impl<O> WriterGuard<'_, O> {
    /// With the first entry, of so many bytes, that must find room in the log behind it.
    pub(crate) fn make_tenant_for<D: Domain<Own = O>>(
        &mut self,
        domain: &D,
        call: &Call<'_>,
        then_bytes: usize,
    ) -> Result<TenantIx, CallRefused> {
        self.check_tenants_from(call)?;
        let tenant = self.make_tenant(domain, call.tenant, 0, call.now, Some(then_bytes))?;
        self.accounts.tenants.made_from(tenant, call.address);
        Ok(tenant)
    }

    /// One that is empty is to hold something again: it counts for the address that does this.
    pub(crate) fn take_up_tenant(&mut self, call: &Call<'_>, tenant: TenantIx) -> Result<(), CallRefused> {
        self.check_tenants_from(call)?;
        self.accounts.tenants.made_from(tenant, call.address);
        Ok(())
    }

    fn check_tenants_from(&self, call: &Call<'_>) -> Result<(), CallRefused> {
        let count = call.address.map_or(0, |address| self.accounts.tenants.count_from(address));
        check_bound(Bound::TenantsPerAddress, count, self.config.tenants_per_address_max)
    }

    /// `then_bytes`: of an entry that must find room in the log behind it.
    fn make_tenant<D: Domain<Own = O>>(
        &mut self,
        domain: &D,
        name: &str,
        quota_bytes: u64,
        now: Now,
        then_bytes: Option<usize>,
    ) -> Result<TenantIx, CallRefused> {
        let tenants = &self.accounts.tenants;
        let (count, limit, tenant) = (tenants.count_all(), self.config.tenants_max, tenants.next_ix());
        let goes = if count >= limit && tenant != NO_TENANT { tenants.first_idle() } else { None };
        if goes.is_none() {
            // The numbers are used up after as many tenants as a u32 counts.
            check_bound(Bound::Tenants, count, if tenant == NO_TENANT { 0 } else { limit })?;
        }
        let made = TenantOp { tenant, name: name.to_owned(), quota_bytes };
        let entries = [goes.map(|_| ITEM_BYTES), Some(ITEM_BYTES + name.len()), then_bytes];
        self.make_room(&entries.into_iter().flatten().collect::<Vec<_>>())?;
        if let Some(tenant) = goes {
            self.commit(domain, LedgerOp::TenantGone.into(), &TenantGoneOp { tenant }, now, None, 0)?;
        }
        self.commit(domain, LedgerOp::Tenant.into(), &made, now, None, 0)?;
        Ok(tenant)
    }
}

/// The operator's call.
#[derive(Debug)]
pub struct DeleteTenant<D>(PhantomData<D>);

impl<D: Domain> ItemCall for DeleteTenant<D> {
    type Domain = D;
    const OP: Op = LedgerOp::TenantDelete.op();
    const KEEP: Keep = Keep::AllParts;
    const LIST: &'static str = "tenant";
    /// Its name.
    type Item<'a> = &'a str;
    type Done<'a> = TenantGoneOp;
    type Refusal = TenantKept;
    type Result = ();

    fn check(&self, item: &&str, _: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        if item.is_empty() {
            return Err(CallRefused::invalid("tenant", "empty, and the default tenant cannot be deleted"));
        }
        check_text("tenant", item)
    }

    fn fingerprint(&self, item: &&str, into: &mut Fingerprint) {
        into.text(item.as_bytes());
    }

    fn bytes_max(&self, _: &&str) -> usize {
        ITEM_BYTES
    }

    fn decide<'a>(
        &self,
        _: &D,
        cx: Deciding<'_, D::Own>,
        _: ItemId,
        item: &Self::Item<'a>,
    ) -> Result<Self::Done<'a>, TenantKept> {
        let tenants = &cx.accounts.tenants;
        let ix = tenants.ix_of(item).ok_or(TenantKept::NotFound)?;
        let tenant = tenants.get(ix).ok_or(TenantKept::NotFound)?;
        match tenant.is_empty() {
            true => Ok(TenantGoneOp { tenant: ix }),
            false => Err(TenantKept::NotEmpty { items: tenant.items(), open: tenant.open() }),
        }
    }

    fn apply(_: &D, cx: Applying<'_, D::Own>, _: Who, _: ItemId, done: &TenantGoneOp) -> Result<(), Inconsistent> {
        cx.accounts.tenant_gone(done.tenant)
    }

    fn result(_: &TenantGoneOp, _: ItemId) {}
}
