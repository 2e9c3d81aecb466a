//! The client as an application holds it: how it connects, and what all calls share.
//!
//! Invariants: the tasks of a client live exactly as long as its last handle; a handle is cheap to
//! clone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::backoff::Backoff;
use crate::calls::{Call, Read};
use crate::error::Error;
use crate::ids::{ClientId, HistoryId};
use crate::link::{Link, ask};
use crate::mounts::ClientState;
use crate::options::{Heartbeat, Options, ReadOptions, Transport, check_tenant, normalised};
use crate::trip::{Terms, Window};
use crate::{heartbeat, session};

/// A client of a cluster. Clones are handles to the same client.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) life: Arc<Life>,
    tenant: Arc<str>,
    deadline: Duration,
    reads: Option<ReadOptions>,
}

/// The tasks of a client; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) link: Arc<Link>,
    tasks: Vec<AbortHandle>,
    pub(crate) revokes: Arc<tokio::sync::Semaphore>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Counts of what a client has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that are in flight on the session.
    pub in_flight: usize,
    /// The most calls that may be in flight.
    pub window_calls: usize,
    /// Calls that were given to the session.
    pub calls: u64,
    /// Attempts after a call's first.
    pub sent_again: u64,
    /// Sessions that were opened, and attempts to open one.
    pub streams: u64,
    /// Answers to calls that had been given up.
    pub late_answers: u64,
}

impl Client {
    /// Connects to the first member that can be reached. From then on the client looks for the
    /// primary by itself. Must be called within a tokio runtime, which runs the client's tasks.
    pub async fn connect(options: Options) -> Result<Client, Error> {
        let mut addresses = options.validate()?;
        if addresses.is_empty() {
            addresses.push(first_announced(&options).await?);
        }
        let link = Arc::new(Link::new(options, addresses));
        let channel = reach(&link).await?;
        let mut tasks = Vec::new();
        match link.options.transport {
            Transport::Session => {
                tasks.push(tokio::spawn(session::drive(Arc::clone(&link), channel)).abort_handle());
                let sweeping = Arc::clone(&link);
                tasks.push(tokio::spawn(async move { sweeping.flight.sweep().await }).abort_handle());
            }
            Transport::Unary => link.keep_channel(&link.target(), channel),
        }
        if link.options.heartbeat == Heartbeat::Auto {
            tasks.push(tokio::spawn(heartbeat::keep_alive(Arc::clone(&link))).abort_handle());
        }
        let tenant = link.options.tenant.as_str().into();
        let deadline = link.options.deadline;
        let revokes = Arc::new(tokio::sync::Semaphore::new(crate::put::REVOKES_MAX));
        Ok(Client { life: Arc::new(Life { link, tasks, revokes }), tenant, deadline, reads: None })
    }

    /// A handle whose calls take at most this long, with all their retries.
    pub fn with_deadline(&self, deadline: Duration) -> Client {
        Client { deadline, ..self.clone() }
    }

    /// A handle for the keys of this tenant.
    pub fn with_tenant(&self, tenant: &str) -> Result<Client, Error> {
        check_tenant(tenant)?;
        Ok(Client { tenant: tenant.into(), ..self.clone() })
    }

    /// A handle whose reads go to the standbys in turn, and to the primary if no standby can answer
    /// as asked: `get`, `get_replicas`, `exists`, `list_keys` and `list_segments`. What a standby
    /// answers is **not leased**: see [`ReadOptions`].
    pub fn with_reads(&self, reads: ReadOptions) -> Client {
        Client { reads: Some(reads), ..self.clone() }
    }

    /// The id of this client.
    pub fn id(&self) -> ClientId {
        self.link().client_id
    }

    /// The state of the client at the primary, now and at every change. It changes only with
    /// `Heartbeat::Auto`, or with each call of [`Client::heartbeat`].
    pub fn state(&self) -> watch::Receiver<ClientState> {
        self.link().mounts.state()
    }

    /// Counts since the client was created.
    pub fn stats(&self) -> Stats {
        let counts = self.link().flight.counts();
        Stats {
            in_flight: counts.in_flight,
            window_calls: self.link().options.window_calls,
            calls: counts.submitted,
            sent_again: counts.sent_again,
            streams: counts.streams,
            late_answers: counts.late_answers,
        }
    }

    /// The history whose answers count, once a member has said which it is. It changes only after
    /// all addresses were asked and none was of this history: then nothing that was stored before
    /// is left.
    pub fn history_seen(&self) -> Option<HistoryId> {
        self.link().way.lock().history()
    }

    /// The highest epoch of that history that an answer or a redirect has named. Lower epochs are
    /// not followed.
    pub fn epoch_seen(&self) -> u64 {
        self.link().epoch_seen()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.life.link
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn terms(&self) -> Terms<'_> {
        Terms { tenant: &self.tenant, deadline: self.deadline, window: Window::Waits, sent: None }
    }

    /// At a standby, if this handle allows that and one can answer; otherwise at the primary.
    pub(crate) async fn read<C: Read>(&self, request: impl FnOnce(proto::v1::Caller) -> C) -> Result<C::Answer, Error> {
        let Some(reads) = self.reads else { return self.call(request).await };
        let began = Instant::now();
        let mut request = request(self.link().caller_of_read(&self.tenant));
        *request.standby() = Some(reads.to_wire());
        if let Some(answer) = self.link().at_standbys(&request, self.terms()).await? {
            return Ok(answer);
        }
        *request.standby() = None;
        let terms = Terms { deadline: self.deadline.saturating_sub(began.elapsed()), ..self.terms() };
        self.link().call(terms, |_| request).await
    }

    pub(crate) async fn call<C: Call>(&self, request: impl FnOnce(proto::v1::Caller) -> C) -> Result<C::Answer, Error> {
        self.link().call(self.terms(), request).await
    }
}

/// Asks the directory, if no address was given.
async fn first_announced(options: &Options) -> Result<String, Error> {
    let discovery = options.discovery.as_deref().expect("options without any way to a member are refused");
    let began = Instant::now();
    let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
    loop {
        let why = match ask(discovery, options.connect_timeout).await {
            Ok(Some(announced)) => match normalised(&announced.address) {
                Ok(address) => return Ok(address),
                Err(why) => why,
            },
            Ok(None) => "no primary is announced".to_owned(),
            Err(why) => why,
        };
        if began.elapsed() >= options.connect_deadline {
            return Err(Error::Unreachable { tried: vec![format!("discovery: {why}")], waited: began.elapsed() });
        }
        sleep(backoff.pause(Duration::ZERO, fastrand::u64(..))).await;
    }
}

/// A connection to the first member that accepts one. That member becomes the target.
async fn reach(link: &Link) -> Result<Channel, Error> {
    let began = Instant::now();
    let mut backoff = link.backoff();
    let mut tried = BTreeMap::new();
    loop {
        let target = link.target();
        let why = match link.dial(&target.address).await {
            Ok(channel) => return Ok(channel),
            Err(why) => why,
        };
        let round_is_over = link.on_failure(&target, &why);
        tried.insert(target.address, why);
        if began.elapsed() >= link.options.connect_deadline {
            let tried = tried.iter().map(|(address, why)| format!("{address}: {why}")).collect();
            return Err(Error::Unreachable { tried, waited: began.elapsed() });
        }
        if round_is_over {
            link.discover().await;
            sleep(backoff.pause(Duration::ZERO, fastrand::u64(..))).await;
        }
    }
}
