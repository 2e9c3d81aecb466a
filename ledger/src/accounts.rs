//! The ledger's own part of the state: what all domains need, and none of them owns.
//!
//! Invariant: what changes it holds the writer lock, and applies an entry.

use oplog::{Digest, Secret};

use crate::call::{Address, Now, Source, TenantIx, Who};
use crate::clients::Clients;
use crate::errors::{Applied, same};
use crate::hash::digest_of_secret;
use crate::settings::{ClusterSettings, InForce, Settings};
use crate::tenants::Tenants;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Live,
    /// Shards of the domains change, what they imply does not.
    Rebuilding,
}

#[derive(Debug)]
pub struct Accounts {
    /// Set by the first entry of the log, before there is anything that would have been hashed.
    pub secret: Secret,
    pub settings: ClusterSettings,
    pub tenants: Tenants,
    pub clients: Clients,
    pub mode: Mode,
    /// What readers see of the secret, the settings and the tenants has changed since they were
    /// told.
    pub changed: bool,
}

impl Accounts {
    pub fn new() -> Accounts {
        Accounts {
            secret: Secret::default(),
            settings: ClusterSettings::default(),
            tenants: Tenants::default(),
            clients: Clients::default(),
            mode: Mode::Live,
            changed: true,
        }
    }

    pub fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    /// A state that has no settings yet goes by those of its member.
    pub fn in_force(&self, own: Settings) -> InForce {
        self.settings.get().unwrap_or_else(|| InForce::started_with(own))
    }

    /// What a client's entry does apart from its items.
    pub fn begin(&mut self, who: Who, introduces: bool, source: Source) {
        if introduces {
            self.clients.introduce(who.client, source.now_ms());
        }
    }

    /// One that holds nothing.
    pub(crate) fn tenant_gone(&mut self, tenant: TenantIx) -> Applied {
        self.changed = true;
        self.tenants.remove(tenant)
    }

    pub fn digest(&self) -> Digest {
        digest_of_secret(self.secret) + self.settings.digest() + self.tenants.digest() + self.clients.digest()
    }

    /// From the records themselves; of answers, from what each client keeps of them.
    pub fn counted_digest(&self) -> Digest {
        digest_of_secret(self.secret)
            + self.settings.counted_digest()
            + self.tenants.counted_digest()
            + self.clients.counted_digest()
    }

    /// How many the sums are over.
    pub fn records(&self) -> usize {
        self.tenants.count_all() + self.clients.records()
    }

    /// The sums that are kept, counted again.
    pub fn check_sums(&self) -> Result<(), String> {
        same("digest of the settings", self.settings.counted_digest(), self.settings.digest())?;
        same("digest of the tenants", self.tenants.counted_digest(), self.tenants.digest())?;
        same("digest of the clients", self.clients.counted_digest(), self.clients.digest())
    }

    /// What is kept twice, compared.
    pub fn check(&self) -> Result<(), String> {
        self.settings.check()?;
        self.tenants.check()?;
        self.clients.check()
    }
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts::new()
    }
}

/// An entry that is being applied, to them and to what a domain has beside them.
#[derive(Debug)]
pub struct Applying<'a, O> {
    pub accounts: &'a mut Accounts,
    pub own: &'a mut O,
    pub seq: u64,
    pub source: Source,
}

/// All that a decision may look at. Of what is the domain's own it may change only what is not
/// replicated.
#[derive(Debug)]
pub struct Deciding<'a, O> {
    pub accounts: &'a Accounts,
    pub own: &'a mut O,
    pub who: Who,
    /// Where the caller is.
    pub from: Option<Address>,
    pub now: Now,
    pub grace_from_ms: Option<u64>,
}
