//! The live heap of this process, counted at each allocation, which shows a leak. Resident memory
//! would not show it, since an allocator keeps freed memory.
//!
//! The allocator is that of the program. Another one gives large blocks back to the system when
//! they are freed, which can take tens of milliseconds, and would be measured as a lock that is
//! held.

use cap::Cap;
use mimalloc::MiMalloc;

#[global_allocator]
static HEAP: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// Bytes in use now.
pub(crate) fn bytes() -> usize {
    HEAP.allocated()
}
