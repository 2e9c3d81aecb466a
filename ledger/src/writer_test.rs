//! The writer with a small domain: sums by name, of which none may fall below zero.

use std::collections::BTreeMap;
use std::sync::Arc;

use bincode::{BorrowDecode, Encode};
use oplog::{Appender, ApplyError, ClientId, DomainId, Entry, Position, Tail, TailConfig};

use super::*;
use crate::call::{Call, ItemId, Who};
use crate::clients::Known;
use crate::domain::UnknownOp;
use crate::errors::Applied;
use crate::hash::{Fingerprint, RequestBody};
use crate::ops::{ClientLeftOp, LedgerOp};
use crate::run::{ClientOp, Deciding, ItemCall, PartOf};

const SUMS: DomainId = DomainId(9);
const OP_ADD: Op = Op { domain: SUMS, number: 1 };
/// The primary's own.
const OP_CLEAR: Op = Op { domain: SUMS, number: 2 };
const CLIENT: ClientId = ClientId([7; 16]);
const NOW: Now = Now { ttl_ms: 1000, wall_ms: 1 };

#[derive(Default)]
struct Sums;

type Own = BTreeMap<Vec<u8>, i64>;

#[derive(Clone, Debug, Encode, BorrowDecode)]
struct Added<'a> {
    name: &'a [u8],
    by: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, bincode::Decode)]
struct BelowZero;

impl Sums {
    fn add(own: &mut Own, added: &Added<'_>) -> Result<(), Inconsistent> {
        let sum = own.get(added.name).copied().unwrap_or(0) + added.by;
        require(sum >= 0, || format!("{sum} of {}", added.name.escape_ascii()))?;
        own.insert(added.name.to_vec(), sum);
        Ok(())
    }
}

impl Domain for Sums {
    const ID: DomainId = SUMS;
    type Own = Own;

    fn answers(op: u8) -> Result<Option<Keep>, UnknownOp> {
        match op {
            1 => Ok(Some(Keep::AllParts)),
            2 => Ok(None),
            _ => Err(UnknownOp),
        }
    }

    fn apply(&self, cx: Applying<'_, Own>, op: u8, payload: &[u8]) -> Result<u64, OpError> {
        if op == OP_CLEAR.number {
            cx.own.clear();
            return Ok(0);
        }
        let op: ClientOp<Added<'_>, BelowZero> = oplog::decode_payload(payload)?;
        op.items.iter().flatten().try_for_each(|added| Sums::add(cx.own, added))?;
        Ok(op.items.len() as u64)
    }

    fn on_client_expired(&self, _: Applying<'_, Own>, _: ClientId) -> Applied {
        Ok(())
    }

    fn holds(own: &Own, _: ClientId) -> bool {
        own.values().any(|sum| *sum > 0)
    }

    fn on_client_gone(own: &mut Own, _: ClientId) {
        own.clear();
    }

    fn on_applied(&self, _: &mut Accounts, _: &mut Own, _: u64) {}
}

struct Add;

impl ItemCall for Add {
    type Domain = Sums;
    const OP: Op = OP_ADD;
    type Item<'a> = (&'a [u8], i64);
    type Done<'a> = Added<'a>;
    type Refusal = BelowZero;
    type Result = i64;

    fn decide<'a>(
        &self,
        _: &Sums,
        cx: Deciding<'_, Own>,
        _: ItemId,
        item: &Self::Item<'a>,
    ) -> Result<Self::Done<'a>, BelowZero> {
        let (name, by) = *item;
        if cx.own.get(name).copied().unwrap_or(0) + by < 0 { Err(BelowZero) } else { Ok(Added { name, by }) }
    }

    fn apply(_: &Sums, cx: Applying<'_, Own>, _: Who, _: ItemId, done: &Added<'_>) -> Result<(), Inconsistent> {
        Sums::add(cx.own, done)
    }

    fn result(done: &Added<'_>, _: ItemId) -> i64 {
        done.by
    }
}

fn call(number: u64) -> Call<'static> {
    Call { client: CLIENT, address: None, number, answered_below: 0, tenant: "", now: NOW }
}

fn body() -> RequestBody {
    Fingerprint::new(Secret::default(), OP_ADD, "").finish(3)
}

fn primary(tail: TailConfig) -> (Ledger<Own>, Arc<Tail>) {
    let start = Position { epoch: 1, seq: 1 };
    let (tail, log): (Arc<Tail>, Appender) = Tail::new(tail, start);
    let ledger = Ledger::new(Own::new(), start, || 0);
    assert!(ledger.write().lead(log, NOW, Settings::default()).is_some(), "it has no settings of a cluster yet");
    (ledger, tail)
}

fn standby() -> Ledger<Own> {
    Ledger::new(Own::new(), Position { epoch: 1, seq: 1 }, || 0)
}

fn add(ledger: &Ledger<Own>, number: u64, items: &[(&[u8], i64)]) -> Result<Vec<Result<i64, BelowZero>>, CallRefused> {
    let mut writer = ledger.write();
    let call = call(number);
    let stamp = (number != 0).then(|| (writer.accounts.clients.stamp(&call, body().hash, 10, 1000), Keep::AllParts));
    let part = PartOf { call: &call, who: Who { client: CLIENT, tenant: 0 }, stamp, bytes: 100 };
    let mut results = Vec::new();
    writer.run_part(&Sums, &Add, part, items, &mut results)?;
    Ok(results)
}

fn entries(tail: &Tail) -> Vec<Entry> {
    let frames = tail.entries_since(1, 100, usize::MAX).expect("all of it is there");
    frames.iter().map(|frame| frame.decode().expect("it was just written")).collect()
}

/// All that counts of a state.
fn shown(ledger: &Ledger<Own>) -> (Position, oplog::Digest, Own) {
    let writer = ledger.write();
    (writer.applied(), writer.accounts.digest(), writer.own.clone())
}

#[test]
fn standby_that_applies_the_log_is_what_its_primary_is_answers_included() {
    let (ledger, tail) = primary(TailConfig::default());
    assert_eq!(add(&ledger, 1, &[(b"a", 3), (b"b", -1), (b"a", -2)]), Ok(vec![Ok(3), Err(BelowZero), Ok(-2)]));
    ledger.write().commit(&Sums, OP_CLEAR, &(), NOW, None, 0).expect("there is room");
    assert_eq!(add(&ledger, 2, &[(b"a", 1)]), Ok(vec![Ok(1)]));
    let other = standby();
    entries(&tail).iter().for_each(|entry| other.write().apply_entry(&Sums, entry).expect("it fits"));
    assert_eq!(shown(&other), shown(&ledger));
    let writer = other.write();
    let known = writer.accounts.clients.known(&call(1), &body(), 10, 1000).expect("the same request");
    assert!(matches!(known, Known::Begun(record) if record.items == 3 && record.op == OP_ADD));
}

#[test]
fn call_without_a_number_that_is_refused_as_a_whole_leaves_no_trace() {
    let (ledger, tail) = primary(TailConfig::default());
    let before = shown(&ledger);
    assert_eq!(add(&ledger, 0, &[(b"a", -1)]), Ok(vec![Err(BelowZero)]));
    assert_eq!(shown(&ledger), before);
    assert_eq!(add(&ledger, 3, &[(b"a", -1)]), Ok(vec![Err(BelowZero)]));
    assert_eq!(entries(&tail).len(), 1, "a retry of a numbered one is told the same");
}

#[test]
fn entry_that_is_not_next_or_not_known_changes_nothing_and_one_that_does_not_fit_ends_it() {
    let (ledger, tail) = primary(TailConfig::default());
    add(&ledger, 1, &[(b"a", 3)]).expect("there is room");
    add(&ledger, 2, &[(b"a", -3)]).expect("there is room");
    let [first, second] = &entries(&tail)[..] else { panic!("two entries") };
    let other = standby();
    let refused = |entry: &Entry| other.write().apply_entry(&Sums, entry).expect_err("it must be refused");
    let before = shown(&other);
    assert_eq!(refused(second), ApplyError::NotNext { expected: 2, got: 3 });
    assert_eq!(refused(&Entry { domain: DomainId(8), ..first.clone() }), ApplyError::UnknownDomain);
    assert!(matches!(refused(&Entry { op_type: 3, ..first.clone() }), ApplyError::UnknownOp { op_type: 3, .. }));
    assert!(matches!(
        refused(&Entry { domain: DomainId::ENGINE, op_type: 99, ..first.clone() }),
        ApplyError::UnknownOp { .. }
    ));
    assert!(matches!(refused(&Entry { payload: bytes::Bytes::new(), ..first.clone() }), ApplyError::Decode(_)));
    assert_eq!(shown(&other), before);
    // An op that is nobody's request, under a number.
    let stamped = Entry { op_type: OP_CLEAR.number, ..first.clone() };
    assert!(matches!(refused(&stamped), ApplyError::Inconsistent { seq: 2, .. }));
    assert!(matches!(refused(first), ApplyError::Inconsistent { seq: 2, .. }), "it takes nothing more");
    assert!(other.write().lost().is_some());
}

#[test]
fn standby_and_a_primary_without_room_refuse_and_nothing_has_changed() {
    assert_eq!(add(&standby(), 1, &[(b"a", 1)]), Err(CallRefused::NotPrimary));
    let (ledger, tail) = primary(TailConfig { entries_max: 1, ..TailConfig::default() });
    tail.set_floor(Some(1));
    add(&ledger, 1, &[(b"a", 1)]).expect("there is room for one");
    let before = shown(&ledger);
    assert!(matches!(add(&ledger, 2, &[(b"a", 1)]), Err(CallRefused::Overloaded { .. })));
    assert!(matches!(ledger.write().commit(&Sums, OP_CLEAR, &(), NOW, None, 0), Err(CallRefused::Overloaded { .. })));
    assert_eq!(shown(&ledger), before);
    assert!(ledger.write().follow().is_some());
    assert_eq!(ledger.write().check_primary(), Err(CallRefused::NotPrimary));
}

#[test]
fn client_goes_once_it_has_expired_and_holds_nothing() {
    let (ledger, tail) = primary(TailConfig::default());
    let left = ClientLeftOp { client: CLIENT.0 };
    let commit = |op: LedgerOp| ledger.write().commit(&Sums, op.into(), &left, NOW, None, 0);
    add(&ledger, 5, &[(b"a", 1)]).expect("there is room");
    commit(LedgerOp::ClientExpire).expect("there is room");
    add(&ledger, 0, &[(b"a", -1)]).expect("there is room");
    commit(LedgerOp::ClientGone).expect("there is room");
    assert!(ledger.write().accounts.clients.get(CLIENT).is_none() && ledger.write().own.is_empty());
    assert!(ledger.write().accounts.clients.is_buried(CLIENT), "its number outlives it");
    // A standby that still has something of it does not believe that entry.
    let other = standby();
    let log = entries(&tail);
    log[..2].iter().for_each(|entry| other.write().apply_entry(&Sums, entry).expect("it fits"));
    let gone = Entry { seq: 4, ..log[3].clone() };
    let refused = other.write().apply_entry(&Sums, &gone).expect_err("it must be refused");
    assert!(matches!(refused, ApplyError::Inconsistent { seq: 4, .. }));
}
