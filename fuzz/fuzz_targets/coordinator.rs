//! The content of a coordinator's file or key: refused or understood, never a panic. What is
//! understood is written back as the same.

#![no_main]

use coordinator::fuzzing::{leader, member, record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    record(text);
    member(text);
    leader(text);
});
