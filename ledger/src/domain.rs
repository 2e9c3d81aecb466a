//! What the ledger asks of a kind of state, and what it gives to its steps.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bincode::Encode;
use oplog::{ClientId, Digest, DomainId, InstallError, Position, Secret};

use crate::accounts::{Accounts, Applying};
use crate::call::{CallRefused, Now, Op};
use crate::clients::Keep;
use crate::errors::{Applied, OpError, same};
use crate::image::{ImageReader, ImageWriter};
use crate::settings::InForce;
use crate::shards::Shards;
use crate::writer::{Ledger, WriterGuard};

/// One kind of state over the ops of the log.
///
/// Invariant: `apply` decides nothing. Equal entries make equal states of equal ones, on every
/// member.
pub trait Domain: Sized + 'static {
    const ID: DomainId;
    /// What a member is started with.
    type Config: Clone;
    /// What only the writer touches. It stands behind the writer lock, beside the accounts.
    type Own;
    /// What stands behind locks of its own. [`NoShards`](crate::NoShards) where all is `Own`.
    type Shards: Shards<Self::Own>;

    /// What its steps have done, counted.
    type Steps: Copy + Default;
    /// What it does of its own accord on the primary, kind by kind.
    const STEPS: &'static [Step<Self>] = &[];

    /// Empty, at `applied`.
    fn new(config: Self::Config, applied: Position) -> Self;

    fn config(&self) -> &Self::Config;

    fn ledger(&self) -> &Ledger<Self::Own>;

    fn shards(&self) -> &Self::Shards;

    /// Of the cluster, as readers know it. Takes the writer lock, unless a domain knows it
    /// otherwise: nothing that runs under that lock may ask.
    fn secret(&self) -> Secret {
        self.ledger().write().accounts.secret
    }

    /// Whether an op may be the answer to a request, and then which parts of it are kept. `Err`: no
    /// op of this domain.
    fn answers(op: u8) -> Result<Option<Keep>, UnknownOp>;

    /// Applies one op; tells how many items of a request it did. What does not fit is refused; what
    /// of it was applied stays, and then the state takes nothing more.
    fn apply(&self, cx: Applying<'_, Self::Own>, op: u8, payload: &[u8]) -> Result<u64, OpError>;

    /// How many items a kept answer tells of. Refuses what is no answer.
    fn check_answer(op: u8, payload: &[u8]) -> Result<u64, OpError>;

    /// Part of the entry that expires a client: what must not wait for a step. Bounded; the entry
    /// comes again while [`Domain::expires`] says that there is more of it.
    fn on_client_expired(&self, cx: Applying<'_, Self::Own>, client: ClientId) -> Applied;

    fn expires(_: &Self::Own, _: ClientId) -> bool {
        false
    }

    /// Whether a client has something here. An expired one goes when none of its domains says so.
    fn holds(own: &Self::Own, client: ClientId) -> bool;

    /// One step of emptying what an expired client has, by ops of this domain.
    fn empty(step: &mut Stepping<'_, '_, Self>, client: ClientId) -> Result<Emptied, CallRefused>;

    /// A client that held nothing is not known any more.
    fn on_client_gone(own: &mut Self::Own, client: ClientId);

    /// This member is about to lead. `born`: the epoch in which the cluster began with nothing.
    fn on_lead(&self, _own: &mut Self::Own, _born: u64, _now: Now) {}

    /// An entry is in the log and in the state: what readers see may follow.
    fn on_applied(&self, _: &mut Accounts, _: &mut Self::Own, _seq: u64) {}

    /// Accounts and own were replaced as a whole: of what has gone with those before nothing tells.
    fn on_replaced(&self, accounts: &mut Accounts, own: &mut Self::Own, seq: u64) {
        self.on_applied(accounts, own, seq);
    }

    /// Of its part of the last shard, as kept: it costs the same however much there is.
    fn digest(own: &Self::Own) -> Digest;

    /// The same from the records themselves, by the names of their tables.
    fn counted_digests(own: &Self::Own) -> Vec<(&'static str, Digest)>;

    fn counted_digest(own: &Self::Own) -> Digest {
        Self::counted_digests(own).into_iter().map(|(_, digest)| digest).sum()
    }

    /// Of what follows from the shards and is decided by.
    fn implied_digest(_: &Self::Own) -> Digest {
        Digest::default()
    }

    /// Its part of the last shard; tells how many records that is.
    fn capture(own: &Self::Own, image: &mut ImageWriter) -> u64;

    /// The same from an image, none of which is believed, beside accounts that are of the same
    /// image. What it holds of tenants it tells them.
    fn install(&self, accounts: &mut Accounts, image: &mut ImageReader<'_>) -> Result<(Self::Own, u64), InstallError>;

    /// In a repair, `repaired` comes in place of what this member has. What is not replicated stays.
    fn replace(own: &mut Self::Own, repaired: Self::Own) {
        *own = repaired;
    }

    /// What its shards imply, from all of their records. Until then nothing of it is there.
    fn build_implied(&self, _: &mut Accounts, _: &mut Self::Own) -> Result<(), InstallError> {
        Ok(())
    }

    /// How many records [`Domain::check_sums`] looks at.
    fn records(_: &Self::Own) -> usize {
        0
    }

    /// The sums that are kept, counted again.
    fn check_sums(own: &Self::Own) -> Result<(), String> {
        same("digest of what stands in the last shard", Self::counted_digest(own), Self::digest(own))
    }

    /// The next of those records of which each hangs on many others, from `next` on: compared with
    /// what it keeps of them. `None`: there is none left.
    fn check_next(_: &mut Self::Own, _next: u128) -> Result<Option<u128>, String> {
        Ok(None)
    }

    /// Everything that is held twice, compared. For tests; it costs the whole state.
    fn check(&self, accounts: &Accounts, own: &Self::Own) -> Result<(), String>;
}

/// What a step did about an expired client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emptied {
    /// Some of what it has.
    Some,
    /// Nothing: what it has goes by other steps.
    Waits,
}

/// Written by a newer version, or by no primary at all.
#[derive(Clone, Copy, Debug)]
pub struct UnknownOp;

/// One small step of one kind, where it is due.
pub type Step<D> = fn(&mut Stepping<'_, '_, D>) -> Result<(), CallRefused>;

/// What steps did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steps<T> {
    pub clients_expired: u64,
    /// There is more to do: step again soon.
    pub more: bool,
    /// A caller waits for what the next step makes free: step again at once.
    pub urgent: bool,
    /// Of the domain's own.
    pub own: T,
}

impl<T> Deref for Steps<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.own
    }
}

impl<T> DerefMut for Steps<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.own
    }
}

/// The writer, for the length of one step.
pub struct Stepping<'a, 'w, D: Domain> {
    pub domain: &'a D,
    pub writer: &'w mut WriterGuard<'a, D::Own>,
    pub now: Now,
    pub done: Steps<D::Steps>,
}

impl<D: Domain> fmt::Debug for Stepping<'_, '_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepping").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<D: Domain> Stepping<'_, '_, D> {
    pub fn in_force(&self) -> InForce {
        self.writer.in_force()
    }

    /// A thing that began at `since_ms` is over after `duration_ms`, but never within that time of
    /// a promotion.
    pub fn is_over(&self, since_ms: u64, duration_ms: u64) -> bool {
        is_over(self.now, self.writer.grace_from_ms, since_ms, duration_ms)
    }

    /// Logs one op of the primary's own, and applies it as any other member would.
    pub fn commit<T: Encode>(&mut self, op: impl Into<Op>, value: &T) -> Result<(), CallRefused> {
        self.writer.commit(self.domain, op.into(), value, self.now, None, 0)
    }
}

/// See [`Stepping::is_over`].
pub fn is_over(now: Now, grace_from_ms: Option<u64>, since_ms: u64, duration_ms: u64) -> bool {
    now.ttl_ms.saturating_sub(since_ms.max(grace_from_ms.unwrap_or(0))) >= duration_ms
}
