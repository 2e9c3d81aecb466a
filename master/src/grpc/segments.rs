//! Heartbeat, MountSegment, RemountSegments, UnmountSegment, ListSegments.

use bytes::Bytes;
use metadata::{SegmentId, SegmentInfo, SegmentKind, SegmentSpec, SegmentState, SegmentUsage};
use oplog::ClientId;
use prost::Message as _;
use proto::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};
use proto::status::over_limit;
use proto::v1::heartbeat_response::ClientState;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, HeartbeatRequest, HeartbeatResponse, ListSegmentsRequest, ListSegmentsResponse, MountSegmentRequest,
    MountSegmentResponse, MountSegmentResult, RemountSegmentsRequest, Segment, SegmentStatus, UnmountSegmentRequest,
    UnmountSegmentResponse, UnmountSegmentResult,
};

use crate::gate::CallKind;
use crate::grpc::caller::{From, choice, id16, mutating};
use crate::grpc::read::By;
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, check_size, position};
use crate::grpc::segment_refs::kind_to_wire;
use crate::node::Node;

pub(crate) fn heartbeat(node: &Node, from: From, request: &HeartbeatRequest) -> Result<Reply, CallError> {
    check_name("host", &request.host)?;
    let call = mutating(node, from, &request.caller)?;
    let heard = node.state().heartbeat(&call, &request.host).map_err(|refused| refuse::call(node, refused))?;
    let answer = HeartbeatResponse {
        state: if heard.known { ClientState::Ok } else { ClientState::NeedsRemount } as i32,
        position: position(heard.position),
        client_ttl_ms: u32::try_from(heard.client_ttl_ms).unwrap_or(u32::MAX),
        tasks_waiting: heard.tasks_waiting,
        members: node.pair().map_or_else(Vec::new, |pair| pair.addresses()),
    };
    // A heartbeat may be heard twice: as long as nothing is logged, it counts as a read.
    Ok(Reply::reads(Answer::Heartbeat(answer), heard.position))
}

pub(crate) fn mount(node: &Node, from: From, request: &MountSegmentRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let specs = specs(&request.segments)?;
    mounted(node, node.state().mount(&call, &specs))
}

pub(crate) fn remount(node: &Node, from: From, request: &RemountSegmentsRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let specs = specs(&request.segments)?;
    mounted(node, node.state().remount(&call, &specs))
}

type Mounted = Result<metadata::Answer<Vec<metadata::Outcome<metadata::MountedAt>>>, metadata::CallRefused>;

fn mounted(node: &Node, mounted: Mounted) -> Result<Reply, CallError> {
    let mounted = mounted.map_err(|refused| refuse::call(node, refused))?;
    let results = mounted.results.into_iter().map(|outcome| match outcome {
        Ok(at) => MountSegmentResult { refusal: None, kept: at.kept },
        Err(refusal) => MountSegmentResult { refusal: Some(refuse::item(refusal)), kept: false },
    });
    let answer = MountSegmentResponse { position: position(mounted.position), results: results.collect() };
    Ok(Reply::mutates(Answer::MountSegment(answer), mounted.position))
}

fn specs(segments: &[Segment]) -> Result<Vec<SegmentSpec<'_>>, CallError> {
    segments.iter().enumerate().map(|(at, segment)| spec(at, segment)).collect()
}

fn spec(at: usize, segment: &Segment) -> Result<SegmentSpec<'_>, CallError> {
    let Segment { id, name, kind, base, size, endpoint, protocol, host, path } = segment;
    for (field, text) in [("name", name), ("endpoint", endpoint), ("protocol", protocol), ("host", host)] {
        if text.len() > NAME_BYTES_MAX {
            return Err(over_limit(format_args!("segments[{at}].{field}"), text.len(), NAME_BYTES_MAX, "bytes"));
        }
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(over_limit(format_args!("segments[{at}].path"), path.len(), PATH_BYTES_MAX, "bytes"));
    }
    Ok(SegmentSpec {
        id: SegmentId(id16(format_args!("segments[{at}].id"), id)?),
        name,
        kind: match choice(format_args!("segments[{at}].kind"), *kind)? {
            proto::v1::SegmentKind::Memory => SegmentKind::Memory,
            proto::v1::SegmentKind::Disk => SegmentKind::Disk,
        },
        base: *base,
        size: *size,
        endpoint,
        protocol,
        host,
        path,
    })
}

fn check_name(field: &str, name: &str) -> Result<(), CallError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(over_limit(field, name.len(), NAME_BYTES_MAX, "bytes"));
    }
    Ok(())
}

pub(crate) fn unmount(node: &Node, from: From, request: &UnmountSegmentRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let ids = request.segment_ids.iter().enumerate();
    let ids = ids.map(|(at, id)| id16(format_args!("segment_ids[{at}]"), id).map(SegmentId));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let gone = node.state().unmount(&call, request.grace_ms, &ids).map_err(|refused| refuse::call(node, refused))?;
    let results = gone.results.into_iter().map(|outcome| UnmountSegmentResult { refusal: refuse::refusal_of(outcome) });
    let answer = UnmountSegmentResponse { position: position(gone.position), results: results.collect() };
    Ok(Reply::mutates(Answer::UnmountSegment(answer), gone.position))
}

pub(crate) fn list(node: &Node, request: &ListSegmentsRequest, by: By) -> Result<Reply, CallError> {
    let client = match request.client_id.is_empty() {
        true => None,
        false => Some(ClientId(id16("client_id", &request.client_id)?)),
    };
    let wanted = |info: &SegmentInfo| {
        client.is_none_or(|client| info.client == client) && (request.name.is_empty() || info.name == request.name)
    };
    let listed = node.state().segments(wanted);
    let mut bytes = 0;
    let segments = listed.results.into_iter().map(|usage| {
        let status = segment_status(usage);
        bytes += status.encoded_len();
        // Checked while the answer is built, so that a too large one never exists.
        check_size(bytes, CallKind::Read).map(|()| status)
    });
    let segments = segments.collect::<Result<_, _>>()?;
    let answer = ListSegmentsResponse { position: position(listed.position), segments, from_standby: by.is_standby() };
    Ok(by.reply(Answer::ListSegments(answer), listed.position))
}

fn segment_status(usage: SegmentUsage) -> SegmentStatus {
    let info = &usage.info;
    let segment = Segment {
        id: Bytes::copy_from_slice(&info.id.0),
        name: info.name.clone(),
        kind: kind_to_wire(info.kind) as i32,
        base: info.base,
        size: info.size,
        endpoint: info.endpoint.clone(),
        protocol: info.protocol.clone(),
        host: info.host.clone(),
        path: info.path.clone(),
    };
    SegmentStatus {
        segment: Some(segment),
        client_id: Bytes::copy_from_slice(&info.client.0),
        state: match info.state {
            SegmentState::Mounted => proto::v1::SegmentState::Mounted,
            SegmentState::Draining { .. } => proto::v1::SegmentState::Draining,
            SegmentState::Unmounting => proto::v1::SegmentState::Unmounting,
        } as i32,
        used_bytes: usage.used_bytes,
        objects: usage.objects,
        retired_bytes: usage.retired_bytes,
    }
}
