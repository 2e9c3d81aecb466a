//! What all handles and tasks of one client share, and the way of a call: it gets a request number
//! and a place in the window, and then makes attempts over the session or as unary calls until
//! there is an answer or the deadline has passed.
//!
//! Invariants:
//! - all attempts of a call carry the same request number, which stays open until the call ends;
//! - a call that may have run never ends as [`Error::Deadline`];
//! - no answer or redirect counts if its epoch is lower than the highest seen, or if it is of
//!   another history.
//!
//! Deliberately absent: what calls mean.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::v1;
use proto::v1::CallError;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::session_response::Answer;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use crate::attempts::{Attempts, Meaning, OnLoss, Ran, Way, meaning};
use crate::backoff::Backoff;
use crate::calls::Call;
use crate::codec::ID_BYTES_MAX;
use crate::discovery::{Announced, Discovery};
use crate::error::{Error, Refused};
use crate::flight::{Flight, Outcome};
use crate::ids::{ClientId, HistoryId};
use crate::mounts::Mounts;
use crate::numbers::{Numbers, OpenNumber};
use crate::options::{Numbering, Options, Transport};
use crate::route::{Redirect, Target};
use crate::standbys::Standbys;
use crate::trip::{Terms, Trip, Window};

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) options: Options,
    pub(crate) client_id: ClientId,
    client_id_wire: Bytes,
    pub(crate) way: Mutex<Way>,
    /// The last obstacle, for errors at a deadline.
    trouble: Mutex<String>,
    numbers: Numbers,
    /// A place for each call, or several for a large one. It bounds both calls and bytes.
    window: Semaphore,
    pub(crate) flight: Flight,
    /// For unary calls, with its address.
    pub(crate) channel: Mutex<Option<(String, Channel)>>,
    pub(crate) mounts: Mounts,
    pub(crate) standbys: Standbys,
    /// For a session: a connection to the member that would be asked next.
    pub(crate) spare: Mutex<Option<(String, Channel)>>,
    /// One request to the directory at a time.
    discovering: tokio::sync::Mutex<()>,
}

impl Link {
    pub(crate) fn new(options: Options, addresses: Vec<String>) -> Link {
        let client_id = options.client_id.unwrap_or_else(ClientId::random);
        Link {
            client_id,
            client_id_wire: client_id.to_wire(),
            way: Mutex::new(Way::new(addresses)),
            trouble: Mutex::new(String::new()),
            numbers: Numbers::new(),
            window: Semaphore::new(options.window_calls),
            flight: Flight::default(),
            channel: Mutex::new(None),
            mounts: Mounts::new(),
            standbys: Standbys::default(),
            spare: Mutex::new(None),
            discovering: tokio::sync::Mutex::default(),
            options,
        }
    }

    /// A call from its request to its answer.
    pub(crate) async fn call<C: Call>(
        &self,
        terms: Terms<'_>,
        request: impl FnOnce(v1::Caller) -> C,
    ) -> Result<C::Answer, Error> {
        let mut trip = Trip::new(C::NAME, C::MUTATES, terms.deadline);
        // Closed when this function ends, in whatever way.
        let number = self.number_for::<C>(&mut trip).await?;
        self.call_numbered(&trip, number.as_ref(), terms, request).await
    }

    /// The call's number, if it changes something.
    pub(crate) async fn number_for<C: Call>(&self, trip: &mut Trip) -> Result<Option<OpenNumber<'_>>, Error> {
        if C::MUTATES { self.number(trip).await } else { Ok(None) }
    }

    /// The number of a call that changes something. None: this client does not number its requests.
    pub(crate) async fn number(&self, trip: &mut Trip) -> Result<Option<OpenNumber<'_>>, Error> {
        match self.options.numbering {
            Numbering::On => self.open_number(trip).await.map(Some),
            Numbering::Off => {
                trip.on_loss = OnLoss::GivesUp;
                Ok(None)
            }
        }
    }

    /// The same request under the same number is the same call, however often it is sent: it runs
    /// once.
    pub(crate) async fn call_numbered<C: Call>(
        &self,
        trip: &Trip,
        number: Option<&OpenNumber<'_>>,
        terms: Terms<'_>,
        request: impl FnOnce(v1::Caller) -> C,
    ) -> Result<C::Answer, Error> {
        let request = request(self.caller(number, terms.tenant));
        check_size(request.encoded_len())?;
        let _place = self.place(trip, terms.window, request.encoded_len()).await?;
        if let Some(sent) = terms.sent {
            sent.store(true, Ordering::Relaxed);
        }
        match self.options.transport {
            Transport::Session => {
                let answer = self.over_session(trip, encoded(request)).await?;
                C::from_session(answer).ok_or_else(|| Error::protocol(C::NAME, "it answers another call"))
            }
            Transport::Unary => self.over_unary(trip, |channel| request.clone().unary(metadata(channel))).await,
        }
    }

    async fn open_number(&self, trip: &Trip) -> Result<OpenNumber<'_>, Error> {
        let open = self.numbers.open(trip.deadline).await;
        open.ok_or_else(|| trip.gave_up(Ran::No, "an earlier request has had no answer for too long"))
    }

    pub(crate) fn caller(&self, number: Option<&OpenNumber<'_>>, tenant: &str) -> v1::Caller {
        let answered_below = match self.options.numbering {
            Numbering::On => number.map_or_else(|| self.numbers.answered_below(), |open| open.answered_below),
            Numbering::Off => 0,
        };
        v1::Caller {
            client_id: self.client_id_wire.clone(),
            request_number: number.map_or(0, |open| open.number),
            answered_below,
            tenant: tenant.to_owned(),
        }
    }

    pub(crate) fn caller_of_read(&self, tenant: &str) -> v1::Caller {
        self.caller(None, tenant)
    }

    pub(crate) async fn place(
        &self,
        trip: &Trip,
        window: Window,
        request_bytes: usize,
    ) -> Result<Option<SemaphorePermit<'_>>, Error> {
        if window == Window::Passes {
            return Ok(None);
        }
        let bytes_per_place = self.options.window_bytes / self.options.window_calls;
        let places = request_bytes.div_ceil(bytes_per_place.max(1)).clamp(1, self.options.window_calls);
        let places = u32::try_from(places).expect("the window is far smaller");
        if let Ok(permit) = self.window.try_acquire_many(places) {
            return Ok(Some(permit));
        }
        match timeout_at(trip.deadline, self.window.acquire_many(places)).await {
            Ok(permit) => Ok(Some(permit.expect("the window is never closed"))),
            Err(_) => Err(trip.gave_up(Ran::No, format!("no place in the window: {}", self.trouble()))),
        }
    }

    async fn over_session(&self, trip: &Trip, request: Bytes) -> Result<Answer, Error> {
        let Some(mut ticket) = self.flight.submit(request, trip.deadline, trip.on_loss) else {
            return Err(trip.closed(Ran::No));
        };
        let mut backoff = self.backoff();
        loop {
            let error = match ticket.outcome().await {
                Outcome::Answer(answer) => return Ok(answer),
                Outcome::Failed(error) => error,
                Outcome::Unreadable => return Err(Error::protocol(trip.call, "this version can't read it")),
                Outcome::Lost => return Err(trip.gave_up(Ran::Maybe, self.trouble())),
                Outcome::Expired => return Err(trip.gave_up(ticket.ran(), self.trouble())),
                Outcome::Closed => return Err(trip.closed(ticket.ran())),
            };
            // The stream is well. Its driver leaves it, and the call stays queued.
            let Meaning::Again(ran, _) = meaning(&error) else {
                return Err(Refused::from(error).into());
            };
            let given_up = ran == Ran::Maybe && trip.on_loss == OnLoss::GivesUp;
            if given_up || !self.pause(trip, &mut backoff, &error).await {
                let reason = error.reason();
                return Err(trip.gave_up_by(ran.or(ticket.ran()), Refused::from(error).to_string(), reason));
            }
            ticket.again(ran);
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.options.backoff_min, self.options.backoff_max)
    }

    /// False: the deadline comes first.
    pub(crate) async fn pause(&self, trip: &Trip, backoff: &mut Backoff, error: &CallError) -> bool {
        let at_least = Duration::from_millis(error.retry_after_ms.into());
        let until = Instant::now() + backoff.pause(at_least, fastrand::u64(..));
        if until >= trip.deadline {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }

    pub(crate) fn attempts(&self, trip: &Trip) -> Attempts {
        let within = trip.deadline.saturating_duration_since(trip.began);
        Attempts::new(within, trip.on_loss, (self.options.backoff_min, self.options.backoff_max))
    }

    pub(crate) fn epoch_seen(&self) -> u64 {
        self.way.lock().epoch_seen()
    }

    pub(crate) fn saw_epoch(&self, epoch: u64) {
        self.way.lock().saw_epoch(epoch);
    }

    /// A member's answer counts only if it is of this client's history. Logs it once if the history
    /// has changed.
    pub(crate) fn meets(&self, address: &str, metadata: &MetadataMap) -> Result<(), String> {
        self.meets_by(&mut self.way.lock(), address, HistoryId::of_answer(metadata))
    }

    pub(crate) fn meets_by(&self, way: &mut Way, address: &str, met: Option<HistoryId>) -> Result<(), String> {
        let before = way.history();
        let counts = way.meets(address, met);
        if let (Some(before), Some(now)) = (before, way.history())
            && before != now
        {
            tracing::warn!(%before, %now, "all addresses answer with another history: nothing that was stored before is left");
        }
        counts
    }

    pub(crate) fn trouble(&self) -> String {
        match self.trouble.lock().as_str() {
            "" => "no member has answered".to_owned(),
            trouble => trouble.to_owned(),
        }
    }

    pub(crate) fn note_trouble(&self, trouble: String) {
        *self.trouble.lock() = trouble;
    }

    pub(crate) fn target(&self) -> Target {
        self.way.lock().target()
    }

    /// The target serves.
    pub(crate) fn on_answer(&self, turn: u64) {
        self.way.lock().on_answer(turn);
        self.trouble.lock().clear();
    }

    /// The target does not serve. True: pause before the next one.
    pub(crate) fn on_failure(&self, target: &Target, why: impl std::fmt::Display) -> bool {
        tracing::debug!(address = %target.address, "left: {why}");
        self.note_trouble(format!("{}: {why}", target.address));
        self.way.lock().on_failure(target.turn)
    }

    /// All members were asked in vain, so the directory is asked, if there is one.
    pub(crate) async fn discover(&self) {
        let Some(discovery) = &self.options.discovery else { return };
        // Many calls may fail at once. One request is enough.
        let Ok(_asking) = self.discovering.try_lock() else { return };
        match ask(&**discovery, self.options.connect_timeout).await {
            Ok(Some(Announced { address })) => {
                let followed = self.way.lock().on_announced(&address);
                tracing::debug!(address, followed, "announced as the primary");
            }
            Ok(None) => tracing::debug!("no primary is announced"),
            Err(why) => tracing::debug!("discovery: {why}"),
        }
    }

    /// The target names another member. True: pause before asking it.
    pub(crate) fn on_redirect(&self, target: &Target, error: &CallError) -> bool {
        let (seen, (followed, pause)) = {
            let mut way = self.way.lock();
            (way.epoch_seen(), way.on_redirect(target.turn, error))
        };
        tracing::debug!(address = %target.address, to = %error.primary_address, epoch = error.epoch, seen, ?followed);
        let (from, to, epoch) = (&target.address, &error.primary_address, error.epoch);
        self.note_trouble(match followed {
            Redirect::Stale => format!("{from}: points to {to:?} of epoch {epoch}, but {seen} was seen"),
            _ => format!("{from}: {}", error.message),
        });
        pause
    }
}

pub(crate) async fn ask(discovery: &dyn Discovery, within: Duration) -> Result<Option<Announced>, String> {
    match timeout(within, discovery.primary()).await {
        Ok(announced) => announced,
        Err(_) => Err(format!("no answer within {} ms", within.as_millis())),
    }
}

pub(crate) fn metadata(channel: Channel) -> MetadataClient<Channel> {
    let client = MetadataClient::new(channel);
    client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The call as it travels on a session, without the id.
fn encoded<C: Call>(request: C) -> Bytes {
    let call = request.into_session();
    let mut bytes = Vec::with_capacity(call.encoded_len());
    call.encode(&mut bytes);
    bytes.into()
}

pub(crate) fn check_size(request_bytes: usize) -> Result<(), Error> {
    // The id, and the tag of the request's field.
    let bytes = request_bytes + 2 * ID_BYTES_MAX;
    match bytes > MESSAGE_BYTES_MAX {
        false => Ok(()),
        true => {
            let what =
                format!("{bytes} bytes as encoded, the limit of one call is {MESSAGE_BYTES_MAX}: make shorter lists");
            Err(Error::invalid("request", what))
        }
    }
}
