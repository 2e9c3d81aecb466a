//! What a reader was told holds until its lease is over, whoever writes at the same time.
//!
//! Which thread comes first is left to the machine, so a failure may need several runs to show again.
//!
//! Deliberately absent: the single moments; `apply_test` makes those.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use oplog::Rng;
use parking_lot::Mutex;

use super::request::{SEGMENTS, client};
use super::threads::{call, check_against_log, primary};
use crate::*;

/// Readers do not hold up writers: a lease may be granted in the very moment between the decision that an object is not
/// read and its removal. Then its bytes must stay all the same.
#[test]
fn no_reader_is_deprived_of_bytes_that_it_was_promised() {
    // Short, and many keys: mostly a key is not leased, and then it is read in the very moment.
    const LEASE_MS: u64 = 12;
    const WRITES: u64 = 8_000;
    let config = Config {
        settings: Settings {
            object_lease_ms: LEASE_MS,
            put_start_timeout_ms: 3_600_000,
            client_ttl_ms: 3_600_000,
            put_release_timeout_ms: LEASE_MS,
            eviction_high_watermark: 0.6,
            eviction_ratio: 0.1,
            ..Settings::default()
        },
        ..Config::default()
    };
    let (state, tail) = primary(config.clone());
    let segment = SegmentSpec { size: 64 * 40, base: 0, ..SEGMENTS[0] };
    state.mount(&call(0, 0, 0), &[segment]).expect("a mount");
    let (clock, done) = (AtomicU64::new(1), AtomicBool::new(false));
    // By address: the puts that it was handed out to, each with the time right after.
    let handed_out: Mutex<BTreeMap<u64, Vec<(u64, u64)>>> = Mutex::new(BTreeMap::new());
    // By address and put: until when readers may count on it.
    let seen: Mutex<BTreeMap<(u64, u64), u64>> = Mutex::new(BTreeMap::new());
    let keys: Vec<String> = (0..32).map(|n| n.to_string()).collect();

    let write = |who: u8| {
        let how = PutStart {
            placement: Placement { memory_replicas: 1, ..Placement::default() },
            replace: true,
            pin: Pin::None,
        };
        let mut rng = Rng::new(u64::from(who));
        for _ in 0..WRITES {
            let key = keys[rng.below(keys.len())].as_bytes();
            let caller = call(who, 0, clock.fetch_add(1, Ordering::SeqCst));
            if rng.below(3) == 0 {
                state.remove(&caller, false, &[key]).expect("an answer");
                continue;
            }
            let item = PutStartItem { key, size: 1 };
            let Ok(started) = &state.put_start(&caller, &how, &[item]).expect("an answer").results[0] else { continue };
            let now_ms = clock.load(Ordering::SeqCst);
            handed_out.lock().entry(started.places[0].address).or_default().push((started.put.0, now_ms));
            let end = PutEndItem { key, put: started.put, checksum: Some(started.put.0) };
            let caller = call(who, 0, clock.load(Ordering::SeqCst));
            // Refused where a forced removal came in between: then nobody is told of it.
            state.put_end(&caller, Scope::All, &[end]).expect("an answer");
        }
    };
    let read = |seed: u64| {
        let mut rng = Rng::new(seed);
        while !done.load(Ordering::SeqCst) {
            let now = Now { ttl_ms: clock.load(Ordering::SeqCst), wall_ms: 0 };
            let until_ms = now.ttl_ms + LEASE_MS;
            let found = |found: Option<Found<'_>>| {
                let Some(found) = found else { return };
                let put = found.checksum().expect("every put has one");
                found.places().for_each(|place| {
                    let mut seen = seen.lock();
                    let until = seen.entry((place.address, put)).or_default();
                    *until = until_ms.max(*until);
                });
            };
            let key = keys[rng.below(keys.len())].as_bytes();
            state.lookup("", [key].into_iter(), now, found).expect("a lookup");
        }
    };
    let step = || {
        while !done.load(Ordering::SeqCst) {
            let now = Now { ttl_ms: clock.load(Ordering::SeqCst), wall_ms: 0 };
            state.step(now).expect("a step");
            state.remove_matching(&call(7, 0, now.ttl_ms), "^1", now.ttl_ms.is_multiple_of(2)).expect("a removal");
        }
    };
    thread::scope(|scope| {
        let writers = [scope.spawn(|| write(1)), scope.spawn(|| write(2))];
        scope.spawn(|| read(5));
        scope.spawn(step);
        let failed: Vec<_> = writers.into_iter().filter_map(|writer| writer.join().err()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(failed.is_empty(), "a writer has failed");
    });
    let handed_out = handed_out.into_inner();
    for ((address, put), until_ms) in seen.into_inner() {
        let next = handed_out[&address].iter().filter(|(other, _)| *other > put).min();
        if let Some((next, at_ms)) = next {
            assert!(
                *at_ms >= until_ms,
                "{address} of put {put} was promised until {until_ms}, put {next} has it at {at_ms}"
            );
        }
    }
    check_against_log(&state, &tail, config);
    assert_eq!(state.view().segment(0).map(|info| info.client), Some(client(0)));
}
