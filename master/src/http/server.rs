//! The listener of the admin HTTP, on a thread and a runtime of its own, so that it answers however
//! busy the others are.
//!
//! Invariants: each connection has one request and a bounded time. Connections that a client only
//! holds open keep no probe out: they make room for a new one (`listen`). If all are being
//! answered, the new one gets 503 at once. When `stop` is over, the port is free.
//!
//! Deliberately absent: keep-alive. Each connection has one request, so none can be idle.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http::pages::Pages;
use crate::listen::{self, ADMIN_HEADERS_WITHIN, Links, Turned};
use crate::node::Node;

const HEADER_BYTES_MAX: usize = 16 << 10;
/// The limit on the time from the connection to its end.
const ALL_WITHIN: Duration = Duration::from_secs(15);
/// The limit on the time to refuse a connection that is not admitted, and to close it.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 44\r\n\r\ntoo many connections are being answered now\n";
/// More than may look at the state.
const BLOCKING_THREADS: usize = 4;

/// Serves from its creation. Ends when it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct AdminServer {
    local_addr: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// Must be called on the runtime that serves clients. An error names the address and the setting.
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
    let links = Arc::clone(&node.ports.admin);
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
                () = accept(listener, links, pages) => {}
            }
        });
        // A look at the state that is under way ends by itself.
        runtime.shutdown_background();
        // No task need wait for it.
        let _ = end.send(());
    };
    std::thread::Builder::new().name("understudy-http".to_owned()).spawn(serve)?;
    Ok(AdminServer { local_addr, stop, ended })
}

impl AdminServer {
    /// The address, with the port that was chosen for port 0.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        // An error: the thread has ended in another way.
        let _ = self.ended.await;
    }
}

/// Does not end, except for a listener that cannot be used.
async fn accept(listener: TcpListener, links: Arc<Links>, pages: Pages) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the admin HTTP cannot be served: {error}"),
    };
    let pages = Arc::new(pages);
    let mut tasks = JoinSet::new();
    tasks.spawn(listen::watch(Arc::clone(&links)));
    loop {
        let accepted = links.accept(&listener).await;
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok(stream) => tasks.spawn(serve(Arc::clone(&pages), stream)),
            Err(turned) => tasks.spawn(refuse(turned)),
        };
    }
}

/// And waits a moment for the other end: if a connection is closed while some of its data is
/// unread, it is reset, and the refusal is lost.
async fn refuse(mut turned: Turned) {
    let told = async {
        turned.stream.write_all(REFUSAL).await?;
        turned.stream.shutdown().await?;
        while turned.stream.read(&mut [0; 512]).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the client reads it or not.
    drop(timeout(REFUSE_WITHIN, told).await);
}

async fn serve(pages: Arc<Pages>, stream: listen::Connection) {
    let (link, peer) = (Arc::clone(stream.link()), stream.peer);
    let service = service_fn(|request| {
        let (pages, proven) = (Arc::clone(&pages), link.prove());
        async move {
            let answer = pages.answer(&request).await;
            drop(proven);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_HEADERS_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(ALL_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, "connection of the admin HTTP ended: {error}"),
        Err(_) => tracing::debug!(%peer, "connection of the admin HTTP cut off: it did not end in time"),
    }
}
