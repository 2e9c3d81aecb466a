//! What operators ask: Status, ListTenants, SetTenantQuota, Transfer.

use std::sync::Arc;

use bytes::Bytes;
use metadata::TenantUsage;
use oplog::Position;
use proto::status::{self, to_status};
use proto::v1::admin_server::Admin;
use proto::v1::{
    CallError, ListTenantsRequest, ListTenantsResponse, SetTenantQuotaRequest, SetTenantQuotaResponse, StatusRequest,
    StatusResponse, Tenant, TransferRequest, TransferResponse,
};
use tonic::{Request, Response, Status};

use crate::gate::{Effect, Standing};
use crate::grpc::caller::check_tenant;
use crate::grpc::commit::never_committed;
use crate::grpc::refuse;
use crate::grpc::reply::position;
use crate::node::Node;
use crate::pair::transfer::{NotTransferred, Transferred};
use crate::process;

pub(crate) struct AdminCalls {
    node: Arc<Node>,
}

impl AdminCalls {
    pub(crate) fn new(node: Arc<Node>) -> AdminCalls {
        AdminCalls { node }
    }

    /// Runs on a thread of its own: totals and lists cost what there is.
    async fn run<T: Send + 'static>(
        &self,
        effect: Effect,
        work: impl FnOnce(&Node) -> Result<(T, Position), CallError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let node = Arc::clone(&self.node);
        let epoch = node.gate.check_open().map_err(to_status)?;
        let ran = tokio::task::spawn_blocking(move || work(&node)).await;
        let (answer, at) = ran.unwrap_or_else(|fault| Err(status::internal(fault))).map_err(to_status)?;
        let tail = self.node.tail();
        // The tail that it ran on, or the gate knows better.
        self.node.gate.check_answer(effect, epoch).map_err(to_status)?;
        let committed = tail.committed().wait(at.seq).await;
        committed.map_err(|why| to_status(never_committed(effect, why)))?;
        self.node.gate.check_answer(effect, epoch).map_err(to_status)?;
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl Admin for AdminCalls {
    /// Answered whatever the gate says: this is where one looks when something is wrong.
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let node = Arc::clone(&self.node);
        let looked = tokio::task::spawn_blocking(move || look(&node)).await;
        looked.map(Response::new).map_err(|fault| to_status(status::internal(fault)))
    }

    async fn list_tenants(&self, _: Request<ListTenantsRequest>) -> Result<Response<ListTenantsResponse>, Status> {
        let list = |node: &Node| {
            let (at, tenants) = node.state().tenants();
            Ok((ListTenantsResponse { position: position(at), tenants: tenants.into_iter().map(tenant).collect() }, at))
        };
        self.run(Effect::Reads, list).await
    }

    async fn set_tenant_quota(
        &self,
        request: Request<SetTenantQuotaRequest>,
    ) -> Result<Response<SetTenantQuotaResponse>, Status> {
        let SetTenantQuotaRequest { tenant, quota_bytes } = request.into_inner();
        let set = move |node: &Node| {
            check_tenant("tenant", &tenant)?;
            let set = node.state().set_tenant_quota(&tenant, quota_bytes, node.clock.now());
            node.commit_appended();
            let at = set.map_err(|refused| refuse::call(node, refused))?;
            Ok((SetTenantQuotaResponse { position: position(at) }, at))
        };
        self.run(Effect::Mutates, set).await
    }

    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<TransferResponse>, Status> {
        let Some(pair) = self.node.pair() else {
            return Err(to_status(status::invalid(
                "transfer",
                "this node is alone: it was started without a coordinator",
            )));
        };
        self.node.gate.check_open().map_err(to_status)?;
        let to = request.into_inner().to;
        let transferred = pair.transfer(Some(to.as_str()).filter(|to| !to.is_empty())).await;
        let Transferred { to, address, epoch, took } = transferred.map_err(|why| to_status(not_transferred(&why)))?;
        Ok(Response::new(TransferResponse { to, address, epoch, took_us: took.as_micros() as u64 }))
    }
}

fn not_transferred(why: &NotTransferred) -> CallError {
    match why {
        NotTransferred::NotPrimary => status::not_primary("", 0),
        NotTransferred::Already { .. } => status::invalid("to", why),
        NotTransferred::Unknown { .. } | NotTransferred::NobodyInSync | NotTransferred::NotDrained(_) => {
            status::not_in_sync(why)
        }
        NotTransferred::NotTaken { .. } => status::outcome_unknown(why),
    }
}

fn tenant(usage: TenantUsage) -> Tenant {
    let TenantUsage { name, quota_bytes, used_bytes, objects } = usage;
    Tenant { name, used_bytes, objects, quota_bytes }
}

pub(crate) fn look(node: &Node) -> StatusResponse {
    let totals = node.state().totals();
    let tail = node.tail().stats();
    StatusResponse {
        node: node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: role(&node.gate.standing()).to_owned(),
        applied: position(totals.applied),
        committed_seq: node.tail().committed().get(),
        uptime_ms: node.clock.uptime_ms(),
        objects: totals.objects,
        objects_unfinished: totals.unfinished,
        segments: totals.segments,
        clients: totals.clients,
        capacity_bytes: totals.memory_bytes,
        used_bytes: totals.memory_used_bytes,
        retired_bytes: totals.retired_bytes,
        tasks: totals.tasks,
        evicted_total: totals.evicted_total,
        tail_first_seq: tail.first_seq,
        tail_entries: tail.entries as u64,
        tail_bytes: tail.bytes as u64,
        digest: Bytes::copy_from_slice(&totals.digest.0.to_be_bytes()),
        lock_held_us_max: node.state().lock_held_ns_max() / 1000,
        memory_resident_bytes: process::resident_bytes(),
        cluster: node.pair().map(|pair| pair.status()),
    }
}

fn role(standing: &Standing) -> &'static str {
    match standing {
        Standing::Serving => "primary",
        Standing::Stopping => "stopping",
        Standing::NotPrimary { .. } => "standby",
    }
}
