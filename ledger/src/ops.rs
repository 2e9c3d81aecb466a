//! The ledger's own ops: what the log says of clients, tenants and settings.
//!
//! Types and field order are the log's format, as those of every domain are: a change of meaning
//! takes a new number.
//!
//! Deliberately absent: when any of it is logged. The primary decides.

use bincode::{Decode, Encode};
use oplog::{ClientId, DomainId};

use crate::call::{Op, TenantIx};
use crate::domain::{Applying, Domain};
use crate::errors::{OpError, require};
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
    TenantGone = 8,
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
            _ => None,
        }
    }
}

impl From<LedgerOp> for Op {
    fn from(op: LedgerOp) -> Op {
        Op { domain: DomainId::ENGINE, number: op as u8 }
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

pub(crate) fn apply<D: Domain>(
    domain: &D,
    cx: Applying<'_, D::Own>,
    op: LedgerOp,
    payload: &[u8],
) -> Result<(), OpError> {
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
            cx.accounts.tenants.remove(op.tenant)?;
            cx.accounts.changed = true;
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
        let settings = Settings { soft_pin_ttl_ms: 300, eviction_ratio: 0.25, ..Settings::default() };
        let owed = Some(Settings { object_lease_ms: 1 << 17, ..settings });
        assert_eq!(hex(&SettingsOp { settings, owed }), SETTINGS_GOLDEN);
    }

    #[test]
    fn ops_come_back_from_their_numbers() {
        let known: Vec<LedgerOp> = (0..=u8::MAX).filter_map(LedgerOp::from_number).collect();
        let numbers: Vec<u8> = known.iter().map(|op| *op as u8).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8]);
    }

    const SETTINGS_GOLDEN: &str = "01fb1027fb1027fb2c01fb3075fcc0270900fce0930400cdccccccccccec3f000000000000d03ffc0000010001fb1027fc00000200fb2c01fb3075fcc0270900fce0930400cdccccccccccec3f000000000000d03ffc00000100";
}
