//! The wire: gRPC over HTTP/2.
//!
//! | file | decides |
//! |---|---|
//! | `server`, `connection` | connections and their end; where their requests run |
//! | `router`, `body` | which service a request is for; the bodies of responses |
//! | `counted`, `outgoing` | what one connection may hold: streams, and answers that are not read |
//! | `framing` | where messages begin and end, and what memory they take |
//! | `lists` | the lengths of a request's lists, before it is decoded |
//! | `unary`, `session` | one call, one answer; many calls over one stream |
//! | `dispatch`, `long` | from a request to the state and back; calls on threads of their own |
//! | `standby_read` | which reads a standby answers |
//! | `commit`, `parked`, `reply` | when an answer may go out |
//! | `caller`, `refuse`, `segment_refs` | conversions that many calls share |
//! | `put`, `read`, `remove`, `segments`, `transfer`, `task` | each call, converted by hand |
//! | `admin`, `health` | the calls of operators and orchestrators |
//! | `in_process` | a session without a wire |
//!
//! The service `Metadata` is served without tonic's generated server: its calls are most of the
//! load, and all of them go the same way. Client, contract and status are tonic's.

pub(crate) mod admin;
mod body;
mod caller;
mod commit;
mod connection;
mod counted;
mod dispatch;
mod framing;
mod health;
pub mod in_process;
mod line;
pub(crate) mod lists;
mod long;
mod outgoing;
mod parked;
mod put;
mod read;
mod ready;
mod refuse;
mod remove;
mod reply;
mod router;
mod segment_refs;
mod segments;
pub(crate) mod server;
mod session;
mod standby_read;
mod task;
mod transfer;
mod unary;

pub(crate) use long::Places;
