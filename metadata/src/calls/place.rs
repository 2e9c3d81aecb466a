//! Choosing the segments of a put or a copy: those the caller prefers, then those of its host, then by the strategy.
//! Replicas of one object go to different segments.

use ledger::ItemId;

use crate::calls::Decide;
use crate::config::Strategy;
use crate::open::Open;
use crate::types::{Outcome, Place, Places, Refusal, SegmentIx, SegmentKind, extent};

/// Of how many segments at random the emptiest is taken.
const SAMPLE: usize = 6;
/// Segments of one name, or of the caller's host, that are tried before all others come into question.
pub(crate) const NAMED_MAX: usize = 64;

/// What a caller may ask of the placement of all items of a call.
#[derive(Clone, Debug, Default)]
pub struct Placement<'a> {
    pub memory_replicas: u32,
    pub disk_replicas: u32,
    /// By name, tried in this order.
    pub preferred: Vec<&'a str>,
    pub same_host: bool,
    /// As many as there is room for, at least one; otherwise all or none.
    pub best_effort: bool,
}

impl Decide<'_> {
    /// Nothing is taken yet.
    pub(crate) fn choose(&mut self, wish: &Placement<'_>, size: u64, id: ItemId) -> Outcome<Places> {
        let mut chosen = Places::default();
        let wanted = wish.memory_replicas + wish.disk_replicas;
        self.choose_kind(wish, SegmentKind::Memory, wish.memory_replicas, size, id, &mut chosen);
        // An eviction would not help whoever wants more segments, or larger ones, than there are.
        let in_memory = wish.memory_replicas as usize;
        let needed = if wish.best_effort { chosen.len() + 1 } else { in_memory };
        if chosen.len() < in_memory && self.dir.segments.could_hold(size, needed) {
            *self.pressed = true;
        }
        self.choose_kind(wish, SegmentKind::Disk, wish.disk_replicas, size, id, &mut chosen);
        let found = chosen.len() as u32;
        let enough = if wish.best_effort { found > 0 } else { found == wanted };
        if enough { Ok(chosen) } else { Err(Refusal::NoSpace) }
    }

    fn choose_kind(
        &mut self,
        wish: &Placement<'_>,
        kind: SegmentKind,
        count: u32,
        size: u64,
        id: ItemId,
        chosen: &mut Places,
    ) {
        let goal = chosen.len() + count as usize;
        if goal == chosen.len() {
            return;
        }
        let segments = &self.dir.segments;
        for name in &wish.preferred {
            self.try_each(segments.named(name).iter().take(NAMED_MAX), kind, size, id, chosen, goal);
        }
        if wish.same_host && chosen.len() < goal {
            let host = self.dir.owners.get(self.who.client).map_or("", |owner| owner.host.as_str());
            let there = segments.on_host(host);
            if !host.is_empty() && !there.is_empty() {
                let (before, after) = there.split_at(self.rng.below(there.len()));
                self.try_each(after.iter().chain(before).take(NAMED_MAX), kind, size, id, chosen, goal);
            }
        }
        let open = segments.open(kind);
        if chosen.len() >= goal || open.len() == 0 {
            return;
        }
        if self.config.strategy == Strategy::FreeRatioFirst {
            let drawn = self.emptiest(open, goal);
            self.try_each(drawn.iter(), kind, size, id, chosen, goal);
        }
        self.try_all(open, kind, size, id, chosen, goal);
    }

    fn try_each<'i>(
        &self,
        from: impl Iterator<Item = &'i SegmentIx>,
        kind: SegmentKind,
        size: u64,
        id: ItemId,
        chosen: &mut Places,
        goal: usize,
    ) {
        for &ix in from {
            if chosen.len() >= goal {
                return;
            }
            chosen.0.extend(self.place_in(ix, kind, size, id, chosen));
        }
    }

    /// From a place at random on and around: those with room, one after the other, and a look at no other.
    fn try_all(&mut self, open: &Open, kind: SegmentKind, size: u64, id: ItemId, chosen: &mut Places, goal: usize) {
        let start = self.rng.below(open.places());
        for (first, end) in [(start, open.places()), (0, start)] {
            let mut from = first;
            while chosen.len() < goal
                && let Some((place, ix)) = open.next_that(from, |holding| holding.room_bytes >= extent(size))
                && place < end
            {
                chosen.0.extend(self.place_in(ix, kind, size, id, chosen));
                from = place + 1;
            }
        }
    }

    fn emptiest(&mut self, open: &Open, goal: usize) -> Vec<SegmentIx> {
        let draws = SAMPLE.max(2 * goal);
        let mut drawn: Vec<SegmentIx> = if open.len() <= draws {
            (0..open.len()).filter_map(|nth| open.nth(nth)).collect()
        } else {
            (0..draws).filter_map(|_| open.nth(self.rng.below(open.len()))).collect()
        };
        drawn.sort_by(|a, b| self.dir.segments.free_ratio(*b).total_cmp(&self.dir.segments.free_ratio(*a)));
        drawn
    }

    pub(crate) fn place_in(
        &self,
        ix: SegmentIx,
        kind: SegmentKind,
        size: u64,
        id: ItemId,
        chosen: &Places,
    ) -> Option<Place> {
        if chosen.iter().any(|place| place.segment == ix) {
            return None;
        }
        self.dir.segments.place(ix, kind, size, id.0)
    }
}
