//! The way of every request, from its name to the state and back as an answer. Unary calls and
//! sessions share it.
//!
//! Invariants: a call runs only while the gate is open, except reads that may run on a standby;
//! what it appended is committed by the node's rule before its answer is looked at; nothing here
//! depends on what a call means. Decoding, weighing and encoding follow from the table of calls
//! (`proto::calls`); `execute` maps calls to functions.
//!
//! Deliberately absent: waiting. A call runs to its end on the thread that it is given; `unary` and
//! `session` wait for the commit.

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
use crate::metrics::CallTimer;
use crate::node::Node;

/// Where a call may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weight {
    /// Between other calls.
    Inline,
    /// Possibly for longer than a millisecond: on a thread of its own.
    Long,
}

/// The most items of a call that runs inline.
const INLINE_ITEMS_MAX: usize = 1000;

/// Decodes a session's message. Nothing is decoded that would take more memory than its lists may.
pub(crate) fn decode_session(message: Bytes) -> Result<v1::SessionRequest, CallError> {
    lists::check_session_request(&message)?;
    v1::SessionRequest::decode(message).map_err(|error| status::invalid("request", error))
}

/// The same for the request of a unary call. `None`: there is no such method.
pub(crate) fn decode(method: &str, message: Bytes) -> Option<Result<Call, CallError>> {
    if let Err(error) = lists::check_request(method, &message) {
        return Some(Err(error));
    }
    let decoded = decode_unary(method, message)?;
    Some(decoded.map_err(|error| status::invalid("request", error)))
}

macro_rules! table {
    ($($name:ident($request:ident) -> $answer:ident($message:ident), $method:ident,
       mutates: $mutates:literal, work: $work:tt, standby: $standby:literal;)+) => {
        fn decode_unary(method: &str, message: Bytes) -> Option<Result<Call, DecodeError>> {
            Some(match method {
                $(stringify!($name) => v1::$request::decode(message).map(Call::$name),)+
                _ => return None,
            })
        }

        pub(crate) fn weight(call: &Call) -> Weight {
            match call {
                $(Call::$name(request) => work!(request, $work),)+
            }
        }
    };
}

macro_rules! work {
    ($request:ident, (list $list:ident)) => {
        of_items($request.$list.len())
    };
    ($request:ident, (items $items:literal)) => {{
        let _ = $request;
        of_items($items)
    }};
    ($request:ident, (everything)) => {{
        let _ = $request;
        Weight::Long
    }};
}

proto::for_each_call!(table);

fn of_items(items: usize) -> Weight {
    if items > INLINE_ITEMS_MAX { Weight::Long } else { Weight::Inline }
}

/// Runs a call to its end. The answer may have to wait for its commit. A refusal is counted here.
pub(crate) fn run(node: &Node, from: From, call: &Call, taken: CallTimer, waited: &Waited) -> Result<Reply, CallError> {
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
        Err(closed) => return standby_read::run(node, from, call, closed, waited),
    };
    let reply = execute(node, from, call, By::Primary, waited);
    // Also after a refusal: parts of a large batch may be in the log.
    node.commit_appended();
    reply.map(|mut reply| {
        reply.epoch = epoch;
        #[cfg(feature = "faults")]
        node.pending_fault.answer_early(&mut reply.wait_seq);
        reply
    })
}

/// `by`: the role in which this member answers. A standby is only asked what the contract lets it
/// answer.
pub(crate) fn execute(node: &Node, from: From, call: &Call, by: By, waited: &Waited) -> Result<Reply, CallError> {
    match call {
        Call::Heartbeat(request) => segments::heartbeat(node, from, request),
        Call::MountSegment(request) => segments::mount(node, from, request),
        Call::RemountSegments(request) => segments::remount(node, from, request),
        Call::UnmountSegment(request) => segments::unmount(node, from, request),
        Call::ListSegments(request) => segments::list(node, request, by),
        Call::PutStart(request) => put::start(node, from, request),
        Call::PutEnd(request) => put::end(node, from, request),
        Call::PutRevoke(request) => put::revoke(node, from, request),
        Call::GetReplicas(request) => read::get_replicas(node, request, by),
        Call::Exists(request) => read::exists(node, request, by),
        Call::Remove(request) => remove::remove(node, from, request),
        Call::RemoveMatching(request) => remove::remove_matching(node, from, request, waited),
        Call::RemoveAll(request) => remove::remove_all(node, from, request, waited),
        Call::ListKeys(request) => read::list_keys(node, request, by, waited),
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
        check_size(length, reply.kind)?;
        let mut out = BytesMut::new();
        put_message(&mut out, length, message);
        Ok(out.freeze())
    }
    macro_rules! table {
        ($($name:ident($message:ident);)+) => {
            match &reply.answer {
                Answer::Error(error) => Err(error.clone()),
                $(Answer::$name(message) => framed(message, reply),)+
            }
        };
    }
    proto::for_each_answer!(table)
}
