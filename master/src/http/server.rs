//! The listener of the admin HTTP, on a thread and a runtime of its own: it answers however busy the others are.
//!
//! Invariants: at most [`CONNECTIONS_MAX`] connections, each for one request and a bounded time; a new one is always
//! let in, and the oldest cut off for it, so whoever only holds connections open keeps no probe out. When `stop` is
//! over, the port is free.
//!
//! Deliberately absent: keep-alive. One scrape, one connection: none can be idle.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::http::pages::Pages;
use crate::node::Node;

const CONNECTIONS_MAX: usize = 64;
/// From the connection to the end of the request's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 16 << 10;
/// From the connection to its end.
const ALL_WITHIN: Duration = Duration::from_secs(15);
/// After a failed accept: mostly there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// More than may look at the state.
const BLOCKING_THREADS: usize = 4;

/// Serves from the moment that it is made; ends when it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct AdminServer {
    local_addr: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// To be called on the runtime that serves clients. Whatever is wrong is said with the address and the setting.
pub(crate) fn bind(node: Arc<Node>, address: SocketAddr) -> Result<AdminServer, String> {
    start(node, address).map_err(|why| match why.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot serve the admin HTTP on {address}: the port is taken by another process. Stop that one, or choose \
             another port with --admin-listen (port 0: any free one)"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot serve the admin HTTP on {address}: no interface of this host has this address. Choose another one \
             with --admin-listen"
        ),
        _ => format!("cannot serve the admin HTTP on {address} (--admin-listen): {why}"),
    })
}

fn start(node: Arc<Node>, address: SocketAddr) -> io::Result<AdminServer> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let local_addr = listener.local_addr()?;
    let pages = Pages::new(node, Handle::current());
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("understudy-http")
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let serve = move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                // An error: this was dropped.
                _ = stopped => {}
                () = accept(listener, pages) => {}
            }
        });
        // A look at the state that is under way ends by itself.
        runtime.shutdown_background();
        // Nobody has to wait for it.
        let _ = end.send(());
    };
    std::thread::Builder::new().name("understudy-http".to_owned()).spawn(serve)?;
    Ok(AdminServer { local_addr, stop, ended })
}

impl AdminServer {
    /// With the port that was chosen for port 0.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        // An error: the thread has ended in another way.
        let _ = self.ended.await;
    }
}

/// Does not end, but for a listener that cannot be used.
async fn accept(listener: TcpListener, pages: Pages) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the admin HTTP cannot be served: {error}"),
    };
    let mut open = Connections { pages: Arc::new(pages), tasks: JoinSet::new(), oldest: VecDeque::new() };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => open.take(stream, peer),
            Err(error) => {
                tracing::warn!("the admin HTTP cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connections {
    pages: Arc<Pages>,
    tasks: JoinSet<()>,
    /// Those that may still be open, the oldest first.
    oldest: VecDeque<AbortHandle>,
}

impl Connections {
    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest.retain(|task| !task.is_finished());
        if self.oldest.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            tracing::debug!(%peer, max = CONNECTIONS_MAX, "the oldest connection is cut off for a new one");
            oldest.abort();
        }
        self.oldest.push_back(self.tasks.spawn(serve(Arc::clone(&self.pages), stream, peer)));
    }
}

async fn serve(pages: Arc<Pages>, stream: TcpStream, peer: SocketAddr) {
    let service = service_fn(|request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(ALL_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, "connection of the admin HTTP ended: {error}"),
        Err(_) => tracing::debug!(%peer, "connection of the admin HTTP cut off: it was not done in time"),
    }
}
