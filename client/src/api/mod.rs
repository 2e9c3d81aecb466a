//! The calls of the contract as methods of [`crate::Client`], by what they are about.

mod admin;
pub(crate) mod objects;
mod segments;
mod tasks;
mod transfers;
