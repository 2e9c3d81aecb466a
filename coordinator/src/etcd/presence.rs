//! A member's lease: granted, kept alive and given back by a thread of its own, which nothing else
//! can delay.
//!
//! ```text
//!   grant ──► put members/<id> on it ──► every ttl/3: renew, and see that the key is still on it ──► revoke
//! ```
//!
//! Invariants:
//! - The lease lasts for as long as etcd granted, counted from when the request was sent. After
//!   that the presence is lost, whatever has become of the lease, since other members may not see
//!   this one any more.
//! - A renewal without an answer within ttl/3 is given up: the next one uses a new stream and
//!   connection.
//! - However this ends, the lease is revoked if etcd can be reached; otherwise it ends by itself.
//!
//! Deliberately absent: joining again. The holder of the presence learns of its loss, and decides.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use election::Seen;
use etcd_client::{Client, LeaseKeepAliveStream, LeaseKeeper};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::keys::Keys;
use super::link::{Link, Target, Trouble};
use crate::contract::{Answer, Error, MemberInfo, Presence};

/// The pause after a renewal that failed at once.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a drop waits for the lease to be revoked.
const REVOKE_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct EtcdPresence {
    keys: Keys,
    me: MemberInfo,
    lease: i64,
    lost: watch::Receiver<bool>,
    stop: Option<oneshot::Sender<()>>,
    ended: Mutex<Receiver<()>>,
}

impl EtcdPresence {
    pub(super) async fn join(keys: Keys, me: MemberInfo) -> Result<EtcdPresence, Error> {
        let (joined, answer) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (lost_tx, lost) = watch::channel(false);
        let (alive, ended) = sync_channel::<()>(0);
        let (target, info) = (Arc::clone(&keys.link.target), me.clone());
        let thread = Thread { target, me: info, joined, stopped, lost: lost_tx, _alive: alive };
        std::thread::Builder::new().name("etcd-lease".to_owned()).spawn(move || thread.run()).map_err(|error| {
            Error::Unavailable { what: "starting a thread", place: "the system".to_owned(), why: error.to_string() }
        })?;
        // The thread answers within the time limit, or has panicked.
        let lease = answer.await.map_err(|_| keys.link.target.no_answer("join", "the lease's thread has ended"))??;
        Ok(EtcdPresence { keys, me, lease, lost, stop: Some(stop), ended: Mutex::new(ended) })
    }
}

impl Presence for EtcdPresence {
    fn lost(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // A thread that has ended renews nothing either.
            let _ = self.lost.wait_for(|lost| *lost).await;
        })
    }

    fn announce(&self, epoch: u64) -> Answer<'_, ()> {
        Box::pin(self.keys.announce(epoch, &self.me, self.lease))
    }

    fn tell(&self, seen: Option<Seen>) -> Answer<'_, ()> {
        Box::pin(self.keys.tell(&self.me, seen, self.lease))
    }
}

impl Drop for EtcdPresence {
    /// Waits a little, so that a process that ends right after this is not shown for another ttl.
    /// If the presence is lost, the member is not shown anyway, and etcd may not answer.
    fn drop(&mut self) {
        drop(self.stop.take());
        if !*self.lost.borrow() {
            let _ = self.ended.get_mut().recv_timeout(REVOKE_WAIT);
        }
    }
}

/// The thread's end of a presence.
struct Thread {
    target: Arc<Target>,
    me: MemberInfo,
    joined: oneshot::Sender<Result<i64, Error>>,
    stopped: oneshot::Receiver<()>,
    lost: watch::Sender<bool>,
    /// Nothing is ever sent here: it is dropped when the thread ends.
    _alive: SyncSender<()>,
}

impl Thread {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.hold()),
            Err(error) => {
                let _ = self.joined.send(Err(self.target.no_answer("join", error.to_string())));
            }
        }
    }

    async fn hold(self) {
        let Thread { target, me, joined, stopped, lost, _alive } = self;
        let limit = target.options.timeout();
        let deadline = Instant::now() + limit;
        let keys = Keys::new(target);
        let ttl = i64::from(keys.link.target.options.lease_ttl_s);
        let sent = Instant::now();
        let granted = keys.link.ask_until("join", deadline, async |mut client| {
            let granted = client.lease_grant(ttl, None).await?;
            Ok((granted.id(), granted.ttl()))
        });
        let (id, ttl) = match granted.await {
            Ok(granted) => granted,
            Err(error) => return drop(joined.send(Err(error))),
        };
        let mut lease = Lease { id, ttl: seconds(ttl), answered: sent, stream: None };
        match keys.join(&me, id, deadline).await {
            Err(error) => {
                let _ = joined.send(Err(error));
                lease.revoke(&keys.link, limit).await;
            }
            Ok(()) => {
                // If the caller has stopped waiting, no one can hold the presence.
                if joined.send(Ok(id)).is_ok() {
                    tokio::select! {
                        biased;
                        _ = stopped => {}
                        why = lease.keep(&keys, &me) => {
                            tracing::warn!(lease = id, why, "no longer seen by others: the lease is lost");
                            lost.send_replace(true);
                        }
                    }
                }
                lease.revoke(&keys.link, limit).await;
            }
        }
    }
}

struct Lease {
    id: i64,
    /// The TTL that etcd granted last.
    ttl: Duration,
    /// When the newest request that was answered was sent.
    answered: Instant,
    stream: Option<(LeaseKeeper, LeaseKeepAliveStream)>,
}

/// The result of a renewal.
enum Found {
    Here,
    Gone(&'static str),
}

impl Lease {
    /// Returns when the lease is lost, with the reason.
    async fn keep(&mut self, keys: &Keys, me: &MemberInfo) -> &'static str {
        loop {
            let ends = self.answered + self.ttl;
            let now = Instant::now();
            if now >= ends {
                return "etcd has not answered for as long as it lasts";
            }
            let (round, period) = (now, self.ttl / 3);
            match timeout(period.min(ends - now), self.renew(keys, me)).await {
                Ok(Ok(Found::Here)) => sleep_until((round + period).min(self.answered + self.ttl)).await,
                Ok(Ok(Found::Gone(why))) => return why,
                Ok(Err(trouble)) => {
                    if let Trouble::Etcd(error) = trouble {
                        tracing::debug!(lease = self.id, %error, "a renewal has failed");
                    }
                    self.start_over(&keys.link);
                    sleep(RETRY_PAUSE.min(period)).await;
                }
                Err(_) => self.start_over(&keys.link),
            }
        }
    }

    fn start_over(&mut self, link: &Link) {
        self.stream = None;
        link.forget();
    }

    async fn renew(&mut self, keys: &Keys, me: &MemberInfo) -> Result<Found, Trouble> {
        let mut client = keys.link.client().await?;
        let sent = Instant::now();
        match self.ask(&mut client).await {
            Ok(Some(ttl)) if ttl <= Duration::ZERO => return Ok(Found::Gone("etcd has ended it")),
            Ok(ttl) => (self.answered, self.ttl) = (sent, ttl.unwrap_or(self.ttl)),
            Err(error) if is_not_found(&error) => return Ok(Found::Gone("etcd does not know it")),
            Err(error) => return Err(error.into()),
        }
        // The lease may live although the key is gone: deleted by hand, or taken by a second copy
        // of this incarnation.
        let found = client.get(keys.member(me.who.member), None).await?;
        let is_mine = found.kvs().first().is_some_and(|kv| kv.lease() == self.id);
        Ok(if is_mine { Found::Here } else { Found::Gone("the member's key is not on it any more") })
    }

    /// The time that etcd grants now. The answer that opens a stream does not tell.
    async fn ask(&mut self, client: &mut Client) -> Result<Option<Duration>, etcd_client::Error> {
        let Some((keeper, answers)) = &mut self.stream else {
            self.stream = Some(client.lease_keep_alive(self.id).await?);
            return Ok(None);
        };
        keeper.keep_alive().await?;
        match answers.message().await? {
            Some(answer) => Ok(Some(seconds(answer.ttl()))),
            None => Err(etcd_client::Error::LeaseKeepAliveError("the stream has ended".to_owned())),
        }
    }

    async fn revoke(&mut self, link: &Link, limit: Duration) {
        self.stream = None;
        let id = self.id;
        let revoke = async { link.client().await?.lease_revoke(id).await };
        match timeout(limit, revoke).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if is_not_found(&error) => {}
            Ok(Err(error)) => tracing::debug!(lease = id, %error, "not revoked: it ends by itself"),
            Err(_) => tracing::debug!(lease = id, "not revoked in time: it ends by itself"),
        }
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

fn is_not_found(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => status.code() == tonic::Code::NotFound,
        // What the client library returns for an answer without a time.
        etcd_client::Error::LeaseKeepAliveError(why) => why == "lease not found",
        _ => false,
    }
}
