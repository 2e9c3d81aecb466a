//! From a call that has run to an answer that may go out: its commit. The gate is asked once more
//! after that.
//!
//! An operator is shown what a member holds, whatever the gate says, and also whether a client
//! could be told so.
//!
//! Invariant: a mutation that has run is never refused with a reason that says it did not run.

use std::time::Duration;

use oplog::{CloseReason, Position, WaitError};
use proto::status;
use proto::v1::CallError;

use crate::gate::{CallKind, deposed};
use crate::grpc::reply::Reply;
use crate::grpc::standby_read;
use crate::node::Node;

pub(crate) fn is_committed(node: &Node, reply: &Reply) -> bool {
    node.tail().committed().get() >= reply.wait_seq
}

pub(crate) async fn committed(node: &Node, reply: &Reply) -> Result<(), CallError> {
    let tail = node.tail();
    // This is the tail on which it ran. If another one was put in its place, the gate knows that.
    node.gate.check_answer(reply.kind, reply.epoch)?;
    tail.committed().wait(reply.wait_seq).await.map_err(|why| never_committed(reply.kind, why))
}

/// An appended entry is mostly committed within a millisecond. An operator waits this long for it.
const SETTLED_WITHIN_TURNS: u32 = 50;
const SETTLED_TURN: Duration = Duration::from_millis(2);

/// As [`is_settled`], once pending entries had time to be committed. For threads that may block.
pub(crate) fn settles(node: &Node, open: &Result<u64, CallError>, at: Position) -> bool {
    let is_under_way = || match open {
        Ok(epoch) => node.tail().committed().get() < at.seq && node.gate.check_answer(CallKind::Read, *epoch).is_ok(),
        Err(_) => false,
    };
    for _ in 0..SETTLED_WITHIN_TURNS {
        if !is_under_way() {
            break;
        }
        std::thread::sleep(SETTLED_TURN);
    }
    is_settled(node, open, at)
}

/// Whether this node could tell a client at this moment what it has shown, all of which is at or
/// before `at`: it is committed, and no other member can have taken it back. `open`: what the gate
/// said before that was read. A caller that has read a state asks afterwards whether this node
/// still holds it.
pub(crate) fn is_settled(node: &Node, open: &Result<u64, CallError>, at: Position) -> bool {
    match open {
        Ok(epoch) => node.tail().committed().get() >= at.seq && node.gate.check_answer(CallKind::Read, *epoch).is_ok(),
        Err(closed) => standby_read::is_settled(node, at, closed),
    }
}

/// Why an answer will not go out.
pub(crate) fn never_committed(kind: CallKind, why: WaitError) -> CallError {
    match (kind, why) {
        (CallKind::Read | CallKind::StandbyRead, WaitError::Overloaded(full)) => {
            status::overloaded_by(full.bound, full.retry_after_ms)
        }
        (CallKind::Mutation, WaitError::Overloaded(full)) => CallError {
            retry_after_ms: full.retry_after_ms,
            ..status::outcome_unknown(format_args!("it ran, but there was no room to wait for its commit: {full}"))
        },
        (CallKind::Read | CallKind::StandbyRead, WaitError::Closed(CloseReason::ShuttingDown)) => {
            status::shutting_down()
        }
        (CallKind::Mutation, WaitError::Closed(why @ CloseReason::ShuttingDown)) => {
            status::outcome_unknown(format_args!("it ran, but was not committed: {why}"))
        }
        (CallKind::Read | CallKind::StandbyRead, WaitError::Closed(CloseReason::NoTenure)) => {
            status::not_primary("", 0)
        }
        (CallKind::Mutation, WaitError::Closed(why @ CloseReason::NoTenure)) => {
            status::outcome_unknown(format_args!("it ran, but was not committed: {why}"))
        }
        (CallKind::Read | CallKind::StandbyRead, WaitError::Closed(CloseReason::Deposed { epoch })) => {
            status::not_primary("", epoch)
        }
        (CallKind::Mutation, WaitError::Closed(CloseReason::Deposed { epoch })) => deposed(epoch),
    }
}
