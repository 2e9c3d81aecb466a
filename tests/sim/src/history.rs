//! All entries that any primary ever wrote, as a tree, with which the checks compare members.
//!
//! An epoch has one writer and one place where it begins, so a position identifies an entry and
//! everything before it. A member's log is identified by its end.
//!
//! Deliberately absent: which branch is the right one. Acknowledgements decide that.

use std::collections::BTreeMap;

use election::Incarnation;
use oplog::{ClientId, Digest, Position};

#[derive(Debug)]
struct Epoch {
    writer: Incarnation,
    /// The position of the entry before its first one.
    begins_after: Position,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    epochs: BTreeMap<u64, Epoch>,
    /// The digest of the state right after each entry.
    digests: BTreeMap<Position, Digest>,
    /// Each request, with the entries that have its result.
    requests: BTreeMap<(ClientId, u64), Vec<Position>>,
    /// For requests whose answer may consist of several entries.
    parts_max: BTreeMap<(ClientId, u64), usize>,
}

impl History {
    /// Returns which member has begun this epoch before.
    pub(crate) fn begin(&mut self, epoch: u64, writer: Incarnation, begins_after: Position) -> Option<Incarnation> {
        self.epochs.insert(epoch, Epoch { writer, begins_after }).map(|before| before.writer)
    }

    pub(crate) fn set_digest(&mut self, at: Position, digest: Digest) {
        self.digests.insert(at, digest);
    }

    pub(crate) fn digest(&self, at: Position) -> Option<Digest> {
        self.digests.get(&at).copied()
    }

    pub(crate) fn may_have_parts(&mut self, request: (ClientId, u64), parts_max: usize) {
        self.parts_max.insert(request, parts_max);
    }

    /// Returns where this log already has all the entries that the same request may have.
    pub(crate) fn ran(&mut self, request: (ClientId, u64), at: Position) -> Option<Position> {
        let parts_max = self.parts_max.get(&request).copied().unwrap_or(1);
        let before = self.requests.get(&request).into_iter().flatten().copied();
        let mut here = before.filter(|before| self.contains(at, *before));
        let twice = here.nth(parts_max - 1);
        self.requests.entry(request).or_default().push(at);
        twice
    }

    /// Where in the log that ends at `end` the result of a request is.
    pub(crate) fn entry_of(&self, request: (ClientId, u64), end: Position) -> Option<Position> {
        self.requests.get(&request).into_iter().flatten().copied().find(|at| self.contains(end, *at))
    }

    /// The epoch of the entry `seq` in the log that ends at `end`.
    pub(crate) fn epoch_at(&self, end: Position, seq: u64) -> Option<u64> {
        let mut end = end;
        if seq > end.seq {
            return None;
        }
        while let Some(epoch) = self.epochs.get(&end.epoch) {
            if seq > epoch.begins_after.seq {
                return Some(end.epoch);
            }
            end = epoch.begins_after;
        }
        Some(0)
    }

    /// Whether the log that ends at `end` has the entry `at`, and so all before it.
    pub(crate) fn contains(&self, end: Position, at: Position) -> bool {
        self.epoch_at(end, at.seq) == Some(at.epoch)
    }

    /// An entry at one of these ends of epochs that is not in the log which ends with the last one.
    pub(crate) fn stray(&self, ends: &[Position]) -> Option<Position> {
        let last = *ends.last()?;
        ends.iter().copied().find(|at| !self.contains(last, *at))
    }
}
