//! All of this domain that is no object: segments, what each client has, tasks. It is the writer's
//! side of the state: whoever holds the writer lock holds the directory.
//!
//! Objects imply part of it (who lies in which segment, what a client has under way, what a tenant
//! uses). While the state is rebuilt from images that part stays as it is ([`ledger::Mode`]); it is
//! then built at once, from the objects.

use ledger::{ItemId, TenantIx, Tenants, digest_of_numbers, same};
use oplog::{ClientId, Digest, DomainId};

use crate::hash::{KeyHash, table};
use crate::op::Retire;
use crate::owners::Owners;
use crate::segments::{SegmentError, Segments};
use crate::tasks::Tasks;
use crate::types::{Place, SegmentIx, extent};

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) segments: Segments,
    pub(crate) owners: Owners,
    pub(crate) tasks: Tasks,
    pub(crate) objects: u64,
    pub(crate) evicted_total: u64,
    /// A put has begun. Told with an image, and in no digest.
    pub(crate) has_had_work: bool,
    /// What readers see has changed.
    pub(crate) view_stale: bool,
}

impl Directory {
    pub(crate) fn new() -> Directory {
        Directory {
            segments: Segments::default(),
            owners: Owners::default(),
            tasks: Tasks::default(),
            objects: 0,
            evicted_total: 0,
            has_had_work: false,
            view_stale: true,
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.segments.digest() + self.tasks.digest()
    }

    /// Of what follows from the objects and is decided by: free space, how many objects there are.
    /// What tenants hold, the ledger has.
    pub(crate) fn implied_digest(&self) -> Digest {
        let objects = digest_of_numbers(table::COUNTERS, [2, self.objects]);
        self.segments.free_digest() + objects
    }

    /// How many the sums are over.
    pub(crate) fn records(&self) -> usize {
        self.segments.len() + self.tasks.len()
    }

    /// The sums that are kept, counted again.
    pub(crate) fn check_sums(&self) -> Result<(), String> {
        same("digest of the segments", self.segments.counted_digest(), self.segments.digest())?;
        same("digest of the tasks", self.tasks.counted_digest(), self.tasks.digest())?;
        self.segments.check_free()
    }

    /// For a replica whose space is taken with that of others: see `take_all` of the segments.
    pub(crate) fn hold(
        &mut self,
        tenants: &mut Tenants,
        segment: SegmentIx,
        size: u64,
        tenant: TenantIx,
        holder: KeyHash,
    ) -> Result<u32, SegmentError> {
        let index = self.segments.hold(segment, size, holder)?;
        tenants.count(tenant, DomainId::METADATA, |usage| usage.bytes += extent(size));
        Ok(index)
    }

    pub(crate) fn object_came(&mut self, tenants: &mut Tenants, tenant: TenantIx) {
        self.objects += 1;
        self.has_had_work = true;
        tenants.count(tenant, DomainId::METADATA, |usage| usage.items += 1);
    }
}

/// A replica that an object has lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) place: Place,
    pub(crate) size: u64,
    pub(crate) index: u32,
    pub(crate) retire: Retire,
    /// What it was written for, where that gives it up.
    pub(crate) work: Option<(ClientId, ItemId)>,
}
