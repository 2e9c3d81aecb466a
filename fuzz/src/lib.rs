//! What the fuzz targets share.
//!
//! | file | decides |
//! |---|---|
//! | `input` | how an input is read: numbers, byte strings, edits of something valid |
//! | `course` | what the calls are whose effects the targets start from |
//! | `recording` | the log and the states of a primary that was called that way |
//! | `chunks` | how the inside of an image is damaged |
//! | `requests` | what a client may ask of a node, as bytes |
//! | `life` | what a state that was accepted must stand |
//! | `heap` | how much memory one input may take |
//!
//! Deliberately absent: randomness. One input gives one run, today and in a year.

pub mod chunks;
pub mod course;
pub mod heap;
pub mod input;
pub mod life;
pub mod recording;
pub mod requests;
