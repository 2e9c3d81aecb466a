//! What this client has mounted, and how it stands with the master.
//!
//! ```text
//!   accepted ──► Mounted ◄──────────► Waiting          refused at a remount for a reason that passes: asked again
//!                   └──► GivenUp ◄──────┘              for one that does not: not asked again, and kept to be seen
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

/// How the client stands with the master, as of the last sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ClientState {
    /// Whether the master knows us.
    pub liveness: Liveness,
    /// Tasks wait for this client: fetch them.
    pub tasks_waiting: bool,
    /// Times that the master had forgotten our segments and they were mounted again.
    pub remounts: u64,
    /// Segments that came back empty at a remount: what was in them is gone.
    pub segments_emptied: u64,
    /// Segments that wait to be mounted again: the master could not take them yet (see
    /// `Client::segments`).
    pub segments_waiting: u64,
    /// Times that the master refused to mount a segment again for good. `Client::segments` says
    /// which, and why.
    pub segments_refused: u64,
    /// Of the last answer.
    pub position: Position,
}

/// Whether the master knows a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Liveness {
    /// No sign of life was answered yet, or none is sent.
    #[default]
    Unheard,
    /// It does.
    Alive,
    /// It does not; what was mounted is being mounted again.
    Remounting,
    /// It has not answered for a whole time to live, and may have given up this client and its
    /// segments.
    Silent,
}

/// A segment of this client, and whether the master has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnSegment {
    /// As it was mounted.
    pub segment: Segment,
    /// Whether it is.
    pub mount: Mount,
}

/// How a segment stands that was mounted once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mount {
    /// It is mounted, for all that is known.
    Mounted,
    /// The master had forgotten it and cannot take it yet: what it held is still being dropped, or
    /// it is overloaded. It is asked again at each sign of life.
    Waiting(Refused),
    /// The master had forgotten it and will not take it. It is not asked again: mount it anew, with
    /// another id, name or range as the reason says, or unmount it, and it is gone from here.
    GivenUp(Refused),
}

/// Whether the same mount may be taken later. What this version does not know may pass, for all it
/// knows.
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

/// The right to change what is mounted; the next one waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    mounts: &'a Mounts,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// What was asked for, and what the master said to each.
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

    /// What a remount has to name.
    pub(crate) fn wanted(&self) -> Vec<Segment> {
        let segments = self.mounts.segments.lock();
        let wanted = segments.values().filter(|own| !matches!(own.mount, Mount::GivenUp(_)));
        wanted.map(|own| own.segment.clone()).collect()
    }

    /// What the master said to each that it was asked to mount again.
    pub(crate) fn remounted(&self, asked: &[Segment], results: Vec<Result<Mounted, Refused>>) {
        let mut segments = self.mounts.segments.lock();
        let mut given_up = 0;
        for (segment, result) in asked.iter().zip(results) {
            // Nobody else has changed the list: it is our turn.
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

    /// The right to change what is mounted, for as long as it is kept.
    pub(crate) async fn turn(&self, trip: &Trip) -> Result<Turn<'_>, Error> {
        let late = |_| trip.gave_up(Ran::No, "another mount or unmount of this client is under way");
        let turn = timeout_at(trip.deadline, self.turns.lock()).await.map_err(late)?;
        Ok(Turn { mounts: self, _turn: turn })
    }

    pub(crate) fn segments(&self) -> Vec<OwnSegment> {
        self.segments.lock().values().cloned().collect()
    }

    /// How many are to be asked for again.
    pub(crate) fn waiting(&self) -> u64 {
        let segments = self.segments.lock();
        segments.values().filter(|own| matches!(own.mount, Mount::Waiting(_))).count() as u64
    }

    pub(crate) fn state(&self) -> watch::Receiver<ClientState> {
        self.state.subscribe()
    }

    /// Wakes who watches, if there is a change.
    pub(crate) fn update(&self, change: impl FnOnce(&mut ClientState)) {
        self.state.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
    }
}
