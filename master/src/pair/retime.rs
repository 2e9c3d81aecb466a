//! Changing what all members go by: the election's part of it, which stands in the record.
//!
//! Deliberately absent: when the change is safe. The election sees to that.

use std::time::Duration;

use election::{Timing, TimingError};
use tokio::time::{Instant, timeout_at};

use crate::pair::Pair;
use crate::pair::seat::Seat;

/// A change of the in-sync set goes first, and the coordinator may need several attempts. Before callers give up.
const RETIMED_WITHIN: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotRetimed {
    #[error("this member is not the primary")]
    NotPrimary { epoch: u64 },
    #[error(transparent)]
    Rule(#[from] TimingError),
    #[error("the coordinator has not confirmed the change, which may still happen: `understudy config get` tells")]
    Unknown,
}

impl From<member::NotRetimed> for NotRetimed {
    fn from(why: member::NotRetimed) -> NotRetimed {
        match why {
            member::NotRetimed::NotPrimary { epoch } => NotRetimed::NotPrimary { epoch },
            member::NotRetimed::Rule(rule) => NotRetimed::Rule(rule),
        }
    }
}

impl Pair {
    pub(crate) fn has_seen_a_record(&self) -> bool {
        self.seat.look(|member, _| member.election().seen().is_some())
    }

    pub(crate) fn timing(&self) -> Timing {
        self.seat.look(|member, _| *member.election().timing())
    }

    /// Tells the version of the record that says so.
    pub(crate) async fn retime(&self, changes: &[(String, u64)]) -> Result<u64, NotRetimed> {
        let until = Instant::now() + RETIMED_WITHIN;
        let mut seen = self.seat.seen();
        self.seat.with(|member, now| member.retime(changes, now))?;
        loop {
            match version_of(&self.seat, changes) {
                Some(Ok(version)) => return Ok(version),
                Some(Err(why)) => return Err(why),
                None => {}
            }
            // A change of the record is a later version.
            if timeout_at(until, seen.changed()).await.is_err() {
                return Err(NotRetimed::Unknown);
            }
        }
    }
}

/// `None`: it is not so yet.
fn version_of(seat: &Seat, changes: &[(String, u64)]) -> Option<Result<u64, NotRetimed>> {
    let is_so = |timing: Timing| changes.iter().all(|(name, value)| timing.with(name, *value) == Some(timing));
    seat.look(|member, _| match member.election().record() {
        None => Some(Err(NotRetimed::Unknown)),
        Some(known) if known.record.timing.is_some_and(is_so) => Some(Ok(known.record.version)),
        Some(_) => None,
    })
}
