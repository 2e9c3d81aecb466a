//! The commands as processes, against a server that is one too: what they print, for people and for
//! programs, and how they exit.
//!
//! Deliberately absent: what the master decides; the tests of the master have that.
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
