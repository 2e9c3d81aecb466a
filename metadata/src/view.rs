//! What readers may know of the directory without its lock: segments and tenants, as of the last change.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::directory::Directory;
use crate::segments::SegmentInfo;
use crate::types::{SegmentIx, TenantIx};

#[derive(Debug, Default)]
pub struct View {
    /// Sorted by number.
    segments: Vec<Arc<SegmentInfo>>,
    tenants: BTreeMap<String, TenantIx>,
    /// What this shows was so at this seq.
    seq: u64,
}

impl View {
    pub(crate) fn of(dir: &Directory, seq: u64) -> View {
        View {
            seq,
            segments: dir.segments.iter().map(|segment| segment.info.clone()).collect(),
            tenants: dir.tenants.iter().enumerate().map(|(ix, tenant)| (tenant.name.clone(), ix as TenantIx)).collect(),
        }
    }

    /// Whoever tells what a segment's state hides must wait for this.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub fn segment(&self, ix: SegmentIx) -> Option<&Arc<SegmentInfo>> {
        self.segments.binary_search_by_key(&ix, |info| info.ix).ok().map(|at| &self.segments[at])
    }

    pub(crate) fn tenant(&self, name: &str) -> Option<TenantIx> {
        if name.is_empty() { Some(0) } else { self.tenants.get(name).copied() }
    }
}
