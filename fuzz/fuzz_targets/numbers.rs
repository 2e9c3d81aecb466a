//! Numbered calls of all kinds, in any order, to a primary's state under whose secret all requests
//! have the same hash: a number belongs to the call that it was first answered for, and no other
//! call under it causes a panic.
//!
//! An input names some calls, each with its client, its number, which answers the client has, and
//! how many items. The log of these calls is applied to a second state, which must be equal; a
//! third one is made of images and must be equal, too.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use metadata::{
    Call, CallRefused, ItemId, Metadata, Now, Pin, Placement, PutEndItem, PutRevokeItem, PutStart, PutStartItem, Scope,
    SegmentId, SegmentKind, SegmentSpec, TaskDone, TaskSpec, TransferFinishItem, TransferItem, TransferKind,
};
use oplog::{ClientId, ReplicatedState};
use shared::input::Input;
use shared::life;
use shared::recording::{empty, led};

const CALLS_MAX: usize = 24;
/// Items of one call: two entries, and a little of a third one.
const ITEMS_MAX: usize = 520;
/// Items of one entry.
const PART_ITEMS: usize = 256;
const KINDS: u8 = 17;

/// Calls of one family have answers of the same form.
type Family = &'static str;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let state = empty();
    let tail = led(&state, metadata::COLLIDING);
    let mut now = Now { ttl_ms: 1000, wall_ms: 1 };
    let mut answered: BTreeMap<(ClientId, u64), (Family, usize)> = BTreeMap::new();
    mount(&state, &call(1, 0, 0, now), 2).expect("the call is valid");
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        now.ttl_ms += u64::from(input.u8()) * 16;
        let (who, number) = (1 + input.u8() % 2, u64::from(input.u8() % 5));
        let call = call(who, number, u64::from(input.u8() % 5), now);
        let (kind, count) = (input.u8() % KINDS, count(&mut input));
        match ask(&state, &call, kind, count) {
            Ok((family, told)) if number > 0 => {
                let first = answered.entry((call.client, number)).or_insert((family, told));
                // Only the hash of its body tells whether a call has ended after full parts.
                let is_same = told == first.1 || (told > first.1 && first.1.is_multiple_of(PART_ITEMS));
                let is_its_own = first.0 == family && is_same;
                assert!(is_its_own, "request {number} of {}: {first:?} and then {family}, {told}", call.client);
                first.1 = told;
            }
            Ok(_) | Err(CallRefused::RequestReused { .. } | CallRefused::RequestExpired { .. }) => {}
            Err(CallRefused::Overloaded { .. } | CallRefused::InPart { .. }) => {}
            Err(other) => panic!("a valid call is refused: {other}"),
        }
        if input.u8().is_multiple_of(8) {
            state.step(now).expect("there is room in the log");
        }
    }
    state.check().unwrap_or_else(|what| panic!("the primary is not sound: {what}"));
    life::of_another_member(&state);
    let follower = empty();
    for frame in tail.entries_since(0, usize::MAX, usize::MAX).expect("all of it is in the tail") {
        let entry = frame.decode().expect("it was encoded here");
        follower.apply(&entry).unwrap_or_else(|why| panic!("its own entry {}: {why}", entry.position()));
    }
    follower.check().unwrap_or_else(|what| panic!("a follower is not sound: {what}"));
    assert_eq!(follower.digest(), state.digest(), "a replay of the log differs");
});

fn call(who: u8, number: u64, answered_below: u64, now: Now) -> Call<'static> {
    Call { client: ClientId([who; 16]), number, answered_below, address: None, tenant: "", now }
}

fn count(input: &mut Input<'_>) -> usize {
    match input.u8() {
        few @ 0..250 => usize::from(few % 4) + 1,
        _ => 1 + input.below(ITEMS_MAX),
    }
}

fn mount(state: &Metadata, call: &Call<'_>, count: u8) -> Result<usize, CallRefused> {
    let names = ["s0", "s1", "s2", "s3"];
    let spec = |n: u8| SegmentSpec {
        id: SegmentId([n + 1; 16]),
        name: names[usize::from(n)],
        kind: SegmentKind::Memory,
        base: u64::from(n + 1) << 32,
        size: 1 << 14,
        endpoint: "10.0.0.7:1",
        protocol: "tcp",
        host: "h",
        path: "",
    };
    let specs: Vec<_> = (0..count.min(4)).map(spec).collect();
    state.mount(call, &specs).map(|answer| answer.results.len())
}

/// Returns the family of the call, and how many results it had.
fn ask(state: &Metadata, call: &Call<'_>, kind: u8, count: usize) -> Result<(Family, usize), CallRefused> {
    let names: Vec<String> = (0..count).map(|n| format!("k{}", n % 300)).collect();
    let keys: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let start = |replace| {
        let placement = Placement { memory_replicas: 1, ..Placement::default() };
        let items: Vec<_> = keys.iter().map(|key| PutStartItem { key, size: 64 }).collect();
        let how = PutStart { placement, replace, ..PutStart::default() };
        state.put_start(call, &how, &items).map(|answer| ("put_start", answer.results.len()))
    };
    let transfers = || keys.iter().map(|key| TransferItem { key, source: "", targets: vec!["s1"] });
    let finished: Vec<_> = keys.iter().map(|key| TransferFinishItem { key, id: ItemId::NONE }).collect();
    match kind {
        0 => start(false),
        1 => start(true),
        2 => {
            let item = |key| PutEndItem { key, put: ItemId::NONE, checksum: None };
            let items: Vec<_> = keys.iter().copied().map(item).collect();
            state.put_end(call, Scope::All, &items).map(|answer| ("put_end", answer.results.len()))
        }
        3 => {
            let items: Vec<_> = keys.iter().map(|key| PutRevokeItem { key, put: ItemId::NONE }).collect();
            state.put_revoke(call, Scope::All, &items).map(|answer| ("put_revoke", answer.results.len()))
        }
        4 => state.remove(call, count.is_multiple_of(2), &keys).map(|answer| ("remove", answer.results.len())),
        5 => state.remove_matching(call, "k[0-9]*[13579]$", true).map(|_| ("remove_many", 1)),
        6 => state.remove_all(call, false).map(|_| ("remove_many", 1)),
        7 => state.pin(call, Pin::Hard, &keys).map(|answer| ("pin", answer.results.len())),
        8 => {
            let items: Vec<_> = transfers().collect();
            let answer = state.transfer_start(call, TransferKind::Copy, &items);
            answer.map(|answer| ("transfer_start", answer.results.len()))
        }
        9 => {
            let items: Vec<_> = transfers().collect();
            let answer = state.transfer_start(call, TransferKind::Move, &items);
            answer.map(|answer| ("transfer_start", answer.results.len()))
        }
        10 => {
            let answer = state.transfer_end(call, TransferKind::Copy, &finished);
            answer.map(|answer| ("transfer_finish", answer.results.len()))
        }
        11 => {
            let answer = state.transfer_revoke(call, TransferKind::Move, &finished);
            answer.map(|answer| ("transfer_finish", answer.results.len()))
        }
        12 => mount(state, call, count.min(4) as u8).map(|told| ("mount", told)),
        13 => {
            let answer = state.remount(call, &[]);
            answer.map(|answer| ("remount", answer.results.len()))
        }
        14 => state.unmount(call, 0, &[SegmentId([2; 16])]).map(|answer| ("unmount", answer.results.len())),
        15 => {
            let items: Vec<_> = transfers().map(|transfer| TaskSpec { kind: TransferKind::Copy, transfer }).collect();
            state.create_tasks(call, &items).map(|answer| ("create_tasks", answer.results.len()))
        }
        _ if count.is_multiple_of(2) => state.fetch_tasks(call, count as u32).map(|_| ("fetch_tasks", 1)),
        _ => {
            let items: Vec<_> = (1..=count as u64).map(|id| TaskDone { id, failed: false, message: "" }).collect();
            state.complete_tasks(call, &items).map(|answer| ("complete_tasks", answer.results.len()))
        }
    }
}
