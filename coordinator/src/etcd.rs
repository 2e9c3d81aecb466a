//! A coordinator in etcd: keys, leases and transactions in an etcd cluster that others may use,
//! too.
//!
//! | file | decides |
//! |---|---|
//! | `options` | which etcd, with which rights and limits |
//! | `link` | connecting, time limits, what errors mean |
//! | `keys` | the keys and the transactions |
//! | `presence` | a member's lease, on its own thread |
//! | `watch` | when to read again |
//!
//! *Invariants:* etcd need not run when this starts, since each call connects by itself; no call
//! outlasts the request time-out; a change that was not answered is an error, never a refusal.
//!
//! Deliberately absent: elections, locks and sessions of etcd's own. Only the record says which
//! member leads.

mod keys;
mod link;
mod options;
mod presence;
mod watch;

use std::sync::Arc;

use election::{ConfigRecord, Incarnation, Versioned};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

pub use self::options::{EtcdOptions, EtcdTls, EtcdUser};

use self::keys::Keys;
use self::link::Target;
use self::presence::EtcdPresence;
use self::watch::Hint;
use crate::contract::{Answer, Coordinator, Error, MemberInfo, Presence, Stored, Swap};

#[derive(Debug)]
pub struct EtcdCoordinator {
    keys: Keys,
    hint: Hint,
}

impl EtcdCoordinator {
    /// Fails only if these options can never work: it sends nothing to etcd. It is async because it
    /// starts a task, which needs a runtime.
    pub async fn connect(options: EtcdOptions) -> Result<EtcdCoordinator, Error> {
        let target = Arc::new(Target::new(options)?);
        Ok(EtcdCoordinator { keys: Keys::new(Arc::clone(&target)), hint: Hint::start(target) })
    }
}

impl Coordinator for EtcdCoordinator {
    fn read(&self) -> Answer<'_, Stored> {
        Box::pin(self.keys.read())
    }

    fn swap(&self, expect: Option<Versioned>, to: ConfigRecord) -> Answer<'_, Swap> {
        Box::pin(async move { self.keys.swap(expect, &to).await })
    }

    fn join(&self, me: MemberInfo) -> Answer<'_, Box<dyn Presence>> {
        let keys = self.keys.clone();
        Box::pin(async move { Ok(Box::new(EtcdPresence::join(keys, me).await?) as Box<dyn Presence>) })
    }

    fn members(&self) -> Answer<'_, Vec<MemberInfo>> {
        Box::pin(self.keys.members_here())
    }

    /// Only what was reported counts: a lease that has ended proves nothing.
    fn is_dead(&self, who: Incarnation) -> Answer<'_, bool> {
        let deadline = Instant::now() + self.keys.link.target.options.timeout();
        Box::pin(self.keys.is_dead(who, deadline))
    }

    /// Must be called before the same incarnation is started again, which would otherwise be called
    /// dead.
    fn report_dead(&self, who: Incarnation) -> Answer<'_, ()> {
        Box::pin(self.keys.report_dead(who))
    }

    fn announced(&self) -> Answer<'_, Option<(u64, MemberInfo)>> {
        Box::pin(self.keys.announced())
    }

    fn changes(&self) -> Receiver<u64> {
        self.hint.receiver()
    }
}
