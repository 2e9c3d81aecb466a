//! Everything that is not an object: settings, tenants, segments, clients, tasks. It is the writer's side of the state: whoever
//! holds the writer lock holds the directory.
//!
//! Objects imply part of it (who lies in which segment, what a client has under way, what a tenant uses). That part
//! goes through a handful of methods here, which do nothing while the state is rebuilt from images ([`Mode`]); it is
//! then built at once, from the objects.

use oplog::{ClientId, Digest, Secret};

use crate::clients::{Clients, Unfinished};
use crate::config::Config;
use crate::errors::same;
use crate::hash::{KeyHash, Table, digest_of_numbers, digest_of_secret};
use crate::op::Retire;
use crate::segments::{Moved, SegmentError, Segments};
use crate::settings::{ClusterSettings, InForce};
use crate::tasks::Tasks;
use crate::tenants::Tenants;
use crate::types::{ItemId, Place, SegmentIx, TenantIx, extent};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Live,
    /// Objects change, what they imply does not.
    Rebuilding,
}

#[derive(Debug)]
pub(crate) struct Directory {
    /// Set by the first entry of the log, before there is anything that would have been hashed.
    pub(crate) secret: Secret,
    pub(crate) settings: ClusterSettings,
    pub(crate) tenants: Tenants,
    pub(crate) segments: Segments,
    pub(crate) clients: Clients,
    pub(crate) tasks: Tasks,
    pub(crate) mode: Mode,
    pub(crate) objects: u64,
    pub(crate) evicted_total: u64,
    /// What readers see of segments and tenants has changed.
    pub(crate) view_stale: bool,
}

impl Directory {
    pub(crate) fn new() -> Directory {
        Directory {
            secret: Secret::default(),
            settings: ClusterSettings::default(),
            tenants: Tenants::new(),
            segments: Segments::default(),
            clients: Clients::default(),
            tasks: Tasks::default(),
            mode: Mode::Live,
            objects: 0,
            evicted_total: 0,
            view_stale: true,
        }
    }

    /// A state that has no settings yet goes by those of its member.
    pub(crate) fn in_force(&self, config: &Config) -> InForce {
        self.settings.get().unwrap_or_else(|| InForce::started_with(config.settings))
    }

    pub(crate) fn digest(&self) -> Digest {
        let records = self.tenants.digest() + self.segments.digest() + self.clients.digest() + self.tasks.digest();
        digest_of_secret(self.secret) + self.settings.digest() + records
    }

    /// From the records themselves; of answers, from what each client keeps of them.
    pub(crate) fn counted_digest(&self) -> Digest {
        digest_of_secret(self.secret)
            + self.settings.counted_digest()
            + self.tenants.counted_digest()
            + self.segments.counted_digest()
            + self.clients.counted_digest()
            + self.tasks.counted_digest()
    }

    /// Of what follows from the objects and is decided by: free space, what tenants hold, how many objects there are.
    pub(crate) fn implied_digest(&self) -> Digest {
        let objects = digest_of_numbers(Table::Counters, [2, self.objects]);
        self.segments.free_digest() + self.tenants.usage_digest() + objects
    }

    /// How many the sums are over.
    pub(crate) fn records(&self) -> usize {
        self.tenants.len() + self.segments.len() + self.clients.records() + self.tasks.len()
    }

    /// The sums that are kept, counted again.
    pub(crate) fn check_sums(&self) -> Result<(), String> {
        same("digest of the settings", self.settings.counted_digest(), self.settings.digest())?;
        same("digest of the tenants", self.tenants.counted_digest(), self.tenants.digest())?;
        same("digest of the segments", self.segments.counted_digest(), self.segments.digest())?;
        same("digest of the clients", self.clients.counted_digest(), self.clients.digest())?;
        same("digest of the tasks", self.tasks.counted_digest(), self.tasks.digest())?;
        self.segments.check_free()
    }

    /// A replica of an object of `size` bytes comes to lie at `place`; the answer is its index there.
    pub(crate) fn attach(
        &mut self,
        place: Place,
        size: u64,
        tenant: TenantIx,
        holder: KeyHash,
    ) -> Result<u32, SegmentError> {
        if self.mode == Mode::Rebuilding {
            return Ok(0);
        }
        self.segments.take(place, size)?;
        let index = self.hold(place.segment, size, tenant, holder)?;
        self.segments.relist(place.segment);
        Ok(index)
    }

    /// For a replica whose space is taken with that of others: see `take_all` of the segments.
    pub(crate) fn hold(
        &mut self,
        segment: SegmentIx,
        size: u64,
        tenant: TenantIx,
        holder: KeyHash,
    ) -> Result<u32, SegmentError> {
        let index = self.segments.hold(segment, size, holder)?;
        if let Some(used_bytes) = self.tenants.usage_mut(tenant) {
            *used_bytes += extent(size);
        }
        Ok(index)
    }

    pub(crate) fn detach(
        &mut self,
        gone: &Gone,
        tenant: TenantIx,
        retired_ms: u64,
    ) -> Result<Option<Moved>, SegmentError> {
        if self.mode == Mode::Rebuilding {
            return Ok(None);
        }
        if let Some(used_bytes) = self.tenants.usage_mut(tenant) {
            *used_bytes -= extent(gone.size);
        }
        self.segments.detach(gone.place, gone.size, gone.index, gone.retire, retired_ms)
    }

    pub(crate) fn object_came(&mut self, tenant: TenantIx) {
        if self.mode == Mode::Live {
            self.objects += 1;
            self.tenants.object_came(tenant);
        }
    }

    pub(crate) fn object_went(&mut self, tenant: TenantIx) {
        if self.mode == Mode::Live {
            self.objects -= 1;
            self.tenants.object_went(tenant);
        }
    }

    /// While it is rebuilt, the directory's image has counted it.
    pub(crate) fn object_evicted(&mut self) {
        if self.mode == Mode::Live {
            self.evicted_total = self.evicted_total.saturating_add(1);
        }
    }

    pub(crate) fn work_began(&mut self, client: ClientId, id: ItemId, work: Unfinished) {
        if self.mode == Mode::Live {
            self.clients.ensure(client, work.since_ms).unfinished.insert(id, work);
        }
    }

    pub(crate) fn work_ended(&mut self, client: ClientId, id: ItemId) {
        if self.mode == Mode::Live
            && let Some(client) = self.clients.get_mut(client)
        {
            client.unfinished.remove(&id);
        }
    }
}

/// A replica that an object has lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) place: Place,
    pub(crate) size: u64,
    pub(crate) index: u32,
    pub(crate) retire: Retire,
}
