//! PutStart, PutEnd, PutRevoke.

use metadata::{ItemId, Placement, PutEndItem, PutRevokeItem, PutStart, PutStartItem, Scope, SegmentKind};
use proto::limits::MESSAGE_BYTES_MAX;
use proto::status::invalid;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, IfExists, PutEndRequest, PutEndResponse, PutEndResult, PutRevokeRequest, PutRevokeResponse,
    PutRevokeResult, PutStartRequest, PutStartResponse, PutStartResult, ReplicaScope,
};

use crate::grpc::caller::{From, choice, mutating, pin};
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, position};
use crate::grpc::segment_refs::SegmentRefs;
use crate::node::Node;

/// The most bytes of a result in the answer without paths; and of one replica.
const RESULT_BYTES: usize = 64;
const REPLICA_BYTES: usize = 32;

pub(crate) fn start(node: &Node, from: From, request: &PutStartRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let how = PutStart {
        placement: placement(request),
        replace: choice::<IfExists>("if_exists", request.if_exists)? == IfExists::Replace,
        pin: pin(node, request.pin, request.soft_pin_ttl_ms)?,
    };
    check_answer_fits(node, request.items.len(), &how.placement)?;
    let items: Vec<_> = request.items.iter().map(|item| PutStartItem { key: &item.key, size: item.size }).collect();
    let state = node.state();
    // Read before the put: the answer goes out once all entries before it are committed.
    let put_start_timeout_ms = state.settings().settings.put_start_timeout_ms;
    let started = state.put_start(&call, &how, &items).map_err(|refused| refuse::call(node, refused))?;
    let mut refs = SegmentRefs::new(state.view());
    let results = started.results.into_iter().map(|outcome| match outcome {
        Ok(at) => PutStartResult {
            refusal: None,
            put_id: at.put.0,
            replicas: at.places.iter().filter_map(|place| refs.replica(*place, false)).collect(),
        },
        Err(refusal) => PutStartResult { refusal: Some(refuse::item(refusal)), ..PutStartResult::default() },
    });
    let results = results.collect();
    let answer = PutStartResponse {
        position: position(started.position),
        results,
        segments: refs.into_refs(),
        put_start_timeout_ms,
    };
    Ok(Reply::mutates(Answer::PutStart(answer), started.position))
}

fn placement(request: &PutStartRequest) -> Placement<'_> {
    let Some(wish) = &request.placement else {
        return Placement { memory_replicas: 1, ..Placement::default() };
    };
    Placement {
        memory_replicas: if wish.replicas == 0 && wish.disk_replicas == 0 { 1 } else { wish.replicas },
        disk_replicas: wish.disk_replicas,
        preferred: wish.preferred_segments.iter().map(String::as_str).collect(),
        same_host: wish.same_host,
        best_effort: wish.best_effort,
    }
}

/// A put that has begun must be answered, so the size of its answer is checked beforehand. Only
/// paths can make it large.
fn check_answer_fits(node: &Node, items: usize, placement: &Placement<'_>) -> Result<(), CallError> {
    let bytes_with = |path_bytes: usize| {
        let memory = placement.memory_replicas as usize * REPLICA_BYTES;
        let disk = placement.disk_replicas as usize * (REPLICA_BYTES + path_bytes);
        items.saturating_mul(RESULT_BYTES + memory + disk)
    };
    if bytes_with(metadata::TEXT_BYTES_MAX) <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let disks = node.state().segments(|info| info.kind == SegmentKind::Disk).results;
    let path_bytes = disks.iter().map(|disk| disk.info.file_path(0).len()).max().unwrap_or(0);
    let bytes = bytes_with(path_bytes);
    if bytes > MESSAGE_BYTES_MAX {
        let what = format_args!(
            "{items} items with up to {bytes} bytes of replicas to name, the limit of an answer is {MESSAGE_BYTES_MAX}"
        );
        return Err(invalid("items", what));
    }
    Ok(())
}

fn scope(scope: i32) -> Result<Scope, CallError> {
    Ok(match choice("scope", scope)? {
        ReplicaScope::All => Scope::All,
        ReplicaScope::OnlyMemory => Scope::Memory,
        ReplicaScope::OnlyDisk => Scope::Disk,
    })
}

pub(crate) fn end(node: &Node, from: From, request: &PutEndRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let scope = scope(request.scope)?;
    let items = request.items.iter();
    let items: Vec<_> =
        items.map(|item| PutEndItem { key: &item.key, put: ItemId(item.put_id), checksum: item.checksum }).collect();
    let ended = node.state().put_end(&call, scope, &items).map_err(|refused| refuse::call(node, refused))?;
    let results = ended.results.into_iter().map(|outcome| PutEndResult { refusal: refuse::refusal_of(outcome) });
    let answer = PutEndResponse { position: position(ended.position), results: results.collect() };
    Ok(Reply::mutates(Answer::PutEnd(answer), ended.position))
}

pub(crate) fn revoke(node: &Node, from: From, request: &PutRevokeRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let scope = scope(request.scope)?;
    let items: Vec<_> =
        request.items.iter().map(|item| PutRevokeItem { key: &item.key, put: ItemId(item.put_id) }).collect();
    let revoked = node.state().put_revoke(&call, scope, &items).map_err(|refused| refuse::call(node, refused))?;
    let results = revoked.results.into_iter().map(|outcome| PutRevokeResult { refusal: refuse::refusal_of(outcome) });
    let answer = PutRevokeResponse { position: position(revoked.position), results: results.collect() };
    Ok(Reply::mutates(Answer::PutRevoke(answer), revoked.position))
}
