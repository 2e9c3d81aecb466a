//! The probes of orchestrators: does it live, may calls be sent here, would it serve with a
//! complete state if it were promoted.
//!
//! Deliberately absent: probes that change anything, or need a lock of the state. They are called
//! often.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::gate::Standing;
use crate::node::Node;
use crate::pair::Pair;

/// Yes, and in which role; or why not.
pub(crate) type Verdict = Result<&'static str, String>;

/// For the runtime that serves clients to run a new task. If it is busy, this is late by
/// milliseconds.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Also true of a standby and of an overloaded node, since a restart would not help these.
pub(crate) async fn alive(node: &Node, serving: &Handle) -> Verdict {
    if node.gate().standing() == Standing::Stopping {
        return Err("it is stopping".to_owned());
    }
    match timeout(TURN_WITHIN, serving.spawn(async {})).await {
        Ok(Ok(())) => Ok("alive"),
        Ok(Err(_)) => Err("it has stopped".to_owned()),
        Err(_) => Err(format!("the threads that serve calls have run no new task for {} s", TURN_WITHIN.as_secs())),
    }
}

/// It serves calls, or it could take over and hears from the primary.
pub(crate) fn ready(node: &Node) -> Verdict {
    match (node.gate().check_open(), node.gate().standing(), node.pair()) {
        (Ok(_), _, _) => Ok("primary"),
        (Err(_), Standing::NotPrimary { .. }, Some(pair)) => standby_ready(&pair),
        (Err(closed), _, _) => Err(closed.message),
    }
}

fn standby_ready(pair: &Pair) -> Verdict {
    if let (false, why) = pair.promotable() {
        return Err(why);
    }
    let (last, tenure_ms) =
        pair.seat.look(|member, now| (member.last_heard(now), member.election().timing().tenure_ms));
    match last {
        Some((_, age_ms)) if age_ms < tenure_ms => Ok("standby"),
        Some((_, age_ms)) => Err(format!("nothing was heard of the primary for {age_ms} ms")),
        None => Err("nothing was heard of the primary yet".to_owned()),
    }
}

pub(crate) fn promotable(node: &Node) -> Verdict {
    if node.gate().standing() == Standing::Stopping {
        return Err("it is stopping".to_owned());
    }
    match node.pair().map(|pair| pair.promotable()) {
        Some((true, _)) => Ok("yes"),
        Some((false, why)) => Err(why),
        None if node.config().cluster.is_on() => Err("it is not yet among the members of its cluster".to_owned()),
        None => Ok("yes"),
    }
}
