//! The attacks. Each goes on until its time is up: what is closed is opened again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::v1::{ListKeysRequest, Part, PartList, SessionRequest, session_request};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::raw::{Raw, beginning, framed};

/// Connections of one attack at a time; far more than a client needs.
const CONNECTIONS: usize = 12;
const STREAMS: usize = 60;
/// Connections that say nothing, kept open at a time.
const SILENT: usize = 600;
const MESSAGE_BYTES: u32 = 16 << 20;
/// Milliseconds of each key of 4 KiB.
const SLOW_PATTERN: &str = "a[ab]{900}c";
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attack {
    /// Nothing at all: what a member takes, and a host stalls, by itself.
    Quiet,
    /// Connections that say nothing, as fast as they are let in.
    SilentConnections,
    /// Long lists, unary, that are not read.
    UnreadLists,
    /// Likewise over sessions.
    UnreadSessions,
    /// Records, that are not read.
    UnreadRecords,
    /// Five bytes for 16 MiB each.
    AnnouncedRequests,
    /// 1 MiB of 16 for each.
    HalfRequests,
    /// Lists by a slow pattern, given up after a moment.
    SlowPatterns,
}

impl Attack {
    pub const ALL: [Attack; 8] = [
        Attack::Quiet,
        Attack::SilentConnections,
        Attack::UnreadLists,
        Attack::UnreadSessions,
        Attack::UnreadRecords,
        Attack::AnnouncedRequests,
        Attack::HalfRequests,
        Attack::SlowPatterns,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Attack::Quiet => "nothing",
            Attack::SilentConnections => "silent connections",
            Attack::UnreadLists => "lists that are not read",
            Attack::UnreadSessions => "sessions that are not read",
            Attack::UnreadRecords => "records that are not read",
            Attack::AnnouncedRequests => "requests that are only announced",
            Attack::HalfRequests => "requests that stay half",
            Attack::SlowPatterns => "slow patterns, given up",
        }
    }

    pub(crate) async fn run(self, address: SocketAddr, until: Instant) {
        match self {
            Attack::Quiet => sleep(until.saturating_duration_since(Instant::now())).await,
            Attack::SilentConnections => stay_silent(address, until).await,
            Attack::UnreadLists => many(address, until, 0, |_| ("Metadata/ListKeys", framed(&list("")), true)).await,
            Attack::UnreadSessions => {
                many(address, until, 1, |_| ("Metadata/Session", sessions(), false)).await;
            }
            Attack::UnreadRecords => many(address, until, 1, |at| ("Admin/GetRecords", records(at), true)).await,
            Attack::AnnouncedRequests => {
                many(address, until, 65_535, |_| ("Metadata/Exists", beginning(MESSAGE_BYTES, 0), false)).await;
            }
            Attack::HalfRequests => {
                many(address, until, 65_535, |_| ("Metadata/Exists", beginning(MESSAGE_BYTES, 1 << 20), false)).await;
            }
            Attack::SlowPatterns => give_up_patterns(address, until).await,
        }
    }
}

fn list(regex: &str) -> ListKeysRequest {
    ListKeysRequest { limit: 10_000, regex: regex.to_owned(), ..ListKeysRequest::default() }
}

/// Eight lists in one stream.
fn sessions() -> Bytes {
    let one = |id| SessionRequest { id, call: Some(session_request::Call::ListKeys(list(""))) };
    (1..=8).flat_map(|id| framed(&one(id))).collect()
}

/// Of a whole shard.
fn records(shard: usize) -> Bytes {
    let parts = (0..16).map(|bucket| Part { shard: shard as u32, bucket }).collect();
    framed(&PartList { parts })
}

/// On every connection as many streams as there may be, each with this request; nothing of the answers is read.
async fn many(
    address: SocketAddr,
    until: Instant,
    window_bytes: u32,
    request: fn(usize) -> (&'static str, Bytes, bool),
) {
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(async move {
            while Instant::now() < until {
                let Ok(Some(mut raw)) = timeout(LOOK_EVERY * 10, Raw::open(address, window_bytes)).await else {
                    sleep(LOOK_EVERY).await;
                    continue;
                };
                for at in 0..STREAMS {
                    let (path, body, ended) = request(at);
                    if !matches!(timeout(LOOK_EVERY, raw.send(path, body, ended)).await, Ok(true)) {
                        break;
                    }
                }
                while !raw.is_over() && Instant::now() < until {
                    sleep(LOOK_EVERY).await;
                }
            }
        });
    }
    connections.join_all().await;
}

async fn stay_silent(address: SocketAddr, until: Instant) {
    let mut kept = std::collections::VecDeque::new();
    while Instant::now() < until {
        kept.extend(TcpStream::connect(address).await);
        if kept.len() > SILENT {
            kept.pop_front();
        }
        tokio::task::yield_now().await;
    }
}

async fn give_up_patterns(address: SocketAddr, until: Instant) {
    while Instant::now() < until {
        let Some(mut raw) = Raw::open(address, 65_535).await else { continue };
        for _ in 0..STREAMS {
            raw.send("Metadata/ListKeys", framed(&list(SLOW_PATTERN)), true).await;
        }
        sleep(LOOK_EVERY * 2).await;
    }
}
