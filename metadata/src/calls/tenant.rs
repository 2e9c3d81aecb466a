//! Tenants: made with their first object or by a quota, and deleted once they are empty.
//!
//! Where `tenants_max` is met, a tenant that is empty and has no quota makes room for a new one: nobody would miss it, since it
//! comes back with its next object. So a caller that makes tenants by the thousand keeps nobody else out, unless it also keeps
//! something in each.

use ledger::{
    Answer, Bound, Call, CallRefused, Fingerprint, ITEM_BYTES, Inconsistent, ItemId, LedgerOp, NO_TENANT, Now,
    TenantGoneOp, TenantIx, TenantOp, Usage, Who, check_bound, check_text,
};
use oplog::{DomainId, Position};

use crate::apply::Apply;
use crate::calls::{Decide, ItemCall};
use crate::op::{OpType, TenantDeleted};
use crate::state::{Metadata, WriterGuard};
use crate::types::{Outcome, Refusal};

impl Metadata {
    /// Makes the tenant where it is new. 0: no quota.
    pub fn set_tenant_quota(&self, name: &str, quota_bytes: u64, now: Now) -> Result<Position, CallRefused> {
        check_text("tenant", name)?;
        let mut writer = self.write();
        match writer.accounts.tenants.ix_of(name) {
            Some(tenant) => {
                let op = TenantOp { tenant, name: name.to_owned(), quota_bytes };
                writer.commit_op(LedgerOp::Tenant, &op, now)?;
            }
            None => drop(self.make_tenant(&mut writer, name, quota_bytes, now, None)?),
        }
        Ok(writer.applied())
    }

    /// One that is empty goes, with its quota.
    pub fn delete_tenant(&self, call: &Call<'_>, name: &str) -> Result<Answer<Vec<Outcome<()>>>, CallRefused> {
        self.run(call, &DeleteTenant, &[name])
    }

    /// With the first entry, of so many bytes, that must find room in the log behind it.
    pub(crate) fn make_tenant_for(
        &self,
        writer: &mut WriterGuard<'_>,
        call: &Call<'_>,
        then_bytes: usize,
    ) -> Result<TenantIx, CallRefused> {
        self.check_tenants_from(writer, call)?;
        let tenant = self.make_tenant(writer, call.tenant, 0, call.now, Some(then_bytes))?;
        writer.accounts.tenants.made_from(tenant, call.address);
        Ok(tenant)
    }

    /// One that is empty is to hold something again: it counts for the address that does this.
    pub(crate) fn take_up_tenant(
        &self,
        writer: &mut WriterGuard<'_>,
        call: &Call<'_>,
        tenant: TenantIx,
    ) -> Result<(), CallRefused> {
        self.check_tenants_from(writer, call)?;
        writer.accounts.tenants.made_from(tenant, call.address);
        Ok(())
    }

    fn check_tenants_from(&self, writer: &WriterGuard<'_>, call: &Call<'_>) -> Result<(), CallRefused> {
        let count = call.address.map_or(0, |address| writer.accounts.tenants.count_from(address));
        check_bound(Bound::TenantsPerAddress, count, self.config.tenants_per_address_max)
    }

    /// `then_bytes`: of an entry that must find room in the log behind it.
    fn make_tenant(
        &self,
        writer: &mut WriterGuard<'_>,
        name: &str,
        quota_bytes: u64,
        now: Now,
        then_bytes: Option<usize>,
    ) -> Result<TenantIx, CallRefused> {
        let tenants = &writer.accounts.tenants;
        let (count, limit, tenant) = (tenants.count_all(), self.config.tenants_max, tenants.next_ix());
        let goes = if count >= limit && tenant != NO_TENANT { tenants.first_idle() } else { None };
        if goes.is_none() {
            // The numbers are used up after as many tenants as a u32 counts.
            check_bound(Bound::Tenants, count, if tenant == NO_TENANT { 0 } else { limit })?;
        }
        let made = TenantOp { tenant, name: name.to_owned(), quota_bytes };
        let entries = [goes.map(|_| ITEM_BYTES), Some(ITEM_BYTES + name.len()), then_bytes];
        writer.make_room(&entries.into_iter().flatten().collect::<Vec<_>>())?;
        if let Some(tenant) = goes {
            writer.commit_op(LedgerOp::TenantGone, &TenantGoneOp { tenant }, now)?;
        }
        writer.commit_op(LedgerOp::Tenant, &made, now)?;
        Ok(tenant)
    }
}

pub(crate) struct DeleteTenant;

impl ItemCall for DeleteTenant {
    const OP: OpType = OpType::TenantDelete;
    const LIST: &'static str = "tenant";
    /// Its name.
    type Item<'a> = &'a str;
    type Done<'a> = TenantDeleted;
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

    fn decide<'a>(&self, cx: &mut Decide<'_>, _: ItemId, item: &Self::Item<'a>) -> Outcome<Self::Done<'a>> {
        let tenants = &cx.accounts.tenants;
        let ix = tenants.ix_of(item).ok_or(Refusal::TenantNotFound)?;
        let tenant = tenants.get(ix).ok_or(Refusal::TenantNotFound)?;
        if !tenant.is_empty() {
            let Usage { items: objects, open: tasks, .. } = tenant.usage(DomainId::METADATA);
            return Err(Refusal::TenantNotEmpty { objects, tasks });
        }
        Ok(TenantDeleted { tenant: ix })
    }

    fn apply(cx: &mut Apply<'_>, _: Who, _: ItemId, done: &TenantDeleted) -> Result<(), Inconsistent> {
        cx.tenant_delete(done)
    }

    fn result(_: &TenantDeleted, _: ItemId) {}
}
