//! One object from its start to its end. The caller writes the bytes in between.
//!
//! Invariants: a put that is dropped without an end is revoked, so that its space does not wait for
//! the put's time-out (for a start whose caller has given up, see `starting`); an end with an
//! unknown outcome is not followed by a revoke, since readers may have the object already.
//!
//! Deliberately absent: how the bytes travel.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proto::v1::ReplicaScope;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::answers::{PutStarted, PutsStarted};
use crate::client::Client;
use crate::error::Error;
use crate::ids::Position;
use crate::items::{PutEndItem, PutRevokeItem, PutStartItem};
use crate::types::Replica;

/// The most revokes of dropped puts under way at once.
pub(crate) const REVOKES_MAX: usize = 256;

/// A put under way. Write the bytes to all [`Put::replicas`], then call [`Put::end`]. If it is
/// dropped without that, it is revoked in the background.
#[derive(Debug)]
#[must_use = "a put that is dropped is revoked"]
pub struct Put {
    client: Client,
    runtime: Handle,
    key: Bytes,
    size: u64,
    started: PutStarted,
    finish_by: Instant,
    /// An end or a revoke was asked for.
    finished: bool,
}

impl Put {
    pub(crate) fn new(client: Client, runtime: Handle, item: PutStartItem, answer: PutsStarted) -> Result<Put, Error> {
        let PutsStarted { finish_by, results, .. } = answer;
        let started = results.into_iter().next().expect("one item has one result")?;
        Ok(Put { client, runtime, key: item.key, size: item.size, started, finish_by, finished: false })
    }

    /// Where to write.
    pub fn replicas(&self) -> &[Replica] {
        &self.started.replicas
    }

    /// Identifies this put.
    pub fn put_id(&self) -> u64 {
        self.started.put_id
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Bytes to write.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The put is discarded if it is not ended by then.
    pub fn finish_by(&self) -> Instant {
        self.finish_by
    }

    /// All bytes are written: readers find the object from now on. The checksum is stored with it.
    pub async fn end(mut self, checksum: Option<u64>) -> Result<Position, Error> {
        let item = PutEndItem { key: self.key.clone(), put_id: self.started.put_id, checksum };
        // Whatever the outcome of the call, it may arrive.
        self.finished = true;
        let ended = self.client.put_end(&[item], ReplicaScope::All).await;
        let answer = match ended {
            Ok(answer) => answer,
            Err(error) => {
                // The call did not arrive, so the put is as it was.
                self.finished = !matches!(error, Error::Deadline { .. } | Error::Closed { .. });
                return Err(error);
            }
        };
        let position = answer.position;
        answer.one().map(|()| position)
    }

    /// Gives the put up: its space becomes free.
    pub async fn revoke(mut self) -> Result<Position, Error> {
        self.finished = true;
        let item = PutRevokeItem { key: self.key.clone(), put_id: self.started.put_id };
        let answer = self.client.put_revoke(&[item], ReplicaScope::All).await?;
        let position = answer.position;
        answer.one().map(|()| position)
    }

    fn revoke_in_background(&mut self) {
        let Ok(permit) = Arc::clone(&self.client.life.revokes).try_acquire_owned() else {
            return drop(Left::for_too_many(self.key.clone()));
        };
        let left = Left::with_runtime(self.key.clone());
        self.runtime.spawn(revoke(self.client.clone(), self.started.put_id, left, permit));
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        if !self.finished {
            self.revoke_in_background();
        }
    }
}

async fn revoke(client: Client, put_id: u64, left: Left, _permit: OwnedSemaphorePermit) {
    let item = PutRevokeItem { key: left.key.clone(), put_id };
    let revoked = client.put_revoke(&[item], ReplicaScope::All).await;
    let error = match revoked.and_then(crate::answers::Items::one) {
        Ok(()) => return left.revoked(),
        Err(error) => error,
    };
    left.revoked();
    tracing::debug!(put_id, "revoke of a dropped put: {error}; it is left to the put's time-out");
}

/// Logs that a dropped put could not be revoked: a runtime that has ended drops its tasks silently.
pub(crate) struct Left {
    key: Bytes,
    why: &'static str,
}

impl Left {
    /// Until its task runs.
    pub(crate) fn with_runtime(key: Bytes) -> Left {
        Left { key, why: "its runtime has ended" }
    }

    pub(crate) fn for_too_many(key: Bytes) -> Left {
        Left { key, why: "too many others are being revoked" }
    }

    pub(crate) fn revoked(mut self) {
        self.why = "";
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if !self.why.is_empty() {
            let key = String::from_utf8_lossy(&self.key);
            tracing::warn!(%key, "a dropped put is left to its time-out: {}", self.why);
        }
    }
}
