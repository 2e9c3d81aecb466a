//! What operators ask: Status, the calls on tenants, Transfer, and the calls behind `verify` and `diff`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metadata::{Answer, Call, Refusal, TenantUsage};
use oplog::{Part, Position, ReplicatedState as _, Verifiable as _};
use prost::Message as _;
use proto::status::{self, to_status};
use proto::v1::admin_server::Admin;
use proto::v1::{
    self, CallError, DeleteTenantRequest, DeleteTenantResponse, Digests, Finding, GetDigestsRequest,
    ListTenantsRequest, ListTenantsResponse, LogDigestsRequest, LogDigestsResponse, PartList, Parts, Reason,
    ScrubProgress, ScrubRequest, SetSettingsRequest, SetSettingsResponse, SetTenantQuotaRequest,
    SetTenantQuotaResponse, StatusRequest, StatusResponse, Tenant, TransferRequest, TransferResponse,
    VerificationStatus,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use verification::{digests_to_wire, parts_to_wire};

use crate::cluster_settings::{self, NotRetimed};
use crate::gate::{Effect, Standing};
use crate::grpc::body::{Reserved, Rests};
use crate::grpc::caller::{check_tenant, mutating};
use crate::grpc::commit::{is_settled, never_committed, settles};
use crate::grpc::outgoing::{self, Shares};
use crate::grpc::refuse;
use crate::grpc::reply::position;
use crate::node::Node;
use crate::pair::transfer::{NotTransferred, Transferred};
use crate::process;
use crate::scrub::{self, Looked};

/// Shards between two words of progress, and words that wait for a slow listener.
const SCRUB_TELL_EVERY: u32 = 32;
const SCRUB_OUT_MAX: usize = 4;
/// For a member to come to a seq.
const DIGESTS_WITHIN: Duration = Duration::from_secs(5);
/// One shard's.
const RECORD_PARTS_MAX: usize = 16;
/// After a transfer that was refused because of another one.
const TRANSFER_RETRY_MS: u32 = 10;
/// Calls that capture records at the same time: each may take a whole shard's worth of memory.
const CAPTURES_MAX: usize = 2;

pub(crate) struct AdminCalls {
    node: Arc<Node>,
    captures: Arc<Semaphore>,
}

impl AdminCalls {
    pub(crate) fn new(node: Arc<Node>) -> AdminCalls {
        AdminCalls { node, captures: Arc::new(Semaphore::new(CAPTURES_MAX)) }
    }

    async fn set_state_settings(&self, changes: Vec<(String, String)>) -> Result<Option<v1::Position>, Status> {
        let set = move |node: &Node| {
            let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (&**name, &**value)).collect();
            let set = node.state().set_settings(&changes, node.clock.now());
            node.commit_appended();
            let at = set.map_err(|refused| refuse::call(node, refused))?.position;
            Ok((position(at), at))
        };
        self.run(Effect::Mutates, set).await.map(Response::into_inner)
    }

    async fn digests_now(&self) -> Result<Response<Digests>, Status> {
        let node = Arc::clone(&self.node);
        let looked = tokio::task::spawn_blocking(move || {
            let (open, held) = (node.gate.check_open(), node.state());
            let digests = held.digests();
            let committed = settles(&node, &open, digests.at) && Arc::ptr_eq(&held, &node.state());
            Digests { committed, ..digests_to_wire(&digests) }
        });
        looked.await.map(Response::new).map_err(|fault| to_status(status::internal(fault)))
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
        let mut response = Response::new(answer);
        response.extensions_mut().insert(Rests::new(&self.node, effect, epoch));
        Ok(response)
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

    async fn delete_tenant(
        &self,
        request: Request<DeleteTenantRequest>,
    ) -> Result<Response<DeleteTenantResponse>, Status> {
        let from = request.extensions().get::<Arc<Shares>>().and_then(|shares| shares.from);
        let DeleteTenantRequest { caller, tenant } = request.into_inner();
        let delete = move |node: &Node| {
            check_tenant("tenant", &tenant)?;
            let call = Call { tenant: "", ..mutating(node, from, &caller)? };
            let deleted = node.state().delete_tenant(&call, &tenant);
            node.commit_appended();
            let deleted = deleted.map_err(|refused| refuse::call(node, refused))?;
            let Answer { results, position: at } = deleted.refused_as::<Refusal>();
            let refusal = results.into_iter().find_map(refuse::refusal_of);
            Ok((DeleteTenantResponse { position: position(at), refusal }, at))
        };
        self.run(Effect::Mutates, delete).await
    }

    /// What stands in the state goes first: its entry is committed before the record is changed.
    async fn set_settings(
        &self,
        request: Request<SetSettingsRequest>,
    ) -> Result<Response<SetSettingsResponse>, Status> {
        self.node.gate.check_open().map_err(to_status)?;
        let change = cluster_settings::change(&self.node, &request.into_inner().settings).map_err(to_status)?;
        let at = match change.state.is_empty() {
            true => None,
            false => self.set_state_settings(change.state).await?,
        };
        let version = match self.node.pair().filter(|_| !change.timing.is_empty()) {
            Some(pair) => pair.retime(&change.timing).await.map_err(|why| match at {
                None => to_status(not_retimed(&why)),
                Some(_) => to_status(status::outcome_unknown(format_args!("a part of it is done, and then: {why}"))),
            })?,
            None => 0,
        };
        Ok(Response::new(SetSettingsResponse { position: at, version }))
    }

    type ScrubStream = ReceiverStream<Result<ScrubProgress, Status>>;

    async fn scrub(&self, _: Request<ScrubRequest>) -> Result<Response<Self::ScrubStream>, Status> {
        let (out, progress) = mpsc::channel(SCRUB_OUT_MAX);
        tokio::spawn(scrub(Arc::clone(&self.node), out));
        Ok(Response::new(ReceiverStream::new(progress)))
    }

    async fn log_digests(&self, _: Request<LogDigestsRequest>) -> Result<Response<LogDigestsResponse>, Status> {
        let log = |node: &Node| {
            let at = node.log_digests().map_err(|refused| refuse::call(node, refused))?;
            Ok((LogDigestsResponse { at: position(at) }, at))
        };
        self.run(Effect::Mutates, log).await
    }

    async fn get_digests(&self, request: Request<GetDigestsRequest>) -> Result<Response<Digests>, Status> {
        let seq = request.into_inner().seq;
        let open = self.node.gate.check_open();
        if seq == 0 {
            return self.digests_now().await;
        }
        match timeout(DIGESTS_WITHIN, self.node.verify.digests_at(seq)).await {
            Ok(Some(digests)) => {
                let is_still_so = || self.node.verify.has_digests_of(digests.at);
                let committed = is_settled(&self.node, &open, digests.at) && is_still_so();
                Ok(Response::new(Digests { committed, ..digests_to_wire(&digests) }))
            }
            Ok(None) => Err(Status::not_found(format!("of seq {seq} no digests are known here"))),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "this member has not come to seq {seq} within {} s",
                DIGESTS_WITHIN.as_secs()
            ))),
        }
    }

    async fn get_records(&self, request: Request<PartList>) -> Result<Response<Parts>, Status> {
        let shares = request.extensions().get::<Arc<Shares>>().cloned();
        let parts: Vec<Part> = request.into_inner().parts.iter().map(part).collect();
        if parts.len() > RECORD_PARTS_MAX {
            return Err(Status::invalid_argument(format!("parts: {}, the limit is {RECORD_PARTS_MAX}", parts.len())));
        }
        if parts.windows(2).any(|two| two[0].shard != two[1].shard) {
            return Err(Status::invalid_argument("parts: of several shards, must be of one"));
        }
        // Those that wait hold nothing.
        let turn = Arc::clone(&self.captures).acquire_owned().await;
        let node = Arc::clone(&self.node);
        let captured = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let open = node.gate.check_open();
            let held = node.state();
            let image = held.capture_records(&parts);
            let at = image.digests.at;
            let mut wire = parts_to_wire(image);
            if let Some(state) = &mut wire.state {
                state.committed = settles(&node, &open, at) && Arc::ptr_eq(&held, &node.state());
            }
            wire
        });
        let captured = captured.await.map_err(|fault| to_status(status::internal(fault)))?;
        let held = shares.map(|shares| outgoing::take(shares.answers.share(), captured.encoded_len(), Effect::Reads));
        let mut response = Response::new(captured);
        if let Some(held) = held.transpose().map_err(to_status)? {
            response.extensions_mut().insert(Reserved::new(held));
        }
        Ok(response)
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

fn part(wire: &v1::Part) -> Part {
    Part { shard: wire.shard, bucket: wire.bucket }
}

fn not_retimed(why: &NotRetimed) -> CallError {
    match why {
        NotRetimed::NotPrimary { epoch } => status::not_primary("", *epoch),
        NotRetimed::Rule(rule) => status::invalid(rule.name(), rule),
        NotRetimed::Unknown => status::outcome_unknown(why),
    }
}

fn not_transferred(why: &NotTransferred) -> CallError {
    match why {
        NotTransferred::NotPrimary => status::not_primary("", 0),
        NotTransferred::Busy => status::overloaded_by(why, TRANSFER_RETRY_MS),
        NotTransferred::TooSoon { left_ms, .. } => {
            let retry_after_ms = u32::try_from(*left_ms).unwrap_or(u32::MAX);
            CallError { retry_after_ms, ..status::call_error(Reason::Overloaded, why) }
        }
        NotTransferred::Already { .. } => status::invalid("to", why),
        NotTransferred::Unknown { .. }
        | NotTransferred::NoCoordinator { .. }
        | NotTransferred::NobodyInSync
        | NotTransferred::HeirLeaves { .. }
        | NotTransferred::NotDrained(_)
        | NotTransferred::NotCompared { .. }
        | NotTransferred::Differs { .. } => {
            status::not_in_sync(format_args!("{why}. This member goes on as the primary"))
        }
        NotTransferred::NotTaken { .. } => status::outcome_unknown(why),
    }
}

fn tenant(usage: TenantUsage) -> Tenant {
    let TenantUsage { name, quota_bytes, used_bytes, objects } = usage;
    Tenant { name, used_bytes, objects, quota_bytes }
}

/// For threads that may wait.
pub(crate) fn look(node: &Node) -> StatusResponse {
    let open = node.gate.check_open();
    let held = node.state();
    let totals = held.totals();
    let tail = node.tail().stats();
    let standing = node.gate.standing();
    let leads = standing == Standing::Serving;
    StatusResponse {
        node: node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: role(&standing).to_owned(),
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
        retired_extents: totals.retired_extents,
        full: totals.full.iter().filter(|_| leads).map(ToString::to_string).collect(),
        tenants: totals.tenants,
        tasks: totals.tasks,
        evicted_total: totals.evicted_total,
        tail_first_seq: tail.first_seq,
        tail_entries: tail.entries as u64,
        tail_bytes: tail.bytes as u64,
        digest: Bytes::copy_from_slice(&totals.digest.0.to_be_bytes()),
        lock_held_us_max: node.state().lock_held_ns_max() / 1000,
        memory_resident_bytes: process::resident_bytes(),
        cluster: node.pair().map(|pair| pair.status()),
        verification: Some(verification(node)),
        settings: cluster_settings::all(node),
        committed: settles(node, &open, totals.applied) && Arc::ptr_eq(&held, &node.state()),
    }
}

fn verification(node: &Node) -> VerificationStatus {
    let (verify, counts) = (&node.verify, &node.verify.counts);
    let (condition, what) = node.condition();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let finding = |finding: crate::verify::Finding| Finding { wall_ms: finding.wall_ms, what: finding.what };
    VerificationStatus {
        condition: condition.to_owned(),
        what,
        verified: Some(node.verified().seq).filter(|seq| *seq > 0),
        compared: count(&counts.compared),
        differed: count(&counts.differed),
        samples: count(&counts.samples),
        checksum_mismatches: count(&counts.checksum_mismatches),
        keys_not_found: count(&counts.keys_not_found),
        extra_keys: count(&counts.extra_keys),
        repaired: count(&counts.repaired),
        full_syncs: count(&counts.full_syncs),
        rotten: count(&counts.rotten),
        alarms: count(&counts.alarms),
        scrub_cycles: count(&counts.scrub_cycles),
        scrubbed_shards: count(&counts.scrubbed_shards),
        scrub_skipped: count(&counts.scrub_skipped),
        findings: verify.findings().into_iter().map(finding).collect(),
    }
}

/// Tells how far it is, until it is through or nobody listens.
async fn scrub(node: Arc<Node>, out: mpsc::Sender<Result<ScrubProgress, Status>>) {
    let shards = node.state().shards();
    let mut progress = ScrubProgress { shards, ..ScrubProgress::default() };
    for shard in 0..shards {
        match scrub::look_and_tell(&node, shard).await {
            Looked::Sound => {}
            Looked::Busy => progress.skipped += 1,
            Looked::Rotten(what) => progress.rotten.push(format!("shard {shard}: {what}")),
        }
        progress.shards_done = shard + 1;
        let is_due = progress.shards_done.is_multiple_of(SCRUB_TELL_EVERY) || progress.shards_done == shards;
        if is_due {
            if out.send(Ok(progress.clone())).await.is_err() {
                return;
            }
            progress.rotten.clear();
        }
        tokio::task::yield_now().await;
    }
}

fn role(standing: &Standing) -> &'static str {
    match standing {
        Standing::Serving => "primary",
        Standing::Stopping => "stopping",
        Standing::NotPrimary { .. } => "standby",
    }
}
