//! The task that sends heartbeats, and mounts all segments again when the primary has forgotten
//! them.
//!
//! Invariants: a heartbeat goes out every third of the time to live that the primary last named,
//! even while the window of calls is full; a remount names all segments that are mounted at that
//! moment; segments that the primary cannot mount yet are named again with each heartbeat.
//!
//! Deliberately absent: giving up. A member that is away comes back, or another one takes its
//! place.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::heartbeat_response;
use tokio::time::{Instant, sleep_until};

use crate::answers::{Heard, Mounted};
use crate::calls::{Heartbeat, RemountSegments};
use crate::convert;
use crate::error::Error;
use crate::link::Link;
use crate::mounts::Liveness;
use crate::trip::{Terms, Trip, Window};
use proto::v1;

/// Until the primary has named a time to live.
const CLIENT_TTL_FIRST: Duration = Duration::from_secs(10);
/// No more often than this, whatever the primary names.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Runs until it is dropped.
pub(crate) async fn keep_alive(link: Arc<Link>) {
    let mut client_ttl = CLIENT_TTL_FIRST;
    let mut heard_at = Instant::now();
    loop {
        let began = Instant::now();
        let interval = (client_ttl / 3).max(INTERVAL_MIN);
        match heartbeat(&link, interval).await {
            Ok(heard) => {
                heard_at = began;
                client_ttl = ttl_or_first(heard.client_ttl);
                on_heard(&link, heard).await;
            }
            Err(error) => on_silence(&link, &error, heard_at.elapsed() >= client_ttl),
        }
        sleep_until(began + (client_ttl / 3).max(INTERVAL_MIN)).await;
    }
}

fn ttl_or_first(client_ttl: Duration) -> Duration {
    if client_ttl.is_zero() { CLIENT_TTL_FIRST } else { client_ttl }
}

/// One heartbeat.
pub(crate) async fn heartbeat(link: &Link, deadline: Duration) -> Result<Heard, Error> {
    let host = link.options.host.clone();
    let request = |caller| Heartbeat(v1::HeartbeatRequest { caller: Some(caller), host });
    let mut answer = link.call(terms(link, deadline), request).await?;
    link.way.lock().route.learn(std::mem::take(&mut answer.members));
    Ok(Heard {
        position: convert::position(answer.position),
        needs_remount: answer.state() == heartbeat_response::ClientState::NeedsRemount,
        client_ttl: Duration::from_millis(answer.client_ttl_ms.into()),
        tasks_waiting: answer.tasks_waiting,
    })
}

fn terms(link: &Link, deadline: Duration) -> Terms<'_> {
    Terms { tenant: &link.options.tenant, deadline, window: Window::Passes, sent: None }
}

fn on_silence(link: &Link, error: &Error, ttl_is_over: bool) {
    tracing::debug!("heartbeat: {error}");
    if ttl_is_over {
        link.mounts.update(|state| state.liveness = Liveness::Silent);
    }
}

async fn on_heard(link: &Link, heard: Heard) {
    link.mounts.update(|state| {
        state.liveness = if heard.needs_remount { Liveness::Remounting } else { Liveness::Alive };
        state.tasks_waiting = heard.tasks_waiting;
        state.position = heard.position;
    });
    let due = heard.needs_remount || link.mounts.waiting() > 0;
    // Waits for its answer however long that takes, since it tells which segments have lost their
    // objects.
    if due && let Err(error) = remount_all(link, link.options.deadline, heard.needs_remount).await {
        tracing::warn!("mounting all segments again: {error}; tried again with the next heartbeat");
    }
}

/// `forgotten`: the primary has said that it does not know the segments. Otherwise some are still
/// to be mounted, and the others are kept.
async fn remount_all(link: &Link, deadline: Duration, forgotten: bool) -> Result<(), Error> {
    let trip = Trip::new("RemountSegments", true, deadline);
    let turn = link.mounts.turn(&trip).await?;
    let segments = turn.wanted();
    let asked: Vec<_> = segments.iter().map(convert::segment_to_wire).collect();
    let count = asked.len();
    let request = |caller| RemountSegments(v1::RemountSegmentsRequest { caller: Some(caller), segments: asked });
    let answer = link.call(terms(link, deadline), request).await?;
    let results = convert::results("RemountSegments", count, answer.results, |result| Ok(mounted(&result)))?;
    let emptied = results.iter().filter(|result| matches!(result, Ok(Mounted::New))).count();
    turn.remounted(&segments, results);
    link.mounts.update(|state| {
        state.liveness = Liveness::Alive;
        // A client that had nothing mounted has only introduced itself.
        state.remounts += u64::from(forgotten && count > 0);
        state.segments_emptied += emptied as u64;
    });
    Ok(())
}

pub(crate) fn mounted(result: &v1::MountSegmentResult) -> Mounted {
    if result.kept { Mounted::Kept } else { Mounted::New }
}
