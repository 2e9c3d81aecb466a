//! CopyStart, CopyEnd, CopyRevoke, MoveStart, MoveEnd, MoveRevoke.

use metadata::{ItemId, TransferFinishItem, TransferItem, TransferKind};
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, Caller, CopyStartRequest, MoveStartRequest, TransferFinishRequest, TransferFinishResponse,
    TransferFinishResult, TransferStartResponse, TransferStartResult,
};

use crate::grpc::caller::{From, mutating};
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, position};
use crate::grpc::segment_refs::SegmentRefs;
use crate::node::Node;

pub(crate) fn copy_start(node: &Node, from: From, request: &CopyStartRequest) -> Result<Reply, CallError> {
    let items = request.items.iter().map(|item| TransferItem {
        key: &item.key,
        source: &item.source_segment,
        targets: item.target_segments.iter().map(String::as_str).collect(),
    });
    start(node, from, &request.caller, TransferKind::Copy, items.collect())
}

pub(crate) fn move_start(node: &Node, from: From, request: &MoveStartRequest) -> Result<Reply, CallError> {
    let items = request.items.iter().map(|item| TransferItem {
        key: &item.key,
        source: &item.source_segment,
        targets: vec![&item.target_segment],
    });
    start(node, from, &request.caller, TransferKind::Move, items.collect())
}

fn start(
    node: &Node,
    from: From,
    caller: &Option<Caller>,
    kind: TransferKind,
    items: Vec<TransferItem<'_>>,
) -> Result<Reply, CallError> {
    let call = mutating(node, from, caller)?;
    let started = node.state().transfer_start(&call, kind, &items).map_err(|refused| refuse::call(node, refused))?;
    let mut refs = SegmentRefs::new(node.state().view());
    let results = started.results.into_iter().map(|outcome| match outcome {
        Ok(at) => TransferStartResult {
            refusal: None,
            transfer_id: at.id.0,
            size: at.size,
            source: refs.replica(at.source, true),
            targets: at.targets.iter().filter_map(|place| refs.replica(*place, false)).collect(),
        },
        Err(refusal) => TransferStartResult { refusal: Some(refuse::item(refusal)), ..TransferStartResult::default() },
    });
    let results = results.collect();
    let answer = TransferStartResponse { position: position(started.position), results, segments: refs.into_refs() };
    Ok(Reply::mutates(Answer::TransferStart(answer), started.position))
}

/// How a transfer ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish {
    End,
    Revoke,
}

pub(crate) fn finish(
    node: &Node,
    from: From,
    request: &TransferFinishRequest,
    kind: TransferKind,
    how: Finish,
) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let items: Vec<_> =
        request.items.iter().map(|item| TransferFinishItem { key: &item.key, id: ItemId(item.transfer_id) }).collect();
    let finished = match how {
        Finish::End => node.state().transfer_end(&call, kind, &items),
        Finish::Revoke => node.state().transfer_revoke(&call, kind, &items),
    };
    let finished = finished.map_err(|refused| refuse::call(node, refused))?;
    let results =
        finished.results.into_iter().map(|outcome| TransferFinishResult { refusal: refuse::refusal_of(outcome) });
    let answer = TransferFinishResponse { position: position(finished.position), results: results.collect() };
    Ok(Reply::mutates(Answer::TransferFinish(answer), finished.position))
}
