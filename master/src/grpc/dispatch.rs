//! The way of every request, from its name to the state and back as an answer. Unary calls and sessions share it.
//!
//! Invariants: a call runs only while the gate is open, but for reads that may run on a standby; what it appended is committed by the node's rule before its
//! answer is looked at; nothing here looks into what a call means.
//!
//! Deliberately absent: waiting. A call runs to its end on the thread that it is given; who waits for the commit of
//! its answer is `unary`'s and `session`'s affair.

use bytes::{Bytes, BytesMut};
use metadata::TransferKind;
use prost::{DecodeError, Message};
use proto::status;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{self, CallError};

use crate::grpc::caller::From;
use crate::grpc::framing::put_message;
use crate::grpc::long::Waited;
use crate::grpc::read::By;
use crate::grpc::reply::{Reply, check_size};
use crate::grpc::transfer::Finish;
use crate::grpc::{lists, put, read, remove, segments, standby_read, task, transfer};
use crate::metrics::Taken;
use crate::node::Node;

/// Where a call may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weight {
    /// Between other calls.
    Inline,
    /// For longer than a millisecond, maybe: on a thread of its own.
    Long,
}

/// Items of a call that still run inline.
const INLINE_ITEMS_MAX: usize = 1000;

/// What a session's message says. Nothing is decoded that would take more memory than its lists may.
pub(crate) fn decode_session(message: Bytes) -> Result<v1::SessionRequest, CallError> {
    lists::check_session_request(&message)?;
    v1::SessionRequest::decode(message).map_err(|error| status::invalid("request", error))
}

/// The request of a unary call, likewise; `None`: there is no such method.
pub(crate) fn decode(method: &str, message: Bytes) -> Option<Result<Call, CallError>> {
    if let Err(error) = lists::check_request(method, &message) {
        return Some(Err(error));
    }
    let decoded = decode_unary(method, message)?;
    Some(decoded.map_err(|error| status::invalid("request", error)))
}

fn decode_unary(method: &str, message: Bytes) -> Option<Result<Call, DecodeError>> {
    fn as_call<R: Message + Default>(message: Bytes, call: fn(R) -> Call) -> Result<Call, DecodeError> {
        R::decode(message).map(call)
    }
    Some(match method {
        "Heartbeat" => as_call(message, Call::Heartbeat),
        "MountSegment" => as_call(message, Call::MountSegment),
        "RemountSegments" => as_call(message, Call::RemountSegments),
        "UnmountSegment" => as_call(message, Call::UnmountSegment),
        "ListSegments" => as_call(message, Call::ListSegments),
        "PutStart" => as_call(message, Call::PutStart),
        "PutEnd" => as_call(message, Call::PutEnd),
        "PutRevoke" => as_call(message, Call::PutRevoke),
        "GetReplicas" => as_call(message, Call::GetReplicas),
        "Exists" => as_call(message, Call::Exists),
        "Remove" => as_call(message, Call::Remove),
        "RemoveMatching" => as_call(message, Call::RemoveMatching),
        "RemoveAll" => as_call(message, Call::RemoveAll),
        "ListKeys" => as_call(message, Call::ListKeys),
        "Pin" => as_call(message, Call::Pin),
        "Unpin" => as_call(message, Call::Unpin),
        "CopyStart" => as_call(message, Call::CopyStart),
        "CopyEnd" => as_call(message, Call::CopyEnd),
        "CopyRevoke" => as_call(message, Call::CopyRevoke),
        "MoveStart" => as_call(message, Call::MoveStart),
        "MoveEnd" => as_call(message, Call::MoveEnd),
        "MoveRevoke" => as_call(message, Call::MoveRevoke),
        "CreateTask" => as_call(message, Call::CreateTask),
        "FetchTasks" => as_call(message, Call::FetchTasks),
        "CompleteTask" => as_call(message, Call::CompleteTask),
        "ListTasks" => as_call(message, Call::ListTasks),
        _ => return None,
    })
}

pub(crate) fn weight(call: &Call) -> Weight {
    let items = match call {
        Call::Heartbeat(_) => 1,
        Call::MountSegment(request) => request.segments.len(),
        Call::RemountSegments(request) => request.segments.len(),
        Call::UnmountSegment(request) => request.segment_ids.len(),
        Call::PutStart(request) => request.items.len(),
        Call::PutEnd(request) => request.items.len(),
        Call::PutRevoke(request) => request.items.len(),
        Call::GetReplicas(request) => request.keys.len(),
        Call::Exists(request) => request.keys.len(),
        Call::Remove(request) => request.keys.len(),
        Call::Pin(request) => request.keys.len(),
        Call::Unpin(request) => request.keys.len(),
        Call::CopyStart(request) => request.items.len(),
        Call::MoveStart(request) => request.items.len(),
        Call::CopyEnd(request) | Call::CopyRevoke(request) => request.items.len(),
        Call::MoveEnd(request) | Call::MoveRevoke(request) => request.items.len(),
        Call::CreateTask(request) => request.items.len(),
        Call::CompleteTask(request) => request.items.len(),
        // A client has few tasks; of all there are, it takes the first.
        Call::FetchTasks(_) => 100,
        // They go over everything that there is.
        Call::ListSegments(_)
        | Call::ListTasks(_)
        | Call::ListKeys(_)
        | Call::RemoveMatching(_)
        | Call::RemoveAll(_) => return Weight::Long,
    };
    if items > INLINE_ITEMS_MAX { Weight::Long } else { Weight::Inline }
}

/// Runs a call to its end. The answer may have to wait for its commit; a refusal is counted here.
pub(crate) fn run(node: &Node, from: From, call: &Call, taken: Taken, waited: &Waited) -> Result<Reply, CallError> {
    match run_open(node, from, call, waited) {
        Ok(reply) => Ok(Reply { taken, ..reply }),
        Err(error) => {
            node.requests.refused(taken, &error);
            Err(error)
        }
    }
}

fn run_open(node: &Node, from: From, call: &Call, waited: &Waited) -> Result<Reply, CallError> {
    let epoch = match node.gate.check_open() {
        Ok(epoch) => epoch,
        Err(closed) => return standby_read::run(node, call, closed, waited),
    };
    let reply = execute(node, from, call, waited);
    // Also after a refusal: of a large batch, parts may be in the log.
    node.commit_appended();
    reply.map(|mut reply| {
        reply.epoch = epoch;
        #[cfg(feature = "faults")]
        node.pending_fault.answer_early(&mut reply.wait_seq);
        reply
    })
}

fn execute(node: &Node, from: From, call: &Call, waited: &Waited) -> Result<Reply, CallError> {
    match call {
        Call::Heartbeat(request) => segments::heartbeat(node, from, request),
        Call::MountSegment(request) => segments::mount(node, from, request),
        Call::RemountSegments(request) => segments::remount(node, from, request),
        Call::UnmountSegment(request) => segments::unmount(node, from, request),
        Call::ListSegments(request) => segments::list(node, request, By::Primary),
        Call::PutStart(request) => put::start(node, from, request),
        Call::PutEnd(request) => put::end(node, from, request),
        Call::PutRevoke(request) => put::revoke(node, from, request),
        Call::GetReplicas(request) => read::get_replicas(node, request, By::Primary),
        Call::Exists(request) => read::exists(node, request, By::Primary),
        Call::Remove(request) => remove::remove(node, from, request),
        Call::RemoveMatching(request) => remove::remove_matching(node, from, request, waited),
        Call::RemoveAll(request) => remove::remove_all(node, from, request, waited),
        Call::ListKeys(request) => read::list_keys(node, request, By::Primary, waited),
        Call::Pin(request) => remove::set_pin(node, from, request),
        Call::Unpin(request) => remove::unpin(node, from, request),
        Call::CopyStart(request) => transfer::copy_start(node, from, request),
        Call::CopyEnd(request) => transfer::finish(node, from, request, TransferKind::Copy, Finish::End),
        Call::CopyRevoke(request) => transfer::finish(node, from, request, TransferKind::Copy, Finish::Revoke),
        Call::MoveStart(request) => transfer::move_start(node, from, request),
        Call::MoveEnd(request) => transfer::finish(node, from, request, TransferKind::Move, Finish::End),
        Call::MoveRevoke(request) => transfer::finish(node, from, request, TransferKind::Move, Finish::Revoke),
        Call::CreateTask(request) => task::create(node, from, request),
        Call::FetchTasks(request) => task::fetch(node, from, request),
        Call::CompleteTask(request) => task::complete(node, from, request),
        Call::ListTasks(request) => task::list(node, request),
    }
}

/// The answer to a unary call, framed.
pub(crate) fn encode(reply: &Reply) -> Result<Bytes, CallError> {
    fn framed(message: &impl Message, reply: &Reply) -> Result<Bytes, CallError> {
        let length = message.encoded_len();
        check_size(length, reply.effect)?;
        let mut out = BytesMut::new();
        put_message(&mut out, length, message);
        Ok(out.freeze())
    }
    match &reply.answer {
        Answer::Error(error) => Err(error.clone()),
        Answer::Heartbeat(message) => framed(message, reply),
        Answer::MountSegment(message) => framed(message, reply),
        Answer::UnmountSegment(message) => framed(message, reply),
        Answer::ListSegments(message) => framed(message, reply),
        Answer::PutStart(message) => framed(message, reply),
        Answer::PutEnd(message) => framed(message, reply),
        Answer::PutRevoke(message) => framed(message, reply),
        Answer::GetReplicas(message) => framed(message, reply),
        Answer::Exists(message) => framed(message, reply),
        Answer::Remove(message) => framed(message, reply),
        Answer::RemoveMany(message) => framed(message, reply),
        Answer::ListKeys(message) => framed(message, reply),
        Answer::Pin(message) => framed(message, reply),
        Answer::TransferStart(message) => framed(message, reply),
        Answer::TransferFinish(message) => framed(message, reply),
        Answer::CreateTask(message) => framed(message, reply),
        Answer::FetchTasks(message) => framed(message, reply),
        Answer::CompleteTask(message) => framed(message, reply),
        Answer::ListTasks(message) => framed(message, reply),
    }
}
