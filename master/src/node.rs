//! One member: its state, the tail of its log, its gate and its clocks.
//!
//! State and tail change hands together: a full sync and a change of role put others in their place. So a call that ran
//! on one pair of them may be answered only in the epoch that it ran in; the gate sees to that.
//!
//! Invariant: what a call changed is in the log before the call returns, and its answer waits until `committed` has
//! reached the seq that it rests on.
//!
//! Deliberately absent: sockets and threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use election::{LeftOut, Service};
use metadata::{CallRefused, Metadata, Steps};
use oplog::{Appender, Position, Tail};

use crate::background::Background;
use crate::budget::{Bounds, Budget};
use crate::clock::{self, Clock};
use crate::config::{Config, Serving};
use crate::gate::Gate;
use crate::grpc::Places;
use crate::listen::Ports;
use crate::metrics::Requests;
use crate::pair::{Pair, Seat};
use crate::process;
use crate::verify::{self, Verify};

/// Where the history of a member without peers begins. One with peers begins before any epoch.
const BEGINNING: Position = Position { epoch: 1, seq: 0 };

/// A state, and the newest part of the log that made it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) state: Arc<Metadata>,
    pub(crate) tail: Arc<Tail>,
}

/// Who says what is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitRule {
    /// There are no peers: what is appended is committed.
    Alone,
    /// Whoever hears of the peers moves `committed`.
    Peers,
}

#[derive(Debug)]
pub struct Node {
    pub(crate) name: String,
    held: ArcSwap<Held>,
    /// Rises whenever another state is held.
    holding: AtomicU64,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    commit_rule: CommitRule,
    /// Under `CommitRule::Peers`: who decides what is committed.
    seat: OnceLock<Arc<Seat>>,
    /// It holds this node.
    pair: OnceLock<Weak<Pair>>,
    lock_clock_ns: fn() -> u64,
    pub(crate) background: Background,
    /// Places for calls that run on threads of their own.
    pub(crate) long_calls: Places,
    /// Memory for requests that come in parts.
    pub(crate) request_bytes: Budget,
    /// Memory for answers that are not read yet.
    pub(crate) unread_bytes: Budget,
    pub(crate) ports: Ports,
    pub(crate) requests: Requests,
    pub(crate) verify: Arc<Verify>,
    #[cfg(feature = "faults")]
    pub(crate) pending_fault: crate::faults::Pending,
}

impl Node {
    /// A member without peers and without a past: the primary of epoch 1.
    pub fn alone(config: Config) -> Arc<Node> {
        Node::new(config, CommitRule::Alone)
    }

    /// A member without a past: the primary of epoch 1.
    pub fn new(config: Config, commit_rule: CommitRule) -> Arc<Node> {
        Node::with_lock_clock(config, commit_rule, clock::monotonic_ns)
    }

    /// As [`Node::new`], with a clock of one's own to measure how long locks are held. Where other processes want the
    /// CPU too, only the CPU time of the thread tells what the node itself did under a lock.
    pub fn with_lock_clock(config: Config, commit_rule: CommitRule, lock_clock_ns: fn() -> u64) -> Arc<Node> {
        let gate = Gate::serving(BEGINNING.epoch);
        let (node, mut log) = Node::at(config, commit_rule, lock_clock_ns, gate, BEGINNING);
        let (state, now) = (node.state(), node.clock.now());
        standby::begin_epoch(&*state, &mut log, now.wall_ms, process::draw_secret())
            .expect("an empty state takes the start of its first epoch");
        state.lead(log, now, BEGINNING.epoch);
        node.commit_appended();
        node
    }

    /// A member of a cluster: it holds nothing yet, and is nobody until the election says so.
    pub(crate) fn member(config: Config) -> (Arc<Node>, Appender) {
        Node::at(config, CommitRule::Peers, clock::monotonic_ns, Gate::closed(), Position::default())
    }

    fn at(
        config: Config,
        commit_rule: CommitRule,
        lock_clock_ns: fn() -> u64,
        gate: Gate,
        beginning: Position,
    ) -> (Arc<Node>, Appender) {
        let (held, log) = empty(&config, lock_clock_ns, beginning);
        let node = Arc::new(Node {
            name: process::node_name(&config.serving.node_name),
            held: ArcSwap::from_pointee(held),
            holding: AtomicU64::new(0),
            gate: Arc::new(gate),
            clock: Clock::start(config.upkeep.upkeep_interval_ms + config.upkeep.stall_ms),
            background: Background::new(config.upkeep.background_cpu_ratio),
            long_calls: Places::new(config.serving.long_calls_max),
            request_bytes: Budget::new(request_bounds(&config.serving)),
            unread_bytes: Budget::new(unread_bounds(&config.serving)),
            ports: Ports::new(&config.serving),
            requests: Requests::new(),
            verify: Arc::default(),
            #[cfg(feature = "faults")]
            pending_fault: crate::faults::Pending::default(),
            config,
            commit_rule,
            seat: OnceLock::new(),
            pair: OnceLock::new(),
            lock_clock_ns,
        });
        (node, log)
    }

    /// A state and a log with nothing in them.
    pub(crate) fn with_nothing(&self) -> (Held, Appender) {
        empty(&self.config, self.lock_clock_ns, Position::default())
    }

    /// From now on calls run on these.
    pub(crate) fn hold(&self, held: Held) {
        let is_another = !Arc::ptr_eq(&held.state, &self.state());
        // Before any call can find it, and once each can: a session that was opened in between is of neither.
        if is_another {
            self.holding.fetch_add(1, Ordering::SeqCst);
        }
        self.held.store(Arc::new(held));
        if is_another {
            self.holding.fetch_add(1, Ordering::SeqCst);
            self.verify.forget_digests();
        }
    }

    /// What this member is among others; `None`: it is alone, or not yet among them.
    pub(crate) fn pair(&self) -> Option<Arc<Pair>> {
        self.pair.get().and_then(Weak::upgrade)
    }

    pub(crate) fn join_pair(&self, pair: &Arc<Pair>) {
        assert!(self.pair.set(Arc::downgrade(pair)).is_ok(), "a node is in one pair");
    }

    /// The history that answers are of at this moment. None: nothing is held.
    pub(crate) fn history(&self) -> Option<u128> {
        self.held.load().state.view().history()
    }

    /// Changes whenever another state is held. Only then the history may be another one.
    pub(crate) fn holding(&self) -> u64 {
        self.holding.load(Ordering::SeqCst)
    }

    pub(crate) fn take_seat(&self, seat: Arc<Seat>) {
        assert!(self.seat.set(seat).is_ok(), "a node has one seat");
    }

    /// Whether others are compared with this member.
    pub(crate) fn leads(&self) -> bool {
        self.seat.get().is_none_or(|seat| seat.leads().is_some())
    }

    /// "sound", "diverged", "lost"; and what is the matter. A member that is alone differs from none.
    pub(crate) fn condition(&self) -> (&'static str, String) {
        let of = |seat: &Arc<Seat>| seat.look(|member, _| verify::condition(member.verifier()));
        self.seat.get().map_or_else(|| ("sound", String::new()), of)
    }

    /// The newest position at which this member was the same as its primary.
    pub(crate) fn verified(&self) -> Position {
        self.seat.get().map_or_else(Position::default, |seat| seat.look(|member, _| member.verified()))
    }

    /// Something was found out about this member's state.
    pub(crate) fn doubt(&self, event: verification::Event) {
        if let Some(seat) = self.seat.get() {
            seat.with(|member, now| member.doubt(event, now));
        }
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn gate_shared(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// State and log as they are now: another one, once they have changed hands.
    pub(crate) fn held(&self) -> Arc<Held> {
        self.held.load_full()
    }

    /// What calls run on now.
    pub fn state(&self) -> Arc<Metadata> {
        Arc::clone(&self.held.load().state)
    }

    /// The log of what calls do now.
    pub fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.held.load().tail)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of requests that have arrived in part, or are large and being worked on.
    pub fn request_bytes(&self) -> usize {
        self.request_bytes.taken()
    }

    /// Bytes of answers that their clients have not read yet.
    pub fn unread_bytes(&self) -> usize {
        self.unread_bytes.taken()
    }

    /// The clock runs for as long as this member can hear its clients and answer them.
    pub(crate) fn tick(&self) -> LeftOut {
        // A late round is no silence of a client, whatever TTL the cluster has.
        self.clock.limit_step(self.state().settings().settings.client_ttl_ms / 2);
        let tail = self.tail();
        // Committed first: so it is never ahead of the end.
        let (committed, appended) = (tail.committed().get(), tail.appended().get());
        self.clock.tick(Service { until_ms: self.gate.serves_until_ms(), appended, committed })
    }

    /// One round of what the primary does of its own accord.
    pub(crate) fn step(&self) -> Result<Steps, CallRefused> {
        let now = self.clock.running().ok_or(CallRefused::NotPrimary)?;
        let steps = self.state().step_while(now, || self.gate.may_log());
        self.commit_appended();
        steps
    }

    /// As the primary: the digests of the state go into the log. Tells where.
    pub(crate) fn log_digests(&self) -> Result<Position, CallRefused> {
        let logged = self.state().log_digests(self.clock.now());
        self.commit_appended();
        let digests = logged?;
        let at = digests.at;
        self.verify.keep(digests);
        Ok(at)
    }

    /// After everything that may have appended.
    pub(crate) fn commit_appended(&self) {
        let held = self.held.load();
        match (self.commit_rule, self.seat.get()) {
            (CommitRule::Alone, _) => held.tail.committed().advance(held.tail.appended().get()),
            (CommitRule::Peers, Some(seat)) => seat.with(|member, now| member.on_appended(&held.tail, now)),
            (CommitRule::Peers, None) => {}
        }
    }
}

fn request_bounds(serving: &Serving) -> Bounds {
    Bounds {
        name: "request_bytes_max",
        bytes_max: serving.request_bytes_max,
        connection_name: "connection_request_bytes_max",
        connection_bytes_max: serving.connection_request_bytes_max,
    }
}

fn unread_bounds(serving: &Serving) -> Bounds {
    Bounds {
        name: "unread_bytes_max",
        bytes_max: serving.unread_bytes_max,
        connection_name: "connection_unread_bytes_max",
        connection_bytes_max: serving.connection_unread_bytes_max,
    }
}

fn empty(config: &Config, lock_clock_ns: fn() -> u64, beginning: Position) -> (Held, Appender) {
    let seed = match config.state.placement_seed {
        0 => clock::monotonic_ns() | 1,
        seed => seed,
    };
    let settings = metadata::Config { seed, lock_clock_ns, ..config.state.to_metadata() };
    let (tail, log) = Tail::new(config.tail.to_oplog(), beginning);
    (Held { state: Arc::new(Metadata::new(settings, beginning)), tail }, log)
}
