//! What a coordinator holds, in a file or under a key: refused or understood, never a panic, and
//! what is understood is written back as the same.

#![no_main]

use coordinator::fuzzing::{leader, member, record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    record(text);
    member(text);
    leader(text);
});
