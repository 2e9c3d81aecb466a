//! Remove, RemoveMatching, RemoveAll, Pin, Unpin.

use metadata::{Answer as Given, Pin, RemovedMany};
use proto::limits::REGEX_BYTES_MAX;
use proto::status::{invalid, over_limit};
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, PinRequest, PinResponse, PinResult, RemoveAllRequest, RemoveManyResponse, RemoveMatchingRequest,
    RemoveRequest, RemoveResponse, RemoveResult, UnpinRequest,
};

use crate::grpc::caller::{From, mutating, pin};
use crate::grpc::long::{NoPattern, Patience, Waited};
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, position};
use crate::node::Node;

fn slices(keys: &[bytes::Bytes]) -> Vec<&[u8]> {
    keys.iter().map(|key| &key[..]).collect()
}

pub(crate) fn remove(node: &Node, from: From, request: &RemoveRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let removed = node
        .state()
        .remove(&call, request.force, &slices(&request.keys))
        .map_err(|refused| refuse::call(node, refused))?;
    let results = removed.results.into_iter().map(|outcome| RemoveResult { refusal: refuse::refusal_of(outcome) });
    let answer = RemoveResponse { position: position(removed.position), results: results.collect() };
    Ok(Reply::mutates(Answer::Remove(answer), removed.position))
}

pub(crate) fn remove_matching(
    node: &Node,
    from: From,
    request: &RemoveMatchingRequest,
    waited: &Waited,
) -> Result<Reply, CallError> {
    if request.regex.len() > REGEX_BYTES_MAX {
        return Err(over_limit("regex", request.regex.len(), REGEX_BYTES_MAX, "bytes"));
    }
    let call = mutating(node, from, &request.caller)?;
    let pace = &mut Patience::of(node, waited);
    let removed = node.state().remove_matching_at(&call, &request.regex, request.force, pace);
    removed.map(many).map_err(|refused| refuse::call(node, refused))
}

pub(crate) fn remove_all(
    node: &Node,
    from: From,
    request: &RemoveAllRequest,
    waited: &Waited,
) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let removed = node.state().remove_all_at(&call, request.force, &mut NoPattern::of(node, waited));
    removed.map(many).map_err(|refused| refuse::call(node, refused))
}

fn many(given: Given<RemovedMany>) -> Reply {
    let RemovedMany { removed, refused } = given.results;
    let answer = RemoveManyResponse { position: position(given.position), removed, refused };
    Reply::mutates(Answer::RemoveMany(answer), given.position)
}

pub(crate) fn set_pin(node: &Node, from: From, request: &PinRequest) -> Result<Reply, CallError> {
    let pin = pin(node, request.pin, request.soft_pin_ttl_ms)?;
    if pin == Pin::None {
        return Err(invalid("pin", "NONE, must be SOFT or HARD (Unpin takes a pin away)"));
    }
    change_pin(node, from, &request.caller, pin, &request.keys)
}

pub(crate) fn unpin(node: &Node, from: From, request: &UnpinRequest) -> Result<Reply, CallError> {
    change_pin(node, from, &request.caller, Pin::None, &request.keys)
}

fn change_pin(
    node: &Node,
    from: From,
    caller: &Option<proto::v1::Caller>,
    pin: Pin,
    keys: &[bytes::Bytes],
) -> Result<Reply, CallError> {
    let call = mutating(node, from, caller)?;
    let pinned = node.state().pin(&call, pin, &slices(keys)).map_err(|refused| refuse::call(node, refused))?;
    let results = pinned.results.into_iter().map(|outcome| PinResult { refusal: refuse::refusal_of(outcome) });
    let answer = PinResponse { position: position(pinned.position), results: results.collect() };
    Ok(Reply::mutates(Answer::Pin(answer), pinned.position))
}
