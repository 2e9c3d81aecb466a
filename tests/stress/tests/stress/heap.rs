//! The live heap of this process, counted at each allocation: what a leak shows in. Resident memory would not do, since
//! an allocator keeps what it has been given back.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes in use now.
pub(crate) fn bytes() -> usize {
    HEAP.allocated()
}
