//! What readers may know of the directory without its lock: segments, tenants and settings, as of the last change.
//!
//! A view is made from the one before: what has not changed is shared. So a change of one segment costs a chunk of them,
//! and a pointer for each other chunk.

use std::collections::BTreeMap;
use std::sync::Arc;

use oplog::Secret;

use crate::directory::Directory;
use crate::segments::SegmentInfo;
use crate::settings::InForce;
use crate::types::{SegmentIx, TenantIx};

/// Numbers of segments in one chunk.
const CHUNK: u32 = 256;

/// Sorted by number.
type Chunk = Arc<[Arc<SegmentInfo>]>;

#[derive(Debug, Default)]
pub struct View {
    /// Sorted by number, none is empty.
    chunks: Vec<(u32, Chunk)>,
    tenants: Arc<BTreeMap<String, TenantIx>>,
    /// They have been the same since.
    tenants_seq: u64,
    /// Of the next one that is made.
    next_tenant: TenantIx,
    secret: Secret,
    in_force: Option<InForce>,
    /// What this shows was so at this seq.
    seq: u64,
}

pub(crate) fn chunk_of(ix: SegmentIx) -> u32 {
    ix / CHUNK
}

impl View {
    /// The next one, where so much has changed since this one was made.
    pub(crate) fn next(&self, dir: &Directory, changed: impl IntoIterator<Item = u32>, seq: u64) -> View {
        let mut chunks = self.chunks.clone();
        for number in changed {
            let first = number * CHUNK;
            let segments = dir.segments.range(first..=first + (CHUNK - 1)).map(|segment| segment.info.clone());
            let chunk: Chunk = segments.collect();
            match (chunks.binary_search_by_key(&number, |(number, _)| *number), chunk.is_empty()) {
                (Ok(at), true) => drop(chunks.remove(at)),
                (Ok(at), false) => chunks[at].1 = chunk,
                (Err(_), true) => {}
                (Err(at), false) => chunks.insert(at, (number, chunk)),
            }
        }
        // A tenant keeps its name and its number. Where none has come, as many are the same ones.
        let next_tenant = dir.tenants.next_ix();
        let (tenants, tenants_seq) = match (self.tenants.len(), self.next_tenant) == (dir.tenants.len(), next_tenant) {
            true => (Arc::clone(&self.tenants), self.tenants_seq),
            false => (Arc::new(dir.tenants.iter().map(|(ix, tenant)| (tenant.name.clone(), ix)).collect()), seq),
        };
        View { chunks, tenants, tenants_seq, next_tenant, secret: dir.secret, in_force: dir.settings.get(), seq }
    }

    /// From nothing.
    pub(crate) fn of(dir: &Directory, seq: u64) -> View {
        let chunks: std::collections::BTreeSet<u32> = dir.segments.iter().map(|s| chunk_of(s.info.ix)).collect();
        View::default().next(dir, chunks, seq)
    }

    /// As if the tenants were the same for as long as in `other`: what they are does not tell.
    pub(crate) fn since(self, other: &View) -> View {
        View { tenants_seq: other.tenants_seq, ..self }
    }

    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    pub(crate) fn in_force(&self) -> Option<InForce> {
        self.in_force
    }

    /// Whoever tells what a segment's state hides must wait for this.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Whoever tells that a tenant holds no such object must wait for this: the name may have been another tenant's before.
    pub(crate) fn tenants_seq(&self) -> u64 {
        self.tenants_seq
    }

    pub fn segment(&self, ix: SegmentIx) -> Option<&Arc<SegmentInfo>> {
        let chunk = self.chunks.binary_search_by_key(&chunk_of(ix), |(number, _)| *number).ok()?;
        let chunk = &self.chunks[chunk].1;
        chunk.binary_search_by_key(&ix, |info| info.ix).ok().map(|at| &chunk[at])
    }

    pub(crate) fn tenant(&self, name: &str) -> Option<TenantIx> {
        if name.is_empty() { Some(0) } else { self.tenants.get(name).copied() }
    }
}
