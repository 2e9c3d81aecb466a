//! A node from outside: real gRPC against a node in this process, and against the real binary.
//!
//! | file | shows |
//! |---|---|
//! | `calls` | every method once, over both transports |
//! | `refusals` | every reason for which one item is refused |
//! | `limits` | what is refused before it is read |
//! | `retries` | one run for each request number |
//! | `sessions` | order, commits, slow readers, malformed requests |
//! | `gate` | what a node answers that is stopping, or is not the primary |
//! | `admin` | status, tenants, health, reflection, other protocols |
//! | `connections`, `greedy` | which connections are admitted, and what one client can hold |
//! | `patterns` | the cost of patterns |
//! | `http` | metrics, probes and status over HTTP |
//! | `process` | the binary: start, stop, errors |
//! | `logging` | the binary: a log that cannot be written, or that a client would fill |

mod admin;
mod calls;
mod connections;
mod gate;
mod greedy;
mod http;
mod limits;
mod logging;
mod patterns;
mod process;
mod refusals;
mod retries;
mod sessions;
mod shares;
mod support;
