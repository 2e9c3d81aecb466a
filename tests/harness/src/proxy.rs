//! A link between two members, or a member and etcd, that can be cut in both directions or in one,
//! narrowed, or made long.
//!
//! A cut link is silent: messages stay on the way, and arrive when the link heals. Connections stay
//! open, as when a cable is pulled. A narrow link passes so many bytes per second of each
//! connection and direction. A long one holds each piece for so long. More bytes wait, first in the
//! sockets' buffers and then at the sender.
//!
//! A connecting process is known by its id, so that one of several can be cut off from the
//! listener.
//!
//! Deliberately absent: loss and reordering within a connection. TCP hides both: what is lost comes
//! later, as over a long link, or not at all, as over a cut one, until the connection is given up
//! ([`Proxy::reset`]).

use std::collections::BTreeMap;
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

/// The most bytes of one read.
const PIECE_BYTES: usize = 64 << 10;
/// So many pieces make a second on a narrow link.
const PIECES_PER_S: u64 = 50;
/// How often the table is read before a connection counts as gone.
const TABLE_READS: usize = 5;

/// Which direction is cut: towards the listener, or back to the connecting process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    Both,
    Requests,
    Answers,
}

/// The state of a link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct State {
    cut: Option<Cut>,
    /// The cuts, by the id of the process that connects.
    cut_from: BTreeMap<u32, Cut>,
    /// Connections with numbers below this end.
    resets: u64,
    bytes_per_s: Option<u64>,
    delay: Duration,
}

#[derive(Debug)]
struct Link {
    state: watch::Sender<State>,
    bytes: AtomicU64,
}

#[derive(Debug)]
pub struct Proxy {
    port: Port,
    link: Arc<Link>,
    serving: AbortHandle,
}

impl Proxy {
    /// To the process that listens at `to`, now or later.
    pub async fn start(to: SocketAddr) -> Proxy {
        let port = test_ports::free_port();
        let listener = TcpListener::bind(port.addr()).await.expect("the port is ours");
        let link = Arc::new(Link { state: watch::Sender::new(State::default()), bytes: AtomicU64::new(0) });
        let serving = tokio::spawn(serve(listener, to, Arc::clone(&link))).abort_handle();
        Proxy { port, link, serving }
    }

    pub fn address(&self) -> String {
        self.port.addr().to_string()
    }

    pub fn cut(&self, cut: Cut) {
        self.link.state.send_modify(|state| state.cut = Some(cut));
    }

    /// Cuts off the process with this id.
    pub fn cut_from(&self, pid: u32, cut: Cut) {
        self.link.state.send_modify(|state| {
            state.cut_from.insert(pid, cut);
        });
    }

    /// Heals what this process was cut off from.
    pub fn heal_from(&self, pid: u32) {
        self.link.state.send_modify(|state| {
            state.cut_from.remove(&pid);
        });
    }

    /// Ends all open connections, as when a packet of each is lost for too long.
    pub fn reset(&self) {
        self.link.state.send_modify(|state| state.resets += 1);
    }

    pub fn narrow(&self, bytes_per_s: u64) {
        self.link.state.send_modify(|state| state.bytes_per_s = Some(bytes_per_s));
    }

    pub fn lengthen(&self, delay: Duration) {
        self.link.state.send_modify(|state| state.delay = delay);
    }

    /// Except for processes that are cut off individually.
    pub fn heal_all_but_cut_from(&self) {
        self.link.state.send_modify(|state| {
            let (cut_from, resets) = (std::mem::take(&mut state.cut_from), state.resets);
            *state = State { cut_from, resets, ..State::default() };
        });
    }

    pub fn heal(&self) {
        self.link.state.send_modify(|state| *state = State { resets: state.resets, ..State::default() });
    }

    /// Bytes that have passed, in both directions.
    pub fn bytes(&self) -> u64 {
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
    let Some(whose) = who_connected(&from) else { return };
    // Without a listener the connection ends, as it would without a proxy.
    let Ok(to) = TcpStream::connect(to).await else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let mut states = link.state.subscribe();
    let resets = states.borrow().resets;
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = pump(from_read, to_write, &link, (Cut::Requests, whose)) => {}
        () = pump(to_read, from_write, &link, (Cut::Answers, whose)) => {}
        _ = states.wait_for(|state| state.resets != resets) => {}
    }
}

/// Until one end closes, which is not noticed while the link is cut, either.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &Link, (direction, whose): (Cut, u32)) {
    let mut states = link.state.subscribe();
    let mut buffer = vec![0; PIECE_BYTES];
    let lets_through = |cut: Option<&Cut>| cut.is_none_or(|cut| *cut != Cut::Both && *cut != direction);
    let is_open = |state: &State| lets_through(state.cut.as_ref()) && lets_through(state.cut_from.get(&whose));
    loop {
        let rate = states.borrow_and_update().bytes_per_s;
        let piece = rate.map_or(PIECE_BYTES, |rate| (rate / PIECES_PER_S).clamp(1, PIECE_BYTES as u64) as usize);
        let Ok(bytes) = from.read(&mut buffer[..piece]).await else { return };
        let Ok((rate, delay)) = states.wait_for(is_open).await.map(|state| (state.bytes_per_s, state.delay)) else {
            return;
        };
        let takes = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * bytes as u32 / rate as u32);
        if !(delay + takes).is_zero() {
            sleep(delay + takes).await;
        }
        if bytes == 0 || to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
        link.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The process on this host at the other end. None if it has already gone.
fn who_connected(connection: &TcpStream) -> Option<u32> {
    let (from, to) = (connection.peer_addr().ok()?, connection.local_addr().ok()?);
    // While sockets come and go, an existing one may be missing from the table.
    let inode = (0..TABLE_READS).find_map(|_| socket_between(from, to))?;
    let socket = format!("socket:[{inode}]");
    let pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|to| to.as_os_str() == socket.as_str())
    };
    pids.into_iter().find(has)
}

/// The inode of the end at `from`. Both ends count: a port may belong to several connections, most
/// of which are over.
fn socket_between(from: SocketAddr, to: SocketAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let (from, to) = (table_entry(from)?, table_entry(to)?);
    let mut lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(1) == Some(&from.as_str()) && fields.get(2) == Some(&to.as_str()))?;
    line.get(9).map(|inode| (*inode).to_owned())
}

/// How `/proc/net/tcp` writes an address: the bytes of the IP as one number of this machine.
fn table_entry(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(address) => {
            Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
        }
        SocketAddr::V6(_) => None,
    }
}
