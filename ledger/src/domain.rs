//! What the ledger asks of a kind of state.

use oplog::{ClientId, DomainId};

use crate::accounts::Accounts;
use crate::call::Source;
use crate::clients::Keep;
use crate::errors::{Applied, OpError};

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

    /// Part of the entry that expires a client: what must not wait for a step. Bounded; the entry
    /// comes again while there is more of it.
    fn on_client_expired(&self, cx: Applying<'_, Self::Own>, client: ClientId) -> Applied;

    /// Whether a client has something here. An expired one goes when none of its domains says so.
    fn holds(own: &Self::Own, client: ClientId) -> bool;

    /// A client that held nothing is not known any more.
    fn on_client_gone(own: &mut Self::Own, client: ClientId);

    /// An entry is in the log and in the state: what readers see may follow.
    fn on_applied(&self, accounts: &mut Accounts, own: &mut Self::Own, seq: u64);
}

/// Written by a newer version, or by no primary at all.
#[derive(Clone, Copy, Debug)]
pub struct UnknownOp;

/// An entry that is being applied.
#[derive(Debug)]
pub struct Applying<'a, O> {
    pub accounts: &'a mut Accounts,
    pub own: &'a mut O,
    pub seq: u64,
    pub source: Source,
}
