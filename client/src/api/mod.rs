//! The calls of the contract as methods of [`crate::Client`], by subject.

mod admin;
pub(crate) mod objects;
pub(crate) mod segments;
mod tasks;
pub(crate) mod transfers;
