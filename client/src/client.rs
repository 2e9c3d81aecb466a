//! The handle of an application: connecting, and what belongs to all calls.
//!
//! Invariants: the tasks of a client live exactly as long as its last handle; a handle is cheap to clone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::calls::Call;
use crate::error::Error;
use crate::ids::ClientId;
use crate::link::Link;
use crate::mounts::ClientState;
use crate::options::{Heartbeat, Options, Transport, check_tenant};
use crate::trip::{Terms, Window};
use crate::{heartbeat, session};

/// A client of a master, or of a pair of them. Clones are handles to the same client.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) life: Arc<Life>,
    tenant: Arc<str>,
    deadline: Duration,
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

/// What a client has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that are in flight on the session.
    pub in_flight: usize,
    /// The most that may be.
    pub window_calls: usize,
    /// Calls given to the session.
    pub calls: u64,
    /// Attempts after a call's first.
    pub sent_again: u64,
    /// Sessions opened, or tried to.
    pub streams: u64,
    /// Answers to calls that had been given up.
    pub late_answers: u64,
}

impl Client {
    /// Finds a member that can be reached. The client goes on looking for the right one by itself from then on. To be
    /// called within a tokio runtime, which the client's tasks run on.
    pub async fn connect(options: Options) -> Result<Client, Error> {
        let addresses = options.validate()?;
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
        Ok(Client { life: Arc::new(Life { link, tasks, revokes }), tenant, deadline })
    }

    /// A handle whose calls take at most this long, with all their retries.
    pub fn with_deadline(&self, deadline: Duration) -> Client {
        Client { deadline, ..self.clone() }
    }

    /// A handle whose keys live in this tenant.
    pub fn with_tenant(&self, tenant: &str) -> Result<Client, Error> {
        check_tenant(tenant)?;
        Ok(Client { tenant: tenant.into(), ..self.clone() })
    }

    /// Who the master takes this client for.
    pub fn id(&self) -> ClientId {
        self.link().client_id
    }

    /// How the client stands with the master, now and at every change. Moves only with `Heartbeat::Auto`, or with each
    /// call of [`Client::heartbeat`].
    pub fn state(&self) -> watch::Receiver<ClientState> {
        self.link().mounts.state()
    }

    /// What was done so far.
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

    /// The highest epoch that an answer or a redirect has named. Lower ones are not followed.
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

    pub(crate) async fn call<C: Call>(&self, request: impl FnOnce(proto::v1::Caller) -> C) -> Result<C::Answer, Error> {
        self.link().call(self.terms(), request).await
    }
}

/// A connection to the first member that takes one; then it is the current target.
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
            sleep(backoff.pause(Duration::ZERO, fastrand::u64(..))).await;
        }
    }
}
