//! What this client has mounted, and how it stands with the master.
//!
//! Invariants: a segment is remembered from its accepted mount until its unmount is asked for; mounts, remounts and
//! unmounts happen one after the other, so that no remount works from a list that is being changed.
//!
//! Deliberately absent: what is known about segments of other clients.

use std::collections::BTreeMap;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::timeout_at;

use crate::error::Error;
use crate::ids::{Position, SegmentId};
use crate::trip::{Ran, Trip};
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
    /// Segments that the master refused to mount again. They are forgotten; mount them anew.
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
    /// It has not answered for a whole time to live, and may have given up this client and its segments.
    Silent,
}

/// The segments of this client, by id.
pub(crate) type Segments = BTreeMap<SegmentId, Segment>;

#[derive(Debug)]
pub(crate) struct Mounts {
    segments: Mutex<Segments>,
    state: watch::Sender<ClientState>,
}

impl Mounts {
    pub(crate) fn new() -> Mounts {
        Mounts { segments: Mutex::default(), state: watch::Sender::default() }
    }

    /// The segments, for as long as the guard lives.
    pub(crate) async fn lock(&self, trip: &Trip) -> Result<MutexGuard<'_, Segments>, Error> {
        let late = |_| trip.gave_up(Ran::No, "another mount or unmount of this client is under way");
        timeout_at(trip.deadline, self.segments.lock()).await.map_err(late)
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
