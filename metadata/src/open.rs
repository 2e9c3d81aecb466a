//! The mounted segments of one kind, to choose from: at random, by what they hold, by what they have room for.
//!
//! ```text
//!                 sums and maxima of all
//!               ┌──────────┴──────────┐
//!          of two places         of two places          a tree over places; a segment that goes leaves its place
//!          ┌────┴────┐           ┌────┴────┐            to the next one that comes
//!         m1        m7         (free)      m3
//! ```
//!
//! Every question and every change costs the height of the tree: with 65,536 segments of which none has room, a put
//! learns that from the root.
//!
//! Invariant: a node is what its two children give. Places are this member's own affair, and nothing that is
//! replicated depends on them.

use std::collections::BTreeMap;

use crate::types::SegmentIx;

/// Of one segment, or of all below a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) count: u64,
    pub(crate) usable_bytes: u64,
    pub(crate) used_bytes: u64,
    /// The largest object that finds room in one of them, and that could if it were empty.
    pub(crate) room_bytes: u64,
    pub(crate) usable_bytes_max: u64,
}

impl Holding {
    fn with(self, other: Holding) -> Holding {
        Holding {
            count: self.count + other.count,
            usable_bytes: self.usable_bytes + other.usable_bytes,
            used_bytes: self.used_bytes + other.used_bytes,
            room_bytes: self.room_bytes.max(other.room_bytes),
            usable_bytes_max: self.usable_bytes_max.max(other.usable_bytes_max),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The root is the first one, the children of `n` are `2n + 1` and `2n + 2`, the leaves are the last half.
    nodes: Vec<Holding>,
    /// By place.
    listed: Vec<Option<SegmentIx>>,
    places: BTreeMap<SegmentIx, usize>,
    vacant: Vec<usize>,
}

impl Open {
    pub(crate) fn all(&self) -> Holding {
        self.nodes.first().copied().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Lists it, or says how it stands now.
    pub(crate) fn set(&mut self, ix: SegmentIx, holding: Holding) {
        let place = match self.places.get(&ix) {
            Some(place) => *place,
            None => self.list(ix),
        };
        self.set_leaf(place, holding);
    }

    pub(crate) fn remove(&mut self, ix: SegmentIx) {
        if let Some(place) = self.places.remove(&ix) {
            self.listed[place] = None;
            self.vacant.push(place);
            self.set_leaf(place, Holding::default());
        }
    }

    /// The `nth` of those listed.
    pub(crate) fn nth(&self, nth: usize) -> Option<SegmentIx> {
        self.descend(nth as u64, |holding| holding.count)
    }

    /// The one that holds the `nth` used byte.
    pub(crate) fn at_used_byte(&self, nth: u64) -> Option<SegmentIx> {
        self.descend(nth, |holding| holding.used_bytes)
    }

    /// The first place from `from` on whose segment fits. `fits` must hold of a node where it holds of one below.
    pub(crate) fn next_that(&self, from: usize, fits: impl Fn(&Holding) -> bool) -> Option<(usize, SegmentIx)> {
        let place = self.find(0, 0, self.listed.len(), from, &fits)?;
        Some((place, self.listed[place]?))
    }

    pub(crate) fn places(&self) -> usize {
        self.listed.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SegmentIx, Holding)> {
        let first_leaf = self.listed.len().saturating_sub(1);
        self.places.iter().map(move |(ix, place)| (*ix, self.nodes[first_leaf + place]))
    }

    fn list(&mut self, ix: SegmentIx) -> usize {
        if self.vacant.is_empty() {
            self.grow();
        }
        let place = self.vacant.pop().expect("it has just grown");
        self.listed[place] = Some(ix);
        self.places.insert(ix, place);
        place
    }

    /// To twice as many places: all that is there becomes the left half.
    fn grow(&mut self) {
        let before = self.listed.len();
        let after = (2 * before).max(1);
        let mut nodes = vec![Holding::default(); 2 * after - 1];
        for (place, leaf) in self.nodes.iter().skip(before.saturating_sub(1)).enumerate() {
            nodes[after - 1 + place] = *leaf;
        }
        for node in (0..after - 1).rev() {
            nodes[node] = nodes[2 * node + 1].with(nodes[2 * node + 2]);
        }
        self.nodes = nodes;
        self.listed.resize(after, None);
        self.vacant.extend((before..after).rev());
    }

    fn set_leaf(&mut self, place: usize, holding: Holding) {
        let mut node = self.listed.len() - 1 + place;
        self.nodes[node] = holding;
        while node > 0 {
            node = (node - 1) / 2;
            let sum = self.nodes[2 * node + 1].with(self.nodes[2 * node + 2]);
            if std::mem::replace(&mut self.nodes[node], sum) == sum {
                break;
            }
        }
    }

    fn descend(&self, mut nth: u64, of: impl Fn(&Holding) -> u64) -> Option<SegmentIx> {
        if nth >= of(self.nodes.first()?) {
            return None;
        }
        let mut node = 0;
        while 2 * node + 1 < self.nodes.len() {
            node = 2 * node + 1;
            let left = of(&self.nodes[node]);
            if nth >= left {
                nth -= left;
                node += 1;
            }
        }
        self.listed[node + 1 - self.listed.len()]
    }

    /// Within the node that covers `count` places from `start` on.
    fn find(
        &self,
        node: usize,
        start: usize,
        count: usize,
        from: usize,
        fits: &impl Fn(&Holding) -> bool,
    ) -> Option<usize> {
        let holding = self.nodes.get(node)?;
        if start + count <= from || holding.count == 0 || !fits(holding) {
            return None;
        }
        if count == 1 {
            return Some(start);
        }
        let half = count / 2;
        self.find(2 * node + 1, start, half, from, fits)
            .or_else(|| self.find(2 * node + 2, start + half, half, from, fits))
    }
}

#[cfg(test)]
#[path = "open_test.rs"]
mod tests;
