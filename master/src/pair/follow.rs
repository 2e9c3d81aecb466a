//! The standby's side of its stream, over gRPC: it connects to the primary, sends the hello, and
//! passes messages to the machine; and the task that applies the log.
//!
//! Rules of the shell: no task applies entries from `Still` to `Anew`, or while a step puts another
//! state in place; a receipt that only says that this member is at work answers nothing, and none
//! follows the answer.
//!
//! Deliberately absent: which messages are accepted, in which order, and when the primary is given
//! up (`member::Riding`).

use std::sync::Arc;
use std::time::Duration;

use member::{Questions, RideEnd, Riding, Step, compare};
use metadata::Metadata;
use oplog::Entry;
#[cfg(feature = "faults")]
use oplog::ReplicatedState as _;
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::{self, FromPrimary, FromStandby};
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
use crate::node::StateAndTail;
use crate::pair::door::{random, secret_of};
use crate::pair::verifying::Verifying;
use crate::pair::{Pair, TICK};

/// Receipts on their way out. A stream that accepts no more of them is of no use.
const OUT_MAX: usize = 64;
/// Entries of one step of applying, and so the longest turn before other tasks get theirs.
const APPLY_ENTRIES: usize = 64;
const APPLY_TURN: Duration = Duration::from_millis(1);
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A message of many entries comes in one frame: each frame is a write for the primary, and a read
/// here.
const HTTP2_FRAME_BYTES_MAX: u32 = 2 << 20;
/// A step of a full sync that takes longer hangs. Then the primary is no longer told that it is at
/// work.
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
    #[error("the stream broke: {0}")]
    Broken(String),
}

impl End {
    fn of_ride(&self) -> Option<&RideEnd> {
        match self {
            End::Ride(end) => Some(end),
            End::NoAddress | End::Connect { .. } | End::Refused(_) | End::Broken(_) => None,
        }
    }
}

impl Pair {
    /// An entry was just applied to the state. If it has the primary's digests, they are compared.
    pub(crate) fn on_applied(&self, state: &Arc<Metadata>, entry: &Entry) {
        let compared = match compare(&**state, entry) {
            None => return,
            Some(Ok(compared)) => compared,
            Some(Err(error)) => {
                return tracing::error!(at = %entry.position(), "the digests in the log cannot be decoded: {error}");
            }
        };
        let findings = &self.node.findings;
        findings.on_compared(&compared, self.seat.look(|member, _| member.is_sound()));
        self.seat.with(|member, now| {
            // Otherwise a full sync has replaced it.
            if Arc::ptr_eq(state, &self.node.state()) {
                member.doubt(compared.event, now);
            }
        });
        findings.keep(compared.ours);
    }
}

/// The state catches up with what is committed, in a task of its own.
pub(crate) struct Applying {
    task: Option<JoinHandle<()>>,
}

impl Applying {
    pub(crate) fn start(pair: &Arc<Pair>, standby: &Standby<Metadata>) -> Applying {
        let held = StateAndTail { state: Arc::clone(standby.state()), tail: Arc::clone(standby.tail()) };
        Applying { task: Some(tokio::spawn(apply_all(Arc::clone(pair), held))) }
    }

    /// Nothing more is applied once this has returned.
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
async fn apply_all(pair: Arc<Pair>, held: StateAndTail) {
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
                pair.node.findings.note(error.to_string());
                return pair.node.doubt(verification::Event::Broken);
            }
        }
    }
}

/// `None`: nothing more may be applied.
async fn apply_some(pair: &Pair, held: &StateAndTail) -> Option<Result<Applied, StandbyError>> {
    // During a repair, nothing else is applied.
    let _turn = pair.node.findings.turn().await;
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

/// Runs until it is dropped. What was received by then is in `standby`; `applying` may still be
/// working on it.
pub(crate) async fn follow(pair: &Arc<Pair>, standby: &mut Standby<Metadata>, applying: &mut Applying) {
    let mut last = String::new();
    loop {
        match pair.seat.look(|member, _| member.may_apply()) {
            false => applying.stop().await,
            // A stream may have ended while nothing was to be applied.
            true if applying.task.is_none() => *applying = Applying::start(pair, standby),
            true => {}
        }
        let Some(riding) = Riding::begin(&*pair.seat, standby, &pair.node.name, random) else {
            sleep(TICK).await;
            continue;
        };
        let mut ride = Ride { pair, standby, applying, riding };
        let end = ride.run().await;
        let (primary, epoch, text) = (ride.riding.primary(), ride.riding.epoch(), end.to_string());
        if text != last {
            let primary = pair.roll.named(primary);
            tracing::info!(primary, epoch, "not connected to the primary: {text}");
            last = text;
        }
        tell(&end);
        ride.riding.end(&*pair.seat, end.of_ride());
    }
}

/// What an operator should know of it.
fn tell(end: &End) {
    match end.of_ride() {
        Some(RideEnd::Standby(error @ (StandbyError::Apply { .. } | StandbyError::Install(_)))) => {
            tracing::error!("what the primary sent does not fit this member: {error}");
        }
        Some(RideEnd::Standby(error @ StandbyError::TooMuchLog { .. })) => tracing::warn!(
            "a full sync cannot end: {error}. It is tried again. Raise tail_bytes, or write less meanwhile"
        ),
        Some(_) | None => {}
    }
}

type Out = mpsc::Sender<FromStandby>;
/// Both directions of a stream, and calls beside it.
type Connected = (Out, Streaming<FromPrimary>, Verifying);

struct Ride<'a> {
    pair: &'a Arc<Pair>,
    standby: &'a mut Standby<Metadata>,
    applying: &'a mut Applying,
    riding: Riding,
}

/// Even if it is dropped half-way: the member begins no other one before that.
impl Drop for Ride<'_> {
    fn drop(&mut self) {
        self.riding.leave(&*self.pair.seat);
    }
}

impl Ride<'_> {
    async fn run(&mut self) -> End {
        match self.connect().await {
            Ok((out, incoming, verifying)) => {
                // It ends with the stream.
                let mut beside = JoinSet::new();
                beside.spawn(verifying.run());
                self.listen(out, incoming).await
            }
            Err(end) => end,
        }
    }

    async fn connect(&mut self) -> Result<Connected, End> {
        let (pair, epoch) = (self.pair, self.riding.epoch());
        let info = pair.find(self.riding.primary()).await.ok_or(End::NoAddress)?;
        pair.seat.with(|member, _| member.hint(&info.address, epoch));
        let within = Duration::from_millis(pair.settings.drop_after_ms);
        let channel = dial(&info.peer_address, within).await?;
        let mut calls = ReplicationClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUT_MAX);
        let hello = FromStandby { message: self.riding.hello().map(Up::Hello) };
        out.try_send(hello).map_err(|_| End::Broken("no place for a hello".to_owned()))?;
        let beside = calls.clone();
        let opened = timeout(within, calls.sync_op_log(ReceiverStream::new(outgoing))).await;
        let mut incoming = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(End::Refused(status.message().to_owned())),
            Err(_) => return Err(End::Broken("no answer to the hello".to_owned())),
        };
        let challenge = match timeout(within, incoming.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(End::Broken("the primary has closed it".to_owned())),
            Ok(Err(status)) => return Err(End::Refused(status.message().to_owned())),
            Err(_) => return Err(End::Broken("no answer to the hello".to_owned())),
        };
        let secrets = (&pair.secret, secret_of(&info));
        let secrets = (secrets.0, secrets.1.as_ref());
        let (proof, token) = self.riding.prove(challenge, secrets, self.standby, now_ms())?;
        let proof = FromStandby { message: Some(Up::Proof(proof)) };
        out.try_send(proof).map_err(|_| End::Broken("no place for a proof".to_owned()))?;
        Ok((
            out,
            incoming,
            Verifying { pair: Arc::clone(pair), calls: beside, questions: Questions::new(token, epoch) },
        ))
    }

    async fn listen(&mut self, out: Out, mut incoming: Streaming<FromPrimary>) -> End {
        let mut doubts = self.pair.node.findings.doubts();
        loop {
            doubts.mark_unchanged();
            let left_ms = self.pair.seat.look(|member, now| {
                self.riding.check(member, self.standby, now).map(|until_ms| until_ms.saturating_sub(now))
            });
            let left = match left_ms {
                Ok(left_ms) => Duration::from_millis(left_ms),
                Err(end) => return end.into(),
            };
            let next = tokio::select! {
                biased;
                // What this member holds may no longer be trusted.
                Ok(()) = doubts.changed() => continue,
                next = timeout(left, incoming.message()) => next,
            };
            let message = match next {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return End::Broken("the primary has closed it".to_owned()),
                Ok(Err(status)) => return End::Broken(status.message().to_owned()),
                // The wait is over: the loop checks how long the primary was silent.
                Err(_) => continue,
            };
            if let Err(end) = self.take(message, &out).await {
                return end;
            }
        }
    }

    async fn take(&mut self, message: FromPrimary, out: &Out) -> Result<(), End> {
        let pair = self.pair;
        self.tell_welcome(&message);
        self.riding.take(&*pair.seat, message)?;
        pair.seat.moved();
        loop {
            match self.step(out).await? {
                Step::Done => return Ok(()),
                Step::Still => self.applying.stop().await,
                Step::Anew { .. } => {
                    self.applying.stop().await;
                    *self.applying = Applying::start(pair, self.standby);
                }
                Step::NoRoom => sleep(APPLY_TURN).await,
                Step::Say(receipt) => {
                    pair.seat.moved();
                    let receipt = FromStandby { message: Some(Up::Receipt(receipt)) };
                    // A primary that accepts no more may have said before that it has resigned, and
                    // to which member: that must still be read. The stream ends by itself.
                    let _ = out.send(receipt).await;
                }
            }
        }
    }

    fn tell_welcome(&self, message: &FromPrimary) {
        let Some(Down::Welcome(v1::Welcome { start: Some(start), .. })) = &message.message else { return };
        let (primary, epoch) = (self.pair.roll.named(self.riding.primary()), self.riding.epoch());
        match start {
            v1::welcome::Start::ForkSeq(seq) => {
                tracing::info!(primary, epoch, "connected to the primary, whose log goes on after seq {seq}");
            }
            v1::welcome::Start::FullSync(_) => {
                tracing::info!(primary, epoch, "connected to the primary, for a full sync");
            }
        }
    }

    /// A step of a full sync may take time: the last one takes some seconds with many objects.
    /// Other tasks on this thread get their turns meanwhile, and the primary is told that this
    /// member is at work.
    async fn step(&mut self, out: &Out) -> Result<Step, RideEnd> {
        let (seat, node) = (&*self.pair.seat, &*self.pair.node);
        if self.standby.syncing().is_none() {
            return self.riding.step(seat, self.standby, node);
        }
        let before = node.held();
        let holding = self.riding.holding(self.standby);
        let (receipt, beacon_ms) =
            seat.look(|member, now| (self.riding.at_work(member, holding, now), member.election().timing().beacon_ms));
        let mut beside = JoinSet::new();
        beside.spawn(timeout(AT_WORK_MAX, say_at_work(receipt, out.clone(), beacon_ms)));
        let step = block_in_place(|| self.riding.step(seat, self.standby, node));
        // These messages must not come after the answer.
        beside.shutdown().await;
        if step == Ok(Step::Anew { synced: true }) {
            tracing::info!(applied = %self.standby.tail().last(), "full sync is complete");
            // To free millions of records takes time, too: the last holder does it there.
            self.applying.stop().await;
            drop(tokio::task::spawn_blocking(move || drop(before)));
        }
        step
    }
}

/// A receipt which says that nothing was accepted since, and that the work goes on.
async fn say_at_work(receipt: v1::Receipt, out: mpsc::Sender<FromStandby>, beacon_ms: u64) {
    loop {
        sleep(Duration::from_millis(beacon_ms)).await;
        let receipt = v1::Receipt { asked_ms: now_ms(), ..receipt };
        if out.send(FromStandby { message: Some(Up::Receipt(receipt)) }).await.is_err() {
            return;
        }
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
