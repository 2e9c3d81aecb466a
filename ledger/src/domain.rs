//! What the ledger asks of a kind of state.

use oplog::{ClientId, DomainId};

use crate::accounts::Accounts;
use crate::call::TenantIx;
use crate::clients::Keep;
use crate::errors::OpError;

/// One kind of state over the ops of the log.
///
/// Invariant: `apply` decides nothing. Equal entries make equal states of equal ones, on every
/// member.
pub trait Domain {
    const ID: DomainId;
    /// What only the writer touches. It stands behind the writer lock, beside the accounts.
    type Own;

    /// Whether an op may be the answer to a request, and then which parts of it are kept. `Err`: no
    /// op of this domain.
    fn answers(op: u8) -> Result<Option<Keep>, UnknownOp>;

    /// Applies one op; tells how many items of a request it did. What does not fit is refused; what
    /// of it was applied stays, and then the state takes nothing more.
    fn apply(&self, cx: Applying<'_, Self::Own>, op: u8, payload: &[u8]) -> Result<u64, OpError>;

    /// An entry is in the log and in the state: what readers see may follow.
    fn on_applied(&self, accounts: &mut Accounts, own: &mut Self::Own, seq: u64);
}

/// Written by a newer version, or by no primary at all.
#[derive(Clone, Copy, Debug)]
pub struct UnknownOp;

/// Where an op comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// This member has just decided it, at this time of its TTL clock.
    Decided { now_ms: u64 },
    /// The log says it. Deadlines start at this member's promotion.
    Logged,
}

impl Source {
    pub fn now_ms(self) -> u64 {
        match self {
            Source::Decided { now_ms } => now_ms,
            Source::Logged => 0,
        }
    }
}

/// An entry that is being applied.
#[derive(Debug)]
pub struct Applying<'a, O> {
    pub accounts: &'a mut Accounts,
    pub own: &'a mut O,
    pub seq: u64,
    pub source: Source,
}

/// In whose name an entry acts.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub client: ClientId,
    pub tenant: TenantIx,
}
