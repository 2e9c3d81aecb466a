//! Many callers at once: nothing blocks for good, nothing is torn, nothing runs twice, and at the end everything agrees
//! with the log.
//!
//! The work is bounded by counts, not by time; which thread comes first is left to the machine, so a failure may need
//! several runs to show again. All that is asserted holds in every order.
//!
//! Deliberately absent: what readers were promised (`promises`), and speed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use oplog::{Position, Rng, Tail, TailConfig};

use super::draw::{Event, draw};
use super::model::Model;
use super::request::{From, Reply, Request, SEGMENTS, send};
use super::world::config;
use crate::*;

pub(super) fn primary(config: Config) -> (Metadata, Arc<Tail>) {
    let state = Metadata::new(config, Position::default());
    let (tail, appender) = Tail::new(TailConfig::default(), Position::default());
    state.lead(appender, Now::default(), 1);
    (state, tail)
}

/// Everything that is held twice is equal, and the log gives the same state again.
pub(super) fn check_against_log(state: &Metadata, tail: &Tail, config: Config) {
    use oplog::ReplicatedState;
    state.check().expect("a state that is consistent");
    let replay = Metadata::new(config, Position::default());
    for frame in tail.entries_since(0, usize::MAX, usize::MAX).expect("the tail holds all") {
        replay.apply(&frame.decode().expect("a frame")).expect("a valid entry");
    }
    replay.check().expect("a replay that is consistent");
    assert_eq!(replay.digest(), state.digest());
}

pub(super) fn call(who: u8, number: u64, now_ms: u64) -> Call<'static> {
    From { client: who, tenant: "", number, answered_below: 0 }.call(now_ms)
}

/// Random requests, drawn as if nothing were there, from many threads, while others read and the primary takes steps.
#[test]
fn calls_reads_and_steps_at_once_leave_a_consistent_state() {
    const WRITERS: u64 = 4;
    const EVENTS: usize = 6000;
    let config = Config { answers_max: 50, ..config(0) };
    let (state, tail) = primary(config.clone());
    let (clock, done) = (AtomicU64::new(1000), AtomicBool::new(false));
    let write = |seed: u64| {
        let mut rng = Rng::new(seed);
        let model = Model::new(config.clone(), 0);
        let mut number = seed << 32;
        for _ in 0..EVENTS {
            let now_ms = clock.fetch_add(1, Ordering::SeqCst);
            if let Event::Call(from, numbered, request) = draw(rng.next(), &model) {
                number += u64::from(numbered);
                let from = From { number: if numbered { number } else { 0 }, answered_below: 0, ..from };
                match send(&state, &request, &from.call(now_ms)) {
                    // Two threads may share a client, and so one's numbers may be forgotten for the other's; and all
                    // answers together may be as many as may be.
                    Ok(_) | Err(CallRefused::RequestExpired { .. } | CallRefused::Overloaded { .. }) => {}
                    Err(other) => panic!("{request:?}: {other}"),
                }
            }
        }
    };
    let read = |seed: u64| {
        let mut rng = Rng::new(seed);
        let mut turns = 0_u32;
        while !done.load(Ordering::SeqCst) {
            let now_ms = clock.load(Ordering::SeqCst);
            let keys: Vec<String> = (0..4).map(|_| format!("k{}", rng.below(8))).collect();
            let now = Now { ttl_ms: now_ms, wall_ms: 0 };
            state.lookup("", keys.iter().map(String::as_bytes), now, |_| {}).expect("a lookup");
            turns += 1;
            if turns.is_multiple_of(16) {
                let all = ListKeys { tenant: "blue", prefix: b"k", regex: "[0-5]", limit: 3 };
                let page = state.list_keys(&all, None).expect("a page");
                assert!(page.keys.len() <= 3);
                state.totals();
                state.segments(|_| true);
                state.heartbeat(&call(rng.below(4) as u8, 0, now_ms), "").expect("a heartbeat");
            }
        }
    };
    let step = || {
        while !done.load(Ordering::SeqCst) {
            let now_ms = clock.fetch_add(3, Ordering::SeqCst);
            state.step(Now { ttl_ms: now_ms, wall_ms: 0 }).expect("a step");
        }
    };
    let follow = || {
        use oplog::{Rebuild, ReplicatedState};
        while !done.load(Ordering::SeqCst) {
            let mut rebuild = state.rebuild();
            let images = (0..state.shards()).map(|shard| state.capture(shard));
            let mut oldest = None;
            for image in images {
                let _ = oldest.get_or_insert(image.at);
                rebuild.install(&image).expect("an image");
            }
            let oldest = oldest.expect("there are shards");
            for frame in tail.entries_since(oldest.seq, usize::MAX, usize::MAX).expect("the tail holds all") {
                rebuild.apply(&frame.decode().expect("a frame")).expect("a valid entry");
            }
            rebuild.finish().expect("a whole state").check().expect("a consistent state");
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS).map(|seed| scope.spawn(move || write(seed))).collect();
        scope.spawn(|| read(77));
        scope.spawn(|| read(78));
        scope.spawn(step);
        scope.spawn(follow);
        // Also when one of them has failed: the others must not go on for good.
        let failed: Vec<_> = writers.into_iter().filter_map(|writer| writer.join().err()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(failed.is_empty(), "a writer has failed");
    });
    check_against_log(&state, &tail, config);
}

/// A retry that overtakes its first attempt, with calls of several entries: each item runs once, both get all answers.
#[test]
fn two_copies_of_a_request_at_once_run_once() {
    let config = Config { answer_bytes_max: 1 << 20, objects_max: 1 << 20, ..Config::default() };
    let (state, tail) = primary(config.clone());
    send(&state, &Request::Mount { remount: false, segments: vec![0] }, &call(0, 0, 0)).expect("a mount");
    let spec = SegmentSpec { size: 64 * 700 * 12, base: 1 << 40, id: SegmentId([99; 16]), ..SEGMENTS[0] };
    state.mount(&call(0, 0, 0), &[spec]).expect("a mount");
    for round in 1..=12 {
        let items = (0..700).map(|n| (format!("{round}/{n}"), 64)).collect();
        let how =
            PutStart { placement: Placement { memory_replicas: 1, ..Placement::default() }, ..PutStart::default() };
        let start = Request::PutStart { how, items };
        let remove = Request::RemoveMatching { force: true, regex: if round % 2 == 0 { "" } else { "[0-4]$" } };
        for (number, request) in [(2 * round, start), (2 * round + 1, remove)] {
            let barrier = Barrier::new(2);
            let send_one = || {
                barrier.wait();
                send(&state, &request, &call(1, number, 0)).expect("an answer").0
            };
            let replies = thread::scope(|scope| {
                let both = [scope.spawn(send_one), scope.spawn(send_one)];
                both.map(|copy| copy.join().expect("an answer"))
            });
            assert_eq!(replies[0], replies[1], "round {round}");
            assert_eq!(send(&state, &request, &call(1, number, 0)).expect("an answer").0, replies[0]);
            if let Reply::Started(results) = &replies[0] {
                assert!(results.iter().all(Result::is_ok));
                assert_eq!(results.len(), 700);
            }
        }
    }
    check_against_log(&state, &tail, config);
}

/// Others of the same client push its answer out while it runs: what is refused then has run up to there, and never runs
/// again.
#[test]
fn a_long_request_whose_answer_is_forgotten_meanwhile_does_not_run_again() {
    let config = Config { answers_max: 2, objects_max: 1 << 20, ..Config::default() };
    let (state, tail) = primary(config.clone());
    let spec = SegmentSpec { size: 64 * 100_000, ..SEGMENTS[0] };
    state.mount(&call(0, 0, 0), &[spec]).expect("a mount");
    let how = PutStart { placement: Placement { memory_replicas: 1, ..Placement::default() }, ..PutStart::default() };
    let mut refused = 0;
    for round in 0..10 {
        let number = 100 * round + 1;
        let items = (0..5000).map(|n| (format!("{round}/{n}"), 64)).collect();
        let long = Request::PutStart { how: how.clone(), items };
        let short = Request::Remove { force: false, keys: vec!["nothing".to_owned()] };
        let first = thread::scope(|scope| {
            let first = scope.spawn(|| send(&state, &long, &call(1, number, 0)));
            for n in 1..20 {
                send(&state, &short, &call(1, number + n, 0)).expect("an answer");
            }
            first.join().expect("an answer")
        });
        let before = state.totals();
        let again = send(&state, &long, &call(1, number, 0));
        match (&first, &again) {
            (Ok((first, _)), Ok((again, _))) => assert_eq!(first, again),
            (_, Err(CallRefused::RequestExpired { .. })) => refused += 1,
            other => panic!("{other:?}"),
        }
        let after = state.totals();
        assert_eq!((before.objects, before.digest), (after.objects, after.digest));
        state.remove_all(&call(2, 0, 0), true).expect("a removal");
    }
    assert!(refused > 0, "nothing was ever forgotten");
    check_against_log(&state, &tail, config);
}

/// A primary that is deposed and promoted again while it is called: calls are refused in between, never torn.
#[test]
fn calls_during_changes_of_the_role_leave_a_consistent_state() {
    let config = Config { answers_max: 50, ..config(1) };
    let (state, tail) = primary(config.clone());
    let (clock, done) = (AtomicU64::new(1000), AtomicBool::new(false));
    // However late the thread that makes them gets its turn, the writers go on until there were some.
    let changes = AtomicU64::new(0);
    let write = |seed: u64| {
        let mut rng = Rng::new(seed);
        let model = Model::new(config.clone(), 0);
        let mut refused = 0;
        let mut calls = 0;
        while calls < 3000 || changes.load(Ordering::SeqCst) < 10 {
            calls += 1;
            let now_ms = clock.fetch_add(1, Ordering::SeqCst);
            let outcome = match draw(rng.next(), &model) {
                Event::Call(from, _, request) => send(&state, &request, &from.call(now_ms)).map(drop),
                _ => state.step(Now { ttl_ms: now_ms, wall_ms: 0 }).map(drop),
            };
            match outcome {
                Ok(()) | Err(CallRefused::Overloaded { .. }) => {}
                Err(CallRefused::NotPrimary | CallRefused::InPart { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        refused
    };
    // Every call moves the clock.
    let some_calls = || {
        let from = clock.load(Ordering::SeqCst);
        while clock.load(Ordering::SeqCst) < from + 4 && !done.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    };
    let change = || {
        while !done.load(Ordering::SeqCst) {
            let mut appender = state.follow().expect("it leads");
            appender.begin_epoch(appender.epoch() + 1);
            some_calls();
            state.lead(appender, Now { ttl_ms: clock.load(Ordering::SeqCst), wall_ms: 0 }, 1);
            some_calls();
            changes.fetch_add(1, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        let writers = [scope.spawn(|| write(1)), scope.spawn(|| write(2))];
        scope.spawn(change);
        let results: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::SeqCst);
        let refused: i32 = results.into_iter().map(|result| result.expect("a writer")).sum();
        assert!(refused > 0, "no call ever came in between");
    });
    check_against_log(&state, &tail, config);
}
