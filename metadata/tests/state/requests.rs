//! Request numbers: a retry gets the answer of the run that happened, and nothing runs twice.

use understudy_metadata::{
    Call, CallRefused, Config, Metadata, PutEndItem, PutStartItem, PutStartedAt, Refusal, RemovedMany, Scope, Settings,
};

use crate::support::{Primary, client, config, field_of, memory, placed};

fn start(state: &Metadata, call: &Call<'_>, keys: &[&str]) -> Result<Vec<Result<PutStartedAt, Refusal>>, CallRefused> {
    let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 64 }).collect();
    state.put_start(call, &placed(1, 0), &items).map(|answer| answer.results)
}

fn puts(results: &[Result<PutStartedAt, Refusal>]) -> Vec<Result<u64, Refusal>> {
    results.iter().map(|result| result.as_ref().map(|started| started.put.0).map_err(|refusal| *refusal)).collect()
}

/// With so many answers and bytes of answers for each client.
fn keeping(answers_max: usize, answer_bytes_max: usize) -> Primary {
    let primary = Primary::with(Config { answers_max, answer_bytes_max, ..config() });
    primary.mount(1, memory(1, "m", 1 << 20)).unwrap();
    primary
}

fn kept_from(result: Result<Vec<Result<PutStartedAt, Refusal>>, CallRefused>) -> u64 {
    match result.unwrap_err() {
        CallRefused::RequestExpired { kept_from, .. } => kept_from,
        other => panic!("{other}"),
    }
}

#[test]
fn a_retry_gets_the_same_answer_and_changes_nothing() {
    let primary = Primary::with_two_segments();
    primary.put(1, "there", 64);
    let call = primary.numbered(5, 1);
    let first = start(&primary.state, &call, &["a", "there", "b", "a"]).unwrap();
    assert_eq!(puts(&first)[1], Err(Refusal::AlreadyExists));
    assert_eq!(puts(&first)[3], Err(Refusal::WriteInProgress));
    let before = primary.digest();
    primary.remove_forced("there").unwrap();
    for member in [&primary.follower(), &primary.rebuilt()] {
        assert_eq!(member.totals().digest, primary.digest());
    }
    let after = primary.digest();
    assert_ne!(before, after);
    let again = start(&primary.state, &call, &["a", "there", "b", "a"]).unwrap();
    assert_eq!(puts(&again), puts(&first));
    assert_eq!(again[0].as_ref().unwrap().places, first[0].as_ref().unwrap().places);
    assert_eq!(primary.digest(), after);
}

#[test]
fn a_retry_gets_the_same_answer_from_the_next_primary() {
    let old = Primary::with_two_segments();
    let call = old.numbered(5, 3);
    let first = start(&old.state, &call, &["a", "b"]).unwrap();
    for new in [old.fail_over(), Primary::promoted(old.rebuilt(), config(), 5)] {
        let before = new.digest();
        assert_eq!(puts(&start(&new.state, &new.numbered(5, 3), &["a", "b"]).unwrap()), puts(&first));
        assert_eq!(new.digest(), before);
    }
}

#[test]
fn another_body_under_the_same_number_is_refused() {
    let primary = Primary::with_two_segments();
    let call = primary.numbered(5, 1);
    start(&primary.state, &call, &["a"]).unwrap();
    let before = primary.digest();
    let reused = CallRefused::RequestReused { number: 1 };
    assert_eq!(start(&primary.state, &call, &["b"]).unwrap_err(), reused);
    assert_eq!(start(&primary.state, &call, &["a", "b"]).unwrap_err(), reused);
    assert_eq!(start(&primary.state, &Call { tenant: "t", ..call }, &["a"]).unwrap_err(), reused);
    assert_eq!(primary.state.remove(&call, true, &[b"a"]).unwrap_err(), reused);
    assert_eq!(primary.state.remove_all(&call, true).unwrap_err(), reused);
    assert_eq!(primary.state.fetch_tasks(&call, 1).unwrap_err(), reused);
    assert_eq!(primary.digest(), before);
    assert!(start(&primary.state, &primary.numbered(6, 1), &["b"]).unwrap()[0].is_ok(), "another client's number");
}

#[test]
fn a_standby_answers_no_retry() {
    let primary = Primary::with_two_segments();
    let call = primary.numbered(5, 1);
    start(&primary.state, &call, &["a"]).unwrap();
    let standby = primary.follower();
    assert_eq!(start(&standby, &call, &["a"]).unwrap_err(), CallRefused::NotPrimary);
    assert_eq!(start(&standby, &call, &["b"]).unwrap_err(), CallRefused::NotPrimary);
    assert_eq!(start(&standby, &primary.call(5), &[]).unwrap_err(), CallRefused::NotPrimary);
    assert_eq!(standby.remove_all(&call, true).unwrap_err(), CallRefused::NotPrimary);
    assert_eq!(standby.step(primary.now()).unwrap_err(), CallRefused::NotPrimary);
    assert_eq!(standby.set_tenant_quota("t", 1, primary.now()).unwrap_err(), CallRefused::NotPrimary);
    standby.heartbeat(&call, "").unwrap_err();
}

#[test]
fn what_the_client_has_is_forgotten_and_refused_from_then_on() {
    let primary = Primary::with_two_segments();
    for number in 1..=3 {
        start(&primary.state, &primary.numbered(5, number), &["a"]).unwrap();
    }
    let call = Call { answered_below: 3, ..primary.numbered(5, 4) };
    start(&primary.state, &call, &["a"]).unwrap();
    assert_eq!(kept_from(start(&primary.state, &primary.numbered(5, 2), &["a"])), 3);
    assert_eq!(kept_from(start(&primary.state, &primary.numbered(5, 1), &["other body"])), 3);
    assert!(start(&primary.state, &primary.numbered(5, 3), &["a"]).is_ok());
    // Says that it has answers that it cannot have yet.
    let call = Call { answered_below: u64::MAX, ..primary.numbered(5, 5) };
    start(&primary.state, &call, &["a"]).unwrap();
    assert!(start(&primary.state, &call, &["a"]).is_ok());
}

#[test]
fn answers_are_bounded_in_number() {
    let primary = keeping(4, 1 << 20);
    for number in 1..=10 {
        start(&primary.state, &primary.numbered(5, number), &["a"]).unwrap();
    }
    for number in 7..=10 {
        assert!(start(&primary.state, &primary.numbered(5, number), &["a"]).is_ok(), "{number}");
    }
    assert_eq!(kept_from(start(&primary.state, &primary.numbered(5, 6), &["a"])), 7);
}

#[test]
fn answers_are_bounded_in_bytes_and_the_newest_stays() {
    let primary = keeping(1000, 3000);
    let long = "k".repeat(4000);
    let keys = [long.as_str()];
    start(&primary.state, &primary.numbered(5, 1), &["a"]).unwrap();
    start(&primary.state, &primary.numbered(5, 2), &keys).unwrap();
    let second = start(&primary.state, &primary.numbered(5, 2), &keys).unwrap();
    assert!(second[0].is_ok());
    start(&primary.state, &primary.numbered(5, 3), &["c"]).unwrap();
    assert!(start(&primary.state, &primary.numbered(5, 3), &["c"]).is_ok());
    start(&primary.state, &primary.numbered(5, 4), &["d"]).unwrap();
    assert!(kept_from(start(&primary.state, &primary.numbered(5, 2), &keys)) >= 3);
}

/// Numbers that come in falling order meet the bound too.
#[test]
fn falling_numbers_are_bounded() {
    for primary in [keeping(4, 1 << 20), keeping(1000, 400)] {
        let mut refused = 0;
        for number in (1..=100).rev() {
            let before = primary.digest();
            if let Err(error) = start(&primary.state, &primary.numbered(5, number), &["a"]) {
                assert!(matches!(error, CallRefused::RequestExpired { .. }), "{error}");
                assert_eq!(primary.digest(), before);
                refused += 1;
            }
        }
        assert!(refused >= 50, "{refused} of 100 refused");
        assert!(start(&primary.state, &primary.numbered(5, 100), &["a"]).is_ok());
    }
}

/// A request of several entries is one answer: it costs the place of one.
#[test]
fn a_long_request_forgets_no_more_than_one_answer() {
    let primary = keeping(3, 1 << 20);
    for number in 1..=3 {
        start(&primary.state, &primary.numbered(5, number), &["a"]).unwrap();
    }
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = start(&primary.state, &primary.numbered(5, 4), &names).unwrap();
    assert!(start(&primary.state, &primary.numbered(5, 2), &["a"]).is_ok());
    assert!(start(&primary.state, &primary.numbered(5, 3), &["a"]).is_ok());
    assert_eq!(puts(&start(&primary.state, &primary.numbered(5, 4), &names).unwrap()), puts(&first));
}

#[test]
fn calls_of_every_length_are_answered_again_by_every_member() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m", 1 << 20)).unwrap();
    for (number, count) in (1..).zip([0, 1, 255, 256, 257, 511, 512, 513, 1000]) {
        let names: Vec<String> = (0..count).map(|n| format!("{count}/{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = start(&primary.state, &primary.numbered(5, number), &names).unwrap();
        assert_eq!(first.len(), count);
        let mut ids: Vec<u64> = puts(&first).into_iter().map(Result::unwrap).collect();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(ids.is_sorted());
        let before = primary.digest();
        let again = start(&primary.state, &primary.numbered(5, number), &names).unwrap();
        assert_eq!((puts(&again), primary.digest()), (puts(&first), before));
        let ends: Vec<_> = names
            .iter()
            .zip(&ids)
            .map(|(key, put)| PutEndItem {
                key: key.as_bytes(),
                put: understudy_metadata::ItemId(*put),
                checksum: None,
            })
            .collect();
        let ended = primary.state.put_end(&primary.call(5), Scope::All, &ends).unwrap().results;
        assert!(ended.iter().all(Result::is_ok));
        let new = primary.fail_over();
        assert_eq!(puts(&start(&new.state, &new.numbered(5, number), &names).unwrap()), puts(&first));
    }
}

#[test]
fn numbers_of_a_client_that_is_gone_are_refused() {
    let primary = Primary::with(Config { settings: Settings { client_ttl_ms: 1000, ..config().settings }, ..config() });
    primary.mount(1, memory(1, "m", 1 << 20)).unwrap();
    start(&primary.state, &primary.numbered(5, 8), &["a"]).unwrap();
    primary.end(5, "a", understudy_metadata::ItemId::NONE).unwrap();
    primary.pass(1000);
    primary.heartbeat(1);
    primary.step();
    assert_eq!(primary.state.totals().clients, 1);
    for member in [primary.fail_over(), Primary::promoted(primary.rebuilt(), config(), 5)] {
        assert_eq!(kept_from(start(&member.state, &member.numbered(5, 8), &["a"])), 9);
        assert_eq!(kept_from(start(&member.state, &member.numbered(5, 3), &["new"])), 9);
        assert!(start(&member.state, &member.numbered(5, 9), &["b"]).unwrap()[0].is_ok());
        assert_eq!(kept_from(start(&member.state, &member.numbered(5, 8), &["a"])), 9);
    }
}

#[test]
fn a_client_that_comes_back_in_time_finds_its_answers() {
    let primary = Primary::with(Config { settings: Settings { client_ttl_ms: 1000, ..config().settings }, ..config() });
    primary.mount(5, memory(1, "m", 1 << 20)).unwrap();
    let first = start(&primary.state, &primary.numbered(5, 8), &["a"]).unwrap();
    for n in 0..600 {
        primary.put(1, &n.to_string(), 64);
    }
    primary.pass(1000);
    primary.state.step(primary.now()).unwrap();
    assert_eq!(puts(&start(&primary.state, &primary.numbered(5, 8), &["a"]).unwrap()), puts(&first));
    start(&primary.state, &primary.numbered(5, 9), &["b"]).unwrap();
    primary.step();
    assert_eq!(puts(&start(&primary.state, &primary.numbered(5, 8), &["a"]).unwrap()), puts(&first));
}

#[test]
fn the_ends_of_gone_clients_are_bounded() {
    let primary = Primary::with(Config {
        settings: Settings { client_ttl_ms: 1000, tombstones_max: 3, ..config().settings },
        ..config()
    });
    for who in 1..=5 {
        primary.state.remove(&primary.numbered(who, 7), false, &[b"a"]).unwrap();
        primary.pass(1000);
        primary.step();
    }
    let expired = |who| primary.state.remove(&primary.numbered(who, 7), false, &[b"a"]).is_err();
    assert_eq!([1, 2, 3, 4, 5].map(expired), [false, false, true, true, true]);
}

#[test]
fn the_largest_number_is_refused() {
    let primary = Primary::with(Config { settings: Settings { client_ttl_ms: 1000, ..config().settings }, ..config() });
    primary.mount(1, memory(1, "m", 1 << 20)).unwrap();
    let before = primary.digest();
    assert_eq!(field_of(start(&primary.state, &primary.numbered(5, u64::MAX), &["a"])), "caller.request_number");
    assert_eq!(primary.digest(), before);
    start(&primary.state, &primary.numbered(5, u64::MAX - 1), &["a"]).unwrap();
    primary.pass(1_000_000);
    primary.step();
    primary.step();
    assert_eq!(kept_from(start(&primary.state, &primary.numbered(5, u64::MAX - 1), &["a"])), u64::MAX);
}

#[test]
fn a_removal_by_pattern_is_answered_again() {
    let primary = Primary::with_two_segments();
    for n in 0..600 {
        primary.put(1, &n.to_string(), 64);
    }
    primary.lookup("7").unwrap();
    let call = primary.numbered(5, 1);
    let first = primary.state.remove_matching(&call, "[0-4]$|7", false).unwrap().results;
    assert!(first.removed > 300 && first.refused == 1, "{first:?}");
    primary.pass(20_000);
    primary.put(1, "0", 64);
    let before = primary.digest();
    for member in [&primary.fail_over(), &Primary::promoted(primary.rebuilt(), config(), 5), &primary] {
        let again = member.state.remove_matching(&member.numbered(5, 1), "[0-4]$|7", false).unwrap().results;
        assert_eq!(again, first);
    }
    assert_eq!(primary.digest(), before);
    assert!(primary.keys().contains(&"0".to_owned()));
}

#[test]
fn a_removal_of_nothing_is_answered_again() {
    let primary = Primary::with_two_segments();
    let call = primary.numbered(5, 1);
    assert_eq!(primary.state.remove_all(&call, false).unwrap().results, RemovedMany::default());
    primary.put(1, "a", 64);
    assert_eq!(primary.state.remove_all(&call, false).unwrap().results, RemovedMany::default());
    assert_eq!(primary.keys(), ["a"]);
}

#[cfg(feature = "faults")]
type Run = fn(&Metadata, &Call<'_>) -> Result<(), CallRefused>;

/// One call of each kind, named.
#[cfg(feature = "faults")]
fn calls() -> Vec<(&'static str, Run)> {
    use understudy_metadata::{
        ItemId, Pin, PutRevokeItem, TaskDone, TaskSpec, TransferFinishItem, TransferItem, TransferKind,
    };
    fn to_m2() -> TransferItem<'static> {
        TransferItem { key: b"there", source: "m1", targets: vec!["m2"] }
    }
    vec![
        ("put_start", |state, call| start(state, call, &["new"]).map(drop)),
        ("put_end", |state, call| {
            state.put_end(call, Scope::All, &[PutEndItem { key: b"a", put: ItemId::NONE, checksum: None }]).map(drop)
        }),
        ("put_revoke", |state, call| {
            state.put_revoke(call, Scope::All, &[PutRevokeItem { key: b"a", put: ItemId::NONE }]).map(drop)
        }),
        ("remove", |state, call| state.remove(call, true, &[b"there"]).map(drop)),
        ("remove_matching", |state, call| state.remove_matching(call, "the", true).map(drop)),
        ("pin", |state, call| state.pin(call, Pin::Hard, &[b"there"]).map(drop)),
        ("transfer_start", |state, call| state.transfer_start(call, TransferKind::Copy, &[to_m2()]).map(drop)),
        ("transfer_end", |state, call| {
            let item = TransferFinishItem { key: b"there", id: ItemId::NONE };
            state.transfer_end(call, TransferKind::Copy, &[item]).map(drop)
        }),
        ("mount", |state, call| state.mount(call, &[memory(3, "m3", 4096)]).map(drop)),
        ("remount", |state, call| state.remount(call, &[memory(1, "m1", 65536)]).map(drop)),
        ("unmount", |state, call| state.unmount(call, 0, &[crate::support::segment_id(2)]).map(drop)),
        ("create_tasks", |state, call| {
            state.create_tasks(call, &[TaskSpec { kind: TransferKind::Copy, transfer: to_m2() }]).map(drop)
        }),
        ("fetch_tasks", |state, call| state.fetch_tasks(call, 1).map(drop)),
        ("complete_tasks", |state, call| {
            state.complete_tasks(call, &[TaskDone { id: 1, failed: false, message: "" }]).map(drop)
        }),
    ]
}

/// A client can choose what it sends so that two bodies have one hash, if it ever learns how: a
/// number belongs to its call all the same, and what the one was answered is never read as an
/// answer of the other.
#[cfg(feature = "faults")]
#[test]
fn a_number_belongs_to_one_kind_of_call_whatever_the_hashes_are() {
    for (first, run) in calls() {
        for (second, then) in calls() {
            let primary = Primary::with_secret(config(), understudy_metadata::COLLIDING);
            primary.mount(1, memory(1, "m1", 65536)).unwrap();
            primary.put(1, "there", 64);
            primary.mount(1, memory(2, "m2", 65536)).unwrap();
            let call = primary.numbered(1, 1);
            run(&primary.state, &call).unwrap();
            let before = primary.digest();
            for member in [&primary, &primary.fail_over()] {
                let answer = then(&member.state, &call);
                match answer {
                    Ok(()) => assert_eq!(first, second, "{second} is answered as {first}"),
                    Err(CallRefused::RequestReused { number: 1 }) => assert_ne!(first, second),
                    Err(other) => panic!("{first}, {second}: {other}"),
                }
                assert_eq!(member.digest(), before, "{first}, {second}");
            }
        }
    }
}

/// Nor does it tell of more items, or of fewer, than were asked about.
#[cfg(feature = "faults")]
#[test]
fn a_shorter_or_longer_call_gets_no_answer_whatever_the_hashes_are() {
    let primary = Primary::with_secret(config(), understudy_metadata::COLLIDING);
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let call = primary.numbered(5, 1);
    start(&primary.state, &call, &names).unwrap();
    let reused = |names: &[&str]| {
        let answer = start(&primary.state, &call, names);
        assert!(matches!(answer, Err(CallRefused::RequestReused { number: 1 })), "{:?}", answer.map(|all| all.len()));
    };
    reused(&names[..10]);
    names.push("more");
    reused(&names);
}

/// One bit of a kept answer: it cannot be given again, and that is all.
#[cfg(feature = "faults")]
#[test]
fn an_answer_whose_memory_has_changed_ends_no_primary() {
    let mut primary = Primary::with_two_segments();
    primary.verify_at_end = false;
    let call = primary.numbered(5, 1);
    primary.state.remove_matching(&call, "x", false).unwrap();
    primary.state.inflict(understudy_metadata::Fault::AnswerBit).unwrap();
    let _ = primary.state.remove_matching(&call, "x", false);
    let call = primary.numbered(4, 1);
    start(&primary.state, &call, &["a"]).unwrap();
    // The first byte says in which version the rest is.
    primary.state.inflict(understudy_metadata::Fault::AnswerUnreadable).unwrap();
    assert_eq!(kept_from(start(&primary.state, &call, &["a"])), 2);
}

#[test]
fn a_stamp_names_its_client() {
    let primary = Primary::with_two_segments();
    start(&primary.state, &primary.numbered(5, 1), &["a"]).unwrap();
    let entries = primary.entries();
    let stamps: Vec<_> = entries.iter().filter_map(|entry| entry.request).collect();
    assert_eq!(stamps.len(), 1);
    assert_eq!((stamps[0].client, stamps[0].number), (client(5), 1));
}
