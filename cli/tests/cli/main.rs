//! The commands as processes, against a server process: what they print, for people and for
//! programs, and their exit codes.
//!
//! Deliberately absent: what a member decides; its own tests cover that.
#![allow(clippy::unwrap_used, reason = "tests")]

mod dev;
mod faults;
mod kv;
mod list;
mod segments;
mod status;
mod tasks;
mod terminal;
mod world;
