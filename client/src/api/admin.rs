//! What operators ask. Always unary, whatever the transport of the other calls: the session does not carry it.

use std::time::{Duration, SystemTime};

use proto::limits::MESSAGE_BYTES_MAX;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use tonic::transport::Channel;

use crate::answers::{Cluster, Member, Setting, Status, Tenant, Transferred, Verification};
use crate::attempts::OnLoss;
use crate::client::Client;
use crate::convert::position;
use crate::error::{Error, Refused};
use crate::ids::Position;
use crate::options::check_tenant;
use crate::trip::Trip;

impl Client {
    /// How the member is that this client talks to.
    pub async fn status(&self) -> Result<Status, Error> {
        let trip = Trip::new("Status", false, self.deadline());
        let send = |channel| async move { admin(channel).status(v1::StatusRequest {}).await };
        self.link().over_unary(&trip, send).await.map(status)
    }

    /// Gives the place of the primary to the member of this name, or to any that is in sync. Not sent again when its outcome
    /// is unknown: by then the place may be another one's to give.
    pub async fn transfer(&self, to: Option<&str>) -> Result<Transferred, Error> {
        let mut trip = Trip::new("Transfer", true, self.deadline());
        trip.on_loss = OnLoss::GivesUp;
        let request = v1::TransferRequest { to: to.unwrap_or_default().to_owned() };
        let send = |channel| {
            let request = request.clone();
            async move { admin(channel).transfer(request).await }
        };
        let answer = self.link().over_unary(&trip, send).await?;
        let v1::TransferResponse { to, address, epoch, took_us } = answer;
        Ok(Transferred { to, address, epoch, took: Duration::from_micros(took_us) })
    }

    /// Changes what all members go by, by name; all of it, or nothing where one of them is refused. Not sent again when its outcome
    /// is unknown: by then another operator may have set another value, which a retry would undo.
    pub async fn set_settings(&self, settings: &[(String, String)]) -> Result<Position, Error> {
        let new = |(name, value): &(String, String)| v1::NewSetting { name: name.clone(), value: value.clone() };
        let request = v1::SetSettingsRequest { settings: settings.iter().map(new).collect() };
        // A call that can be sent again finds the primary first, past members that stand still.
        self.list_tenants().await?;
        let mut trip = Trip::new("SetSettings", true, self.deadline());
        trip.on_loss = OnLoss::GivesUp;
        let send = |channel| {
            let request = request.clone();
            async move { admin(channel).set_settings(request).await }
        };
        Ok(position(self.link().over_unary(&trip, send).await?.position))
    }

    /// All tenants.
    pub async fn list_tenants(&self) -> Result<Vec<Tenant>, Error> {
        let trip = Trip::new("ListTenants", false, self.deadline());
        let send = |channel| async move { admin(channel).list_tenants(v1::ListTenantsRequest {}).await };
        let answer = self.link().over_unary(&trip, send).await?;
        Ok(answer.tenants.into_iter().map(tenant).collect())
    }

    /// Limits what a tenant may hold; none: no limit. What is there already stays. It has no number and is not sent again
    /// when its outcome is unknown: by then somebody else may have set another quota, which a retry would undo.
    pub async fn set_tenant_quota(&self, name: &str, quota_bytes: Option<u64>) -> Result<Position, Error> {
        check_tenant(name)?;
        if quota_bytes == Some(0) {
            return Err(Error::invalid("quota_bytes", "0 stands for no limit: say none"));
        }
        let request = v1::SetTenantQuotaRequest { tenant: name.to_owned(), quota_bytes: quota_bytes.unwrap_or(0) };
        let mut trip = Trip::new("SetTenantQuota", true, self.deadline());
        trip.on_loss = OnLoss::GivesUp;
        let send = |channel| {
            let request = request.clone();
            async move { admin(channel).set_tenant_quota(request).await }
        };
        Ok(position(self.link().over_unary(&trip, send).await?.position))
    }

    /// Deletes a tenant that is empty, with its quota. Refused as `TENANT_NOT_EMPTY` while it holds an object, a put under way
    /// counted in, or has an open task: [`Client::remove_all`] of [`Client::with_tenant`] empties it.
    pub async fn delete_tenant(&self, name: &str) -> Result<Position, Error> {
        check_tenant(name)?;
        let mut trip = Trip::new("DeleteTenant", true, self.deadline());
        // Closed when this function ends, however it ends.
        let number = self.link().number(&mut trip).await?;
        let caller = Some(self.link().caller(number.as_ref(), ""));
        let request = v1::DeleteTenantRequest { caller, tenant: name.to_owned() };
        let send = |channel| {
            let request = request.clone();
            async move { admin(channel).delete_tenant(request).await }
        };
        let answer = self.link().over_unary(&trip, send).await?;
        match answer.refusal {
            Some(refusal) => Err(Refused::from(refusal).into()),
            None => Ok(position(answer.position)),
        }
    }
}

fn admin(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn tenant(tenant: v1::Tenant) -> Tenant {
    Tenant {
        name: tenant.name,
        used_bytes: tenant.used_bytes,
        objects: tenant.objects,
        quota_bytes: Some(tenant.quota_bytes).filter(|&quota| quota > 0),
    }
}

fn status(status: v1::StatusResponse) -> Status {
    Status {
        node: status.node,
        version: status.version,
        role: status.role,
        applied: position(status.applied),
        committed_seq: status.committed_seq,
        committed: status.committed,
        uptime: Duration::from_millis(status.uptime_ms),
        objects: status.objects,
        objects_unfinished: status.objects_unfinished,
        segments: status.segments,
        clients: status.clients,
        capacity_bytes: status.capacity_bytes,
        used_bytes: status.used_bytes,
        retired_bytes: status.retired_bytes,
        retired_extents: status.retired_extents,
        full: status.full,
        tenants: status.tenants,
        tasks: status.tasks,
        evicted_total: status.evicted_total,
        tail_first_seq: status.tail_first_seq,
        tail_entries: status.tail_entries,
        tail_bytes: status.tail_bytes,
        digest: status.digest,
        lock_held_max: Duration::from_micros(status.lock_held_us_max),
        memory_resident_bytes: status.memory_resident_bytes,
        cluster: status.cluster.map(cluster),
        verification: status.verification.map(verification).unwrap_or_default(),
        settings: status.settings.into_iter().map(setting).collect(),
    }
}

fn setting(told: v1::Setting) -> Setting {
    let v1::Setting { name, value, started_with, owed } = told;
    let value = Some(value).filter(|value| !value.is_empty());
    Setting { name, value, started_with, owed: Some(owed).filter(|owed| !owed.is_empty()) }
}

fn verification(told: v1::VerificationStatus) -> Verification {
    let finding = |finding: v1::Finding| {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(finding.wall_ms));
        (at.unwrap_or(SystemTime::UNIX_EPOCH), finding.what)
    };
    Verification {
        condition: told.condition,
        what: told.what,
        verified: told.verified,
        compared: told.compared,
        differed: told.differed,
        samples: told.samples,
        repaired: told.repaired,
        rotten: told.rotten,
        alarms: told.alarms,
        scrub_cycles: told.scrub_cycles,
        findings: told.findings.into_iter().map(finding).collect(),
    }
}

fn cluster(cluster: v1::ClusterStatus) -> Cluster {
    Cluster {
        id: cluster.cluster_id,
        epoch: cluster.epoch,
        primary: cluster.primary,
        revision: cluster.revision,
        tenure_left: cluster.tenure_left_ms.map(Duration::from_millis),
        not_promotable: (!cluster.promotable).then_some(cluster.not_promotable),
        members: cluster.members.into_iter().map(member).collect(),
        takeovers: cluster.takeovers,
        full_syncs: cluster.full_syncs,
        coordinator_errors: cluster.coordinator_errors,
        lost_data: Some(cluster.lost_data).filter(|lost| !lost.is_empty()),
        version: cluster.version,
        coordinator_trouble: Some(cluster.coordinator_trouble).filter(|why| !why.is_empty()),
        has_primary: cluster.has_primary,
        born: cluster.born,
    }
}

fn member(member: v1::MemberStatus) -> Member {
    Member {
        name: member.name,
        address: member.address,
        role: member.role,
        in_sync: member.in_sync,
        state: member.state,
        received: member.received,
        applied: member.applied,
        lag_ops: member.lag_ops,
        lag: member.lag_ms.map(Duration::from_millis),
        sync_shards: (member.sync_shards > 0).then_some((member.sync_shards_done, member.sync_shards)),
        verified: member.verified,
        sound: !member.unsound,
    }
}
