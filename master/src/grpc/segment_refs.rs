//! The segments of an answer, each named once. Replicas refer to this list by index.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use metadata::{Place, SegmentInfo, SegmentIx, SegmentKind, View};
use proto::v1::{Replica, SegmentRef};

/// Up to this length, a linear search is faster than hashing.
const LISTED_MAX: usize = 16;

pub(crate) struct SegmentRefs {
    view: Arc<View>,
    /// In the order of the answer.
    named: Vec<(SegmentIx, Arc<SegmentInfo>)>,
    /// The index of each, once there are many.
    index: HashMap<SegmentIx, u32>,
    /// The one that was last looked up: neighbours often lie in the same segment.
    last: usize,
    path_bytes: usize,
}

impl SegmentRefs {
    pub(crate) fn new(view: Arc<View>) -> SegmentRefs {
        SegmentRefs { view, named: Vec::new(), index: HashMap::new(), last: 0, path_bytes: 0 }
    }

    /// `None`: the segment is gone, as it may be in the answer to a retry.
    pub(crate) fn replica(&mut self, place: Place, complete: bool) -> Option<Replica> {
        let at = self.at(place.segment)?;
        self.last = at;
        let info = &self.named[at].1;
        let (address, path) = match info.kind {
            SegmentKind::Memory => (place.address, String::new()),
            SegmentKind::Disk => (0, info.file_path(place.address)),
        };
        self.path_bytes += path.len();
        Some(Replica { segment: at as u32, address, path, complete })
    }

    /// For all replicas so far: a path may take a kilobyte, and the item that names it in a request
    /// four bytes.
    pub(crate) fn path_bytes(&self) -> usize {
        self.path_bytes
    }

    fn at(&mut self, ix: SegmentIx) -> Option<usize> {
        if self.named.get(self.last).is_some_and(|(named, _)| *named == ix) {
            return Some(self.last);
        }
        let known = match self.named.len() {
            ..=LISTED_MAX => self.named.iter().position(|(named, _)| *named == ix),
            _ => self.index.get(&ix).map(|at| *at as usize),
        };
        known.or_else(|| self.name(ix))
    }

    fn name(&mut self, ix: SegmentIx) -> Option<usize> {
        let info = Arc::clone(self.view.segment(ix)?);
        let at = self.named.len();
        self.named.push((ix, info));
        if at == LISTED_MAX {
            self.index.extend(self.named.iter().enumerate().map(|(at, (ix, _))| (*ix, at as u32)));
        } else if at > LISTED_MAX {
            self.index.insert(ix, at as u32);
        }
        Some(at)
    }

    pub(crate) fn into_refs(self) -> Vec<SegmentRef> {
        self.named.iter().map(|(_, info)| segment_ref(info)).collect()
    }
}

fn segment_ref(info: &SegmentInfo) -> SegmentRef {
    SegmentRef {
        id: Bytes::copy_from_slice(&info.id.0),
        name: info.name.clone(),
        kind: kind_to_wire(info.kind) as i32,
        endpoint: info.endpoint.clone(),
        protocol: info.protocol.clone(),
        host: info.host.clone(),
    }
}

pub(crate) fn kind_to_wire(kind: SegmentKind) -> proto::v1::SegmentKind {
    match kind {
        SegmentKind::Memory => proto::v1::SegmentKind::Memory,
        SegmentKind::Disk => proto::v1::SegmentKind::Disk,
    }
}
