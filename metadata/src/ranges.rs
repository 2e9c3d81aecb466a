//! What memory and which directories each client has mounted, in order: whether a new segment would share some is told
//! without a look at the others.
//!
//! Addresses and directories are a client's own: two clients may well have segments at the same ones.
//!
//! Invariant: no two ranges of one client share a byte, and no two of its disk segments a directory.

use std::collections::BTreeMap;

use oplog::ClientId;

use crate::types::{SegmentIx, SegmentKind};

#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Ranges {
    /// Start to end.
    memory: BTreeMap<(ClientId, u64), (u64, SegmentIx)>,
    directories: BTreeMap<(ClientId, String), SegmentIx>,
}

/// What a segment takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent<'a> {
    pub(crate) client: ClientId,
    pub(crate) kind: SegmentKind,
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) path: &'a str,
}

impl Extent<'_> {
    fn directory(&self) -> (ClientId, String) {
        (self.client, self.path.trim_end_matches('/').to_owned())
    }
}

impl Ranges {
    /// Of the segments that take some of the same, the last one.
    pub(crate) fn sharing(&self, extent: &Extent<'_>) -> Option<SegmentIx> {
        let Extent { client, kind, base, size, .. } = *extent;
        match kind {
            SegmentKind::Memory => {
                let below_end = (client, 0)..(client, base + size);
                let (_, (end, ix)) = self.memory.range(below_end).next_back()?;
                (*end > base).then_some(*ix)
            }
            SegmentKind::Disk => self.directories.get(&extent.directory()).copied(),
        }
    }

    pub(crate) fn insert(&mut self, extent: &Extent<'_>, ix: SegmentIx) {
        let Extent { client, kind, base, size, .. } = *extent;
        match kind {
            SegmentKind::Memory => drop(self.memory.insert((client, base), (base + size, ix))),
            SegmentKind::Disk => drop(self.directories.insert(extent.directory(), ix)),
        }
    }

    pub(crate) fn remove(&mut self, extent: &Extent<'_>) {
        match extent.kind {
            SegmentKind::Memory => drop(self.memory.remove(&(extent.client, extent.base))),
            SegmentKind::Disk => drop(self.directories.remove(&extent.directory())),
        }
    }
}
