//! GetReplicas, Exists, ListKeys.

use bytes::{BufMut as _, Bytes, BytesMut};
use metadata::{ListKeys, Page, PageStart, Place};
use oplog::Position;
use proto::limits::{LIST_KEYS_DEFAULT, MESSAGE_BYTES_MAX};
use proto::status::invalid;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, ExistsRequest, ExistsResponse, GetReplicasRequest, GetReplicasResponse, GetReplicasResult, KeyInfo,
    ListKeysRequest, ListKeysResponse,
};

use crate::grpc::caller::{pin_to_wire, tenant};
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, position};
use crate::grpc::segment_refs::SegmentRefs;
use crate::node::Node;

/// What an answer takes beside its list.
const ANSWER_BYTES: usize = 8192;
/// Shards of the state, as they stand in page tokens.
const SHARD_BYTES: usize = 2;

/// Where in the log a read stands: it has seen everything up to there that concerns what it tells.
fn read_at(node: &Node, wait_seq: u64) -> Position {
    Position { epoch: node.gate.epoch(), seq: wait_seq }
}

pub(crate) fn exists(node: &Node, request: &ExistsRequest) -> Result<Reply, CallError> {
    let keys = request.keys.iter().map(|key| &key[..]);
    let mut exists = Vec::with_capacity(request.keys.len());
    let tenant = tenant(&request.caller)?;
    let wait_seq = node
        .state()
        .lookup(tenant, keys, node.clock.now(), |found| exists.push(found.is_some()))
        .map_err(|refused| refuse::call(node, refused))?;
    let at = read_at(node, wait_seq);
    let answer = ExistsResponse { position: position(at), exists, lease_ms: node.config.state.object_lease_ms };
    Ok(Reply::reads(Answer::Exists(answer), at))
}

/// What a lookup found of one key, with how many places it took from the list of all.
struct Found {
    size: u64,
    checksum: Option<u64>,
    places: usize,
}

pub(crate) fn get_replicas(node: &Node, request: &GetReplicasRequest) -> Result<Reply, CallError> {
    let keys = request.keys.iter().map(|key| &key[..]);
    let mut found: Vec<Option<Found>> = Vec::with_capacity(request.keys.len());
    let mut places: Vec<Place> = Vec::with_capacity(request.keys.len());
    let tenant = tenant(&request.caller)?;
    // Under a shard's lock: only what must be.
    let wait_seq = node
        .state()
        .lookup(tenant, keys, node.clock.now(), |object| {
            found.push(object.map(|object| {
                let before = places.len();
                places.extend(object.places());
                Found { size: object.size(), checksum: object.checksum(), places: places.len() - before }
            }));
        })
        .map_err(|refused| refuse::call(node, refused))?;
    let mut refs = SegmentRefs::new(node.state().view());
    let mut places = places.into_iter();
    let results = found.into_iter().map(|found| result(found, &mut places, &mut refs)).collect();
    let at = read_at(node, wait_seq);
    let answer = GetReplicasResponse {
        position: position(at),
        results,
        segments: refs.into_refs(),
        lease_ms: node.config.state.object_lease_ms,
    };
    Ok(Reply::reads(Answer::GetReplicas(answer), at))
}

fn result(found: Option<Found>, places: &mut impl Iterator<Item = Place>, refs: &mut SegmentRefs) -> GetReplicasResult {
    match found {
        Some(Found { size, checksum, places: count }) => GetReplicasResult {
            refusal: None,
            size,
            replicas: places.take(count).filter_map(|place| refs.replica(place, true)).collect(),
            checksum,
        },
        None => GetReplicasResult {
            refusal: Some(refuse::item(metadata::Refusal::NotFound)),
            ..GetReplicasResult::default()
        },
    }
}

pub(crate) fn list_keys(node: &Node, request: &ListKeysRequest) -> Result<Reply, CallError> {
    let from = page_start(&request.page_token)?;
    let limit = if request.limit == 0 { LIST_KEYS_DEFAULT } else { request.limit as usize };
    let what = ListKeys { tenant: tenant(&request.caller)?, prefix: &request.prefix, regex: &request.regex, limit };
    let page = page_that_fits(node, what, from.as_ref())?;
    let at = read_at(node, page.wait_seq);
    let answer = ListKeysResponse {
        position: position(at),
        keys: page.keys.into_iter().map(key_info).collect(),
        next_page_token: page.next.as_ref().map(page_token).unwrap_or_default(),
    };
    Ok(Reply::reads(Answer::ListKeys(answer), at))
}

/// A page ends early where it would not fit into a message.
fn page_that_fits(node: &Node, mut what: ListKeys<'_>, from: Option<&PageStart>) -> Result<Page, CallError> {
    loop {
        let page = node.state().list_keys(&what, from).map_err(|refused| refuse::call(node, refused))?;
        let mut bytes = ANSWER_BYTES;
        let fits = |key: &&metadata::KeyInfo| {
            bytes += key.key.len() + 48;
            bytes <= MESSAGE_BYTES_MAX
        };
        let fitting = page.keys.iter().take_while(fits).count();
        if fitting == page.keys.len() {
            return Ok(page);
        }
        // The shorter page knows where it ends.
        what.limit = fitting;
    }
}

fn key_info(info: metadata::KeyInfo) -> KeyInfo {
    KeyInfo {
        key: Bytes::from(info.key),
        size: info.size,
        replicas: info.replicas,
        complete: info.complete,
        pin: pin_to_wire(info.pin) as i32,
    }
}

fn page_token(start: &PageStart) -> Bytes {
    let mut token = BytesMut::with_capacity(SHARD_BYTES + start.after.len());
    token.put_u16(start.shard);
    token.put_slice(&start.after);
    token.freeze()
}

fn page_start(token: &[u8]) -> Result<Option<PageStart>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    match token.split_first_chunk::<SHARD_BYTES>() {
        Some((shard, after)) if after.len() <= metadata::KEY_BYTES_MAX => {
            Ok(Some(PageStart { shard: u16::from_be_bytes(*shard), after: after.into() }))
        }
        _ => Err(invalid("page_token", "not from an answer to ListKeys")),
    }
}
