//! Connections of clients, from the first to the last.
//!
//! At a stop, the gate refuses new calls for a while, with a clear answer. Then no more connections
//! are accepted, and the open ones are told to go away, finish their calls, and are cut off when
//! the time is over.
//!
//! A client that is not admitted is told so: the calls on its connection are refused for a moment,
//! since gRPC has no refusal before HTTP/2 is up.
//!
//! Invariant: each connection has bounded streams and windows.
//!
//! Deliberately absent: how many connections there may be (`listen`); TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proto::status;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic_health::server::HealthReporter;

use crate::config::Serving;
use crate::gate::Standing;
use crate::grpc::body::respond_error;
use crate::grpc::connection::{Connection, Opened, Paced};
use crate::grpc::counted;
use crate::grpc::health::{self, Health};
use crate::grpc::line::Line;
use crate::grpc::outgoing::{self, Shares};
use crate::grpc::router::Router;
use crate::listen::{self, Turned, Why};
use crate::node::Node;

/// A stop takes at most five seconds, and some of that is needed after this.
const STOP_WITHIN: Duration = Duration::from_millis(4500);
/// How long a connection that is not admitted is told so, and when its client should come back.
const REFUSE_FOR: Duration = Duration::from_secs(1);
const REFUSED_RETRY_MS: u32 = 1000;
/// What such a connection may send, and how many calls it may have at a time.
const REFUSED_WINDOW_BYTES: u32 = 65_535;
const REFUSED_STREAMS_MAX: u32 = 16;
/// The size of one frame in either direction: a batch of 1000 keys comes in one piece.
const FRAME_BYTES_MAX: u32 = 64 << 10;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: the port is taken by another process. Stop that one, or choose another port with \
         --listen (port 0: any free one)"
    )]
    PortInUse { address: SocketAddr },
    #[error("cannot listen on {address}: no interface of this host has this address. Choose another one with --listen")]
    NotHere { address: SocketAddr },
    #[error("cannot listen on {address}: {why}")]
    Other { address: SocketAddr, why: io::Error },
    /// Names its address and its setting.
    #[error("{0}")]
    Admin(String),
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|why| BindError::of(address, why))
}

impl BindError {
    pub fn of(address: SocketAddr, why: io::Error) -> BindError {
        match why.kind() {
            io::ErrorKind::AddrInUse => BindError::PortInUse { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotHere { address },
            _ => BindError::Other { address, why },
        }
    }
}

/// Serves until `stop` is over, and then until all calls are answered or the time for that is over.
/// `stop` returns when it was asked for.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, stop: impl Future<Output = Instant>) {
    let reporter = HealthReporter::new();
    let mut health = Health::new(&node, reporter.clone());
    health.tell().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(health.follow());
    tasks.spawn(outgoing::watch(Arc::clone(&node)));
    tasks.spawn(listen::watch(Arc::clone(&node.ports.clients)));
    let (go_away, _) = watch::channel(false);
    let mut connections = Connections {
        node: Arc::clone(&node),
        router: Arc::new(Router::new(Arc::clone(&node), reporter.clone())),
        go_away,
        tasks: JoinSet::new(),
        line: Line::new(Handle::current().metrics().num_workers()),
    };
    let asked_at = tokio::select! {
        // A stop comes before new connections.
        biased;
        asked_at = stop => asked_at,
        () = connections.accept(&listener) => return,
    };
    node.gate.set(Standing::Stopping);
    let serving = &node.config.serving;
    tokio::select! {
        () = sleep(Duration::from_millis(serving.stop_linger_ms)) => {}
        () = connections.accept(&listener) => {}
    }
    drop(listener);
    health::close(reporter).await;
    let rest = Duration::from_millis(serving.stop_timeout_ms - serving.stop_linger_ms);
    connections.close(rest.min(STOP_WITHIN.saturating_sub(asked_at.elapsed()))).await;
}

struct Connections {
    node: Arc<Node>,
    router: Arc<Router>,
    go_away: watch::Sender<bool>,
    tasks: JoinSet<()>,
    line: Arc<Line>,
}

impl Connections {
    /// Does not end.
    async fn accept(&mut self, listener: &TcpListener) {
        loop {
            tokio::select! {
                // Connections that have ended make room first.
                biased;
                Some(_) = self.tasks.join_next() => {}
                accepted = self.node.ports.clients.accept(listener) => match accepted {
                    Ok(stream) => self.take(stream),
                    Err(turned) => self.refuse(turned),
                },
            }
        }
    }

    fn take(&mut self, stream: listen::Connection) {
        let (router, shares) = (Arc::clone(&self.router), Shares::open(&self.node, Some(stream.link())));
        let turn_end = Arc::clone(&shares.turn_end);
        let service = service_fn(move |request| {
            let (router, shares) = (Arc::clone(&router), Arc::clone(&shares));
            async move { Ok::<_, Infallible>(counted::answer(&router, request, &shares).await) }
        });
        let (opened, peer) = (Opened::default(), stream.peer);
        let serving = &self.node.config.serving;
        let paced = Paced::new(stream, Arc::clone(&turn_end));
        let connection = builder(serving, opened.clone()).serve_connection(TokioIo::new(paced), service);
        let mut connection = Connection::new(opened, connection, &self.line, turn_end);
        let mut go_away = self.go_away.subscribe();
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = told_to(&mut go_away) => {
                    connection.inner().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, "connection ended: {error}");
            }
        });
    }

    /// Until its time is over, or the client has gone.
    fn refuse(&mut self, turned: Turned) {
        let Turned { stream, peer, why, place } = turned;
        let serving = &self.node.config.serving;
        let (setting, limit) = match why {
            Why::FullOfAddress => ("connections_per_address_max", serving.connections_per_address_max),
            Why::Full | Why::MadeRoom | Why::Silent | Why::UnprovenBytes | Why::Unread | Why::HeldMost => {
                ("connections_max", serving.connections_max)
            }
        };
        let router = Arc::clone(&self.router);
        let service = service_fn(move |_: Request<Incoming>| {
            let refusal = router.with_head(respond_error(status::overloaded_at(setting, limit, REFUSED_RETRY_MS)));
            async move { Ok::<_, Infallible>(refusal) }
        });
        let opened = Opened::default();
        let mut builder = http2::Builder::new(opened.clone());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(REFUSED_WINDOW_BYTES)
            .initial_connection_window_size(REFUSED_WINDOW_BYTES)
            .max_concurrent_streams(REFUSED_STREAMS_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = Connection::new(opened, connection, &self.line, Arc::default());
        self.tasks.spawn(async move {
            if let Ok(Err(error)) = timeout(REFUSE_FOR, connection).await {
                tracing::debug!(%peer, "a connection that was not admitted has ended: {error}");
            }
            drop(place);
        });
    }

    /// Waits for running calls, but not longer than `at_most`.
    async fn close(mut self, at_most: Duration) {
        self.go_away.send_replace(true);
        let all_closed = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(at_most, all_closed).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "connections are cut off: their calls did not end in time");
            self.tasks.abort_all();
        }
    }
}

async fn told_to(go_away: &mut watch::Receiver<bool>) {
    // An error: the server is gone, and everything with it.
    let _ = go_away.wait_for(|go_away| *go_away).await;
}

fn builder(serving: &Serving, opened: Opened) -> http2::Builder<Opened> {
    let mut builder = http2::Builder::new(opened);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .initial_stream_window_size(serving.stream_window_bytes)
        .initial_connection_window_size(serving.connection_window_bytes)
        .max_concurrent_streams(serving.connection_streams_max)
        .max_frame_size(FRAME_BYTES_MAX)
        .keep_alive_interval(Duration::from_millis(serving.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(serving.keepalive_timeout_ms));
    builder
}
