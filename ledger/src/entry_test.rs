use std::sync::Arc;

use oplog::{ClientId, ReplicatedState as _, Tail, TailConfig};

use super::*;
use crate::call::Call;
use crate::conformance::toy::{Add, OP_ADD, OP_CLEAR, Own, Refused, Sums, ToyConfig};
use crate::hash::RequestBody;
use crate::ops::{ClientLeftOp, LedgerOp};
use crate::run::Outcome;
use crate::state::State;

const CLIENT: ClientId = ClientId([7; 16]);
const NOW: Now = Now { ttl_ms: 1000, wall_ms: 1 };

fn call(number: u64) -> Call<'static> {
    Call { client: CLIENT, address: None, number, answered_below: 0, tenant: "", now: NOW }
}

fn primary(tail: TailConfig) -> (State<Sums>, Arc<Tail>) {
    let start = Position { epoch: 1, seq: 1 };
    let (tail, log): (Arc<Tail>, Appender) = Tail::new(tail, start);
    let state = State::<Sums>::new(ToyConfig::default(), start);
    assert!(state.ledger().write().lead(log, NOW).is_some(), "it has no settings of a cluster yet");
    (state, tail)
}

fn standby() -> State<Sums> {
    State::new(ToyConfig::default(), Position { epoch: 1, seq: 1 })
}

fn add(state: &State<Sums>, number: u64, items: &[(&[u8], i64)]) -> Result<Vec<Outcome<Add>>, CallRefused> {
    state.add(&call(number), items).map(|answer| answer.results)
}

fn entries(tail: &Tail) -> Vec<Entry> {
    let frames = tail.entries_since(1, 100, usize::MAX).expect("all of it is there");
    frames.iter().map(|frame| frame.decode().expect("it was just written")).collect()
}

/// All that counts of a state.
fn shown(state: &State<Sums>) -> (Position, oplog::Digest, Own) {
    let (at, digest) = state.digest();
    (at, digest, state.ledger().write().own.clone())
}

fn body(items: &[(&[u8], i64)]) -> RequestBody {
    crate::calls::check_request(Secret::default(), &call(1), &Add, items).expect("it is a valid one")
}

#[test]
fn standby_that_applies_the_log_is_what_its_primary_is_answers_included() {
    let (state, tail) = primary(TailConfig::default());
    let items: [(&[u8], i64); 3] = [(b"a", 3), (b"b", -1), (b"a", -2)];
    assert_eq!(add(&state, 1, &items), Ok(vec![Ok(3), Err(Refused::BelowZero), Ok(-2)]));
    assert_eq!(add(&state, 2, &[(b"a", 1)]), Ok(vec![Ok(1)]));
    let other = standby();
    entries(&tail).iter().for_each(|entry| other.apply(entry).expect("it fits"));
    assert_eq!(shown(&other), shown(&state));
    let writer = other.ledger().write();
    let known = writer.known(&call(1), &body(&items)).expect("the same request");
    assert!(matches!(known, crate::Known::Begun(record) if record.items == 3 && record.op == OP_ADD));
}

#[test]
fn call_without_a_number_that_is_refused_as_a_whole_leaves_no_trace() {
    let (state, tail) = primary(TailConfig::default());
    let before = shown(&state);
    assert_eq!(add(&state, 0, &[(b"a", -1)]), Ok(vec![Err(Refused::BelowZero)]));
    assert_eq!(shown(&state), before);
    assert_eq!(add(&state, 3, &[(b"a", -1)]), Ok(vec![Err(Refused::BelowZero)]));
    assert_eq!(entries(&tail).len(), 1, "a retry of a numbered one is told the same");
}

#[test]
fn entry_that_is_not_next_or_not_known_changes_nothing_and_one_that_does_not_fit_ends_it() {
    let (state, tail) = primary(TailConfig::default());
    add(&state, 1, &[(b"a", 3)]).expect("there is room");
    add(&state, 2, &[(b"a", -3)]).expect("there is room");
    let [first, second] = &entries(&tail)[..] else { panic!("two entries") };
    let other = standby();
    let refused = |entry: &Entry| other.apply(entry).expect_err("it must be refused");
    let before = shown(&other);
    assert_eq!(refused(second), ApplyError::NotNext { expected: 2, got: 3 });
    assert_eq!(refused(&Entry { domain: DomainId(8), ..first.clone() }), ApplyError::UnknownDomain);
    assert!(matches!(refused(&Entry { op_type: 3, ..first.clone() }), ApplyError::UnknownOp { op_type: 3, .. }));
    assert!(matches!(
        refused(&Entry { domain: DomainId::ENGINE, op_type: 99, ..first.clone() }),
        ApplyError::UnknownOp { .. }
    ));
    assert!(matches!(refused(&Entry { payload: Bytes::new(), ..first.clone() }), ApplyError::Decode(_)));
    assert_eq!(shown(&other), before);
    // An op that no client can request, under a number.
    let stamped = Entry { op_type: OP_CLEAR.number, ..first.clone() };
    assert!(matches!(refused(&stamped), ApplyError::Inconsistent { seq: 2, .. }));
    assert!(matches!(refused(first), ApplyError::Inconsistent { seq: 2, .. }), "it takes nothing more");
    assert!(other.ledger().write().lost().is_some());
}

#[test]
fn standby_and_a_primary_without_room_refuse_and_nothing_has_changed() {
    assert_eq!(add(&standby(), 1, &[(b"a", 1)]), Err(CallRefused::NotPrimary));
    let (state, tail) = primary(TailConfig { entries_max: 1, ..TailConfig::default() });
    tail.set_floor(Some(1));
    add(&state, 1, &[(b"a", 1)]).expect("there is room for one");
    let before = shown(&state);
    assert!(matches!(add(&state, 2, &[(b"a", 1)]), Err(CallRefused::Overloaded { .. })));
    let left = ClientLeftOp { client: CLIENT.0 };
    let commit = state.ledger().write().commit(&*state, LedgerOp::ClientExpire.into(), &left, NOW, None, 0);
    assert!(matches!(commit, Err(CallRefused::Overloaded { .. })));
    assert_eq!(shown(&state), before);
    assert!(state.follow().is_some());
    assert_eq!(state.ledger().write().check_primary(), Err(CallRefused::NotPrimary));
}

#[test]
fn client_goes_once_it_has_expired_and_holds_nothing() {
    let (state, tail) = primary(TailConfig::default());
    let left = ClientLeftOp { client: CLIENT.0 };
    let commit = |op: LedgerOp| state.ledger().write().commit(&*state, op.into(), &left, NOW, None, 0);
    add(&state, 5, &[(b"a", 1)]).expect("there is room");
    add(&state, 6, &[(b"a", -1)]).expect("there is room");
    commit(LedgerOp::ClientExpire).expect("there is room");
    commit(LedgerOp::ClientGone).expect("there is room");
    assert!(state.ledger().write().accounts.clients.get(CLIENT).is_none());
    assert!(state.ledger().write().accounts.clients.is_buried(CLIENT), "its number outlives it");
    // A standby that still has something of it does not believe that entry.
    let other = standby();
    let log = entries(&tail);
    other.apply(&log[0]).expect("it fits");
    for (seq, entry) in [(3, &log[2]), (4, &log[3])] {
        let done = other.apply(&Entry { seq, ..entry.clone() });
        assert_eq!(done.is_ok(), seq == 3, "{done:?}");
    }
    assert!(matches!(other.ledger().write().lost(), Some(ApplyError::Inconsistent { seq: 4, .. })));
}
