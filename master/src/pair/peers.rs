//! The primary's side of its streams, over gRPC: it sends what the machine says, and tells the
//! machine what comes in.
//!
//! ```text
//!   door ─► opened ─► turn ─► a place in the transport ─► the bytes ─► the stamp ─► out
//! ```
//!
//! Rules of the shell: the stamp is the last step before a message is in the transport's queue, and
//! that queue is short, since what waits there is old when it leaves; no bytes are made under the
//! member's lock; a last message has `HELLO_WITHIN` to go out.
//!
//! Deliberately absent: what is sent when, and what a receipt counts (`member`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use election::Millis;
use member::{Next, NotAsked, NotServed, Outgoing, Role, StreamEnd, StreamId, Turn, incarnation};
use metadata::Metadata;
use oplog::{Tail, TailError};
use prost::Message as _;
use proto::status::{not_primary, to_status};
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::replication_server::Replication;
use proto::v1::{self, FromPrimary, FromStandby, VerifyQuestion, VerifyRequest, VerifyResponse};
use replication::Admitted;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::clock::now_ms;
use crate::grpc::lists;
use crate::listen::{Link, ProvenLink};
use crate::pair::Pair;
use crate::pair::door::HELLO_WITHIN;
use crate::pair::seat::Seat;

/// Messages between this task and the transport. Few, since what waits there is old when it leaves.
const OUT_MAX: usize = 4;
/// How long to wait for a place there before a check whether the stream goes on at all.
const CHECK_EVERY: Duration = Duration::from_millis(50);

type Out = mpsc::Sender<Result<FromPrimary, Status>>;
type Place<'a> = mpsc::Permit<'a, Result<FromPrimary, Status>>;

#[derive(Debug)]
pub(crate) struct PeerCalls {
    pub(crate) pair: Arc<Pair>,
}

#[tonic::async_trait]
impl Replication for PeerCalls {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let asked = Asked::of(&self.pair.seat, request.get_ref()).map_err(not_asked)?;
        let question = request.into_inner().question;
        lists::check_question(&question).map_err(to_status)?;
        let node = Arc::clone(&self.pair.node);
        let answered = tokio::task::spawn_blocking(move || {
            // Even if the peer has stopped waiting for the answer.
            let _asked = asked;
            let decoded = VerifyQuestion::decode(question);
            let question = decoded.map_err(|error| Status::invalid_argument(format!("question: {error}")))?.question;
            let question = question.ok_or_else(|| Status::invalid_argument("no question"))?;
            let (state, settings) = (node.state(), &node.config.verification);
            let answered = verification::answer(&*state, question, (settings.seq_gap_max, settings.repair_max));
            answered.map_err(|error| Status::invalid_argument(error.to_string()))
        });
        let answer = answered.await.map_err(|fault| Status::internal(fault.to_string()))??;
        Ok(Response::new(VerifyResponse { answer: Some(answer) }))
    }

    type SyncOpLogStream = ReceiverStream<Result<FromPrimary, Status>>;

    async fn sync_op_log(
        &self,
        request: Request<Streaming<FromStandby>>,
    ) -> Result<Response<Self::SyncOpLogStream>, Status> {
        let link = request.extensions().get::<Arc<Link>>().cloned();
        let (out, outgoing) = mpsc::channel(OUT_MAX);
        tokio::spawn(serve(Arc::clone(&self.pair), link, request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// A question that is being answered, until this is dropped.
struct Asked {
    seat: Arc<Seat>,
    stream: StreamId,
}

impl Asked {
    fn of(seat: &Arc<Seat>, request: &VerifyRequest) -> Result<Asked, NotAsked> {
        let who = request.who.as_ref().map(incarnation).ok_or(NotAsked::NoStream)?;
        let stream = seat.with(|member, _| member.on_question(who, request.epoch, &request.token))?;
        Ok(Asked { seat: Arc::clone(seat), stream })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.seat.with(|member, _| member.on_answered_question(self.stream));
    }
}

fn not_asked(why: NotAsked) -> Status {
    match why {
        NotAsked::NoStream => Status::unauthenticated(why.to_string()),
        NotAsked::Busy => Status::resource_exhausted(why.to_string()),
        NotAsked::NotPrimary { epoch } => to_status(not_primary("", epoch)),
    }
}

/// Serves one stream, from the hello to the end.
async fn serve(pair: Arc<Pair>, link: Option<Arc<Link>>, mut incoming: Streaming<FromStandby>, out: Out) {
    let opened = match pair.admit(&mut incoming, &out).await {
        Ok((admitted, proof)) => open(&pair, admitted, &proof, out.clone()),
        Err(refused) => Err(refused),
    };
    match opened {
        Ok((stream, outgoing)) => {
            let proven = link.as_ref().map(Link::prove);
            stream.run(outgoing, incoming, proven).await;
        }
        // Whether it arrives or not.
        Err(refused) => drop(timeout(HELLO_WITHIN, out.send(Err(refused))).await),
    }
}

fn open(pair: &Pair, admitted: Admitted, proof: &v1::Proof, out: Out) -> Result<(Stream, Outgoing<Metadata>), Status> {
    let (name, who) = (admitted.name.clone(), incarnation(&admitted.who));
    let held = || {
        let held = pair.node.held();
        (Arc::clone(&held.state), Arc::clone(&held.tail))
    };
    let outgoing = Outgoing::open(&*pair.seat, admitted, proof, held).map_err(|why| not_served(&why))?;
    let (seat, tail) = (Arc::clone(&pair.seat), Arc::clone(outgoing.tail()));
    let (id, epoch) = (outgoing.stream(), outgoing.epoch());
    tracing::info!(peer = pair.roll.named(who), epoch, "a peer is connected");
    Ok((Stream { seat, tail, id, epoch, name, moved: Notify::new(), out }, outgoing))
}

fn not_served(why: &NotServed) -> Status {
    match why {
        NotServed::NotPrimary { epoch } => to_status(not_primary("", *epoch)),
        NotServed::AnotherCluster { .. } => Status::failed_precondition(why.to_string()),
        NotServed::Full => Status::resource_exhausted(why.to_string()),
    }
}

/// Why a stream ended.
enum End {
    Machine(StreamEnd),
    /// The other end is gone.
    Gone,
    /// The log has lost what is to be sent next. A new stream begins with a full sync.
    Purged(TailError),
}

impl From<StreamEnd> for End {
    fn from(end: StreamEnd) -> End {
        End::Machine(end)
    }
}

struct Stream {
    seat: Arc<Seat>,
    tail: Arc<Tail>,
    id: StreamId,
    epoch: u64,
    name: String,
    /// A receipt has come.
    moved: Notify,
    out: Out,
}

impl Stream {
    async fn run(self, outgoing: Outgoing<Metadata>, incoming: Streaming<FromStandby>, _proven: Option<ProvenLink>) {
        let end = tokio::select! {
            biased;
            end = self.take_receipts(incoming) => end,
            end = self.send_all(outgoing) => end,
        };
        self.seat.with(|member, now| member.close_stream(self.id, now));
        self.tell(&end);
    }

    fn tell(&self, end: &End) {
        let (peer, epoch) = (&self.name, self.epoch);
        match end {
            End::Machine(StreamEnd::Displaced) => {
                tracing::info!(peer, "stream ended: the peer has opened another one");
            }
            End::Machine(StreamEnd::EpochOver | StreamEnd::Resigned) => {
                tracing::info!(peer, epoch, "stream ended: the epoch is over here");
            }
            End::Machine(StreamEnd::Silent) => {
                tracing::warn!(peer, "a peer has answered nothing for too long: its stream is closed");
            }
            End::Gone => tracing::info!(peer, epoch, "a peer is gone"),
            End::Purged(why) => tracing::info!(peer, "a peer is too far behind for the log: {why}"),
        }
    }

    fn check(&self) -> Result<(), StreamEnd> {
        self.seat.look(|member, now| member.check_stream(self.id, now).map(drop))
    }

    async fn take_receipts(&self, mut incoming: Streaming<FromStandby>) -> End {
        loop {
            let receipt = match incoming.message().await {
                Ok(Some(FromStandby { message: Some(Up::Receipt(receipt)) })) => receipt,
                Ok(_) | Err(_) => return End::Gone,
            };
            if let Err(end) = self.seat.with(|member, now| member.on_receipt(self.id, &receipt, now)) {
                return end.into();
            }
            self.moved.notify_one();
        }
    }

    async fn send_all(&self, mut outgoing: Outgoing<Metadata>) -> End {
        let (mut roles, mut moves, mut syncs) = (self.seat.roles(), self.seat.moves(), None);
        loop {
            // Both before the turn, so that a change after it ends the wait.
            roles.mark_unchanged();
            moves.mark_unchanged();
            let is_behind = self.tail.appended().get() > outgoing.sending().sent;
            let next = match self.seat.look(|member, now| outgoing.turn(member, now)) {
                Turn::Send(next) => next,
                Turn::Wait { until_ms } => {
                    let after = (!is_behind).then(|| outgoing.sending().sent);
                    self.wait((&mut roles, &mut moves), after, until_ms).await;
                    continue;
                }
                Turn::End(end) => return end.into(),
            };
            outgoing = match self.send(outgoing, next).await {
                Ok(outgoing) => outgoing,
                Err(end) => return end,
            };
            self.tell_sync(&outgoing, &mut syncs);
        }
    }

    /// `after`: an entry after this ends it, too. `None`: there is one, and the peer accepts no
    /// more.
    async fn wait(
        &self,
        changes: (&mut watch::Receiver<Role>, &mut watch::Receiver<()>),
        after: Option<u64>,
        until_ms: Millis,
    ) {
        let (roles, moves) = changes;
        let left = Duration::from_millis(until_ms.saturating_sub(now_ms()));
        tokio::select! {
            biased;
            // The end of the epoch comes first, then what is to be sent; a beacon if there is
            // nothing.
            _ = roles.changed() => {}
            // Beacons may be due sooner than they were.
            _ = moves.changed() => {}
            _ = self.tail.appended().wait(after.unwrap_or(0) + 1), if after.is_some() => {}
            () = self.moved.notified() => {}
            () = sleep(left) => {}
        }
    }

    async fn send(&self, outgoing: Outgoing<Metadata>, next: Next) -> Result<Outgoing<Metadata>, End> {
        let place = match next {
            // Whether it arrives or not: nothing waits for it.
            Next::Resigned => timeout(HELLO_WITHIN, self.out.reserve()).await.ok().and_then(Result::ok),
            Next::Welcome | Next::Feed { .. } | Next::Beacon => self.place().await?,
        };
        let Some(place) = place else {
            return if next == Next::Resigned { Err(End::Gone) } else { Ok(outgoing) };
        };
        let (outgoing, message) = make(outgoing, next).await?;
        if let Some(message) = message {
            place.send(Ok(outgoing.stamp(&*self.seat, message)?));
        }
        Ok(outgoing)
    }

    /// A place in the transport's queue. `None`: the stream does not go on as it was.
    async fn place(&self) -> Result<Option<Place<'_>>, End> {
        loop {
            match timeout(CHECK_EVERY, self.out.reserve()).await {
                Ok(place) => return place.map(Some).map_err(|_| End::Gone),
                Err(_) if self.check().is_ok() => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// `began`: when the current full sync began.
    fn tell_sync(&self, outgoing: &Outgoing<Metadata>, began: &mut Option<Instant>) {
        let peer = &self.name;
        match (outgoing.syncing(), *began) {
            (Some(_), None) => {
                *began = Some(Instant::now());
                self.seat.counts.full_syncs.fetch_add(1, Ordering::Relaxed);
                let first_shard = outgoing.syncing().map_or(0, |(shard, _)| shard);
                tracing::info!(peer, first_shard, "full sync begins: the peer cannot go on from this member's log");
            }
            (None, Some(at)) => {
                *began = None;
                let (records, ms) = (outgoing.records(), at.elapsed().as_millis() as u64);
                tracing::info!(peer, records, ms, "full sync: all images are sent");
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

/// To capture a shard takes time. Other tasks on this thread get their turns meanwhile.
async fn make(mut outgoing: Outgoing<Metadata>, next: Next) -> Result<(Outgoing<Metadata>, Option<Down>), End> {
    let is_long = outgoing.is_long(next);
    let making = move || {
        let made = outgoing.make(next, now_ms());
        (outgoing, made)
    };
    let (outgoing, made) = match is_long {
        true => tokio::task::spawn_blocking(making).await.map_err(|_| End::Gone)?,
        false => making(),
    };
    Ok((outgoing, made.map_err(End::Purged)?))
}
