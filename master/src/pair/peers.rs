//! The primary's side of its streams: a standby says hello, gets what it lacks, and then every entry as it is appended.
//!
//! ```text
//!   hello ──► plan ──► welcome ──► images? ──► batches, beacons ──► resigned?
//!   receipts ────────────────────────────────► seat (commits, tenure), window
//! ```
//!
//! Invariants: what is sent follows what was sent before; at most a window is under way, of entries and of bytes; a stream ends
//! with the epoch that it began in.
//!
//! Deliberately absent: who is in the set. A peer that is not gets the same stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use election::{Event, Incarnation, MemberId};
use metadata::Metadata;
use oplog::{Buckets, Part, ReplicatedState as _, Tail, Verifiable as _};
use parking_lot::Mutex;
use proto::status::{not_primary, to_status};
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::replication_server::Replication;
use proto::v1::verify_request::Question;
use proto::v1::verify_response::Answer;
use proto::v1::{self, FromPrimary, FromStandby, VerifyRequest, VerifyResponse};
use replication::{BatchLimits, Counted, Feed, Gather, PeerLog, Step, Window, counted};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use verification::{answer_buckets, answer_parts, answer_sample};

use crate::clock::boot_ms;
use crate::config::{BATCH_WAIT_MS_MAX, Cluster};
use crate::node::Node;
use crate::pair::pace::Pace;
use crate::pair::seat::{Role, Seat};

/// A peer says hello at once or not at all.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Messages between this task and the transport. Few: what waits there is old when it leaves.
const OUT_MAX: usize = 4;
/// What was committed is told at the latest after this, where nothing else is to be sent.
const COMMITTED_WITHIN: Duration = Duration::from_millis(BATCH_WAIT_MS_MAX);
/// A peer that answers nothing for so long has lost its way.
const SILENT_MS_MAX: u64 = 5000;
/// Peers at the same time.
const PEERS_MAX: usize = 16;

/// What the primary knows of a peer beyond the election: for windows, and for people.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) who: Incarnation,
    pub(crate) name: String,
    pub(crate) received: AtomicU64,
    pub(crate) applied: AtomicU64,
    /// The newest seq at which it found itself the same as this member.
    pub(crate) verified: AtomicU64,
    pub(crate) sound: AtomicBool,
    pub(crate) sent: AtomicU64,
    /// On `boot_ms`; 0: never.
    pub(crate) heard_ms: AtomicU64,
    /// When its newest receipt left, on its own clock; 0: unknown.
    asked_ms: AtomicU64,
    /// Shards of a full sync that were sent, and how many there are; 0 of 0: none is under way.
    pub(crate) shards_sent: AtomicU64,
    pub(crate) shards: AtomicU64,
    in_flight: Mutex<Window>,
    window: Notify,
}

impl Peer {
    /// It has not found itself to differ from this member.
    pub(crate) fn is_sound(&self) -> bool {
        self.sound.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight.lock().bytes()
    }
}

/// Those whose streams are open.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    open: Mutex<BTreeMap<MemberId, Arc<Peer>>>,
    /// Somebody waits until one of them has compared itself at this seq.
    comparison: AtomicU64,
}

impl Peers {
    pub(crate) fn list(&self) -> Vec<Arc<Peer>> {
        self.open.lock().values().cloned().collect()
    }

    pub(crate) fn of(&self, who: Incarnation) -> Option<Arc<Peer>> {
        self.open.lock().get(&who.member).filter(|peer| peer.who == who).cloned()
    }

    /// Until it is zero again, those that have not compared themselves there are heard of more often.
    pub(crate) fn await_comparison(&self, seq: u64) {
        self.comparison.store(seq, Ordering::Relaxed);
    }

    fn is_awaited(&self, peer: &Peer) -> bool {
        peer.verified.load(Ordering::Relaxed) < self.comparison.load(Ordering::Relaxed)
    }

    /// A second stream of the same member takes the place of its first.
    fn enter(&self, peer: Arc<Peer>) -> Result<(), Status> {
        let mut open = self.open.lock();
        if open.len() >= PEERS_MAX && !open.contains_key(&peer.who.member) {
            return Err(Status::resource_exhausted(format!("{PEERS_MAX} peers are connected already")));
        }
        open.insert(peer.who.member, peer);
        Ok(())
    }

    fn is_open(&self, peer: &Arc<Peer>) -> bool {
        self.open.lock().get(&peer.who.member).is_some_and(|open| Arc::ptr_eq(open, peer))
    }

    /// True: no other stream has taken its place.
    fn leave(&self, peer: &Arc<Peer>) -> bool {
        let mut open = self.open.lock();
        let was_open = open.get(&peer.who.member).is_some_and(|open| Arc::ptr_eq(open, peer));
        if was_open {
            open.remove(&peer.who.member);
        }
        was_open
    }
}

#[derive(Debug)]
pub(crate) struct PeerCalls {
    pub(crate) node: Arc<Node>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) settings: Cluster,
}

#[tonic::async_trait]
impl Replication for PeerCalls {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let request = request.into_inner();
        self.check_asker(&request)?;
        let question = request.question.ok_or_else(|| Status::invalid_argument("no question"))?;
        let node = Arc::clone(&self.node);
        let answered = tokio::task::spawn_blocking(move || answer(&node, question)).await;
        let answer = answered.map_err(|fault| Status::internal(fault.to_string()))??;
        Ok(Response::new(VerifyResponse { answer: Some(answer) }))
    }

    type SyncOpLogStream = ReceiverStream<Result<FromPrimary, Status>>;

    async fn sync_op_log(
        &self,
        request: Request<Streaming<FromStandby>>,
    ) -> Result<Response<Self::SyncOpLogStream>, Status> {
        let mut incoming = request.into_inner();
        let first = timeout(HELLO_WITHIN, incoming.message());
        let first = first.await.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(FromStandby { message: Some(Up::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let (who, epoch) = self.check(&hello)?;
        let (state, tail) = (self.node.state(), self.node.tail());
        if self.node.gate().epoch() != epoch {
            // They may be those of another epoch, and what follows from them could make a peer drop what it must keep.
            return Err(to_status(not_primary("", self.node.gate().epoch())));
        }
        let peer = Arc::new(Peer {
            who,
            name: hello.name.clone(),
            received: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            sound: AtomicBool::new(true),
            sent: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            asked_ms: AtomicU64::new(0),
            shards_sent: AtomicU64::new(0),
            shards: AtomicU64::new(0),
            in_flight: Mutex::new(Window::default()),
            window: Notify::new(),
        });
        self.peers.enter(Arc::clone(&peer))?;
        tracing::info!(peer = peer.name, ?who, epoch, "a peer is connected");
        let (out, outgoing) = mpsc::channel(OUT_MAX);
        let stream = Stream {
            seat: Arc::clone(&self.seat),
            peers: Arc::clone(&self.peers),
            state,
            tail,
            settings: self.settings.clone(),
            epoch,
            peer,
            out,
        };
        tokio::spawn(stream.run(hello, incoming));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// What the primary says of its own state.
fn answer(node: &Node, question: Question) -> Result<Answer, Status> {
    let (state, settings) = (node.state(), &node.config.verification);
    let invalid = |error: verification::WireError| Status::invalid_argument(error.to_string());
    match question {
        Question::Buckets(v1::ShardList { shards }) => {
            if shards.len() > state.shards() as usize || shards.iter().any(|shard| *shard >= state.shards()) {
                return Err(Status::invalid_argument("shards that are not there"));
            }
            let buckets: Vec<Buckets> = shards.into_iter().map(|shard| state.buckets(shard)).collect();
            Ok(answer_buckets(&buckets))
        }
        Question::Parts(v1::PartList { parts }) => {
            let parts: Vec<Part> = parts.iter().map(|part| Part { shard: part.shard, bucket: part.bucket }).collect();
            Ok(answer_parts(state.capture_parts(&parts)))
        }
        Question::Sample(sample) => {
            let limits = (settings.seq_gap_max, settings.repair_max);
            answer_sample(sample, state.applied(), limits, |sample| state.check_sample(sample)).map_err(invalid)
        }
    }
}

impl PeerCalls {
    fn check_asker(&self, request: &VerifyRequest) -> Result<(), Status> {
        let hello = v1::Hello {
            who: request.who,
            cluster_id: request.cluster_id.clone(),
            epoch: request.epoch,
            ..v1::Hello::default()
        };
        let (_, epoch) = self.check(&hello)?;
        // What is asked is about the log of one epoch.
        match request.epoch == epoch {
            true => Ok(()),
            false => Err(to_status(not_primary("", epoch))),
        }
    }

    fn check(&self, hello: &v1::Hello) -> Result<(Incarnation, u64), Status> {
        let who = hello.who.as_ref().map(incarnation).ok_or_else(|| Status::invalid_argument("a hello says who"))?;
        if who.member == self.seat.me.member {
            return Err(Status::invalid_argument(format!("{:?} is this member itself", hello.name)));
        }
        let Some(known) = self.seat.record() else {
            return Err(to_status(not_primary("", self.node.gate().epoch())));
        };
        if hello.cluster_id[..] != known.record.cluster_id.to_be_bytes() {
            return Err(Status::failed_precondition(format!("{:?} belongs to another cluster", hello.name)));
        }
        let epoch = known.record.epoch;
        if hello.epoch > epoch {
            // Somebody knows of a later epoch: look at the record before anything else is said.
            self.seat.event(Event::Heard { from: who, epoch: hello.epoch, sent_ms: 0 });
            return Err(to_status(not_primary("", hello.epoch)));
        }
        // The gate opens when state and log of this epoch are in place; before that they are those of another one.
        match self.node.gate().epoch() == epoch {
            true => Ok((who, epoch)),
            false => Err(to_status(not_primary("", epoch))),
        }
    }
}

pub(crate) fn incarnation(wire: &v1::Incarnation) -> Incarnation {
    Incarnation { member: MemberId(wire.member), number: wire.number }
}

pub(crate) fn incarnation_to_wire(who: Incarnation) -> v1::Incarnation {
    v1::Incarnation { member: who.member.0, number: who.number }
}

/// Why a stream ended.
enum End {
    /// The epoch is over, or another stream has taken this one's place.
    Over,
    /// The other end is gone.
    Gone,
    /// It is there, and answers nothing. What it will take, it can ask for anew.
    Silent,
    /// The log has lost what is to be sent next: a new stream begins with a full sync.
    Purged(oplog::TailError),
}

struct Stream {
    seat: Arc<Seat>,
    peers: Arc<Peers>,
    state: Arc<Metadata>,
    tail: Arc<Tail>,
    settings: Cluster,
    epoch: u64,
    peer: Arc<Peer>,
    out: mpsc::Sender<Result<FromPrimary, Status>>,
}

impl Stream {
    async fn run(self, hello: v1::Hello, incoming: Streaming<FromStandby>) {
        let end = tokio::select! {
            biased;
            end = self.take_receipts(incoming) => end,
            end = self.send_all(&hello) => end,
            // Also where the other end takes nothing, and nobody gets to look at the role.
            () = self.epoch_over() => End::Over,
        };
        if self.peers.leave(&self.peer) {
            self.seat.event(Event::PeerGone { who: self.peer.who, epoch: self.epoch });
        }
        let peer = &self.peer.name;
        match end {
            End::Over if self.seat.leads() == Some(self.epoch) => {
                tracing::info!(peer, "stream ended: the peer has opened another one");
            }
            End::Over => tracing::info!(peer, epoch = self.epoch, "stream ended: the epoch is over here"),
            End::Gone => tracing::info!(peer, epoch = self.epoch, "a peer is gone"),
            End::Silent => {
                tracing::warn!(peer, "a peer has answered nothing for {SILENT_MS_MAX} ms: its stream is closed")
            }
            End::Purged(why) => tracing::info!(peer, "a peer is too far behind for the log: {why}"),
        }
    }

    /// And the time for a last word is up too.
    async fn epoch_over(&self) {
        let mut roles = self.seat.roles();
        while self.seat.leads() == Some(self.epoch) {
            if roles.changed().await.is_err() {
                return;
            }
        }
        sleep(HELLO_WITHIN).await;
    }

    async fn take_receipts(&self, mut incoming: Streaming<FromStandby>) -> End {
        loop {
            let receipt = match incoming.message().await {
                Ok(Some(FromStandby { message: Some(Up::Receipt(receipt)) })) => receipt,
                _ => return End::Gone,
            };
            if receipt.epoch != self.epoch || !self.peers.is_open(&self.peer) {
                return End::Over;
            }
            let Counted { received, echo_ms, sound, is_member } =
                counted(&receipt, self.tail.appended().get(), boot_ms());
            let peer = &self.peer;
            peer.received.fetch_max(received, Ordering::Relaxed);
            peer.applied.store(receipt.applied, Ordering::Relaxed);
            peer.verified.store(receipt.verified, Ordering::Relaxed);
            peer.sound.store(sound, Ordering::Relaxed);
            peer.heard_ms.store(boot_ms(), Ordering::Relaxed);
            peer.in_flight.lock().answered(receipt.echo_ms);
            peer.asked_ms.store(receipt.asked_ms, Ordering::Release);
            if is_member {
                self.seat.event(Event::Answered { from: peer.who, epoch: self.epoch, received, echo_ms, sound });
            }
            peer.window.notify_one();
        }
    }

    async fn send_all(&self, hello: &v1::Hello) -> End {
        let feed = Feed::new(&self.state, &self.tail, &PeerLog::from(hello), self.limits());
        let feed = match self.begin(feed).await {
            Ok(feed) => feed,
            Err(end) => return end,
        };
        // What a peer had before counts for its window, not for commits: those wait for its own word.
        self.peer.received.fetch_max(feed.sent(), Ordering::Relaxed);
        self.send_log(feed).await
    }

    /// The welcome, and all images.
    async fn begin(&self, mut feed: Feed<Metadata>) -> Result<Feed<Metadata>, End> {
        let (primary, start) = (Some(incarnation_to_wire(self.seat.me)), Some(feed.welcome()));
        self.send(Down::Welcome(v1::Welcome { primary, start })).await?;
        if feed.syncing().is_none() {
            return Ok(feed);
        }
        self.seat.counts.full_syncs.fetch_add(1, Ordering::Relaxed);
        tracing::info!(peer = self.peer.name, ?start, "full sync begins");
        let began = Instant::now();
        let mut pace = Pace::new(self.settings.full_sync_bytes_per_s);
        while let Some((shard, shards)) = feed.syncing() {
            self.peer.shards.store(shards.into(), Ordering::Relaxed);
            self.peer.shards_sent.store(shard.into(), Ordering::Relaxed);
            feed = self.sync_step(feed, &mut pace).await?;
        }
        self.peer.shards.store(0, Ordering::Relaxed);
        self.peer.shards_sent.store(0, Ordering::Relaxed);
        let ms = began.elapsed().as_millis() as u64;
        tracing::info!(peer = self.peer.name, records = feed.records(), ms, "full sync: all images are sent");
        Ok(feed)
    }

    async fn sync_step(&self, mut feed: Feed<Metadata>, pace: &mut Pace) -> Result<Feed<Metadata>, End> {
        self.check_goes_on()?;
        let step = if feed.takes_image_next() {
            while let Some(rest) = pace.ahead() {
                sleep(rest.min(Duration::from_millis(self.settings.beacon_ms))).await;
                self.send(Down::Entries(v1::Entries { frames: Bytes::new() })).await?;
            }
            let tail = Arc::clone(&self.tail);
            let taken = tokio::task::spawn_blocking(move || {
                let step = feed.step(&tail, 0, 0);
                (feed, step)
            });
            let (back, step) = taken.await.map_err(|_| End::Over)?;
            feed = back;
            step
        } else {
            feed.step(&self.tail, 0, 0)
        };
        match step.map_err(End::Purged)? {
            Step::Image(message) => {
                let bytes = message.chunk.len();
                self.send(Down::Image(message)).await?;
                pace.sent(bytes);
            }
            Step::Entries(batch) => self.send(Down::Entries(v1::Entries { frames: batch.frames })).await?,
            Step::Idle => {}
        }
        self.window_has_room().await?;
        Ok(feed)
    }

    fn window_is_full(&self) -> bool {
        self.peer.in_flight_bytes() >= self.settings.window_bytes
    }

    /// Waits until it has, with beacons meanwhile.
    async fn window_has_room(&self) -> Result<(), End> {
        let (beacon, began_ms) = (Duration::from_millis(self.settings.beacon_ms), boot_ms());
        while self.window_is_full() {
            if timeout(beacon, self.peer.window.notified()).await.is_err() {
                self.check_goes_on()?;
                self.check_heard(began_ms)?;
                self.send(Down::Entries(v1::Entries { frames: Bytes::new() })).await?;
            }
        }
        Ok(())
    }

    /// `since_ms`: before that nothing was to be answered.
    fn check_heard(&self, since_ms: u64) -> Result<(), End> {
        let heard_ms = self.peer.heard_ms.load(Ordering::Relaxed).max(since_ms);
        if boot_ms() > heard_ms + SILENT_MS_MAX { Err(End::Silent) } else { Ok(()) }
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { entries: self.settings.batch_entries, bytes: self.settings.batch_bytes }
    }

    fn check_goes_on(&self) -> Result<(), End> {
        let goes_on = self.seat.leads() == Some(self.epoch) && self.peers.is_open(&self.peer);
        if goes_on { Ok(()) } else { Err(End::Over) }
    }

    async fn send_log(&self, mut feed: Feed<Metadata>) -> End {
        let beacon = Duration::from_millis(self.settings.beacon_ms);
        let mut roles = self.seat.roles();
        let (mut committed_sent, mut sent_at, began_ms) = (0, Instant::now(), boot_ms());
        let enough = self.settings.window_entries.min(self.settings.batch_entries as u64);
        let mut gather = Gather::new(self.settings.batch_wait_ms, enough);
        loop {
            roles.borrow_and_update();
            if let Err(end) = self.check_goes_on() {
                return self.end_of_reign(end).await;
            }
            if let Err(end) = self.check_heard(began_ms) {
                return end;
            }
            let now_ms = boot_ms();
            let appended = self.tail.appended().get();
            let gathers = gather.until_ms(feed.sent(), appended, self.tail.awaited().get(), now_ms);
            // One that is to join is not held up: by what gathers it would lag too far.
            if let Some(until_ms) = gathers.filter(|_| self.seat.is_in_sync(self.peer.who)) {
                tokio::select! {
                    biased;
                    // The end of the epoch first; then what does not wait, and what is enough.
                    _ = roles.changed() => {}
                    _ = self.tail.awaited().wait(gather.hurries_at()) => {}
                    _ = self.tail.appended().wait(feed.sent() + enough) => {}
                    () = sleep(Duration::from_millis(until_ms - now_ms)) => {}
                }
                continue;
            }
            let received = self.peer.received.load(Ordering::Relaxed);
            let waits = self.window_is_full() || feed.is_ahead(received, self.settings.window_entries);
            let step =
                if waits { Ok(Step::Idle) } else { feed.step(&self.tail, received, self.settings.window_entries) };
            let frames = match step {
                Ok(Step::Entries(batch)) => {
                    self.peer.sent.store(batch.last_seq, Ordering::Relaxed);
                    gather.sent(batch.last_seq < appended, now_ms);
                    batch.frames
                }
                Ok(Step::Idle | Step::Image(_)) => {
                    let committed = self.tail.committed().get();
                    let is_calm = committed == committed_sent && !self.peers.is_awaited(&self.peer);
                    let pause = if is_calm { beacon } else { COMMITTED_WITHIN };
                    tokio::select! {
                        biased;
                        // The end of the epoch first; then what is to be sent; a beacon when there is nothing.
                        _ = roles.changed() => continue,
                        _ = self.tail.appended().wait(feed.sent() + 1), if !waits => continue,
                        () = self.peer.window.notified(), if waits => continue,
                        () = sleep_until(sent_at + pause) => Bytes::new(),
                    }
                }
                Err(why) => return End::Purged(why),
            };
            committed_sent = self.tail.committed().get();
            sent_at = Instant::now();
            if let Err(end) = self.send(Down::Entries(v1::Entries { frames })).await {
                return end;
            }
        }
    }

    async fn end_of_reign(&self, end: End) -> End {
        if self.seat.heir() == Some(self.peer.who) && self.seat.leads().is_none() {
            // Whether it arrives or not: nobody waits for it.
            let _ = timeout(HELLO_WITHIN, self.send(Down::Resigned(v1::Resigned {}))).await;
        }
        end
    }

    async fn send(&self, message: Down) -> Result<(), End> {
        let place = self.place().await?;
        // In this order: what is committed when the question has come; and nobody else could commit until after that.
        let asked_ms = self.peer.asked_ms.load(Ordering::Acquire);
        let committed = self.tail.committed().get();
        let as_of_ms = if self.seat.may_answer(self.epoch) { asked_ms } else { 0 };
        let (epoch, in_sync) = (self.epoch, self.seat.is_in_sync(self.peer.who));
        let bytes = match &message {
            Down::Entries(entries) => entries.frames.len(),
            Down::Image(image) => image.chunk.len(),
            Down::Welcome(_) | Down::Resigned(_) => 0,
        };
        let sent_ms = boot_ms();
        self.peer.in_flight.lock().sent(sent_ms, bytes);
        place.send(Ok(FromPrimary { epoch, sent_ms, committed, in_sync, as_of_ms, message: Some(message) }));
        Ok(())
    }

    /// In the transport's queue. A peer that takes nothing for a while may be at work on what it has, and says so then.
    async fn place(&self) -> Result<mpsc::Permit<'_, Result<FromPrimary, Status>>, End> {
        let began_ms = boot_ms();
        loop {
            match timeout(Duration::from_millis(self.settings.beacon_ms), self.out.reserve()).await {
                Ok(place) => return place.map_err(|_| End::Gone),
                Err(_) => self.check_heard(began_ms)?,
            }
        }
    }
}

/// Of a role: whether this member is the primary.
pub(crate) fn leads(role: Role) -> bool {
    matches!(role, Role::Lead { .. })
}
