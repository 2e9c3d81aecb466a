//! How much memory one input may take: without a sanitizer libFuzzer sees no allocation, and finds
//! a decoder that asks for gigabytes only if it writes to them.
//!
//! Invariant: beyond the limit the process aborts, which libFuzzer reports as a finding.

use std::alloc::System;

use cap::Cap;

/// A decoder of payloads may claim 128 MiB once (see `oplog::decode_payload`). The rest is for
/// everything else.
const HEAP_BYTES_MAX: usize = 256 << 20;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, HEAP_BYTES_MAX);

/// Bytes on the heap now.
pub fn bytes() -> usize {
    HEAP.allocated()
}
