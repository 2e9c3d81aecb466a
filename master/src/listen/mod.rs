//! The connections of all three ports of a member: which one is admitted, which one makes room, and
//! which one is cut off.
//!
//! | file | decides |
//! |---|---|
//! | `links` | how many there may be, and which one makes room for a new one |
//! | `connection` | when a connection is proven; that it can be cut off at any time |
//! | `files` | whether the limits fit into what this process may open |
//!
//! A connection is *proven* once it has said what its port is for: a client its HTTP/2 preface,
//! another member its proof, a reader of the admin HTTP the headers of its request.
//!
//! ```text
//!   accept ──► room? ──► unproven ──► proven ──► ended
//!               │            ├─ too late ─────────► cut off
//!               │            └─ a new one came ───► cut off
//!               └─ all are proven ────────────────► told so, closed
//! ```
//!
//! Invariants: no port has more connections than its limits, in total and of one address; a silent
//! connection holds its place for a short time, and never against a later one; another member
//! proves itself before it sends much. Connections from this host count like any other.
//!
//! Deliberately absent: the protocol of a connection, and the memory that it takes (`budget`).

mod connection;
mod files;
mod links;

use std::time::Duration;

pub(crate) use connection::Connection;
pub(crate) use files::fit_open_files;
pub(crate) use links::{Counts, Link, Links, ProvenLink, Turned, Why, watch};

use crate::config::Serving;

/// Members are few. What an unproven connection can make this process hold is bounded by its
/// windows and one message for each of its streams, below 300 KiB in all.
const PEER_CONNECTIONS_MAX: usize = 512;
/// Members of a test or a demonstration share an address.
const PEER_CONNECTIONS_PER_ADDRESS_MAX: usize = 256;
/// The limit on the handshake of a member.
const PEER_PROOF_WITHIN: Duration = Duration::from_secs(5);
/// A hello and a proof take a few hundred bytes. A process that sends more must not take the time
/// that beacons need.
const PEER_UNPROVEN_BYTES_MAX: usize = 64 << 10;
/// Each connection has one scrape.
const ADMIN_CONNECTIONS_MAX: usize = 64;
const ADMIN_CONNECTIONS_PER_ADDRESS_MAX: usize = 48;
/// From the connection to the end of the request's headers.
pub(crate) const ADMIN_HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    Client,
    Peer,
    Admin,
}

impl Port {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Port::Client => "client",
            Port::Peer => "peer",
            Port::Admin => "admin",
        }
    }
}

/// The limits of one port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) per_address_max: usize,
    pub(crate) unproven_max: Duration,
    /// The first bytes that prove a connection. `None`: other code says when it is proven.
    pub(crate) proven_by_bytes: Option<usize>,
    /// Bytes that a client may send before the connection is proven.
    pub(crate) unproven_bytes_max: usize,
}

/// HTTP/2: the preface of a client, and the head of the settings frame that follows it.
const HTTP2_OPENING_BYTES: usize = 24 + 9;

impl Limits {
    pub(crate) fn clients(serving: &Serving) -> Limits {
        Limits {
            connections_max: serving.connections_max,
            per_address_max: serving.connections_per_address_max.min(serving.connections_max),
            unproven_max: Duration::from_millis(serving.first_bytes_ms_max),
            proven_by_bytes: Some(HTTP2_OPENING_BYTES),
            unproven_bytes_max: usize::MAX,
        }
    }

    const fn peers() -> Limits {
        Limits {
            connections_max: PEER_CONNECTIONS_MAX,
            per_address_max: PEER_CONNECTIONS_PER_ADDRESS_MAX,
            unproven_max: PEER_PROOF_WITHIN,
            proven_by_bytes: None,
            unproven_bytes_max: PEER_UNPROVEN_BYTES_MAX,
        }
    }

    const fn admin() -> Limits {
        Limits {
            connections_max: ADMIN_CONNECTIONS_MAX,
            per_address_max: ADMIN_CONNECTIONS_PER_ADDRESS_MAX,
            unproven_max: ADMIN_HEADERS_WITHIN,
            proven_by_bytes: None,
            unproven_bytes_max: usize::MAX,
        }
    }
}

/// The three ports of a member.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) clients: std::sync::Arc<Links>,
    pub(crate) peers: std::sync::Arc<Links>,
    pub(crate) admin: std::sync::Arc<Links>,
}

impl Ports {
    pub(crate) fn new(serving: &Serving) -> Ports {
        Ports {
            clients: Links::new(Port::Client, Limits::clients(serving)),
            peers: Links::new(Port::Peer, Limits::peers()),
            admin: Links::new(Port::Admin, Limits::admin()),
        }
    }

    pub(crate) fn all(&self) -> [&Links; 3] {
        [&self.clients, &self.peers, &self.admin]
    }
}
