//! The open connections of one port, the oldest first.
//!
//! Invariant: at a limit a new connection takes the place of the oldest unproven one, at the limit of an address of the oldest
//! of that address; where all are proven the new one is turned away.
//!
//! Deliberately absent: what the one that is turned away is told. That is for its protocol, [`REFUSALS_MAX`] at a time.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::listen::{Connection, Limits, Port};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After a failed accept: mostly there are no file descriptors left, and trying again at once would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections at a time that are told why they are not let in; more are closed without a word.
const REFUSALS_MAX: usize = 16;
/// When the kernel asks a silent host whether it is still there, how often, and how many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;
/// How long a host may leave unacknowledged what was sent to it.
const UNACKNOWLEDGED_MS_MAX: u32 = 60_000;

/// Why a connection was not let in, or was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// Not let in: as many as possible are open, all proven.
    Full,
    /// Likewise, of its address.
    FullOfAddress,
    /// Unproven, and another one came.
    MadeRoom,
    /// Unproven for too long.
    Silent,
    /// It has sent more than what proves it.
    UnprovenBytes,
    /// It did not read what it was sent.
    Unread,
    /// It made this process hold the most bytes when there was no more room for any.
    HeldMost,
}

impl Why {
    pub(crate) const ALL: [Why; 7] =
        [Why::Full, Why::FullOfAddress, Why::MadeRoom, Why::Silent, Why::UnprovenBytes, Why::Unread, Why::HeldMost];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Why::Full => "full",
            Why::FullOfAddress => "full_of_address",
            Why::MadeRoom => "made_room",
            Why::Silent => "silent",
            Why::UnprovenBytes => "unproven_bytes",
            Why::Unread => "unread",
            Why::HeldMost => "held_most",
        }
    }
}

/// What one address is: all of a network that one owner has with IPv6, one host else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Origin(IpAddr);

impl Origin {
    fn of(address: IpAddr) -> Origin {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                Origin(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into())
            }
            address => Origin(address),
        }
    }
}

/// One connection, as those see it who may cut it off.
#[derive(Debug)]
pub(crate) struct Link {
    number: u64,
    origin: Origin,
    began: Mutex<Instant>,
    /// How many say that it is.
    proven: AtomicUsize,
    is_cut: AtomicBool,
    task: AtomicWaker,
    /// Of its port.
    ended: Arc<Ended>,
}

/// As long as this is held, its connection is proven.
#[derive(Debug)]
pub(crate) struct ProvenLink(Arc<Link>);

impl Link {
    /// The same for all connections of one address.
    pub(crate) fn origin_bits(&self) -> u64 {
        match self.origin.0 {
            // No network of IPv6 that is in use begins like this.
            IpAddr::V4(address) => 0xffff << 32 | u64::from(address.to_bits()),
            IpAddr::V6(network) => (network.to_bits() >> 64) as u64,
        }
    }

    pub(crate) fn prove(self: &Arc<Link>) -> ProvenLink {
        self.prove_for_good();
        ProvenLink(Arc::clone(self))
    }

    pub(super) fn prove_for_good(&self) {
        self.proven.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::SeqCst) > 0
    }

    /// Its task ends at once, whatever it waits for.
    pub(crate) fn cut(&self, why: Why) {
        if !self.is_cut.swap(true, Ordering::SeqCst) {
            self.ended.count(why);
        }
        self.task.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.task.register(waker);
    }
}

impl Drop for ProvenLink {
    fn drop(&mut self) {
        // It has as long as a new one to prove itself again.
        *self.0.began.lock() = Instant::now();
        self.0.proven.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many were turned away or cut off, by reason.
#[derive(Debug, Default)]
struct Ended([AtomicU64; Why::ALL.len()]);

impl Ended {
    fn count(&self, why: Why) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What there is to be seen of a port.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) port: &'static str,
    pub(crate) open: u64,
    pub(crate) connections_max: u64,
    pub(crate) ended: Vec<(&'static str, u64)>,
}

#[derive(Debug, Default)]
struct Open {
    links: BTreeMap<u64, Arc<Link>>,
    of_origin: HashMap<Origin, usize>,
}

impl Open {
    fn insert(&mut self, link: Arc<Link>) {
        *self.of_origin.entry(link.origin).or_default() += 1;
        self.links.insert(link.number, link);
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Link>> {
        let link = self.links.remove(&number)?;
        if let Some(count) = self.of_origin.get_mut(&link.origin) {
            *count -= 1;
            if *count == 0 {
                self.of_origin.remove(&link.origin);
            }
        }
        Some(link)
    }

    /// The oldest unproven one goes. False: all are proven.
    fn make_room(&mut self, origin: Option<Origin>) -> bool {
        let is_of = |link: &Link| origin.is_none_or(|origin| link.origin == origin);
        let oldest = self.links.values().find(|link| !link.is_proven() && is_of(link)).map(|link| link.number);
        let Some(link) = oldest.and_then(|number| self.remove(number)) else { return false };
        link.cut(Why::MadeRoom);
        true
    }
}

/// Those of one port.
#[derive(Debug)]
pub(crate) struct Links {
    port: Port,
    limits: Limits,
    open: Mutex<Open>,
    next: AtomicU64,
    ended: Arc<Ended>,
    refusals: Arc<Semaphore>,
}

/// A connection that is not let in, to be told so.
#[derive(Debug)]
pub(crate) struct Turned {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) why: Why,
    /// Held until it has been told.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Links {
    pub(crate) fn new(port: Port, limits: Limits) -> Arc<Links> {
        Arc::new(Links {
            port,
            limits,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            ended: Arc::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        })
    }

    /// The next connection, however long it takes; or the next one that is to be told that there is no room.
    pub(crate) async fn accept(self: &Arc<Links>, listener: &TcpListener) -> Result<Connection, Turned> {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(port = self.port.name(), "cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.open(peer.ip()) {
                Ok(link) => {
                    tune(&stream);
                    return Ok(Connection::new(stream, peer, link, Arc::clone(self)));
                }
                Err(why) => {
                    let limit = self.limit(why);
                    let (port, from) = (self.port.name(), peer.ip());
                    tracing::warn!(port, %from, limit, "a connection is not let in: {}", why.name());
                    if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
                        return Err(Turned { stream, peer, why, place });
                    }
                }
            }
        }
    }

    fn limit(&self, why: Why) -> usize {
        if why == Why::FullOfAddress { self.limits.per_address_max } else { self.limits.connections_max }
    }

    fn open(&self, address: IpAddr) -> Result<Arc<Link>, Why> {
        let origin = Origin::of(address);
        let mut open = self.open.lock();
        let of_origin = open.of_origin.get(&origin).copied().unwrap_or(0);
        let refused = if of_origin >= self.limits.per_address_max && !open.make_room(Some(origin)) {
            Some(Why::FullOfAddress)
        } else if open.links.len() >= self.limits.connections_max && !open.make_room(None) {
            Some(Why::Full)
        } else {
            None
        };
        if let Some(why) = refused {
            self.ended.count(why);
            return Err(why);
        }
        let link = Arc::new(Link {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            origin,
            began: Mutex::new(Instant::now()),
            proven: AtomicUsize::new(0),
            is_cut: AtomicBool::new(false),
            task: AtomicWaker::new(),
            ended: Arc::clone(&self.ended),
        });
        open.insert(Arc::clone(&link));
        Ok(link)
    }

    pub(super) fn close(&self, link: &Link) {
        self.open.lock().remove(link.number);
    }

    pub(super) fn unproven_bytes_max(&self) -> usize {
        self.limits.unproven_bytes_max
    }

    pub(super) fn proven_by_bytes(&self) -> Option<usize> {
        self.limits.proven_by_bytes
    }

    fn cut_late(&self) {
        let mut open = self.open.lock();
        let is_late = |link: &Link| !link.is_proven() && link.began.lock().elapsed() >= self.limits.unproven_max;
        let late: Vec<u64> = open.links.values().filter(|link| is_late(link)).map(|link| link.number).collect();
        for link in late.into_iter().filter_map(|number| open.remove(number)) {
            link.cut(Why::Silent);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let ended = Why::ALL.map(|why| (why.name(), self.ended.0[why as usize].load(Ordering::Relaxed)));
        Counts {
            port: self.port.name(),
            open: self.open.lock().links.len() as u64,
            connections_max: self.limits.connections_max as u64,
            ended: ended.into(),
        }
    }
}

/// Cuts off those that say nothing. Does not end.
pub(crate) async fn watch(links: Arc<Links>) {
    loop {
        sleep(LOOK_EVERY).await;
        links.cut_late();
    }
}

/// Without these a small message is late, or a host that has vanished is held for longer: no reason to turn anyone away.
fn tune(stream: &TcpStream) {
    // A small message must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TIMES);
    let _ = sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS_MAX);
}

#[cfg(test)]
#[path = "links_test.rs"]
mod tests;
