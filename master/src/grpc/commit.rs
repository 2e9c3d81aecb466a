//! From a call that has run to an answer that may go out: its commit. The gate is asked once more after that.
//!
//! Invariant: a mutation that has run is never refused with a reason that says it did not run.

use oplog::{CloseReason, WaitError};
use proto::status;
use proto::v1::CallError;

use crate::gate::{Effect, deposed};
use crate::grpc::reply::Reply;
use crate::node::Node;

/// Where it is not, its caller is about to wait for it, and the entry does not wait for others to travel with.
pub(crate) fn is_committed(node: &Node, reply: &Reply) -> bool {
    let tail = node.tail();
    let committed = tail.committed().get() >= reply.wait_seq;
    if !committed {
        tail.awaited().advance(reply.wait_seq);
    }
    committed
}

pub(crate) async fn committed(node: &Node, reply: &Reply) -> Result<(), CallError> {
    let tail = node.tail();
    // The tail is the one that it ran on, or another one was put in its place, and then the gate knows that.
    node.gate.check_answer(reply.effect, reply.epoch)?;
    tail.committed().wait(reply.wait_seq).await.map_err(|why| never_committed(reply.effect, why))
}

/// Why an answer will not go out.
pub(crate) fn never_committed(effect: Effect, why: WaitError) -> CallError {
    match (effect, why) {
        (Effect::Reads | Effect::ReadsStandby, WaitError::Overloaded(full)) => {
            status::overloaded_at("tail_waiters", full.retry_after_ms)
        }
        (Effect::Mutates, WaitError::Overloaded(full)) => CallError {
            retry_after_ms: full.retry_after_ms,
            ..status::outcome_unknown(format_args!("it ran, but nobody could wait for its commit: {full}"))
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
