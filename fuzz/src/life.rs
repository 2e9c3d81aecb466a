//! What a state that was accepted must stand: to be looked at, to be handed to another member, to be promoted.
//!
//! Deliberately absent: a state that is suspect. It is thrown away, so only looking at it is tried.

use metadata::{Call, ItemId, Metadata, Now, Placement, PutEndItem, PutStart, PutStartItem, Scope};
use oplog::{ClientId, Rebuild, ReplicatedState};

use crate::course::LONG_MS;
use crate::recording::{images, log_of};

/// Rounds of steps after which everything that is due must have been done.
const ROUNDS_MAX: usize = 1000;

/// Whatever it finds, it finds it without falling over.
pub fn look_at(state: &Metadata) {
    drop(state.check());
    std::hint::black_box(state.totals());
    drop(state.capture(state.shards() - 1));
}

/// A full sync gives the same state.
pub fn of_another_member(state: &Metadata) {
    let mut rebuild = state.rebuild();
    for image in images(state) {
        rebuild.install(&image).unwrap_or_else(|why| panic!("its own image of shard {}: {why}", image.shard));
    }
    let other = rebuild.finish().unwrap_or_else(|why| panic!("a state cannot be made of its images: {why}"));
    other.check().unwrap_or_else(|what| panic!("a state made of images is not sound: {what}"));
    assert_eq!(other.digest(), state.digest(), "a state made of images differs");
}

/// It is promoted, serves, sees everything time out, and removes what is left.
pub fn as_primary(state: &Metadata) {
    let start = Now { ttl_ms: 1, wall_ms: 1 };
    state.lead(log_of(state), start, 1);
    settle(state, start);
    put_one(state, start);
    let late = Now { ttl_ms: start.ttl_ms + LONG_MS, wall_ms: 2 };
    settle(state, late);
    // Without a number: what was applied may say that this client has sent all numbers.
    let call =
        Call { client: ClientId([0xee; 16]), number: 0, answered_below: 0, address: None, tenant: "", now: late };
    state.remove_all(&call, true).expect("the call is valid");
    settle(state, late);
}

/// Everything that is due by then is done.
pub fn settle(state: &Metadata, now: Now) {
    let more = |_: &usize| state.step(now).expect("there is room in the log").more;
    let rounds = (0..ROUNDS_MAX).take_while(more).count();
    assert!(rounds < ROUNDS_MAX, "there is always more to do");
    state.check().unwrap_or_else(|what| panic!("a primary is not sound at {now:?}: {what}"));
}

/// It may be refused, for lack of space.
fn put_one(state: &Metadata, now: Now) {
    let call =
        |number| Call { client: ClientId([0xee; 16]), number, answered_below: 0, address: None, tenant: "", now };
    let how = PutStart { placement: Placement { memory_replicas: 1, ..Placement::default() }, ..PutStart::default() };
    let item = PutStartItem { key: b"a key of its own", size: 4000 };
    state.put_start(&call(0), &how, &[item]).expect("the call is valid");
    let item = PutEndItem { key: b"a key of its own", put: ItemId::NONE, checksum: None };
    state.put_end(&call(0), Scope::All, &[item]).expect("the call is valid");
}
