//! The client against a master that follows a test's script: it answers late, out of order or not
//! at all, refuses, breaks its streams, dies and comes back.

mod bounds;
mod canned;
mod chaos;
mod discovery;
mod every_call;
mod heartbeat;
mod master;
mod numbering;
mod put;
mod redirects;
mod retries;
mod service;
mod standbys;
