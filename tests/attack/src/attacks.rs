//! The attacks. Each goes on until its time is over: a connection that is closed is opened again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::session_request::Call;
use proto::v1::{
    Caller, ExistsRequest, HeartbeatRequest, ListKeysRequest, Part, PartList, SessionRequest, SessionResponse,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::raw::{Raw, beginning, framed};
use crate::target::key;

/// Connections of one attack at a time, far more than a client needs.
const CONNECTIONS: usize = 12;
const STREAMS: usize = 60;
const CONNECTIONS_BUSY: usize = 64;
/// Calls of one session under way.
const WINDOW: usize = 64;
const CONNECTIONS_PINGING: usize = 32;
const CONNECTIONS_IDLE: usize = 40;
const STREAMS_IDLE: usize = 1000;
/// Silent connections that are open at a time.
const SILENT: usize = 600;
const MESSAGE_BYTES: u32 = 16 << 20;
/// A pattern that takes milliseconds for each key of 4 KiB.
const SLOW_PATTERN: &str = "a[ab]{900}c";
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attack {
    /// No attack: what a member uses by itself, and how long a host stalls by itself.
    Quiet,
    /// Connections that send nothing, as fast as the member accepts them.
    SilentConnections,
    /// Unary lists whose answers are not read.
    UnreadLists,
    /// The same over sessions.
    UnreadSessions,
    /// Records that are not read.
    UnreadRecords,
    /// Requests that announce 16 MiB with five bytes.
    AnnouncedRequests,
    /// Requests that send 1 MiB of 16.
    HalfRequests,
    /// Lists by a slow pattern that are given up after a moment.
    SlowPatterns,
    /// Sessions with full windows that read each answer and ask again.
    BusySessions,
    /// A new client with each call.
    NewClients,
    /// PINGs whose answers are not read.
    Pings,
    /// PINGs whose answers are read.
    AnsweredPings,
    /// Streams that are opened and stay idle.
    IdleStreams,
}

impl Attack {
    pub const ALL: [Attack; 13] = [
        Attack::Quiet,
        Attack::SilentConnections,
        Attack::UnreadLists,
        Attack::UnreadSessions,
        Attack::UnreadRecords,
        Attack::AnnouncedRequests,
        Attack::HalfRequests,
        Attack::SlowPatterns,
        Attack::BusySessions,
        Attack::NewClients,
        Attack::Pings,
        Attack::AnsweredPings,
        Attack::IdleStreams,
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
            Attack::BusySessions => "64 busy sessions",
            Attack::NewClients => "a new client with each call",
            Attack::Pings => "PINGs",
            Attack::AnsweredPings => "PINGs whose answers are read",
            Attack::IdleStreams => "streams that say nothing",
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
            Attack::BusySessions => be_busy(address, until, CONNECTIONS_BUSY, |id| look(id as usize)).await,
            Attack::NewClients => be_busy(address, until, CONNECTIONS, sign_of_life).await,
            Attack::Pings => ping(address, until, CONNECTIONS, false).await,
            Attack::AnsweredPings => ping(address, until, CONNECTIONS_PINGING, true).await,
            Attack::IdleStreams => open_streams(address, until).await,
        }
    }
}

fn list(regex: &str) -> ListKeysRequest {
    ListKeysRequest { limit: 10_000, regex: regex.to_owned(), ..ListKeysRequest::default() }
}

/// Eight lists in one stream.
fn sessions() -> Bytes {
    let one = |id| SessionRequest { id, call: Some(Call::ListKeys(list(""))) };
    (1..=8).flat_map(|id| framed(&one(id))).collect()
}

/// The records of a whole shard.
fn records(shard: usize) -> Bytes {
    let parts = (0..16).map(|bucket| Part { shard: shard as u32, bucket }).collect();
    framed(&PartList { parts })
}

/// Opens as many streams as allowed on every connection, each with this request, and reads none of
/// the answers.
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

fn look(at: usize) -> Call {
    let keys = vec![key(at)];
    Call::Exists(ExistsRequest { keys, ..ExistsRequest::default() })
}

fn sign_of_life(id: u64) -> Call {
    // Each client once, whichever session it uses.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let client_id = u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(id);
    let caller = Some(Caller { client_id: client_id.to_be_bytes().to_vec().into(), ..Caller::default() });
    Call::Heartbeat(HeartbeatRequest { caller, ..HeartbeatRequest::default() })
}

/// Runs so many sessions, each with a full window of these calls, as fast as they are answered.
async fn be_busy(address: SocketAddr, until: Instant, sessions: usize, call: fn(u64) -> Call) {
    let mut all = JoinSet::new();
    for _ in 0..sessions {
        all.spawn(async move {
            while Instant::now() < until {
                // A failure means that the member has closed it: open another one.
                let _ = timeout(until.saturating_duration_since(Instant::now()), busy_session(address, call)).await;
                sleep(LOOK_EVERY).await;
            }
        });
    }
    all.join_all().await;
}

async fn busy_session(
    address: SocketAddr,
    call: fn(u64) -> Call,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = MetadataClient::connect(format!("http://{address}")).await?;
    let (ask, asked) = mpsc::channel(WINDOW);
    let mut next = 0..;
    let mut request = || next.next().map(|id| SessionRequest { id, call: Some(call(id)) }).expect("it does not end");
    for _ in 0..WINDOW {
        ask.try_send(request())?;
    }
    let mut answers = client.session(ReceiverStream::new(asked)).await?.into_inner();
    while let Some(SessionResponse { .. }) = answers.message().await? {
        ask.send(request()).await?;
    }
    Ok(())
}

/// As many streams as a connection may have, and then as many more as are accepted.
async fn open_streams(address: SocketAddr, until: Instant) {
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS_IDLE {
        connections.spawn(async move {
            let Ok(Some(mut raw)) = timeout(LOOK_EVERY * 10, Raw::open(address, 65_535)).await else { return };
            while !raw.is_over() && Instant::now() < until {
                // A refused stream gives its place back.
                if raw.kept.len() >= STREAMS_IDLE
                    || !matches!(
                        timeout(LOOK_EVERY, raw.send("Metadata/Exists", beginning(9, 1), false)).await,
                        Ok(true)
                    )
                {
                    sleep(LOOK_EVERY).await;
                }
            }
        });
    }
    connections.join_all().await;
}

async fn ping(address: SocketAddr, until: Instant, connections: usize, reads: bool) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let many = PING.repeat(1000);
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let many = many.clone();
        all.spawn(async move {
            while Instant::now() < until {
                let Ok(stream) = TcpStream::connect(address).await else { continue };
                let (mut answers, mut stream) = stream.into_split();
                let mut reading = JoinSet::new();
                if reads {
                    reading.spawn(async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await });
                }
                let mut sent = stream.write_all(&[PREFACE, SETTINGS].concat()).await;
                while sent.is_ok() && Instant::now() < until {
                    // The member may accept nothing more, until it closes the connection.
                    let left = until.saturating_duration_since(Instant::now());
                    sent = timeout(left, stream.write_all(&many)).await.unwrap_or(Ok(()));
                }
            }
        });
    }
    all.join_all().await;
}
