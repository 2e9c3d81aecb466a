//! One caller's link to etcd: it connects on demand, limits the time of each request, and
//! interprets errors.
//!
//! Invariants: no answer is awaited beyond the limit; after a request without an answer the
//! connection is not used again, since the next request would wait in vain, too; a request without
//! an answer is an error, which does not say whether it was carried out.
//!
//! Deliberately absent: a second try of a change, unless the first never left this process. It may
//! have been carried out.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use super::options::EtcdOptions;
use crate::contract::Error;

/// What etcd 3.5 and 3.4 answer if rights were changed after the client had logged in.
const OLD_RIGHTS: [&str; 2] = ["revision of auth store is old", "revision in header is old"];

/// With several endpoints one is chosen blindly, and it may be one that is known to be down. So
/// another choice is made this often, for each endpoint.
const KNOCKS_PER_ENDPOINT: usize = 4;

/// What all links to the same etcd share.
pub(super) struct Target {
    pub(super) options: EtcdOptions,
    connect: ConnectOptions,
    pub(super) place: String,
}

impl Target {
    pub(super) fn new(options: EtcdOptions) -> Result<Target, Error> {
        let connect = options.connect_options()?;
        Ok(Target { place: options.place(), connect, options })
    }

    pub(super) fn no_answer(&self, what: &'static str, why: impl Into<String>) -> Error {
        Error::Unavailable { what, place: self.place.clone(), why: why.into() }
    }

    /// etcd's answer, or the reason why there was none.
    pub(super) fn refusal(&self, what: &'static str, error: &etcd_client::Error) -> Error {
        let (denied, why) = explain(error);
        let place = self.place.clone();
        if denied { Error::Denied { what, place, why } } else { Error::Unavailable { what, place, why } }
    }
}

/// How a request to etcd can fail.
pub(super) enum Trouble {
    Etcd(etcd_client::Error),
    Ours(Error),
}

impl From<etcd_client::Error> for Trouble {
    fn from(error: etcd_client::Error) -> Trouble {
        Trouble::Etcd(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Ours(error)
    }
}

/// Connections belong to the runtime that made them, so each thread has a link of its own.
pub(super) struct Link {
    pub(super) target: Arc<Target>,
    client: Mutex<Option<Client>>,
}

impl Link {
    pub(super) fn new(target: Arc<Target>) -> Link {
        Link { target, client: Mutex::new(None) }
    }

    /// To connect sends nothing to etcd, unless a user must log in.
    pub(super) async fn client(&self) -> Result<Client, etcd_client::Error> {
        let mut held = self.client.lock().await;
        if let Some(client) = &*held {
            return Ok(client.clone());
        }
        let client = Client::connect(&self.target.options.endpoints, Some(self.target.connect.clone())).await?;
        *held = Some(client.clone());
        Ok(client)
    }

    /// The next request uses a new connection.
    pub(super) fn forget(&self) {
        // The holder of the lock is about to connect anew anyway.
        if let Ok(mut held) = self.client.try_lock() {
            *held = None;
        }
    }

    /// Sends the request once, as far as etcd can have noticed.
    pub(super) async fn ask<T, A>(&self, what: &'static str, question: impl Fn(Client) -> A) -> Result<T, Error>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let deadline = Instant::now() + self.target.options.timeout();
        self.ask_until(what, deadline, question).await
    }

    /// Sends a request that changes nothing: if one endpoint has no good answer, another one may
    /// have.
    pub(super) async fn read<T, A>(&self, what: &'static str, question: impl Fn(Client) -> A) -> Result<T, Error>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let deadline = Instant::now() + self.target.options.timeout();
        for _ in 1..self.target.options.endpoints.len() {
            match self.ask_until(what, deadline, &question).await {
                Err(Error::Unavailable { .. }) if Instant::now() < deadline => {}
                answered => return answered,
            }
        }
        self.ask_until(what, deadline, &question).await
    }

    pub(super) async fn ask_until<T, A>(
        &self,
        what: &'static str,
        deadline: Instant,
        question: impl Fn(Client) -> A,
    ) -> Result<T, Error>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let endpoints = self.target.options.endpoints.len();
        let mut others = if endpoints == 1 { 0 } else { endpoints * KNOCKS_PER_ENDPOINT };
        loop {
            let asked = async { question(self.client().await?).await };
            match timeout_at(deadline, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Trouble::Ours(error))) => return Err(error),
                Ok(Err(Trouble::Etcd(error))) if others > 0 && was_never_sent(&error) => others -= 1,
                Ok(Err(Trouble::Etcd(error))) => return Err(self.target.refusal(what, &error)),
                Err(_) => {
                    self.forget();
                    return Err(self.target.no_answer(what, within(self.target.options.timeout())));
                }
            }
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Link").field(&self.target.place).finish()
    }
}

pub(super) fn within(limit: Duration) -> String {
    format!("it did not answer within {} ms", limit.as_millis())
}

/// Whether there was no connection to send the request over. Then it has changed nothing, and never
/// will.
fn was_never_sent(error: &etcd_client::Error) -> bool {
    let etcd_client::Error::GRpcStatus(status) = error else { return false };
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Whether it is useless to ask again, and why.
fn explain(error: &etcd_client::Error) -> (bool, String) {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let denied = matches!(
                status.code(),
                Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::FailedPrecondition
            );
            // Rights were changed while the request was on its way: the next one is answered.
            let passes = OLD_RIGHTS.iter().any(|message| status.message().contains(message));
            (denied && !passes, with_sources(status.message(), status.source()))
        }
        etcd_client::Error::TransportError(error) => (false, with_sources(&error.to_string(), error.source())),
        etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => (true, error.to_string()),
        _ => (false, error.to_string()),
    }
}

/// "transport error" alone is not enough to find the cause.
fn with_sources(message: &str, mut source: Option<&(dyn StdError + 'static)>) -> String {
    let mut text = message.to_owned();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn explained(code: Code, message: &str) -> (bool, String) {
        explain(&etcd_client::Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn only_what_asking_again_does_not_help_is_a_refusal() {
        assert!(explained(Code::PermissionDenied, "etcdserver: permission denied").0);
        assert!(explained(Code::InvalidArgument, "etcdserver: user name is empty").0);
        assert!(!explained(Code::InvalidArgument, "etcdserver: revision of auth store is old").0);
        assert!(!explained(Code::Unavailable, "etcdserver: request timed out").0);
        assert!(!explained(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded").0);
    }
}
