//! The live heap of this process, counted at each allocation: what a leak shows in. Resident memory
//! would not do, since an allocator keeps what it has been given back.
//!
//! The allocator is that of the program: another one gives large blocks back to the system where
//! they are freed, which can take tens of milliseconds, and would be measured as a hold of a lock.

use cap::Cap;
use mimalloc::MiMalloc;

#[global_allocator]
static HEAP: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// Bytes in use now.
pub(crate) fn bytes() -> usize {
    HEAP.allocated()
}
