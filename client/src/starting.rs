//! The start of a put, from its first attempt until its outcome is known, whether or not the caller
//! still waits.
//!
//! ```text
//!   put() ──► the call ──► a Put, a refusal ──────────────► its caller
//!                │
//!                ├── outcome unknown ──► its caller; and the same request again, until it is known
//!                └── put() is dropped ──► goes on by itself           └──► a Put without an owner:
//!                                                └───────────────────────► dropped, so revoked
//! ```
//!
//! Invariants: a start that has run is ended by its caller, revoked, or (after [`SETTLE_WITHIN`],
//! or without request numbers) left to its time-out; a start that was not sent before its caller
//! gave up is never sent; the tasks that go on by themselves are bounded together with the revokes.
//!
//! Deliberately absent: starts of many objects, which the caller must revoke (`Client::put_start`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::answers::PutsStarted;
use crate::api::objects::{put_start_request, puts_started};
use crate::calls::{Call as _, PutStart};
use crate::client::Client;
use crate::error::Error;
use crate::items::{PutOptions, PutStartItem};
use crate::numbers::OpenNumber;
use crate::put::{Left, Put};
use crate::trip::{Terms, Trip};

/// How long to ask for the outcome of a start that its caller has given up. Its request number
/// stays open as long, and holds back numbers a whole span above it.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

impl Client {
    /// Starts a put of one object. If this is dropped half-way, or ends as `Error::OutcomeUnknown`,
    /// no space stays in use: a start that has run is revoked in the background, once that is
    /// known.
    pub async fn put(&self, key: impl AsRef<[u8]>, size: u64, options: PutOptions) -> Result<Put, Error> {
        Starting::new(self, PutStartItem::new(key, size), options).await
    }
}

type Told = Arc<Mutex<Option<Result<Put, Error>>>>;

struct Starting {
    client: Client,
    runtime: Handle,
    key: Bytes,
    sent: Arc<AtomicBool>,
    told: Told,
    /// What is still to be done.
    rest: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Starting {
    fn new(client: &Client, item: PutStartItem, options: PutOptions) -> Starting {
        let (runtime, key) = (Handle::current(), item.key.clone());
        let (sent, told) = (Arc::<AtomicBool>::default(), Told::default());
        let start = Start { client: client.clone(), runtime: runtime.clone(), item, options, sent: Arc::clone(&sent) };
        let rest = Some(Box::pin(start.run(Arc::clone(&told))) as Pin<Box<_>>);
        Starting { client: client.clone(), runtime, key, sent, told, rest }
    }
}

impl Future for Starting {
    type Output = Result<Put, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Put, Error>> {
        let rest = self.rest.as_mut().expect("it is polled until it is ready, and no more");
        if rest.as_mut().poll(context).is_ready() {
            self.rest = None;
        }
        match self.told.lock().take() {
            Some(told) => Poll::Ready(told),
            None => Poll::Pending,
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take().filter(|_| self.sent.load(Ordering::Relaxed)) else { return };
        let Ok(permit) = Arc::clone(&self.client.life.revokes).try_acquire_owned() else {
            return drop(Left::for_too_many(self.key.clone()));
        };
        let left = Left::with_runtime(self.key.clone());
        self.runtime.spawn(async move {
            rest.await;
            left.revoked();
            drop(permit);
        });
    }
}

struct Start {
    client: Client,
    runtime: Handle,
    item: PutStartItem,
    options: PutOptions,
    sent: Arc<AtomicBool>,
}

impl Start {
    async fn run(self, told: Told) {
        let mut trip = Trip::new(PutStart::NAME, PutStart::MUTATES, self.client.deadline());
        let number = match self.client.link().number_for::<PutStart>(&mut trip).await {
            Ok(number) => number,
            Err(error) => return *told.lock() = Some(Err(error)),
        };
        let answer = self.attempt(&trip, number.as_ref()).await;
        let settles = number.is_some() && matches!(answer, Err(Error::OutcomeUnknown { .. }));
        *told.lock() = Some(answer.and_then(|answer| self.put(answer)));
        if !settles {
            return;
        }
        let trip = Trip::new(PutStart::NAME, PutStart::MUTATES, SETTLE_WITHIN);
        match self.attempt(&trip, number.as_ref()).await.and_then(|answer| self.put(answer)) {
            // It has no owner: when it is dropped, it is revoked.
            Ok(put) => drop(put),
            Err(Error::Refused(_)) => {}
            Err(error) => tracing::debug!("a start that was given up is left to its time-out: {error}"),
        }
    }

    async fn attempt(&self, trip: &Trip, number: Option<&OpenNumber<'_>>) -> Result<PutsStarted, Error> {
        let terms = Terms { sent: Some(&self.sent), ..self.client.terms() };
        let items = std::slice::from_ref(&self.item);
        let request = |caller| PutStart(put_start_request(caller, items, self.options.clone()));
        let answer = self.client.link().call_numbered(trip, number, terms, request).await?;
        puts_started(items.len(), trip.began.into_std(), answer)
    }

    fn put(&self, answer: PutsStarted) -> Result<Put, Error> {
        Put::new(self.client.clone(), self.runtime.clone(), self.item.clone(), answer)
    }
}
