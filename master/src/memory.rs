//! Gives memory back to the system on a thread of its own, not in the middle of a client's call.
//!
//! The allocator collects free memory, and gives it back once it has been free for a while: all at
//! once, on whichever thread happens to allocate then. That took 10 to 15 ms after a million
//! objects had gone, most often under the writer's lock. So a thread that does nothing else asks
//! for it, often enough that no memory waits long enough to be given back otherwise.
//!
//! Deliberately absent: what the allocator keeps. Free parts of pages that are in use stay with it.
#![allow(unsafe_code, reason = "the allocator's own functions have no safe face; this is the only place with any")]

use std::io;
use std::thread;
use std::time::Duration;

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};

/// `mi_option_purge_delay`, which the bindings lack.
const PURGE_DELAY: mi_option_t = 15;
/// For how long memory may be free before an allocating thread gives it back, in ms. This never
/// happens while the thread here runs.
const PURGE_DELAY_MS: std::ffi::c_long = 3_600_000;
const EVERY: Duration = Duration::from_secs(1);

/// From now on a thread gives free memory back. For programs whose allocator is mimalloc.
pub fn give_memory_back_aside() -> io::Result<()> {
    thread::Builder::new().name("understudy-memory".to_owned()).spawn(|| {
        // SAFETY: sets one number, which is atomic in there, by an index that exists.
        unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
        loop {
            thread::sleep(EVERY);
            // SAFETY: may be called by any thread at any time; it frees nothing that is in use.
            unsafe { mi_collect(true) };
        }
    })?;
    Ok(())
}
