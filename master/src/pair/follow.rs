//! The standby's side of its stream, as gRPC has it: dials the primary, greets it, and takes what
//! comes to the machine; and the task that applies the log.
//!
//! Invariant: nothing is said of what is held, and nothing is taken, before the other end has proven
//! that it is the primary that the coordinator shows.
//!
//! Rules of the shell: no task applies entries while log or state change hands; what a message has
//! put in place is there for calls before anything else happens; a receipt that says that this member
//! is at work answers nothing, and none comes behind the answer.
//!
//! Deliberately absent: what is taken from whom, and when the primary is given up (`member`).

use std::sync::Arc;
use std::time::Duration;

use election::Incarnation;
use member::{Brought, Holding, RideEnd, RideId, bring, compare};
use metadata::Metadata;
use oplog::Entry;
#[cfg(feature = "faults")]
use oplog::ReplicatedState as _;
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::{self, FromPrimary, FromStandby};
use replication::{NotAdmitted, Pass};
use standby::{Applied, Standby, StandbyError, apply_committed};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, block_in_place};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::clock::now_ms;
#[cfg(feature = "faults")]
use crate::faults::Wrongly;
use crate::node::Held;
use crate::pair::door::{random, secret_of};
use crate::pair::verifying::Verifying;
use crate::pair::{Pair, TICK};

/// Receipts on their way out. A stream that takes none any more is of no use.
const OUT_MAX: usize = 64;
/// Entries of one step of applying, and the longest turn before others get theirs.
const APPLY_ENTRIES: usize = 64;
const APPLY_TURN: Duration = Duration::from_millis(1);
/// After a full sync that could not end: the next one would not either, at once.
const SYNC_PAUSE_MS: u64 = 5000;
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A message of many entries comes in one frame: each one is a write for the primary, and a read here.
const HTTP2_FRAME_BYTES_MAX: u32 = 2 << 20;
/// A step of a full sync that takes longer hangs: the primary is told no more that it is at work.
const AT_WORK_MAX: Duration = Duration::from_secs(120);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Ride(#[from] RideEnd),
    #[error("the address of the primary is not known")]
    NoAddress,
    #[error("cannot connect to {address}: {why}")]
    Connect { address: String, why: String },
    #[error("the primary says: {0}")]
    Refused(String),
    #[error("who answers at {address} is not admitted: {why}")]
    NotProven { address: String, why: NotAdmitted },
    #[error("the stream broke: {0}")]
    Broken(String),
}

impl Pair {
    /// An entry was just applied to the state. The primary's digests, if it carries any, are compared.
    pub(crate) fn on_applied(&self, state: &Arc<Metadata>, entry: &Entry) {
        let compared = match compare(&**state, entry) {
            None => return,
            Some(Ok(compared)) => compared,
            Some(Err(error)) => {
                return tracing::error!(at = %entry.position(), "the log's digests are not understood: {error}");
            }
        };
        let verify = &self.node.verify;
        verify.on_compared(&compared, self.seat.look(|member, _| member.is_sound()));
        self.seat.with(|member, now| {
            // Else a full sync has put another one in its place.
            if Arc::ptr_eq(state, &self.node.state()) {
                member.doubt(compared.event, now);
            }
        });
        verify.keep(compared.ours);
    }
}

/// The state catches up with what is committed, in a task of its own.
pub(crate) struct Applying {
    task: Option<JoinHandle<()>>,
}

impl Applying {
    pub(crate) fn start(pair: &Arc<Pair>, standby: &Standby<Metadata>) -> Applying {
        let held = Held { state: Arc::clone(standby.state()), tail: Arc::clone(standby.tail()) };
        Applying { task: Some(tokio::spawn(apply_all(Arc::clone(pair), held))) }
    }

    /// Nothing is applied any more once this is over.
    pub(crate) async fn stop(&mut self) {
        if let Some(task) = &mut self.task {
            task.abort();
            let _ = task.await;
            self.task = None;
        }
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Ends once nothing more may be applied.
async fn apply_all(pair: Arc<Pair>, held: Held) {
    let mut turn = Instant::now();
    while let Some(step) = apply_some(&pair, &held).await {
        match step {
            Ok(applied) if applied.entries == 0 => {
                pair.seat.moved();
                if held.tail.committed().wait(applied.seq + 1).await.is_err() {
                    return;
                }
                turn = Instant::now();
            }
            Ok(_) if turn.elapsed() < APPLY_TURN => {}
            Ok(_) => {
                pair.seat.moved();
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
            Err(error) => {
                tracing::error!("an entry does not fit this member's state: {error}");
                pair.node.verify.note(error.to_string());
                return pair.node.doubt(verification::Event::Broken);
            }
        }
    }
}

/// `None`: nothing more may be applied.
async fn apply_some(pair: &Pair, held: &Held) -> Option<Result<Applied, StandbyError>> {
    // While something is repaired, nothing else is applied.
    let _turn = pair.node.verify.turn().await;
    if !pair.seat.look(|member, _| member.may_apply()) {
        return None;
    }
    let (state, tail) = (&held.state, &held.tail);
    #[cfg(feature = "faults")]
    match crate::faults::apply_wrongly(&pair.node.pending_fault, state, tail) {
        Wrongly::No => {}
        Wrongly::Done => return Some(Ok(Applied { entries: 1, seq: state.applied().seq })),
        Wrongly::Waits => {
            sleep(APPLY_TURN).await;
            return Some(Ok(Applied { entries: 1, seq: state.applied().seq }));
        }
    }
    Some(apply_committed(&**state, tail, APPLY_ENTRIES, u64::MAX, |entry| pair.on_applied(state, entry)))
}

/// Runs until it is dropped. What was received by then is in `standby`; `applying` may still be at
/// work on it.
pub(crate) async fn follow(pair: &Arc<Pair>, standby: &mut Standby<Metadata>, applying: &mut Applying) {
    let mut last = String::new();
    loop {
        let Some(mut ride) = Ride::begin(pair, standby, applying).await else {
            sleep(TICK).await;
            continue;
        };
        let end = ride.run().await;
        let (primary, epoch, text) = (ride.primary, ride.epoch, end.to_string());
        if text != last {
            let primary = pair.roll.named(primary);
            tracing::info!(primary, epoch, "not connected to the primary: {text}");
            last = text;
        }
        let pause_ms = tell(&end, pair.settings.ask_again_ms);
        pair.seat.with(|member, now| member.end_ride(ride.id, pause_ms, now));
        drop(ride);
        sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// What an operator should know of it; and how long to wait before the next stream.
fn tell(end: &End, ask_again_ms: u64) -> u64 {
    match end {
        End::Ride(RideEnd::Distrusted) => 0,
        End::Ride(RideEnd::Standby(error @ (StandbyError::Apply { .. } | StandbyError::Install(_)))) => {
            tracing::error!("what the primary sent does not fit this member: {error}");
            ask_again_ms
        }
        End::Ride(RideEnd::Standby(error @ StandbyError::TooMuchLog { .. })) => {
            tracing::warn!(
                "a full sync cannot end: {error}. More tail_bytes helps, or fewer writes meanwhile; tried again"
            );
            SYNC_PAUSE_MS + ask_again_ms
        }
        End::Ride(RideEnd::Standby(_) | RideEnd::NotAnswered | RideEnd::Protocol(_))
        | End::NoAddress
        | End::Connect { .. }
        | End::Refused(_)
        | End::NotProven { .. }
        | End::Broken(_) => ask_again_ms,
    }
}

type Out = mpsc::Sender<FromStandby>;
/// Both ways of a stream, and calls beside it.
type Connected = (Out, Streaming<FromPrimary>, (ReplicationClient<Channel>, Pass));

struct Ride<'a> {
    pair: &'a Arc<Pair>,
    standby: &'a mut Standby<Metadata>,
    applying: &'a mut Applying,
    id: RideId,
    primary: Incarnation,
    epoch: u64,
}

/// Also where it is dropped half-way: the member begins no other one before that.
impl Drop for Ride<'_> {
    fn drop(&mut self) {
        self.pair.seat.with(|member, now| member.end_ride(self.id, 0, now));
    }
}

impl<'a> Ride<'a> {
    async fn begin(
        pair: &'a Arc<Pair>,
        standby: &'a mut Standby<Metadata>,
        applying: &'a mut Applying,
    ) -> Option<Ride<'a>> {
        if !pair.seat.look(|member, _| member.may_apply()) {
            applying.stop().await;
        }
        let (primary, epoch, id) = pair.seat.with(|member, now| {
            let (primary, epoch) = member.wants_ride(now)?;
            Some((primary, epoch, member.begin_ride(standby, now)?))
        })?;
        Some(Ride { pair, standby, applying, id, primary, epoch })
    }

    async fn run(&mut self) -> End {
        match self.connect().await {
            Ok((out, incoming, (calls, pass))) => {
                let token = pass.token();
                let verifying = Verifying { pair: Arc::clone(self.pair), calls, token, epoch: self.epoch };
                // It ends with the stream.
                let mut beside = JoinSet::new();
                beside.spawn(verifying.run());
                self.listen(out, incoming).await
            }
            Err(end) => end,
        }
    }

    async fn connect(&mut self) -> Result<Connected, End> {
        let info = self.pair.find(self.primary).await.ok_or(End::NoAddress)?;
        self.pair.seat.with(|member, _| member.hint(&info.address, self.epoch));
        let within = Duration::from_millis(self.pair.settings.drop_after_ms);
        let channel = dial(&info.peer_address, within).await?;
        let mut calls = ReplicationClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUT_MAX);
        let greeting = self.pair.seat.look(|member, _| member.greeting(&self.pair.node.name, self.id, random()));
        let greeting = greeting.ok_or(RideEnd::NotAnswered)?;
        let hello = FromStandby { message: Some(Up::Hello(greeting.hello())) };
        out.try_send(hello).map_err(|_| End::Broken("no place for a hello".to_owned()))?;
        let beside = calls.clone();
        let opened = timeout(within, calls.sync_op_log(ReceiverStream::new(outgoing))).await;
        let mut incoming = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(End::Refused(status.message().to_owned())),
            Err(_) => return Err(End::Broken("no answer to the hello".to_owned())),
        };
        let challenge = challenge(&mut incoming, within).await?;
        let secret = secret_of(&info).ok_or(RideEnd::Protocol("the coordinator shows no secret of the primary"))?;
        let proven = greeting.on_challenge(&challenge, (&self.pair.secret, &secret), self.standby.holds());
        let (proof, pass) = proven.map_err(|why| End::NotProven { address: info.peer_address, why })?;
        let proof = FromStandby { message: Some(Up::Proof(proof)) };
        out.try_send(proof).map_err(|_| End::Broken("no place for a proof".to_owned()))?;
        Ok((out, incoming, (beside, pass)))
    }

    async fn listen(&mut self, out: Out, mut incoming: Streaming<FromPrimary>) -> End {
        let mut doubts = self.pair.node.verify.doubts();
        loop {
            doubts.mark_unchanged();
            let checked = self.pair.seat.look(|member, _| {
                member.check_ride(self.id, self.standby).map(|()| Duration::from_millis(member.silent_ms()))
            });
            let silent = match checked {
                Ok(silent) => silent,
                Err(end) => return end.into(),
            };
            let next = tokio::select! {
                biased;
                // What this member holds may not be trusted any more.
                Ok(()) = doubts.changed() => continue,
                next = timeout(silent, incoming.message()) => next,
            };
            let message = match next {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return End::Broken("the primary has closed it".to_owned()),
                Ok(Err(status)) => return End::Broken(status.message().to_owned()),
                Err(_) => return End::Broken(format!("nothing came for {} ms", silent.as_millis())),
            };
            if let Err(end) = self.take(message, &out).await {
                return end;
            }
        }
    }

    async fn take(&mut self, mut message: FromPrimary, out: &Out) -> Result<(), End> {
        let seat = Arc::clone(&self.pair.seat);
        let envelope = seat.with(|member, _| member.takes(self.id, &message))?;
        seat.moved();
        let brought = match &message.message {
            Some(Down::Welcome(welcome)) => {
                if let Some(start) = &welcome.start {
                    let (primary, epoch) = (self.pair.roll.named(self.primary), self.epoch);
                    match start {
                        v1::welcome::Start::ForkSeq(seq) => {
                            tracing::info!(
                                primary,
                                epoch,
                                "connected to the primary, whose log goes on behind seq {seq}"
                            );
                        }
                        v1::welcome::Start::FullSync(_) => {
                            tracing::info!(primary, epoch, "connected to the primary, for a full sync")
                        }
                    }
                }
                self.on_welcome(&mut message).await?
            }
            Some(Down::Challenge(_) | Down::Entries(_) | Down::Image(_) | Down::Resigned(_)) | None => {
                self.bring_all(&mut message, out).await?
            }
        };
        if brought == Brought::Resigned {
            return Ok(seat.with(|member, now| member.on_resigned(self.id, now))?);
        }
        let holding = Holding::behind(self.standby, &envelope);
        let receipt = seat.with(|member, now| member.brought(self.id, holding, envelope, now))?;
        seat.moved();
        let receipt = FromStandby { message: Some(Up::Receipt(receipt)) };
        out.send(receipt).await.map_err(|_| End::Broken("receipts are not taken any more".to_owned()))
    }

    async fn on_welcome(&mut self, message: &mut FromPrimary) -> Result<Brought, End> {
        self.applying.stop().await;
        let brought = self.bring(message);
        *self.applying = Applying::start(self.pair, self.standby);
        Ok(brought?)
    }

    /// Waits for room in the log, as long as the member has patience.
    async fn bring_all(&mut self, message: &mut FromPrimary, out: &Out) -> Result<Brought, End> {
        loop {
            match self.at_length(message, out).await? {
                Brought::Synced => {}
                Brought::NoRoom => {
                    self.pair.seat.with(|member, now| member.on_no_room(self.id, now))?;
                    sleep(APPLY_TURN).await;
                }
                brought @ (Brought::Held | Brought::Forked | Brought::Resigned) => return Ok(brought),
            }
        }
    }

    /// A step of a full sync may take its time, the last one some seconds with many objects. Other
    /// tasks on this thread get their turns meanwhile, and the primary hears that this member is at work.
    async fn at_length(&mut self, message: &mut FromPrimary, out: &Out) -> Result<Brought, End> {
        if self.standby.syncing().is_none() {
            return Ok(self.bring(message)?);
        }
        let before = self.pair.node.held();
        let holding = Holding::of(self.standby, (self.epoch, 0));
        let (receipt, beacon_ms) =
            self.pair.seat.look(|member, now| (member.receipt(holding, now), member.election().timing().beacon_ms));
        let mut beside = JoinSet::new();
        beside.spawn(timeout(AT_WORK_MAX, say_at_work(receipt, out.clone(), beacon_ms)));
        let brought = block_in_place(|| self.bring(message));
        // None of what it says comes behind the answer.
        beside.shutdown().await;
        if brought == Ok(Brought::Synced) {
            tracing::info!(applied = %self.standby.tail().last(), "full sync is complete");
            self.applying.stop().await;
            *self.applying = Applying::start(self.pair, self.standby);
            // To give millions of records back takes its time, too.
            drop(tokio::task::spawn_blocking(move || drop(before)));
        }
        Ok(brought?)
    }

    /// Without a pause: where this stream is ended, all of it is in place, or nothing.
    fn bring(&mut self, message: &mut FromPrimary) -> Result<Brought, RideEnd> {
        let brought = bring(self.standby, message, self.primary)?;
        match brought {
            Brought::Synced => {
                #[cfg(feature = "faults")]
                self.pair.node.pending_fault.linger();
                self.hold();
                // It was checked, shard by shard, when it came.
                self.pair.seat.with(|member, now| member.on_synced(now));
            }
            Brought::Forked => self.hold(),
            Brought::Held | Brought::NoRoom | Brought::Resigned => {}
        }
        Ok(brought)
    }

    fn hold(&self) {
        let (state, tail) = (Arc::clone(self.standby.state()), Arc::clone(self.standby.tail()));
        self.pair.node.hold(Held { state, tail });
    }
}

/// That nothing was taken since, and that it goes on.
async fn say_at_work(receipt: v1::Receipt, out: mpsc::Sender<FromStandby>, beacon_ms: u64) {
    loop {
        sleep(Duration::from_millis(beacon_ms)).await;
        let receipt = v1::Receipt { asked_ms: now_ms(), ..receipt };
        if out.send(FromStandby { message: Some(Up::Receipt(receipt)) }).await.is_err() {
            return;
        }
    }
}

async fn challenge(incoming: &mut Streaming<FromPrimary>, within: Duration) -> Result<v1::Challenge, End> {
    match timeout(within, incoming.message()).await {
        Ok(Ok(Some(FromPrimary { message: Some(Down::Challenge(challenge)), .. }))) => Ok(challenge),
        Ok(Ok(Some(_))) => Err(RideEnd::Protocol("something else than a challenge").into()),
        Ok(Ok(None)) => Err(End::Broken("the primary has closed it".to_owned())),
        Ok(Err(status)) => Err(End::Refused(status.message().to_owned())),
        Err(_) => Err(End::Broken("no answer to the hello".to_owned())),
    }
}

async fn dial(address: &str, within: Duration) -> Result<Channel, End> {
    let failed = |why: String| End::Connect { address: address.to_owned(), why };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|why| failed(why.to_string()))?;
    let endpoint = endpoint
        .connect_timeout(within)
        .tcp_nodelay(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX);
    match timeout(within, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|why| failed(why.to_string())),
        Err(_) => Err(failed(format!("not within {} ms", within.as_millis()))),
    }
}
