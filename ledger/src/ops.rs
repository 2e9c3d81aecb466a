//! The ledger's own ops: what the log says of clients, tenants and settings.
//!
//! Types and field order are the log's format, as those of every domain are: a change of meaning
//! takes a new number.
//!
//! Deliberately absent: when any of it is logged. The primary decides.

use bincode::{BorrowDecode, Decode, Encode};
use oplog::{ApplyError, ClientId, DomainId};

use crate::accounts::Applying;
use crate::bounds::AtBound;
use crate::call::{ENTRY_ITEMS_MAX, Op, TenantIx, Who};
use crate::clients::Keep;
use crate::domain::Domain;
use crate::errors::{Inconsistent, OpError, require};
use crate::settings::SettingsOp;

/// Beside the starts of epochs and the digests, which are the log's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LedgerOp {
    ClientExpire = 3,
    ClientGone = 4,
    ForgetAnswers = 5,
    Settings = 6,
    Tenant = 7,
    /// The primary made room for another one.
    TenantGone = 8,
    /// An operator asked for it.
    TenantDelete = 9,
}

impl LedgerOp {
    /// `None`: written by a newer version.
    pub fn from_number(number: u8) -> Option<LedgerOp> {
        match number {
            3 => Some(LedgerOp::ClientExpire),
            4 => Some(LedgerOp::ClientGone),
            5 => Some(LedgerOp::ForgetAnswers),
            6 => Some(LedgerOp::Settings),
            7 => Some(LedgerOp::Tenant),
            8 => Some(LedgerOp::TenantGone),
            9 => Some(LedgerOp::TenantDelete),
            _ => None,
        }
    }

    pub(crate) const fn op(self) -> Op {
        Op { domain: DomainId::ENGINE, number: self as u8 }
    }

    /// Of the answer to a request.
    fn keep(self) -> Option<Keep> {
        match self {
            LedgerOp::TenantDelete => Some(Keep::AllParts),
            LedgerOp::ClientExpire
            | LedgerOp::ClientGone
            | LedgerOp::ForgetAnswers
            | LedgerOp::Settings
            | LedgerOp::Tenant
            | LedgerOp::TenantGone => None,
        }
    }
}

impl From<LedgerOp> for Op {
    fn from(op: LedgerOp) -> Op {
        op.op()
    }
}

/// A call of a client, or one part of a long one, as the log has it.
#[derive(Debug, Encode, BorrowDecode)]
pub struct ClientOp<T, R> {
    pub client: [u8; 16],
    pub tenant: TenantIx,
    pub items: Vec<Result<T, R>>,
}

impl<T, R> ClientOp<T, R> {
    pub fn who(&self) -> Who {
        Who { client: ClientId(self.client), tenant: self.tenant }
    }
}

#[derive(Debug, Encode, Decode)]
pub struct ClientLeftOp {
    pub client: [u8; 16],
}

/// So that the answers of all clients together keep their bound: those of one client that has the
/// most.
#[derive(Debug, Encode, Decode)]
pub struct ForgetAnswersOp {
    pub client: [u8; 16],
    pub below: u64,
}

#[derive(Debug, Encode, Decode)]
pub struct TenantOp {
    pub tenant: TenantIx,
    pub name: String,
    pub quota_bytes: u64,
}

/// Its number is never used again.
#[derive(Debug, Encode, Decode)]
pub struct TenantGoneOp {
    pub tenant: TenantIx,
}

/// Why a tenant was not deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TenantKept {
    NotFound,
    /// By all domains.
    NotEmpty {
        items: u64,
        open: u64,
    },
    Overloaded(AtBound),
}

impl From<AtBound> for TenantKept {
    fn from(at: AtBound) -> TenantKept {
        TenantKept::Overloaded(at)
    }
}

type TenantDeleteOp = ClientOp<TenantGoneOp, TenantKept>;

/// Whether an op may be the answer to a request, and then which parts of it are kept.
pub(crate) fn answers<D: Domain>(op: Op) -> Result<Option<Keep>, ApplyError> {
    let unknown = ApplyError::UnknownOp { domain: op.domain, op_type: op.number };
    match op.domain {
        DomainId::ENGINE => LedgerOp::from_number(op.number).map(LedgerOp::keep).ok_or(unknown),
        id if id == D::ID => D::answers(op.number).map_err(|_| unknown),
        _ => Err(ApplyError::UnknownDomain),
    }
}

/// How many items a kept answer tells of.
pub(crate) fn check_answer<D: Domain>(op: Op, payload: &[u8]) -> Result<u64, OpError> {
    if op.domain == D::ID {
        return D::check_answer(op.number, payload);
    }
    require(op == LedgerOp::TenantDelete.op(), || format!("op {op} is no answer"))?;
    let op: TenantDeleteOp = oplog::decode_payload(payload)?;
    Ok(op.items.len() as u64)
}

/// Of the ledger or of the domain; tells how many items of a request it did.
pub(crate) fn apply<D: Domain>(domain: &D, cx: Applying<'_, D::Own>, op: Op, payload: &[u8]) -> Result<u64, OpError> {
    match LedgerOp::from_number(op.number).filter(|_| op.domain == DomainId::ENGINE) {
        Some(LedgerOp::TenantDelete) => tenant_delete(cx, payload),
        Some(op) => apply_own(domain, cx, op, payload).map(|()| 0),
        None => domain.apply(cx, op.number, payload),
    }
}

fn tenant_delete<O>(cx: Applying<'_, O>, payload: &[u8]) -> Result<u64, OpError> {
    let op: TenantDeleteOp = oplog::decode_payload(payload)?;
    require(op.items.len() <= ENTRY_ITEMS_MAX, || format!("{} items in one entry", op.items.len()))?;
    cx.accounts.begin(op.who(), false, cx.source);
    op.items.iter().flatten().try_for_each(|deleted| cx.accounts.tenant_gone(deleted.tenant))?;
    Ok(op.items.len() as u64)
}

fn apply_own<D: Domain>(domain: &D, cx: Applying<'_, D::Own>, op: LedgerOp, payload: &[u8]) -> Result<(), OpError> {
    match op {
        LedgerOp::ClientExpire => {
            let op: ClientLeftOp = oplog::decode_payload(payload)?;
            let id = ClientId(op.client);
            require(cx.accounts.clients.expire(id), || format!("no client {id}"))?;
            domain.on_client_expired(cx, id)?;
        }
        LedgerOp::ClientGone => {
            let op: ClientLeftOp = oplog::decode_payload(payload)?;
            let id = ClientId(op.client);
            let clients = &mut cx.accounts.clients;
            let bare = clients.get(id).is_some_and(|client| client.expired) && !D::holds(cx.own, id);
            require(bare, || format!("no client {id} that has expired and holds nothing"))?;
            clients.remove(id, cx.accounts.settings.tombstones_max());
            D::on_client_gone(cx.own, id);
        }
        LedgerOp::ForgetAnswers => {
            let op: ForgetAnswersOp = oplog::decode_payload(payload)?;
            let client = ClientId(op.client);
            let forgotten = cx.accounts.clients.forget(client, op.below);
            require(forgotten, || format!("client {client} has never sent all below {}", op.below))?;
        }
        LedgerOp::Settings => {
            let op: SettingsOp = oplog::decode_payload(payload)?;
            cx.accounts.settings.apply(op, cx.seq)?;
            cx.accounts.changed = true;
        }
        LedgerOp::Tenant => {
            let TenantOp { tenant, name, quota_bytes } = oplog::decode_payload(payload)?;
            let fits = cx.accounts.tenants.set(tenant, &name, quota_bytes);
            require(fits, || format!("tenant {tenant} is not the next one, nor {name:?}"))?;
            cx.accounts.changed = true;
        }
        LedgerOp::TenantGone => {
            let op: TenantGoneOp = oplog::decode_payload(payload)?;
            cx.accounts.tenant_gone(op.tenant)?;
        }
        LedgerOp::TenantDelete => {
            return Err(Inconsistent::Other("a request in the name of no client".to_owned()).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn hex<T: Encode>(value: &T) -> String {
        let mut out = Vec::new();
        oplog::encode_payload(value, &mut out);
        out.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Logs on disk and members of another build have these bytes.
    #[test]
    fn the_payload_of_every_op_is_pinned() {
        let client = [7; 16];
        assert_eq!(hex(&ClientLeftOp { client }), "0107070707070707070707070707070707");
        assert_eq!(hex(&ForgetAnswersOp { client, below: 300 }), "0107070707070707070707070707070707fb2c01");
        let tenant = TenantOp { tenant: 3, name: "t".to_owned(), quota_bytes: 1 << 30 };
        assert_eq!(hex(&tenant), "01030174fc00000040");
        assert_eq!(hex(&TenantGoneOp { tenant: 3 }), "0103");
        let items = vec![
            Ok(TenantGoneOp { tenant: 3 }),
            Err(TenantKept::NotFound),
            Err(TenantKept::NotEmpty { items: 300, open: 2 }),
        ];
        assert_eq!(
            hex(&TenantDeleteOp { client, tenant: 0, items }),
            "01070707070707070707070707070707070003000301000101fb2c0102"
        );
        let settings = Settings { soft_pin_ttl_ms: 300, eviction_ratio: 0.25, ..Settings::default() };
        let owed = Some(Settings { object_lease_ms: 1 << 17, ..settings });
        assert_eq!(hex(&SettingsOp { settings, owed }), SETTINGS_GOLDEN);
    }

    #[test]
    fn ops_come_back_from_their_numbers() {
        let known: Vec<LedgerOp> = (0..=u8::MAX).filter_map(LedgerOp::from_number).collect();
        let numbers: Vec<u8> = known.iter().map(|op| *op as u8).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9]);
    }

    const SETTINGS_GOLDEN: &str = "01fb1027fb1027fb2c01fb3075fcc0270900fce0930400cdccccccccccec3f000000000000d03ffc0000010001fb1027fc00000200fb2c01fb3075fcc0270900fce0930400cdccccccccccec3f000000000000d03ffc00000100";
}
