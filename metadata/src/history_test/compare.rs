//! A state beside the model, record by record; the primary beside its follower, by their digests.
//!
//! Deliberately absent: what is right. Here things are only equal or not.

use ledger::TenantIx;
use oplog::ReplicatedState;

use super::expect::same;
use super::model::{Name, Object};
use super::world::{Checked, World};
use crate::op::Retire;
use crate::*;

impl World {
    pub(super) fn compare_all(&mut self) -> Checked {
        self.compare().map_err(|why| self.explain(&why))
    }

    pub(super) fn compare(&mut self) -> Checked {
        self.read_log()?;
        self.state.check()?;
        self.follower.check().map_err(|why| format!("follower: {why}"))?;
        same("digest of the follower", self.state.digest(), self.follower.digest())?;
        let writer = self.state.write();
        let names: std::collections::BTreeMap<TenantIx, String> =
            writer.accounts.tenants.iter().map(|(ix, tenant)| (ix, tenant.name.as_ref().to_owned())).collect();
        drop(writer);
        let mut found = std::collections::BTreeMap::new();
        for shard in &self.state.shards {
            let shard = shard.lock();
            let row = |object: &crate::object::Object| {
                let key = String::from_utf8_lossy(&object.key).into_owned();
                ((names[&object.tenant].clone(), key), row_of(object))
            };
            found.extend(shard.iter().map(row));
        }
        for (name, object) in &self.model.objects {
            same(&format!("{name:?}"), Some(row_of_model(object)), found.remove(name))?;
        }
        same("objects that should not be", std::collections::BTreeMap::<Name, Row>::new(), found)?;
        self.compare_segments()
    }

    fn compare_segments(&self) -> Checked {
        let usage = self.state.segments(|_| true).results;
        let segment = |ix: SegmentIx, client: oplog::ClientId, state: SegmentState| (ix, client, state);
        let found: Vec<_> =
            usage.iter().map(|usage| segment(usage.info.ix, usage.info.client, usage.info.state)).collect();
        let expected = self.model.segments.iter().map(|(ix, s)| segment(*ix, s.client, s.state));
        same("segments", expected.collect(), found)?;
        for usage in usage {
            let ix = usage.info.ix;
            let retired = self.model.retired.iter().filter(|extent| extent.place.segment == ix);
            let retired: u64 = retired.map(|extent| extent.bytes).sum();
            same("retired bytes", retired, usage.retired_bytes)?;
            same("used bytes", self.model.taken_bytes(ix) - retired, usage.used_bytes)?;
        }
        let writer = self.state.write();
        for retire in [Retire::AfterLease, Retire::AfterPut] {
            let found = writer.own.dir.segments.iter().flat_map(|segment| segment.retired(retire).iter());
            let mut found: Vec<_> = found.map(|extent| (extent.address, extent.bytes)).collect();
            let expected = self.model.retired.iter().filter(|extent| extent.retire == retire);
            let mut expected: Vec<_> = expected.map(|extent| (extent.place.address, extent.bytes)).collect();
            found.sort_unstable();
            expected.sort_unstable();
            same("retired extents", expected, found)?;
        }
        let clients = writer.accounts.clients.iter().map(|(id, client)| (id, client.expired, client.introduced));
        let expected = self.model.clients.iter().map(|(id, client)| (*id, client.expired, client.introduced));
        same("clients", expected.collect::<Vec<_>>(), clients.collect())
    }
}

type Row = (u64, oplog::ClientId, ItemId, Option<u64>, Pin, Vec<(Place, bool)>, String);

fn row_of(object: &crate::object::Object) -> Row {
    let replicas = object.replicas.iter().map(|replica| (replica.place, replica.complete)).collect();
    let places = |replicas: &crate::object::Replicas| replicas.iter().map(|r| r.place).collect::<Vec<_>>();
    let new = object.replacement().map(|new| (new.put, new.owner, new.size, new.pin, places(&new.replicas)));
    let transfer = object.transfer().map(|t| (t.id, t.owner, t.kind, t.source, places(&t.targets)));
    let extra = format!("{new:?} {transfer:?}");
    (object.size, object.owner, object.put, object.checksum, object.pin, replicas, extra)
}

fn row_of_model(object: &Object) -> Row {
    let new = object.new.as_ref().map(|new| (new.put, new.owner, new.size, new.pin, new.places.clone()));
    let transfer = object.transfer.as_ref().map(|t| (t.id, t.owner, t.kind, t.source, t.targets.clone()));
    let extra = format!("{new:?} {transfer:?}");
    (object.size, object.owner, object.put, object.checksum, object.pin, object.replicas.clone(), extra)
}
