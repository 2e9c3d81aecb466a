//! A small domain: sums by name, of which none may fall below zero. A sum belongs to the client that
//! made it and is there as long as it is not zero; those of an expired client go a few at a time.

use std::collections::BTreeMap;

use bincode::{BorrowDecode, Decode, Encode};
use oplog::{ClientId, Digest, DomainId, InstallError, Position};

use crate::accounts::{Accounts, Applying, Deciding};
use crate::bounds::AtBound;
use crate::call::{Call, CallRefused, ITEM_BYTES, ItemId, Op, Source, TenantIx, Who};
use crate::calls::{Answered, run};
use crate::clients::Keep;
use crate::config::Config;
use crate::domain::{Domain, Emptied, Stepping, UnknownOp};
use crate::errors::{Applied, Inconsistent, OpError, require, same};
use crate::hash::Fingerprint;
use crate::image::{ImageReader, ImageWriter, inconsistent};
use crate::ops::ClientOp;
use crate::run::ItemCall;
use crate::shards::NoShards;
use crate::writer::Ledger;

pub(crate) const SUMS: DomainId = DomainId(9);
pub(crate) const OP_ADD: Op = Op { domain: SUMS, number: 1 };
/// The primary's own.
pub(crate) const OP_CLEAR: Op = Op { domain: SUMS, number: 2 };
/// Sums that one step clears.
const CLEARED_MAX: usize = 2;

/// What it does wrong on request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// A standby takes other sums than its primary.
    AppliesOtherwise,
    DigestKeepsWhatGoes,
    /// A client may go while its sums are here.
    HoldsNothing,
    NeverEmpties,
    TenantsCountNothing,
    ImageLeavesOut,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ToyConfig {
    pub(crate) ledger: Config,
    pub(crate) fault: Fault,
}

#[derive(Debug)]
pub(crate) struct Sums {
    config: ToyConfig,
    ledger: Ledger<Own>,
}

type Name = (TenantIx, Vec<u8>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sum {
    client: ClientId,
    pub(crate) value: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Own {
    pub(crate) sums: BTreeMap<Name, Sum>,
    digest: Digest,
    fault: Fault,
}

#[derive(Clone, Debug, Encode, BorrowDecode)]
pub(crate) struct Added<'a> {
    name: &'a [u8],
    by: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Refused {
    BelowZero,
    OfAnother,
    Overloaded(AtBound),
}

impl From<AtBound> for Refused {
    fn from(at: AtBound) -> Refused {
        Refused::Overloaded(at)
    }
}

#[derive(Debug, Encode, Decode)]
struct ClearOp {
    names: Vec<(TenantIx, Vec<u8>)>,
}

fn digest_of((tenant, name): &Name, sum: &Sum) -> Digest {
    Digest::of_record(&[&tenant.to_le_bytes(), &name[..], &sum.client.0, &sum.value.to_le_bytes()].concat())
}

impl Own {
    fn set(&mut self, accounts: &mut Accounts, name: &Name, sum: Option<Sum>) {
        if let Some(before) = self.sums.remove(name) {
            if self.fault != Fault::DigestKeepsWhatGoes || sum.is_some() {
                self.digest -= digest_of(name, &before);
            }
            accounts.tenants.count(name.0, SUMS, |usage| usage.items = usage.items.saturating_sub(1));
        }
        if let Some(sum) = sum {
            self.digest += digest_of(name, &sum);
            self.sums.insert(name.clone(), sum);
            let by = u64::from(self.fault != Fault::TenantsCountNothing || name.0 == 0);
            accounts.tenants.count(name.0, SUMS, |usage| usage.items += by);
        }
    }

    /// What would become of a sum.
    fn added(&self, who: Who, name: &[u8], by: i64) -> Result<i64, Refused> {
        match self.sums.get(&(who.tenant, name.to_vec())) {
            Some(sum) if sum.client != who.client => Err(Refused::OfAnother),
            Some(sum) => Ok(sum.value + by),
            None => Ok(by),
        }
        .and_then(|value| if value < 0 { Err(Refused::BelowZero) } else { Ok(value) })
    }
}

impl Sums {
    pub(crate) fn add(&self, call: &Call<'_>, items: &[(&[u8], i64)]) -> Answered<Add> {
        run(self, call, &Add, items)
    }
}

impl Domain for Sums {
    const ID: DomainId = SUMS;
    type Config = ToyConfig;
    type Own = Own;
    type Shards = NoShards;
    type Steps = ();

    fn new(config: ToyConfig, applied: Position) -> Sums {
        let own = Own { fault: config.fault, ..Own::default() };
        Sums { config, ledger: Ledger::new(own, applied, config.ledger) }
    }

    fn config(&self) -> &ToyConfig {
        &self.config
    }

    fn ledger(&self) -> &Ledger<Own> {
        &self.ledger
    }

    fn shards(&self) -> &NoShards {
        &NoShards
    }

    fn answers(op: u8) -> Result<Option<Keep>, UnknownOp> {
        match op {
            1 => Ok(Some(Add::KEEP)),
            2 => Ok(None),
            _ => Err(UnknownOp),
        }
    }

    fn apply(&self, cx: Applying<'_, Own>, op: u8, payload: &[u8]) -> Result<u64, OpError> {
        if op == OP_CLEAR.number {
            let op: ClearOp = oplog::decode_payload(payload)?;
            for name in op.names {
                require(cx.own.sums.contains_key(&name), || format!("no sum {name:?}"))?;
                cx.own.set(cx.accounts, &name, None);
            }
            return Ok(0);
        }
        let op: ClientOp<Added<'_>, Refused> = oplog::decode_payload(payload)?;
        let Applying { accounts, own, seq, source } = cx;
        for (at, added) in op.items.iter().enumerate() {
            let Ok(added) = added else { continue };
            let id = ItemId::checked(seq, at).ok_or_else(|| Inconsistent::Other(format!("item {at}")))?;
            Add::apply(self, Applying { accounts, own, seq, source }, op.who(), id, added)?;
        }
        Ok(op.items.len() as u64)
    }

    fn check_answer(op: u8, payload: &[u8]) -> Result<u64, OpError> {
        if op != OP_ADD.number {
            return Err(Inconsistent::Other(format!("op {op} is no answer")).into());
        }
        let op: ClientOp<Added<'_>, Refused> = oplog::decode_payload(payload)?;
        Ok(op.items.len() as u64)
    }

    fn on_client_expired(&self, _: Applying<'_, Own>, _: ClientId) -> Applied {
        Ok(())
    }

    fn holds(own: &Own, client: ClientId) -> bool {
        own.fault != Fault::HoldsNothing && own.sums.values().any(|sum| sum.client == client)
    }

    fn empty(step: &mut Stepping<'_, '_, Sums>, client: ClientId) -> Result<Emptied, CallRefused> {
        if step.writer.own.fault == Fault::NeverEmpties {
            return Ok(Emptied::Waits);
        }
        let of_client = step.writer.own.sums.iter().filter(|(_, sum)| sum.client == client);
        let names = of_client.map(|(name, _)| name.clone()).take(CLEARED_MAX).collect();
        step.commit(OP_CLEAR, &ClearOp { names })?;
        Ok(Emptied::Some)
    }

    fn on_client_gone(_: &mut Own, _: ClientId) {}

    fn digest(own: &Own) -> Digest {
        own.digest
    }

    fn counted_digests(own: &Own) -> Vec<(&'static str, Digest)> {
        vec![("sums", own.sums.iter().map(|(name, sum)| digest_of(name, sum)).sum())]
    }

    fn capture(own: &Own, image: &mut ImageWriter) -> u64 {
        let sums: Vec<(&Name, [u8; 16], i64)> =
            own.sums.iter().map(|(name, sum)| (name, sum.client.0, sum.value)).collect();
        let sums = &sums[usize::from(own.fault == Fault::ImageLeavesOut).min(sums.len())..];
        image.list(sums, 2);
        sums.len() as u64
    }

    fn install(&self, accounts: &mut Accounts, image: &mut ImageReader<'_>) -> Result<(Own, u64), InstallError> {
        let mut own = Own { fault: self.config.fault, ..Own::default() };
        let count = image.list(|(name, client, value): (Name, [u8; 16], i64)| {
            let client = ClientId(client);
            let is_known = accounts.clients.get(client).is_some() && accounts.tenants.get(name.0).is_some();
            let fits = is_known && value > 0 && !own.sums.contains_key(&name);
            require(fits, || format!("a sum {name:?} of {client} is {value}")).map_err(inconsistent)?;
            own.set(accounts, &name, Some(Sum { client, value }));
            Ok(())
        })?;
        Ok((own, count))
    }

    fn check(&self, accounts: &Accounts, own: &Own) -> Result<(), String> {
        for (ix, tenant) in accounts.tenants.iter() {
            let sums = own.sums.keys().filter(|(of, _)| *of == ix).count();
            same("sums of a tenant", sums as u64, tenant.usage(SUMS).items)?;
        }
        let stranger = own.sums.values().find(|sum| accounts.clients.get(sum.client).is_none());
        same("a sum of no client", stranger, None)?;
        same("a sum that is none", own.sums.values().any(|sum| sum.value <= 0), false)
    }
}

pub(crate) struct Add;

impl ItemCall for Add {
    type Domain = Sums;
    const OP: Op = OP_ADD;
    const KEEP: Keep = Keep::AllParts;
    const MAKES_TENANT: bool = true;
    type Item<'a> = (&'a [u8], i64);
    type Done<'a> = Added<'a>;
    type Refusal = Refused;
    type Result = i64;

    fn check(&self, (name, _): &(&[u8], i64), field: &dyn Fn(&str) -> String) -> Result<(), CallRefused> {
        if name.is_empty() { Err(CallRefused::invalid(field("name"), "empty")) } else { Ok(()) }
    }

    fn fingerprint(&self, (name, by): &(&[u8], i64), into: &mut Fingerprint) {
        into.text(name);
        into.number(by.cast_unsigned());
    }

    fn bytes_max(&self, (name, _): &(&[u8], i64)) -> usize {
        ITEM_BYTES + name.len()
    }

    fn decide<'a>(
        &self,
        _: &Sums,
        cx: Deciding<'_, Own>,
        _: ItemId,
        (name, by): &Self::Item<'a>,
    ) -> Result<Added<'a>, Refused> {
        cx.own.added(cx.who, name, *by).map(|_| Added { name, by: *by })
    }

    fn apply(_: &Sums, cx: Applying<'_, Own>, who: Who, _: ItemId, done: &Added<'_>) -> Result<(), Inconsistent> {
        let value = cx.own.added(who, done.name, done.by);
        let spoilt = cx.own.fault == Fault::AppliesOtherwise && cx.source == Source::Logged && who.tenant > 0;
        let value = value.map(|value| value + i64::from(spoilt));
        let value = value.map_err(|why| Inconsistent::Other(format!("{} by {}: {why:?}", who.client, done.by)))?;
        require(cx.accounts.tenants.get(who.tenant).is_some(), || format!("no tenant {}", who.tenant))?;
        cx.accounts.clients.ensure(who.client, cx.source.now_ms());
        let sum = Sum { client: who.client, value };
        cx.own.set(cx.accounts, &(who.tenant, done.name.to_vec()), (value > 0).then_some(sum));
        Ok(())
    }

    fn result(done: &Added<'_>, _: ItemId) -> i64 {
        done.by
    }
}
