//! From a call that has run to an answer that may go out: its commit. The gate is asked once more
//! after that.
//!
//! An operator is shown what a member holds, whatever the gate says, and with it whether a client
//! could be told so.
//!
//! Invariant: a mutation that has run is never refused with a reason that says it did not run.

use std::time::Duration;

use oplog::{CloseReason, Position, WaitError};
use proto::status;
use proto::v1::CallError;

use crate::gate::{Effect, deposed};
use crate::grpc::reply::Reply;
use crate::grpc::standby_read;
use crate::node::Node;

pub(crate) fn is_committed(node: &Node, reply: &Reply) -> bool {
    node.tail().committed().get() >= reply.wait_seq
}

pub(crate) async fn committed(node: &Node, reply: &Reply) -> Result<(), CallError> {
    let tail = node.tail();
    // The tail is the one that it ran on, or another one was put in its place, and then the gate
    // knows that.
    node.gate.check_answer(reply.effect, reply.epoch)?;
    tail.committed().wait(reply.wait_seq).await.map_err(|why| never_committed(reply.effect, why))
}

/// What was just appended is mostly committed within a millisecond; an operator waits this long for
/// it.
const SETTLED_WITHIN_TURNS: u32 = 50;
const SETTLED_TURN: Duration = Duration::from_millis(2);

/// As [`is_settled`], once what is under way had time to be committed. For threads that may wait.
pub(crate) fn settles(node: &Node, open: &Result<u64, CallError>, at: Position) -> bool {
    let is_under_way = || match open {
        Ok(epoch) => node.tail().committed().get() < at.seq && node.gate.check_answer(Effect::Reads, *epoch).is_ok(),
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

/// Whether this node could tell a client at this moment what it has shown, which is all at or
/// before `at`: it is committed, and no other member can have taken it back. `open`: what the gate
/// said before that was looked at. A caller that has looked at a state asks afterwards whether it
/// is still the one that this node holds.
pub(crate) fn is_settled(node: &Node, open: &Result<u64, CallError>, at: Position) -> bool {
    match open {
        Ok(epoch) => node.tail().committed().get() >= at.seq && node.gate.check_answer(Effect::Reads, *epoch).is_ok(),
        Err(closed) => standby_read::is_settled(node, at, closed),
    }
}

/// Why an answer will not go out.
pub(crate) fn never_committed(effect: Effect, why: WaitError) -> CallError {
    match (effect, why) {
        (Effect::Reads | Effect::ReadsStandby, WaitError::Overloaded(full)) => {
            status::overloaded_by(full.bound, full.retry_after_ms)
        }
        (Effect::Mutates, WaitError::Overloaded(full)) => CallError {
            retry_after_ms: full.retry_after_ms,
            ..status::outcome_unknown(format_args!("it ran, but there was no room to wait for its commit: {full}"))
        },
        (Effect::Reads | Effect::ReadsStandby, WaitError::Closed(CloseReason::ShuttingDown)) => status::shutting_down(),
        (Effect::Mutates, WaitError::Closed(why @ CloseReason::ShuttingDown)) => {
            status::outcome_unknown(format_args!("it ran, but was not committed: {why}"))
        }
        (Effect::Reads | Effect::ReadsStandby, WaitError::Closed(CloseReason::NoTenure)) => status::not_primary("", 0),
        (Effect::Mutates, WaitError::Closed(why @ CloseReason::NoTenure)) => {
            status::outcome_unknown(format_args!("it ran, but was not committed: {why}"))
        }
        (Effect::Reads | Effect::ReadsStandby, WaitError::Closed(CloseReason::Deposed { epoch })) => {
            status::not_primary("", epoch)
        }
        (Effect::Mutates, WaitError::Closed(CloseReason::Deposed { epoch })) => deposed(epoch),
    }
}
