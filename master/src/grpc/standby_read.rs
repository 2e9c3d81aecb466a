//! Reads that a standby answers, if the caller allows it (`StandbyRead` in the contract).
//!
//! Invariants: the conditions are checked before the read and, if they may have changed meanwhile,
//! after it; a read waits here for at most `standby_read_wait_ms`; if the caller does not allow it,
//! the answer is the gate's.
//!
//! Deliberately absent: when a standby may answer (`member`).

use std::sync::Arc;
use std::time::Duration;

use member::{Asked, Unmet};
use oplog::{Position, ReplicatedState as _};
use proto::status::stale_read;
use proto::v1::session_request::Call;
use proto::v1::{CallError, Reason, StandbyRead};
use tokio::time::{Instant, timeout_at};

use crate::grpc::caller::From;
use crate::grpc::dispatch;
use crate::grpc::long::Waited;
use crate::grpc::read::By;
use crate::grpc::reply::Reply;
use crate::node::Node;
use crate::pair::Pair;

macro_rules! table {
    ($($name:ident($request:ident) -> $answer:ident($message:ident), $method:ident,
       mutates: $mutates:literal, work: $work:tt, standby: $standby:tt;)+) => {
        /// `None`: the contract lets no standby answer it.
        fn asked_of_standby(call: &Call) -> Option<&StandbyRead> {
            match call {
                $(Call::$name(request) => of_standby!(request, $standby),)+
            }
        }
    };
}

macro_rules! of_standby {
    ($request:ident, true) => {
        $request.standby.as_ref()
    };
    ($request:ident, false) => {{
        let _ = $request;
        None
    }};
}

proto::for_each_call!(table);

fn asked(call: &Call) -> Option<Asked> {
    asked_of_standby(call).map(|StandbyRead { min_position, max_staleness_ms }| Asked {
        min_position: min_position.map_or(Position::default(), |at| Position { epoch: at.epoch, seq: at.seq }),
        max_staleness_ms: *max_staleness_ms,
    })
}

/// The member that may answer here, if the gate does not accept the call.
fn standby(node: &Node, call: &Call, closed: &CallError) -> Option<(Arc<Pair>, Asked)> {
    let asked = asked(call).filter(|_| closed.reason() == Reason::NotPrimary)?;
    Some((node.pair()?, asked))
}

fn check(pair: &Pair, applied: Position, asked: Asked) -> Result<(), Unmet> {
    pair.seat.with(|member, now| member.check_read(applied, asked, now))
}

/// Whether this member, as a standby, could tell a client what it has shown, all of which is at or
/// before `at`.
pub(crate) fn is_settled(node: &Node, at: Position, closed: &CallError) -> bool {
    let pair = node.pair().filter(|_| closed.reason() == Reason::NotPrimary);
    pair.is_some_and(|pair| check(&pair, at, Asked::default()).is_ok())
}

/// Whether the call must wait until this member has applied more, and until when.
pub(crate) fn wait(node: &Node, call: &Call) -> Option<impl Future<Output = ()> + Send + use<>> {
    let asked = asked(call)?;
    let (pair, _) = standby(node, call, &node.gate.check_open().err()?)?;
    let unmet = move |pair: &Pair| check(pair, pair.node.state().applied(), asked).err();
    unmet(&pair).filter(|unmet| unmet.passes())?;
    let give_up = Instant::now() + Duration::from_millis(pair.settings.standby_read_wait_ms);
    Some(async move {
        let mut moves = pair.seat.moves();
        loop {
            moves.borrow_and_update();
            if unmet(&pair).is_none_or(|unmet| !unmet.passes()) {
                return;
            }
            if !matches!(timeout_at(give_up, moves.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    })
}

/// This member's answer as a standby. `closed`: what the gate says.
pub(crate) fn run(
    node: &Node,
    from: From,
    call: &Call,
    closed: CallError,
    waited: &Waited,
) -> Result<Reply, CallError> {
    let Some((pair, asked)) = standby(node, call, &closed) else { return Err(closed) };
    let refuse = |unmet| match unmet {
        Unmet::NotFollowing => closed.clone(),
        unmet => stale_read(unmet),
    };
    let held = node.held();
    let applied = held.state.applied();
    check(&pair, applied, asked).map_err(refuse)?;
    let reply = dispatch::execute(node, from, call, By::Standby { applied }, waited)?;
    if !Arc::ptr_eq(&held, &node.held()) {
        return Err(stale_read("this member has replaced its state and log meanwhile"));
    }
    // A long list takes time.
    check(&pair, applied, asked).map_err(refuse)?;
    Ok(reply)
}
