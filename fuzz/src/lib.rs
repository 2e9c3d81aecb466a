//! What the fuzz targets share.
//!
//! | file | decides |
//! |---|---|
//! | `input` | how an input is read: numbers, byte strings, edits of something valid |
//! | `course` | the calls whose effects the targets start from |
//! | `recording` | the log and the states of a primary that was called that way |
//! | `chunks` | how the inside of an image is damaged |
//! | `requests` | requests of a client, as bytes |
//! | `life` | what an accepted state must withstand |
//! | `heap` | how much memory one input may take |
//!
//! Deliberately absent: randomness. One input always gives the same run.

pub mod chunks;
pub mod course;
pub mod heap;
pub mod input;
pub mod life;
pub mod recording;
pub mod requests;
