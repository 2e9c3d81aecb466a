//! Long random histories of everything that can happen to a state, against a model; the conformance suite of the log on
//! such a history; and threads that do all of it at once.
//!
//! | file | decides |
//! |---|---|
//! | `request` | every mutating call as a value |
//! | `draw` | from one number to one event |
//! | `model`, `expect`, `expect_put`, `audit` | what should become of it |
//! | `world`, `compare` | a primary, a follower and the model, kept in step |
//! | `threads`, `promises` | many callers at once |
//!
//! Deliberately absent: single rules by name; those are told in `tests/state`.

mod audit;
mod compare;
mod draw;
mod expect;
mod expect_put;
mod model;
mod promises;
mod request;
mod threads;
mod world;

use bytes::Bytes;
use ledger::{LedgerOp, TenantGoneOp, TenantOp};
use oplog::{DomainId, Entry, OP_DIGEST, OP_EPOCH_START, Position, ReplicatedState, Rng};
use proptest::prelude::*;
use world::World;

use crate::Metadata;
use crate::op::OpType;
use crate::{Placement, PutStart};

const EVENTS_MAX: usize = 250;

fn live(seed: u64, numbers: &[u64]) -> Result<World, String> {
    let mut world = World::new(seed);
    numbers.iter().try_for_each(|number| world.happen(*number))?;
    world.compare_all()?;
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_agrees_with_the_model(
        seed in 0..4_u64,
        numbers in prop::collection::vec(any::<u64>(), 1..EVENTS_MAX),
    ) {
        let lived = live(seed, &numbers).and_then(|mut world| world.empty());
        prop_assert!(lived.is_ok(), "{}", lived.err().unwrap_or_default());
    }
}

/// The log of one long history, with everything in it that the log can say.
fn recorded() -> Vec<Entry> {
    let mut rng = Rng::new(13);
    let numbers: Vec<u64> = (0..900).map(|_| rng.next()).collect();
    let mut world = live(1, &numbers).expect("a history that agrees with the model");
    // More than may be kept for all: the first one's answer is forgotten for the second one's.
    for client in [0, 1] {
        let placement = Placement { memory_replicas: 1, ..Placement::default() };
        let how = PutStart { placement, ..PutStart::default() };
        let items = (0..3000).map(|n| (format!("k{n}"), 64)).collect();
        let from = request::From { client, tenant: "", number: 0, answered_below: 0 };
        let call = draw::Event::Call(from, true, request::Request::PutStart { how, items });
        world.carry_out(call).expect("a call that agrees with the model");
    }
    world.empty().expect("an end that agrees with the model");
    let tenant = world.state.write().accounts.tenants.next_ix();
    let mut log = std::mem::take(&mut world.log);
    // A tenant that makes room for another one: there are not as many here.
    let mut payloads = [Vec::new(), Vec::new()];
    let comes = TenantOp { tenant, name: "goes".to_owned(), quota_bytes: 0 };
    oplog::encode_payload(&comes, &mut payloads[0]);
    oplog::encode_payload(&TenantGoneOp { tenant }, &mut payloads[1]);
    for (op, payload) in [LedgerOp::Tenant, LedgerOp::TenantGone].into_iter().zip(payloads) {
        let at = log[log.len() - 1].position();
        let (seq, epoch, payload) = (at.seq + 1, at.epoch, Bytes::from(payload));
        let (domain, op_type) = (DomainId::ENGINE, op as u8);
        log.push(Entry { seq, epoch, domain, op_type, request: None, payload, ..log[0].clone() });
    }
    // The engine's own entries come in between.
    let last = log[log.len() - 1].position();
    for n in 1..4 {
        let (seq, epoch) = (last.seq + n, last.epoch + n);
        let op_type = [OP_EPOCH_START, OP_DIGEST][n as usize % 2];
        let payload = Bytes::new();
        log.push(Entry { seq, epoch, domain: DomainId::ENGINE, op_type, request: None, payload, ..log[0].clone() });
    }
    log
}

#[test]
fn the_state_keeps_the_contract_of_the_log() {
    let log = recorded();
    let numbers = 0..=u8::MAX;
    let own = numbers.clone().filter_map(OpType::from_number).map(|op| (DomainId::METADATA, op as u8));
    let ledgers = numbers.filter_map(LedgerOp::from_number).map(|op| (DomainId::ENGINE, op as u8));
    let ops: Vec<(DomainId, u8)> = own.chain(ledgers).collect();
    for op in &ops {
        let is_it = |entry: &&Entry| (entry.domain, entry.op_type) == *op;
        let is_there = log.iter().any(|entry| is_it(&entry));
        assert!(is_there, "op {} of domain {} is not in the history: it would check nothing", op.1, op.0);
    }
    assert!(log.iter().filter(|entry| entry.request.is_some()).count() > 50);
    let config = world::config(1);
    let known: Vec<_> = ops.into_iter().chain([OP_EPOCH_START, OP_DIGEST].map(|op| (DomainId::ENGINE, op))).collect();
    oplog::conformance::run(|| Metadata::new(config.clone(), Position::default()), &log, &known);
    let state = Metadata::new(config, Position::default());
    for entry in &log {
        state.apply(entry).expect("a valid entry");
    }
    assert!(state.check().is_ok());
}

/// Equal calls at equal times give equal logs: nothing in the state depends on the process that it runs in.
#[test]
fn the_same_history_twice_gives_the_same_log() {
    let mut rng = Rng::new(3);
    let numbers: Vec<u64> = (0..300).map(|_| rng.next()).collect();
    let log = |_| live(2, &numbers).expect("a history that agrees with the model").log.clone();
    assert_eq!(log(1), log(2));
}
