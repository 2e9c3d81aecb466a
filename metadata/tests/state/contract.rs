//! The metadata as a domain: what the ledger asks of every kind of state, under calls of each kind.

use ledger::conformance::{Act, Trial, run};
use oplog::Position;
use understudy_metadata::{
    Answer, Call, CallRefused, ItemId, Metadata, Objects, OpType, Pin, PutEndItem, PutStartItem, Scope, TransferItem,
    TransferKind,
};

use crate::support::{config, memory, placed};

/// Calls of one round speak of the same object.
fn key(call: &Call<'_>, n: u64) -> String {
    format!("{}/{}", call.client.0[0], n / ACTS.len() as u64 / 8)
}

fn told<T: std::fmt::Debug>(answer: Answer<T>) -> Answer<String> {
    Answer { results: format!("{:?}", answer.results), position: answer.position }
}

type Told = Result<Answer<String>, CallRefused>;

/// One segment for each client.
fn mount(state: &Metadata, call: &Call<'_>, _: u64) -> Told {
    let name = format!("m{}", call.client.0[0]);
    state.remount(call, &[memory(call.client.0[0], &name, 1 << 16)]).map(told)
}

fn start(state: &Metadata, call: &Call<'_>, n: u64) -> Told {
    let (key, open) = (key(call, n), format!("open {n}"));
    let items = [(&key, 100), (&open, 64)].map(|(key, size)| PutStartItem { key: key.as_bytes(), size });
    state.put_start(call, &placed(1, 0), &items).map(told)
}

fn end(state: &Metadata, call: &Call<'_>, n: u64) -> Told {
    let key = key(call, n);
    let item = PutEndItem { key: key.as_bytes(), put: ItemId::NONE, checksum: Some(n) };
    state.put_end(call, Scope::All, &[item]).map(told)
}

fn pin(state: &Metadata, call: &Call<'_>, n: u64) -> Told {
    state.pin(call, Pin::Soft { ttl_ms: 5 }, &[key(call, n).as_bytes(), b"nothing"]).map(told)
}

fn transfer(state: &Metadata, call: &Call<'_>, n: u64) -> Told {
    let key = key(call, n);
    let transfer = TransferItem { key: key.as_bytes(), source: "", targets: vec!["m1"] };
    state.transfer_start(call, TransferKind::Copy, &[transfer]).map(told)
}

fn remove(state: &Metadata, call: &Call<'_>, n: u64) -> Told {
    let key = if n.is_multiple_of(2) { key(call, n) } else { "nothing".to_owned() };
    state.remove(call, true, &[key.as_bytes()]).map(told)
}

fn remove_all(state: &Metadata, call: &Call<'_>, n: u64) -> Told {
    state.remove_matching(call, &format!("^{}$", key(call, n)), true).map(told)
}

const ACTS: [Act<Objects>; 7] = [mount, start, end, pin, transfer, remove, remove_all];

#[test]
fn the_metadata_keep_the_contract_of_a_domain() {
    let empty = || Metadata::new(config(), Position::default());
    let ops = [
        OpType::RemountSegments,
        OpType::PutStart,
        OpType::PutEnd,
        OpType::Pin,
        OpType::TransferStart,
        OpType::Remove,
        OpType::RemoveMany,
        OpType::Discard,
        OpType::DropReplicas,
        OpType::SegmentGone,
        OpType::Release,
    ];
    run(&Trial { empty: &empty, acts: &ACTS, ops: &ops.map(|op| op as u8) });
}
