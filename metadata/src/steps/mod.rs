//! What the primary does of its own accord with objects, segments and tasks: unmounts, discards,
//! releases, eviction. The ledger takes the steps ([`ledger::Stepping`]), behind those of its own.

use ledger::Step;

mod evict;
pub(crate) mod expire;
pub(crate) mod round;
mod space;

use crate::state::Objects;

/// Objects that one step touches at most: what others wait for, since nothing goes on beside it.
pub(crate) const STEP_OBJECTS_MAX: usize = 64;

/// What steps did, of this domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stepped {
    pub segments_gone: u64,
    pub replicas_dropped: u64,
    pub puts_discarded: u64,
    pub extents_released: u64,
    pub objects_evicted: u64,
    pub tasks_updated: u64,
}

pub(crate) const KINDS: [Step<Objects>; 5] =
    [expire::discard_unfinished, space::release, space::unmount, expire::update_tasks, evict::evict];
