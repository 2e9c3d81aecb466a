//! A member among others: the shell around the election, the log's stream, and the coordinator.
//!
//! | file | decides |
//! |---|---|
//! | `seat` | what follows at once from what the core says: commits, the gate, the tenure |
//! | `ask` | the coordinator's answers to the core's questions |
//! | `peers` | the primary's side of its streams |
//! | `pace` | how fast a full sync may go |
//! | `follow` | the standby's side of its stream |
//! | `lead` | from a standby to a primary, and back |
//! | `transfer` | giving the place of the primary to another member |
//! | `verifying` | a standby's questions to its primary: samples, and a repair where something differs |
//! | `notes`, `fresh` | how far behind this member is, for people and for reads |
//! | `reads` | whether this member may answer a read as a standby |
//! | `status` | all of it for people and programs |
//! | `presence` | saying that this member is here, and who else is |
//!
//! One task has the member's log and state: it follows, or it leads, one after the other. All of this runs on a runtime of its
//! own, so that clients cannot take the time that beacons need.
//!
//! *Invariant:* no decision about roles is made here.
//!
//! Deliberately absent: the reads and writes of clients; they go through `node` and `gate`.

mod ask;
mod follow;
mod fresh;
mod lead;
mod notes;
mod pace;
pub(crate) mod peers;
mod presence;
pub(crate) mod reads;
pub(crate) mod seat;
mod status;
pub(crate) mod transfer;
mod verifying;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, MemberInfo};
use election::{Event, Incarnation, Member};
use oplog::Appender;
use proto::v1::replication_server::ReplicationServer;
use standby::Standby;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::config::Cluster;
use crate::node::Node;
use crate::pair::notes::Notes;
use crate::pair::peers::{PeerCalls, Peers};
use crate::pair::presence::Roll;
pub(crate) use crate::pair::seat::Seat;

/// The core hears the time this often.
const TICK: Duration = Duration::from_millis(5);
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Of one connection between members.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A member, as its tasks see it.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) node: Arc<Node>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) settings: Cluster,
    pub(crate) peers: Arc<Peers>,
    pub(crate) notes: Arc<Notes>,
    coordinator: Arc<dyn Coordinator>,
    roll: Roll,
}

/// What a member is started with.
pub(crate) struct Start {
    pub(crate) node: Arc<Node>,
    pub(crate) log: Appender,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    /// For other members.
    pub(crate) listener: TcpListener,
    pub(crate) me: MemberInfo,
}

/// The tasks of a member; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pair: Arc<Pair>,
    _tasks: JoinSet<()>,
}

impl Pair {
    /// To be called on the runtime that the member is to live on.
    pub(crate) async fn start(start: Start) -> Result<Running, coordinator::Error> {
        let Start { node, log, coordinator, listener, me } = start;
        let settings = node.config.cluster.clone();
        let presence = presence::first(&*coordinator, &me, settings.lease_outlives_process()).await?;
        let (timing, unclean) = (settings.timing(), settings.unclean());
        // Should this member create the record, this names the cluster for good.
        let cluster_id = u128::from(me.who.number) << 64 | u128::from(me.who.member.0);
        let core = Member::new(me.who, cluster_id, timing, unclean, crate::clock::boot_ms());
        let (seat, asked) = Seat::new(core, me.who, node.gate_shared());
        node.take_seat(Arc::clone(&seat));
        let peers = Arc::new(Peers::default());
        let pair = Arc::new(Pair {
            node: Arc::clone(&node),
            seat: Arc::clone(&seat),
            settings: settings.clone(),
            peers: Arc::clone(&peers),
            notes: Arc::default(),
            coordinator: Arc::clone(&coordinator),
            roll: Roll::default(),
        });
        node.join_pair(&pair);
        let mut tasks = JoinSet::new();
        let calls = PeerCalls { node: Arc::clone(&node), seat: Arc::clone(&seat), peers, settings };
        tasks.spawn(serve_peers(listener, calls));
        tasks.spawn(ask::run(Arc::clone(&seat), coordinator, asked, unclean));
        tasks.spawn(presence::keep(Arc::clone(&pair), me, presence));
        tasks.spawn(presence::follow_members(Arc::clone(&pair)));
        tasks.spawn(tick(Arc::clone(&pair)));
        tasks.spawn(log_digests(Arc::clone(&pair)));
        let standby = Standby::new(node.state(), node.tail(), log, node.config.tail.to_oplog());
        tasks.spawn(lead::run(Arc::clone(&pair), standby));
        Ok(Running { pair, _tasks: tasks })
    }

    /// Who an incarnation is, if it is here.
    pub(crate) async fn find(&self, who: Incarnation) -> Option<MemberInfo> {
        if let Some(info) = self.roll.find(who) {
            return Some(info);
        }
        self.learn(self.coordinator.members().await.ok()?);
        self.roll.find(who)
    }

    /// Who is here now.
    fn learn(&self, members: Vec<MemberInfo>) {
        let known = self.seat.known();
        self.roll.update(members, known.as_ref().map(|known| &known.record), Instant::now());
    }

    pub(crate) fn members(&self) -> Vec<MemberInfo> {
        self.roll.all()
    }

    /// Of all members, for clients.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.members().into_iter().map(|info| info.address).collect()
    }

    /// 0 as long as no record was seen.
    fn cluster_id(&self) -> u128 {
        self.seat.known().map_or(0, |known| known.record.cluster_id)
    }
}

/// Time goes on, and with it what depends on it.
async fn tick(pair: Arc<Pair>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pair.seat.event(Event::Tick);
        pair.seat.release_if_untenured();
        if pair.seat.leads().is_some() {
            pair.node.tail().set_floor(pair.seat.needed_seq());
        }
    }
}

/// As the primary: the log carries the state's digests now and then, for every standby to compare with its own at that seq.
async fn log_digests(pair: Arc<Pair>) {
    let every = Duration::from_millis(pair.node.config.verification.digest_interval_ms);
    if every.is_zero() {
        return std::future::pending().await;
    }
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if pair.seat.leads().is_some() && pair.node.gate().may_log() && !pair.peers.list().is_empty() {
            // Where the log has no room, or another one leads by now, the next one will do.
            let _ = pair.node.log_digests();
        }
    }
}

async fn serve_peers(listener: TcpListener, calls: PeerCalls) {
    let service = ReplicationServer::new(calls).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .add_service(service);
    let incoming = futures_util::stream::unfold(listener, accept);
    if let Err(error) = server.serve_with_incoming(incoming).await {
        tracing::error!("other members cannot connect any more: {error}");
    }
}

/// The next connection, however long it takes: an accept that fails (mostly there are no file descriptors left) is tried again.
async fn accept(listener: TcpListener) -> Option<(io::Result<TcpStream>, TcpListener)> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A small message must not wait for the acknowledgement of the one before. Without it they are late, not wrong.
                let _ = stream.set_nodelay(true);
                return Some((Ok(stream), listener));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection of another member: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
