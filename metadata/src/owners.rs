//! What each client has here: its segments, its work under way, its tasks.
//!
//! Invariant: who has something here is a client that the ledger knows. Deliberately absent:
//! whether it is alive.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{Address, ItemId, TenantIx};
use oplog::ClientId;

use crate::hash::KeyHash;
use crate::types::{SegmentIx, TaskId};

#[derive(Debug, Default)]
pub(crate) struct Owner {
    pub(crate) segments: BTreeSet<SegmentIx>,
    /// Those of them that are not going.
    pub(crate) living: BTreeSet<SegmentIx>,
    /// In all of its segments.
    pub(crate) segment_bytes: u64,
    /// Puts and transfers under way, oldest first, with where to find their objects.
    pub(crate) unfinished: BTreeMap<ItemId, Unfinished>,
    /// Waiting for it or assigned to it.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Volatile.
    pub(crate) host: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Unfinished {
    pub(crate) hash: KeyHash,
    pub(crate) tenant: TenantIx,
    /// Volatile.
    pub(crate) since_ms: u64,
    /// Volatile: whose share its pieces are counted in.
    pub(crate) from: Option<Address>,
    /// Replicas that its client may be writing.
    pub(crate) pieces: u64,
}

impl Owner {
    /// Nothing of it is left to clean up.
    pub(crate) fn is_bare(&self) -> bool {
        self.segments.is_empty() && self.unfinished.is_empty() && self.tasks.is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// Ordered, so that steps over it are the same in every run.
    by_id: BTreeMap<ClientId, Owner>,
}

impl Owners {
    pub(crate) fn get(&self, id: ClientId) -> Option<&Owner> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut Owner> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn ensure(&mut self, id: ClientId) -> &mut Owner {
        self.by_id.entry(id).or_default()
    }

    /// A piece of work under way is given up; it goes on counting for this address until its space is free.
    pub(crate) fn give_up_piece(&mut self, (client, id): (ClientId, ItemId)) -> Option<Address> {
        let work = self.by_id.get_mut(&client)?.unfinished.get_mut(&id)?;
        work.pieces = work.pieces.checked_sub(1)?;
        work.from
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientId, &Owner)> {
        self.by_id.iter().map(|(id, owner)| (*id, owner))
    }

    pub(crate) fn is_bare(&self, id: ClientId) -> bool {
        self.get(id).is_none_or(Owner::is_bare)
    }

    pub(crate) fn remove(&mut self, id: ClientId) {
        self.by_id.remove(&id);
    }
}
