//! The segments of this client, and their state at the primary.
//!
//! ```text
//!   accepted ──► Mounted ◄──────────► Waiting          refused at a remount, for now: asked again
//!                   └──► GivenUp ◄──────┘              refused for good: not asked again, but listed
//! ```
//!
//! Invariants: a segment is remembered from its accepted mount until its unmount is asked for;
//! mounts, remounts and unmounts happen one after the other, so that no remount works from a list
//! that is being changed.
//!
//! Deliberately absent: what is known about segments of other clients.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use proto::status::{Retry, retry};
use proto::v1::Reason;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::answers::Mounted;
use crate::attempts::Ran;
use crate::error::{Error, Refused};
use crate::ids::{Position, SegmentId};
use crate::trip::Trip;
use crate::types::Segment;

/// The client's state at the primary, as of the last heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ClientState {
    /// Whether the primary knows the client.
    pub liveness: Liveness,
    /// Tasks wait for this client: fetch them.
    pub tasks_waiting: bool,
    /// How often the primary had forgotten the segments and they were mounted again.
    pub remounts: u64,
    /// Segments that came back empty at a remount: their objects are gone.
    pub segments_emptied: u64,
    /// Segments that wait to be mounted again: the primary cannot mount them yet (see
    /// `Client::segments`).
    pub segments_waiting: u64,
    /// How often the primary refused for good to mount a segment again. `Client::segments` says
    /// which, and why.
    pub segments_refused: u64,
    /// The position of the last answer.
    pub position: Position,
}

/// Whether the primary knows a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Liveness {
    /// No heartbeat was answered yet, or none is sent.
    #[default]
    Unheard,
    /// It knows the client.
    Alive,
    /// It does not. The client's segments are being mounted again.
    Remounting,
    /// It has not answered for a whole time to live, and may have dropped this client and its
    /// segments.
    Silent,
}

/// A segment of this client, and its state at the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnSegment {
    /// The segment as it was mounted.
    pub segment: Segment,
    /// Its state.
    pub mount: Mount,
}

/// The state of a segment that was mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mount {
    /// It is mounted, as far as is known.
    Mounted,
    /// The primary had forgotten it and cannot mount it yet: it still drops the old objects, or is
    /// overloaded. The client asks again with each heartbeat.
    Waiting(Refused),
    /// The primary had forgotten it and refuses to mount it. The client does not ask again. Mount
    /// it with another id, name or range, as the reason says, or unmount it; then it leaves this
    /// list.
    GivenUp(Refused),
}

/// Whether the same mount may succeed later. A reason that this version does not know may pass.
fn passes(refused: &Refused) -> bool {
    refused.reason == Reason::Unspecified || retry(refused.reason) != Retry::No
}

/// The segments of this client, by id.
type Segments = BTreeMap<SegmentId, OwnSegment>;

#[derive(Debug)]
pub(crate) struct Mounts {
    turns: tokio::sync::Mutex<()>,
    segments: Mutex<Segments>,
    state: watch::Sender<ClientState>,
}

/// The right to change what is mounted. The next caller waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    mounts: &'a Mounts,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// The segments that were asked for, and the result of each.
    pub(crate) fn mounted(&self, asked: &[Segment], results: &[Result<Mounted, Refused>]) {
        let mut segments = self.mounts.segments.lock();
        let accepted = asked.iter().zip(results).filter(|(_, result)| result.is_ok());
        segments.extend(
            accepted.map(|(segment, _)| (segment.id, OwnSegment { segment: segment.clone(), mount: Mount::Mounted })),
        );
    }

    pub(crate) fn forget(&self, forgotten: impl Fn(&SegmentId) -> bool) {
        self.mounts.segments.lock().retain(|id, _| !forgotten(id));
    }

    /// The segments that a remount must name.
    pub(crate) fn wanted(&self) -> Vec<Segment> {
        let segments = self.mounts.segments.lock();
        let wanted = segments.values().filter(|own| !matches!(own.mount, Mount::GivenUp(_)));
        wanted.map(|own| own.segment.clone()).collect()
    }

    /// The segments that were to be mounted again, and the result of each.
    pub(crate) fn remounted(&self, asked: &[Segment], results: Vec<Result<Mounted, Refused>>) {
        let mut segments = self.mounts.segments.lock();
        let mut given_up = 0;
        for (segment, result) in asked.iter().zip(results) {
            // No other task has changed the list, since this one has the turn.
            let Some(own) = segments.get_mut(&segment.id) else { continue };
            own.mount = match result {
                Ok(_) => Mount::Mounted,
                Err(refused) if passes(&refused) => {
                    tracing::info!(id = %segment.id, name = segment.name, "not mounted again yet: {refused}");
                    Mount::Waiting(refused)
                }
                Err(refused) => {
                    tracing::warn!(id = %segment.id, name = segment.name, "segment is not mounted again: {refused}");
                    given_up += 1;
                    Mount::GivenUp(refused)
                }
            };
        }
        drop(segments);
        let waiting = self.mounts.waiting();
        self.mounts.update(|state| {
            state.segments_refused += given_up;
            state.segments_waiting = waiting;
        });
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let waiting = self.mounts.waiting();
        self.mounts.update(|state| state.segments_waiting = waiting);
    }
}

impl Mounts {
    pub(crate) fn new() -> Mounts {
        Mounts { turns: tokio::sync::Mutex::default(), segments: Mutex::default(), state: watch::Sender::default() }
    }

    /// Gets the right to change what is mounted, for as long as the result is kept.
    pub(crate) async fn turn(&self, trip: &Trip) -> Result<Turn<'_>, Error> {
        let late = |_| trip.gave_up(Ran::No, "another mount or unmount of this client is under way");
        let turn = timeout_at(trip.deadline, self.turns.lock()).await.map_err(late)?;
        Ok(Turn { mounts: self, _turn: turn })
    }

    pub(crate) fn segments(&self) -> Vec<OwnSegment> {
        self.segments.lock().values().cloned().collect()
    }

    /// How many segments must be asked for again.
    pub(crate) fn waiting(&self) -> u64 {
        let segments = self.segments.lock();
        segments.values().filter(|own| matches!(own.mount, Mount::Waiting(_))).count() as u64
    }

    pub(crate) fn state(&self) -> watch::Receiver<ClientState> {
        self.state.subscribe()
    }

    /// Wakes the watchers if anything has changed.
    pub(crate) fn update(&self, change: impl FnOnce(&mut ClientState)) {
        self.state.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
    }
}
