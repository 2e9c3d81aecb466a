//! Rounds over what may be a long list: each step looks at so many, and the next one goes on behind them.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::types::SegmentIx;

/// Looked at in one step.
pub(super) const LOOKS_MAX: usize = 1024;

/// Where each round goes on. Volatile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rounds {
    pub(super) draining: SegmentIx,
    pub(super) unmounting: SegmentIx,
    pub(super) retiring: SegmentIx,
}

/// Those that come next, each once. Whoever takes them sets `after` to the last one that he looked at.
pub(super) fn next_of(set: &BTreeSet<SegmentIx>, after: SegmentIx) -> impl Iterator<Item = SegmentIx> {
    let behind = set.range((Bound::Excluded(after), Bound::Unbounded));
    behind.chain(set.range(..=after)).take(LOOKS_MAX).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_once_in_a_round_and_all_in_turn() {
        let few = BTreeSet::from([0, 3, 7]);
        assert_eq!(next_of(&few, 0).collect::<Vec<_>>(), [3, 7, 0]);
        assert_eq!(next_of(&few, 5).collect::<Vec<_>>(), [7, 0, 3]);
        assert_eq!(next_of(&few, SegmentIx::MAX).collect::<Vec<_>>(), [0, 3, 7]);
        let many: BTreeSet<SegmentIx> = (0..3000).collect();
        let mut after = SegmentIx::MAX;
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            for ix in next_of(&many, after) {
                seen.insert(ix);
                after = ix;
            }
        }
        assert_eq!(seen, many);
    }
}
