//! A link between two members, or a member and etcd, that can be cut, in both directions or in one, made narrow, or long.
//!
//! A cut link is silent: what is sent stays on the way, and arrives when the link heals. Connections stay open, as they do
//! when a cable is pulled. A narrow one takes so many bytes per second of each connection and direction, and a long one holds
//! each piece for so long; what comes meanwhile waits, first in the sockets' buffers and then at the sender.
//!
//! Deliberately absent: loss and reordering within a connection. TCP shows neither.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use test_ports::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// Of one read, at most.
const PIECE_BYTES: usize = 64 << 10;
/// So many pieces make a second on a narrow link.
const PIECES_PER_S: u64 = 50;

/// Which direction of connections is cut: towards those who listen, or back to those who connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    Both,
    Requests,
    Answers,
}

/// How a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct State {
    cut: Option<Cut>,
    bytes_per_s: Option<u64>,
    delay: Duration,
}

#[derive(Debug)]
struct Link {
    state: watch::Sender<State>,
    bytes: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    port: Port,
    link: Arc<Link>,
    serving: AbortHandle,
}

impl Proxy {
    /// To whoever listens at `to`, now or later.
    pub(crate) async fn start(to: SocketAddr) -> Proxy {
        let port = test_ports::free_port();
        let listener = TcpListener::bind(port.addr()).await.expect("the port is ours");
        let link = Arc::new(Link { state: watch::Sender::new(State::default()), bytes: AtomicU64::new(0) });
        let serving = tokio::spawn(serve(listener, to, Arc::clone(&link))).abort_handle();
        Proxy { port, link, serving }
    }

    pub(crate) fn address(&self) -> String {
        self.port.addr().to_string()
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.link.state.send_modify(|state| state.cut = Some(cut));
    }

    pub(crate) fn narrow(&self, bytes_per_s: u64) {
        self.link.state.send_modify(|state| state.bytes_per_s = Some(bytes_per_s));
    }

    pub(crate) fn lengthen(&self, delay: Duration) {
        self.link.state.send_modify(|state| state.delay = delay);
    }

    pub(crate) fn heal(&self) {
        self.link.state.send_replace(State::default());
    }

    /// That have gone through, in both directions.
    pub(crate) fn bytes(&self) -> u64 {
        self.link.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, link: Arc<Link>) {
    let mut connections = JoinSet::new();
    while let Ok((from, _)) = listener.accept().await {
        connections.spawn(connect(from, to, Arc::clone(&link)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(from: TcpStream, to: SocketAddr, link: Arc<Link>) {
    // Nobody there: the connection ends, as it would without a proxy.
    let Ok(to) = TcpStream::connect(to).await else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = pump(from_read, to_write, &link, Cut::Requests) => {}
        () = pump(to_read, from_write, &link, Cut::Answers) => {}
    }
}

/// Until one end closes. Also that is not heard of while the link is cut.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &Link, direction: Cut) {
    let mut states = link.state.subscribe();
    let mut buffer = vec![0; PIECE_BYTES];
    let is_open = |state: &State| state.cut.is_none_or(|cut| cut != Cut::Both && cut != direction);
    loop {
        let rate = states.borrow_and_update().bytes_per_s;
        let piece = rate.map_or(PIECE_BYTES, |rate| (rate / PIECES_PER_S).clamp(1, PIECE_BYTES as u64) as usize);
        let Ok(bytes) = from.read(&mut buffer[..piece]).await else { return };
        let Ok(state) = states.wait_for(is_open).await.map(|state| *state) else { return };
        let takes =
            state.bytes_per_s.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * bytes as u32 / rate as u32);
        if !(state.delay + takes).is_zero() {
            sleep(state.delay + takes).await;
        }
        if bytes == 0 || to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
        link.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
