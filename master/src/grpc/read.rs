//! GetReplicas, Exists, ListKeys.

use bytes::{BufMut as _, Bytes, BytesMut};
use metadata::{ListKeys, Looked, Page, PageStart, Place};
use oplog::Position;
use proto::limits::{LIST_KEYS_DEFAULT, MESSAGE_BYTES_MAX};
use proto::status::invalid;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, Caller, ExistsRequest, ExistsResponse, GetReplicasRequest, GetReplicasResponse, GetReplicasResult,
    KeyInfo, ListKeysRequest, ListKeysResponse,
};

use crate::gate::CallKind;
use crate::grpc::caller::{pin_to_wire, tenant};
use crate::grpc::long::{Patience, Waited};
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, check_size, position};
use crate::grpc::segment_refs::SegmentRefs;
use crate::node::Node;

/// The bytes of an answer beside its list.
const ANSWER_BYTES: usize = 8192;
/// The bytes of a shard's number in page tokens.
const SHARD_BYTES: usize = 2;

/// The role that answers a read, and so what the answer can promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    Primary,
    /// `applied`: where it was when it began. It applies only committed entries.
    Standby {
        applied: Position,
    },
}

impl By {
    pub(super) fn is_standby(self) -> bool {
        matches!(self, By::Standby { .. })
    }

    /// The position of a read: it has seen all entries up to there that concern its answer.
    pub(super) fn read_at(self, node: &Node, seq: u64) -> Position {
        match self {
            By::Primary => Position { epoch: node.gate.epoch(), seq },
            // For a client that asks again with this as `min_position`: never less than what was
            // seen.
            By::Standby { applied } if seq <= applied.seq => applied,
            By::Standby { .. } => node.state().position(),
        }
    }

    /// A standby's answer waits neither for a commit nor for a tenure.
    pub(super) fn reply(self, answer: Answer, at: Position) -> Reply {
        match self {
            By::Primary => Reply::reads(answer, at),
            By::Standby { .. } => Reply { wait_seq: 0, kind: CallKind::StandbyRead, ..Reply::reads(answer, at) },
        }
    }

    fn lookup<'k>(
        self,
        node: &Node,
        caller: &Option<Caller>,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
        found: impl FnMut(Option<metadata::Found<'_>>),
    ) -> Result<Looked, CallError> {
        let (state, tenant) = (node.state(), tenant(caller)?);
        let looked = match self {
            By::Primary => state.lookup(tenant, keys, node.clock.now(), found),
            // A standby's leases would protect nothing.
            By::Standby { .. } => state.lookup_unleased(tenant, keys, found),
        };
        looked.map_err(|refused| refuse::call(node, refused))
    }
}

pub(crate) fn exists(node: &Node, request: &ExistsRequest, by: By) -> Result<Reply, CallError> {
    let keys = request.keys.iter().map(|key| &key[..]);
    let mut exists = Vec::with_capacity(request.keys.len());
    let Looked { wait_seq, lease_ms } = by.lookup(node, &request.caller, keys, |found| exists.push(found.is_some()))?;
    let at = by.read_at(node, wait_seq);
    let answer = ExistsResponse { position: position(at), exists, lease_ms, from_standby: by.is_standby() };
    Ok(by.reply(Answer::Exists(answer), at))
}

/// The result of a lookup of one key, with how many places it has in the list of all.
struct Found {
    size: u64,
    checksum: Option<u64>,
    places: usize,
}

pub(crate) fn get_replicas(node: &Node, request: &GetReplicasRequest, by: By) -> Result<Reply, CallError> {
    let keys = request.keys.iter().map(|key| &key[..]);
    let mut found: Vec<Option<Found>> = Vec::with_capacity(request.keys.len());
    let mut places: Vec<Place> = Vec::with_capacity(request.keys.len());
    // Under a shard's lock, so only what is necessary.
    let Looked { wait_seq, lease_ms } = by.lookup(node, &request.caller, keys, |object| {
        found.push(object.map(|object| {
            let before = places.len();
            places.extend(object.places());
            Found { size: object.size(), checksum: object.checksum(), places: places.len() - before }
        }));
    })?;
    let mut refs = SegmentRefs::new(node.state().view());
    let mut places = places.into_iter();
    let results = found.into_iter().map(|found| {
        let result = result(found, &mut places, &mut refs);
        // Checked while the answer is built, so that a too large one never exists.
        check_size(refs.path_bytes(), CallKind::Read).map(|()| result)
    });
    let results = results.collect::<Result<_, _>>()?;
    let at = by.read_at(node, wait_seq);
    let answer = GetReplicasResponse {
        position: position(at),
        results,
        segments: refs.into_refs(),
        lease_ms,
        from_standby: by.is_standby(),
    };
    Ok(by.reply(Answer::GetReplicas(answer), at))
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

pub(crate) fn list_keys(node: &Node, request: &ListKeysRequest, by: By, waited: &Waited) -> Result<Reply, CallError> {
    let from = page_start(&request.page_token)?;
    let limit = if request.limit == 0 { LIST_KEYS_DEFAULT } else { request.limit as usize };
    let what = ListKeys { tenant: tenant(&request.caller)?, prefix: &request.prefix, regex: &request.regex, limit };
    let page = page_that_fits(node, what, from.as_ref(), waited)?;
    let at = by.read_at(node, page.wait_seq);
    let answer = ListKeysResponse {
        position: position(at),
        keys: page.keys.into_iter().map(key_info).collect(),
        next_page_token: page.next.as_ref().map(page_token).unwrap_or_default(),
        from_standby: by.is_standby(),
    };
    Ok(by.reply(Answer::ListKeys(answer), at))
}

/// A page ends early if it would not fit into a message.
fn page_that_fits(
    node: &Node,
    mut what: ListKeys<'_>,
    from: Option<&PageStart>,
    waited: &Waited,
) -> Result<Page, CallError> {
    loop {
        let pace = &mut Patience::of(node, waited);
        let page = node.state().list_keys_at(&what, from, pace).map_err(|refused| refuse::call(node, refused))?;
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
        Some((shard, after))
            if after.len() <= metadata::KEY_BYTES_MAX
                && usize::from(u16::from_be_bytes(*shard)) < metadata::OBJECT_SHARDS =>
        {
            Ok(Some(PageStart { shard: u16::from_be_bytes(*shard), after: after.into() }))
        }
        _ => Err(invalid("page_token", "not from an answer to ListKeys")),
    }
}
