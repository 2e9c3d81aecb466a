//! A member of a cluster: the shell around its machine (`member`), its streams, and the
//! coordinator.
//!
//! | file | has |
//! |---|---|
//! | `seat` | the machine, behind a lock, and what follows at once from its actions |
//! | `ask` | questions to the coordinator, and its answers |
//! | `door` | the proof of peers that want to follow |
//! | `peers` | the primary's side of its streams |
//! | `follow` | the standby's side of its stream, and applying |
//! | `lead` | log and state, from a standby to a primary, and back |
//! | `transfer` | handing over to another member, by name |
//! | `verifying` | a standby's questions to its primary |
//! | `presence` | this member's presence, and the other members |
//!
//! One task has the member's log and state: it follows, or it leads, one after the other. All of
//! this runs on a runtime of its own, so that clients cannot take the time that beacons need.
//!
//! *Invariant:* no decision about roles, commits, streams, or the soundness of a state is made
//! here.
//!
//! Deliberately absent: the reads and writes of clients, which go through `node` and `gate`; what
//! is shown and logged (`cluster_status`, `cluster_news`), and what operators change
//! (`cluster_settings`).

mod ask;
mod door;
mod follow;
mod lead;
mod peers;
mod presence;
pub(crate) mod seat;
pub(crate) mod transfer;
mod verifying;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, MemberInfo};
use election::Incarnation;
use member::Member;
use oplog::{Appender, ReplicatedState as _};
use proto::v1::replication_server::ReplicationServer;
use replication::Secret;
use standby::Standby;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::now_ms;
use crate::config::Cluster;
use crate::listen::{self, Links};
use crate::node::Node;
pub(crate) use crate::pair::door::random;
use crate::pair::door::{Door, secret_of};
use crate::pair::peers::PeerCalls;
pub(crate) use crate::pair::presence::Roll;
pub use crate::pair::presence::named;
pub(crate) use crate::pair::seat::Seat;

/// The member is told the time this often.
const TICK: Duration = Duration::from_millis(5);
/// A standby's messages are small: receipts, and questions of a bounded length. Two thousand
/// records of a sample fit.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// For one connection: its stream and a question beside it, and those that are just ending.
const STREAMS_MAX: u32 = 4;
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
const HEADER_BYTES_MAX: u32 = 8 << 10;

/// A member, as its tasks see it.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) node: Arc<Node>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) settings: Cluster,
    coordinator: Arc<dyn Coordinator>,
    pub(crate) roll: Arc<Roll>,
    door: Door,
    /// The secret by which this incarnation proves itself.
    secret: Secret,
}

/// What a member is started with.
pub(crate) struct Start {
    pub(crate) node: Arc<Node>,
    pub(crate) log: Appender,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    /// The listener for other members.
    pub(crate) listener: TcpListener,
    pub(crate) me: MemberInfo,
}

/// The tasks of a member. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pair: Arc<Pair>,
    _tasks: JoinSet<()>,
}

impl Pair {
    /// Must be called on the runtime that the member will run on.
    pub(crate) async fn start(start: Start) -> Result<Running, coordinator::Error> {
        let Start { node, log, coordinator, listener, me } = start;
        let settings = node.config.cluster.clone();
        let presence = presence::first(&*coordinator, &me, settings.lease_outlives_process()).await?;
        // If this member creates the record, this identifies the cluster for good.
        let cluster_id = u128::from(me.who.number) << 64 | u128::from(me.who.member.0);
        let election = election::Election::new(me.who, cluster_id, settings.start(), now_ms());
        let settings_of_member = node.config.to_member(node.state().shards());
        let member = Member::new(me.who, election, settings_of_member, node.gate.core());
        let roll = Arc::new(Roll::default());
        let (seat, asked) = Seat::new(member, node.gate_shared(), Arc::clone(&node.findings), Arc::clone(&roll));
        node.take_seat(Arc::clone(&seat));
        let pair = Arc::new(Pair {
            node: Arc::clone(&node),
            seat: Arc::clone(&seat),
            settings: settings.clone(),
            coordinator: Arc::clone(&coordinator),
            roll,
            door: Door::default(),
            secret: secret_of(&me).expect("a member is started with a secret"),
        });
        node.join_pair(&pair);
        let mut tasks = JoinSet::new();
        let links = Arc::clone(&node.ports.peers);
        tasks.spawn(listen::watch(Arc::clone(&links)));
        tasks.spawn(serve_peers((listener, links), PeerCalls { pair: Arc::clone(&pair) }));
        tasks.spawn(ask::run(Arc::clone(&seat), coordinator, asked, settings.start().founding.allowed));
        tasks.spawn(presence::keep(Arc::clone(&pair), me, presence));
        tasks.spawn(presence::follow_members(Arc::clone(&pair)));
        tasks.spawn(tick(Arc::clone(&pair)));
        tasks.spawn(log_digests(Arc::clone(&pair)));
        let standby = Standby::new(node.state(), node.tail(), log, node.config.tail.to_oplog());
        tasks.spawn(lead::run(Arc::clone(&pair), standby));
        Ok(Running { pair, _tasks: tasks })
    }

    /// The member of an incarnation, if it is here.
    pub(crate) async fn find(&self, who: Incarnation) -> Option<MemberInfo> {
        if let Some(info) = self.roll.find(who) {
            return Some(info);
        }
        self.learn(self.coordinator.members().await.ok()?);
        self.roll.find(who)
    }

    /// The members that are here now.
    fn learn(&self, members: Vec<MemberInfo>) {
        let known = self.seat.known();
        self.roll.update(members, known.as_ref().map(|known| &known.record), now_ms());
    }

    pub(crate) fn members(&self) -> Vec<MemberInfo> {
        self.roll.all()
    }

    /// The addresses of all members, for clients.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.members().into_iter().map(|info| info.address).collect()
    }
}

/// Tells the member the time.
async fn tick(pair: Arc<Pair>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pair.seat.with(|member, now| member.on_tick(now));
    }
}

/// Under the lock of the state's writers, and so without the member's.
async fn log_digests(pair: Arc<Pair>) {
    loop {
        pair.seat.digests_are_due().await;
        // If the log has no room, or another member leads by now, the next digests will do.
        let at = pair.node.log_digests().ok().map(|at| at.seq);
        pair.seat.with(|member, now| member.on_digests_logged(at, now));
    }
}

async fn serve_peers(at: (TcpListener, Arc<Links>), calls: PeerCalls) {
    let serving = &calls.pair.node.config.serving;
    let keepalive = [serving.keepalive_interval_ms, serving.keepalive_timeout_ms].map(Duration::from_millis);
    let service = ReplicationServer::new(calls).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(keepalive[0]))
        .http2_keepalive_timeout(Some(keepalive[1]))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .add_service(service);
    let incoming = futures_util::stream::unfold(at, |(listener, links): (TcpListener, Arc<Links>)| async move {
        // A member that is not admitted finds its connection closed, and tries again by itself.
        let stream = loop {
            if let Ok(stream) = links.accept(&listener).await {
                break stream;
            }
        };
        Some((io::Result::Ok(stream), (listener, links)))
    });
    if let Err(error) = server.serve_with_incoming(incoming).await {
        tracing::error!("other members cannot connect any more: {error}");
    }
}
