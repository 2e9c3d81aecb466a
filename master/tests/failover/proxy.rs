//! A link between two members, or a member and etcd, that can be cut: in both directions, or in one.
//!
//! A cut link is silent: what is sent stays on the way, and arrives when the link heals. Connections stay open, as they do
//! when a cable is pulled.
//!
//! Deliberately absent: loss and reordering within a connection. TCP shows neither.

use std::net::SocketAddr;
use std::sync::Arc;

use test_ports::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Which direction of connections is cut: towards those who listen, or back to those who connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    Both,
    Requests,
    Answers,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    port: Port,
    cut: Arc<watch::Sender<Option<Cut>>>,
    serving: AbortHandle,
}

impl Proxy {
    /// To whoever listens at `to`, now or later.
    pub(crate) async fn start(to: SocketAddr) -> Proxy {
        let port = test_ports::free_port();
        let listener = TcpListener::bind(port.addr()).await.expect("the port is ours");
        let cut = Arc::new(watch::Sender::new(None));
        let serving = tokio::spawn(serve(listener, to, Arc::clone(&cut))).abort_handle();
        Proxy { port, cut, serving }
    }

    pub(crate) fn address(&self) -> String {
        self.port.addr().to_string()
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.cut.send_replace(Some(cut));
    }

    pub(crate) fn heal(&self) {
        self.cut.send_replace(None);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, cut: Arc<watch::Sender<Option<Cut>>>) {
    let mut connections = JoinSet::new();
    while let Ok((from, _)) = listener.accept().await {
        let cuts = (cut.subscribe(), cut.subscribe());
        connections.spawn(connect(from, to, cuts));
        while connections.try_join_next().is_some() {}
    }
}

type Cuts = watch::Receiver<Option<Cut>>;

async fn connect(from: TcpStream, to: SocketAddr, (requests, answers): (Cuts, Cuts)) {
    // Nobody there: the connection ends, as it would without a proxy.
    let Ok(to) = TcpStream::connect(to).await else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = pump(from_read, to_write, requests, Cut::Requests) => {}
        () = pump(to_read, from_write, answers, Cut::Answers) => {}
    }
}

/// Until one end closes. Also that is not heard of while the link is cut.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: Cuts, direction: Cut) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(bytes) = from.read(&mut buffer).await else { return };
        let is_open = |cut: &Option<Cut>| cut.is_none_or(|cut| cut != Cut::Both && cut != direction);
        if cut.wait_for(is_open).await.is_err() || bytes == 0 || to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
