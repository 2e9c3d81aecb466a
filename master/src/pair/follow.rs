//! The standby's side of its stream: finds the primary, says hello, takes what comes, answers each message.
//!
//! Invariants: nothing is taken from a primary whose messages the core would not answer; an answer goes out only after what
//! the message brought is held, and what is said before that answers nothing; nobody applies while log or state change hands.
//!
//! Deliberately absent: when the primary is given up. The core hears of messages and of breaks, and decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use election::{Event, Incarnation};
use metadata::Metadata;
use oplog::{AppendFrameError, ReplicatedState as _};
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::{self, FromPrimary, FromStandby};
use standby::{Hand, Standby, StandbyError, apply_committed};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, block_in_place};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::clock::boot_ms;
#[cfg(feature = "faults")]
use crate::faults::Wrongly;
use crate::node::{Held, Node};
use crate::pair::Pair;
use crate::pair::peers::{incarnation, incarnation_to_wire};
use crate::pair::verifying::Verifying;

/// Receipts on their way out. A stream that takes none any more is of no use.
const OUT_MAX: usize = 64;
/// Entries of one step of applying, and the longest turn before others get theirs.
const APPLY_ENTRIES: usize = 64;
const APPLY_TURN: Duration = Duration::from_millis(1);
/// After a full sync that could not end: the next one would not either, at once.
const SYNC_PAUSE: Duration = Duration::from_secs(5);
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A message of many entries comes in one frame: each one is a write for the primary, and a read here.
const HTTP2_FRAME_BYTES_MAX: u32 = 2 << 20;
/// A step of a full sync that takes longer hangs: the primary is told no more that it is at work.
const AT_WORK_MAX: Duration = Duration::from_secs(120);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the election has gone on without this primary")]
    NotAnswered,
    #[error("nobody knows the address of the primary")]
    NoAddress,
    #[error("cannot connect to {address}: {why}")]
    Connect { address: String, why: String },
    #[error("the primary says: {0}")]
    Refused(String),
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("the primary sends something that is not understood: {0}")]
    Protocol(&'static str),
    #[error("what this member holds is not to be trusted")]
    Distrusted,
    #[error(transparent)]
    Standby(#[from] StandbyError),
}

/// The state catches up with what is committed, in a task of its own.
pub(crate) struct Applying {
    task: Option<JoinHandle<()>>,
    applied: Arc<AtomicU64>,
}

impl Applying {
    pub(crate) fn start(pair: &Pair, standby: &Standby<Metadata>) -> Applying {
        let (state, tail) = (Arc::clone(standby.state()), Arc::clone(standby.tail()));
        let (node, notes) = (Arc::clone(&pair.node), Arc::clone(&pair.notes));
        let applied = Arc::new(AtomicU64::new(state.applied().seq));
        let told = Arc::clone(&applied);
        let task = tokio::spawn(async move {
            let mut turn = Instant::now();
            loop {
                let step = {
                    // Whoever repairs applies nothing beside it.
                    let _turn = node.verify.turn().await;
                    #[cfg(feature = "faults")]
                    match crate::faults::apply_wrongly(&node.pending_fault, &state, &tail) {
                        Wrongly::No => {}
                        Wrongly::Done => continue,
                        Wrongly::Waits => {
                            sleep(APPLY_TURN).await;
                            continue;
                        }
                    }
                    apply_committed(&*state, &tail, APPLY_ENTRIES, u64::MAX, node.verify.applied(&state))
                };
                match step {
                    Ok(applied) if applied.entries == 0 => {
                        told.store(applied.seq, Ordering::Relaxed);
                        notes.moved();
                        if tail.committed().wait(applied.seq + 1).await.is_err() {
                            return;
                        }
                        turn = Instant::now();
                    }
                    Ok(_) if turn.elapsed() < APPLY_TURN => {}
                    Ok(_) => {
                        notes.moved();
                        tokio::task::yield_now().await;
                        turn = Instant::now();
                    }
                    Err(error) => {
                        tracing::error!("an entry does not fit this member's state: {error}");
                        node.verify.note(error.to_string());
                        return node.verify.on(verification::Event::Broken);
                    }
                }
            }
        });
        Applying { task: Some(task), applied }
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

/// The state is not the one that the log was made from. Whatever this member is in a set for, it no longer has: it must not
/// come back under the same name.
pub(crate) fn lost(node: &Node, error: &StandbyError) -> ! {
    tracing::error!(
        node = node.name,
        "this member's state is lost, it ends and begins anew when it is restarted: {error}"
    );
    std::process::exit(3)
}

/// Follows `primary` until it is dropped. What was received by then is in `standby`; `applying` may still be at work on it.
pub(crate) async fn follow(
    pair: &Arc<Pair>,
    standby: &mut Standby<Metadata>,
    applying: &mut Applying,
    primary: Incarnation,
    epoch: u64,
) {
    let retry = Duration::from_millis(pair.settings.ask_again_ms);
    let mut last = String::new();
    loop {
        let mut ride = Ride { pair, standby: &mut *standby, applying: &mut *applying, primary, epoch };
        let end = ride.run().await;
        let text = end.to_string();
        if text != last {
            tracing::info!(?primary, epoch, "not connected to the primary: {text}");
            last = text;
        }
        if let End::Standby(error @ (StandbyError::Apply { .. } | StandbyError::Install(_))) = &end {
            tracing::error!("what the primary sent does not fit this member: {error}");
        }
        pair.seat.event(Event::StreamBroken);
        if let End::Distrusted = &end {
            continue;
        }
        if let End::Standby(error @ StandbyError::TooMuchLog { .. }) = &end {
            tracing::warn!(
                "a full sync cannot end: {error}. More tail_bytes helps, or fewer writes meanwhile; tried again"
            );
            sleep(SYNC_PAUSE).await;
        }
        sleep(retry).await;
    }
}

/// Both ways of a stream, and calls beside it.
type Connected = (mpsc::Sender<FromStandby>, Streaming<FromPrimary>, ReplicationClient<Channel>);

struct Ride<'a> {
    pair: &'a Arc<Pair>,
    standby: &'a mut Standby<Metadata>,
    applying: &'a mut Applying,
    primary: Incarnation,
    epoch: u64,
}

impl Ride<'_> {
    async fn run(&mut self) -> End {
        if self.pair.node.verify.is_lost() {
            self.applying.stop().await;
            self.standby.distrust();
        }
        self.pair.node.verify.on(verification::Event::StreamBegins);
        match self.connect().await {
            Ok((out, incoming, calls)) => {
                let verifying = Verifying { pair: Arc::clone(self.pair), calls, epoch: self.epoch };
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
        if self.pair.seat.would_answer(self.epoch) && self.pair.seat.leads().is_none() {
            self.pair.node.gate().hint(&info.address, self.epoch);
        }
        let within = Duration::from_millis(self.pair.settings.drop_after_ms);
        let channel = dial(&info.peer_address, within).await?;
        let mut calls = ReplicationClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUT_MAX);
        let hello = FromStandby { message: Some(Up::Hello(self.hello())) };
        out.try_send(hello).map_err(|_| End::Broken("no place for a hello".to_owned()))?;
        let beside = calls.clone();
        let opened = timeout(within, calls.sync_op_log(ReceiverStream::new(outgoing))).await;
        match opened {
            Ok(Ok(response)) => Ok((out, response.into_inner(), beside)),
            Ok(Err(status)) => Err(End::Refused(status.message().to_owned())),
            Err(_) => Err(End::Broken("no answer to the hello".to_owned())),
        }
    }

    fn hello(&self) -> v1::Hello {
        v1::Hello {
            who: Some(incarnation_to_wire(self.pair.seat.me)),
            name: self.pair.node.name.clone(),
            cluster_id: Bytes::copy_from_slice(&self.pair.cluster_id().to_be_bytes()),
            epoch: self.epoch,
            ..self.standby.holds().into()
        }
    }

    async fn listen(&mut self, out: mpsc::Sender<FromStandby>, mut incoming: Streaming<FromPrimary>) -> End {
        let silent = Duration::from_millis(self.pair.settings.tenure_ms * 4);
        let mut work = self.pair.node.verify.work();
        loop {
            let next = tokio::select! {
                biased;
                // What comes would go into a state that is not to be trusted. A full sync that is under way goes on.
                Ok(_) = work.wait_for(|work| work.lost), if !self.standby.is_distrusted() => return End::Distrusted,
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

    async fn take(&mut self, message: FromPrimary, out: &mpsc::Sender<FromStandby>) -> Result<(), End> {
        let FromPrimary { epoch, sent_ms, committed, in_sync, as_of_ms, message } = message;
        let message = message.ok_or(End::Protocol("a message without content"))?;
        if epoch != self.epoch || !self.pair.seat.would_answer(epoch) {
            return Err(End::NotAnswered);
        }
        self.pair.notes.committed(committed, as_of_ms);
        match message {
            Down::Welcome(welcome) => self.on_welcome(welcome).await?,
            Down::Entries(v1::Entries { frames }) => self.on_entries(frames, committed, out).await?,
            Down::Image(image) => self.at_length(out, |standby| standby.on_image(image)).await?,
            Down::Resigned(v1::Resigned {}) => {
                self.pair.seat.event(Event::Resigned { epoch });
                self.pair.seat.event(Event::Tick);
                return Ok(());
            }
        }
        self.standby.on_committed(committed);
        self.pair.notes.set_sync(self.standby.syncing());
        let held = self.standby.held();
        if !self.pair.seat.heard(self.primary, epoch, sent_ms, held) {
            return Err(End::NotAnswered);
        }
        self.pair.notes.heard(in_sync, boot_ms());
        let receipt = FromStandby { message: Some(Up::Receipt(self.receipt(sent_ms))) };
        out.send(receipt).await.map_err(|_| End::Broken("receipts are not taken any more".to_owned()))
    }

    /// To a message that was sent at `echo_ms`; 0: to none.
    fn receipt(&self, echo_ms: u64) -> v1::Receipt {
        v1::Receipt {
            applied: self.applying.applied.load(Ordering::Relaxed),
            unsound: !self.pair.node.verify.is_sound(),
            verified: self.pair.node.verify.verified().seq,
            asked_ms: boot_ms(),
            ..self.standby.receipt(self.epoch, echo_ms)
        }
    }

    /// A step of a full sync may take its time, the last one some seconds with many objects. Others on this thread get their turns
    /// meanwhile, and the primary hears that this member is at work.
    async fn at_length(
        &mut self,
        out: &mpsc::Sender<FromStandby>,
        step: impl FnOnce(&mut Standby<Metadata>) -> Result<Hand, StandbyError>,
    ) -> Result<(), StandbyError> {
        if self.standby.syncing().is_none() {
            return step(self.standby).map(drop);
        }
        let before = self.pair.node.held();
        let mut beside = JoinSet::new();
        beside.spawn(timeout(AT_WORK_MAX, say_at_work(self.receipt(0), out.clone(), self.pair.settings.beacon_ms)));
        let hand: Result<Hand, StandbyError> = block_in_place(|| {
            let hand = step(self.standby)?;
            if hand == Hand::Changed {
                #[cfg(feature = "faults")]
                self.pair.node.pending_fault.linger();
                // At once: whoever ends this stream must find all of it in place, or nothing.
                self.hold();
                // It was checked, shard by shard, when it came.
                self.pair.node.verify.on(verification::Event::Synced);
            }
            Ok(hand)
        });
        // None of what it says comes behind the answer.
        beside.shutdown().await;
        if hand? == Hand::Changed {
            tracing::info!(applied = %self.standby.tail().last(), "full sync is complete");
            self.applying.stop().await;
            *self.applying = Applying::start(self.pair, self.standby);
            // To give millions of records back takes its time, too.
            drop(tokio::task::spawn_blocking(move || drop(before)));
        }
        Ok(())
    }

    async fn on_welcome(&mut self, welcome: v1::Welcome) -> Result<(), End> {
        if welcome.primary.as_ref().map(incarnation) != Some(self.primary) {
            return Err(End::Protocol("a welcome from another member"));
        }
        let start = welcome.start.ok_or(End::Protocol("a welcome without a start"))?;
        tracing::info!(primary = ?self.primary, epoch = self.epoch, ?start, "connected to the primary");
        self.applying.stop().await;
        let hand = self.standby.on_welcome(start);
        if matches!(hand, Ok(Hand::Changed)) {
            self.hold();
        }
        *self.applying = Applying::start(self.pair, self.standby);
        hand.map(drop).map_err(End::from)
    }

    async fn on_entries(
        &mut self,
        mut frames: Bytes,
        committed: u64,
        out: &mpsc::Sender<FromStandby>,
    ) -> Result<(), End> {
        let patience = Duration::from_millis(self.pair.settings.tenure_ms);
        let mut give_up = Instant::now() + patience;
        loop {
            // What it makes room for may be what is needed for the rest.
            self.standby.on_committed(committed);
            match self.at_length(out, |standby| standby.on_frames(&mut frames)).await {
                Ok(()) if frames.is_empty() => return Ok(()),
                // Behind the end of a full sync, which has taken its time.
                Ok(()) => give_up = Instant::now() + patience,
                Err(error @ StandbyError::Append(AppendFrameError::Overloaded(_))) => {
                    // Full of what is not committed: only a new stream, and a primary that does not wait for us, helps.
                    if Instant::now() > give_up {
                        return Err(error.into());
                    }
                    sleep(APPLY_TURN).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
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
        let receipt = v1::Receipt { asked_ms: boot_ms(), ..receipt };
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
