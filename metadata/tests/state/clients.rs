//! Clients: whoever is silent for too long loses its segments and its open work, and must introduce itself again.

use understudy_metadata::{Call, CallRefused, Config, PutStartItem, Refusal, Settings, TransferKind};

use crate::support::{Primary, config, disk, memory, one, placed, refusal};

const TTL_MS: u64 = 10_000;

fn mortal() -> Primary {
    Primary::with(Config { settings: Settings { client_ttl_ms: TTL_MS, ..config().settings }, ..config() })
}

fn remount(primary: &Primary, who: u8, n: u8) -> Result<bool, Refusal> {
    one(primary.state.remount(&primary.call(who), &[memory(n, "m", 65536)])).map(|mounted| mounted.kept)
}

#[test]
fn a_client_is_known_once_it_has_told_its_segments() {
    let primary = mortal();
    assert!(!primary.heartbeat(1), "never heard of");
    primary.mount(1, memory(1, "m", 65536)).unwrap();
    assert!(!primary.heartbeat(1), "a mount of one segment says nothing of the others");
    assert_eq!(remount(&primary, 1, 1), Ok(true));
    assert!(primary.heartbeat(1));
    primary.state.remount(&primary.call(2), &[]).unwrap();
    assert!(primary.heartbeat(2), "it has none, and has said so");
}

/// Why a mount introduces no client: to a primary that begins anew with nothing, one that has lost a segment looks like one that
/// has just come.
#[test]
fn a_mount_does_not_hide_that_the_segments_of_before_are_gone() {
    let (before, anew) = (mortal(), mortal());
    remount(&before, 1, 1).unwrap();
    assert!(before.heartbeat(1));
    anew.mount(1, memory(2, "n", 65536)).unwrap();
    assert!(!anew.heartbeat(1), "else it would take its first segment for mounted, and no answer would ever say so");
    let all = [memory(1, "m", 65536), memory(2, "n", 65536)];
    let answer = anew.state.remount(&anew.call(1), &all).unwrap();
    assert_eq!(answer.results.iter().map(|mounted| mounted.unwrap().kept).collect::<Vec<_>>(), [false, true]);
    assert!(anew.heartbeat(1));
}

#[test]
fn an_empty_remount_is_logged_once() {
    let primary = mortal();
    let seq = |primary: &Primary| primary.state.position().seq;
    let before = seq(&primary);
    primary.state.remount(&primary.call(2), &[]).unwrap();
    assert_eq!(seq(&primary), before + 1);
    primary.state.remount(&primary.call(2), &[]).unwrap();
    assert_eq!(seq(&primary), before + 1);
}

/// The entry itself introduces the client, on every member at the same seq.
#[test]
fn a_remount_is_one_entry_and_members_agree_right_after_it() {
    let primary = mortal();
    let before = primary.state.position().seq;
    remount(&primary, 1, 1).unwrap();
    assert_eq!(primary.state.position().seq, before + 1);
    assert!(primary.heartbeat(1));
    let numbered = primary.state.remount(&primary.numbered(2, 1), &[memory(2, "m", 65536)]).unwrap();
    assert_eq!(numbered.position.seq, before + 2);
    // All refused, but said: the client has told everything.
    let refused = primary.state.remount(&primary.call(3), &[memory(2, "m", 65536)]).unwrap();
    assert_eq!(refused.results[0].unwrap_err(), Refusal::SegmentConflict);
    assert!(primary.heartbeat(3));
}

#[test]
fn heartbeats_keep_a_client_alive() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    for _ in 0..5 {
        primary.pass(TTL_MS - 1);
        assert!(primary.heartbeat(1));
        assert_eq!(primary.step().clients_expired, 0);
    }
    primary.pass(TTL_MS);
    assert_eq!(primary.step().clients_expired, 1);
    assert!(!primary.heartbeat(1));
}

#[test]
fn an_expired_client_loses_its_objects_in_small_steps() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    primary.mount(1, memory(2, "m", 65536)).unwrap();
    for n in 0..600 {
        primary.put(9, &n.to_string(), 100);
    }
    primary.pass(TTL_MS);
    primary.state.remount(&primary.call(9), &[]).unwrap();
    let first = primary.state.step(primary.now()).unwrap();
    assert_eq!(first.clients_expired, 1);
    assert!(first.more && first.replicas_dropped <= 64);
    assert_eq!(primary.lookup("7"), None, "what is not dropped yet can no longer be read either");
    let rest = primary.step_to_the_end();
    assert_eq!((first.replicas_dropped + rest.replicas_dropped, rest.segments_gone), (600, 2));
    let totals = primary.state.totals();
    assert_eq!((totals.objects, totals.segments, totals.memory_used_bytes), (0, 0, 0));
}

/// Megabytes that are given back at once hold everybody up.
#[test]
fn what_was_kept_for_an_expired_client_is_forgotten_in_small_steps() {
    const REQUESTS: u64 = 300;
    let primary = mortal();
    primary.mount(2, memory(1, "m", 1 << 20)).unwrap();
    for number in 1..=REQUESTS {
        let keys: Vec<String> = (0..40).map(|at| format!("{number:04}{at:0100}")).collect();
        let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 64 }).collect();
        let call = Call { answered_below: 1, ..primary.numbered(1, number) };
        primary.state.put_start(&call, &placed(1, 0), &items).unwrap();
    }
    let kept = primary.state.answer_bytes();
    assert!(kept > 1 << 20, "{kept}");
    primary.pass(TTL_MS);
    one(primary.state.remount(&primary.call(2), &[memory(1, "m", 1 << 20)])).unwrap();
    let mut most = 0;
    for _ in 0..1000 {
        let before = primary.state.answer_bytes();
        let more = primary.state.step(primary.now()).unwrap().more;
        most = most.max(before - primary.state.answer_bytes());
        if !more {
            break;
        }
    }
    assert_eq!((primary.state.totals().clients, primary.state.answer_bytes()), (1, 0));
    assert!(most <= 300 << 10, "{most} of {kept} bytes went at once");
    let again = Call { answered_below: 1, ..primary.numbered(1, REQUESTS) };
    let refused = primary.state.put_start(&again, &placed(1, 0), &[]).unwrap_err();
    assert!(matches!(refused, CallRefused::RequestExpired { .. }), "{refused:?}");
    let follower = primary.follower();
    assert_eq!(follower.totals().digest, primary.digest());
}

#[test]
fn an_expired_client_loses_its_open_work() {
    let primary = mortal();
    primary.state.remount(&primary.call(1), &[memory(1, "m1", 65536)]).unwrap();
    primary.mount(1, memory(2, "m2", 65536)).unwrap();
    primary.put(1, "whole", 100);
    primary.put(1, "moved", 100);
    for n in 0..300 {
        primary.start(5, &n.to_string(), 64).unwrap();
    }
    primary.start_over(5, "whole", 200).unwrap();
    let source =
        if primary.lookup("moved").unwrap().places[0].address >> 32 == 1 { ["m1", "m2"] } else { ["m2", "m1"] };
    primary.transfer(5, TransferKind::Move, "moved", source[0], &[source[1]]).unwrap();
    primary.pass(TTL_MS);
    assert!(primary.heartbeat(1));
    let done = primary.step();
    assert_eq!((done.clients_expired, done.puts_discarded), (1, 302));
    assert_eq!(primary.keys(), ["moved", "whole"]);
    assert_eq!(primary.state.totals().clients, 1, "nothing is left of it");
    assert!(primary.bytes().1 > 0, "it may still be writing");
    assert_eq!(primary.remove("moved"), Ok(()), "nothing is under way any more");
}

#[test]
fn objects_in_living_segments_outlive_the_client_that_put_them() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    primary.put(5, "a", 100);
    primary.pass(TTL_MS);
    primary.heartbeat(1);
    primary.step();
    assert_eq!(primary.state.totals().clients, 1);
    assert!(primary.lookup("a").is_some());
}

#[test]
fn a_client_that_comes_back_in_the_middle_waits_for_its_old_segment_to_go() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    for n in 0..600 {
        primary.put(9, &n.to_string(), 64);
    }
    primary.start(1, "open", 100).unwrap();
    primary.pass(TTL_MS);
    primary.state.step(primary.now()).unwrap();
    assert!(!primary.heartbeat(1));
    assert_eq!(remount(&primary, 1, 1), Err(Refusal::SegmentBusy));
    assert!(primary.heartbeat(1), "it has told all that it has");
    primary.state.check().unwrap();
    primary.step();
    assert_eq!(remount(&primary, 1, 1), Ok(false));
    assert_eq!(primary.keys().len(), 0);
    primary.put(1, "a", 100);
}

#[test]
fn a_put_of_an_expired_client_revives_it_but_does_not_introduce_it() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    remount(&primary, 2, 2).unwrap();
    for n in 0..600 {
        primary.put(2, &n.to_string(), 100);
    }
    primary.pass(TTL_MS);
    primary.heartbeat(2);
    primary.state.step(primary.now()).unwrap();
    let put = primary.start(1, "a", 100).unwrap().put;
    assert!(!primary.heartbeat(1));
    primary.step();
    primary.end(1, "a", put).unwrap();
    assert!(primary.lookup("a").is_some());
}

#[test]
fn after_a_promotion_every_client_has_its_full_time() {
    let old = mortal();
    remount(&old, 1, 1).unwrap();
    old.start(1, "a", 100).unwrap();
    old.pass(TTL_MS - 1);
    let new = old.fail_over();
    new.pass(TTL_MS - 1);
    assert_eq!(new.step().clients_expired, 0);
    assert!(new.heartbeat(1), "known to the new primary too");
    new.pass(TTL_MS - 1);
    assert_eq!(new.step().clients_expired, 0);
    new.pass(1);
    assert_eq!(new.step().clients_expired, 1);
}

/// The clock of the shell stands still while the process is stalled: nobody expires by a jump of wall time.
#[test]
fn a_clock_that_stands_still_expires_nobody() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    primary.start(1, "a", 100).unwrap();
    for wall_ms in [0, 1 << 30, 1 << 40] {
        let stalled = understudy_metadata::Now { wall_ms, ..primary.now() };
        let done = primary.state.step(stalled).unwrap();
        assert_eq!((done.clients_expired, done.puts_discarded), (0, 0));
    }
}

/// A call that took its time earlier and ran later makes nobody younger or older.
#[test]
fn a_clock_that_goes_back_expires_nobody() {
    let primary = mortal();
    remount(&primary, 1, 1).unwrap();
    let early = understudy_metadata::Now { ttl_ms: primary.now().ttl_ms - 5000, wall_ms: 0 };
    let late_arrival = understudy_metadata::Call { now: early, ..primary.call(1) };
    primary.state.heartbeat(&late_arrival, "").unwrap();
    primary.state.step(early).unwrap();
    primary.pass(TTL_MS - 1);
    assert_eq!(primary.step().clients_expired, 0);
}

#[test]
fn the_number_of_clients_is_bounded_in_every_way_to_become_one() {
    let primary = Primary::with(Config { clients_max: 2, ..config() });
    primary.mount(1, memory(1, "m", 65536)).unwrap();
    primary.mount(2, disk(2, "d", 65536)).unwrap();
    let before = primary.digest();
    let three = primary.call(3);
    primary.state.mount(&three, &[memory(3, "m", 65536)]).unwrap_err();
    primary.state.remount(&three, &[memory(3, "m", 65536)]).unwrap_err();
    primary.state.remount(&three, &[]).unwrap_err();
    primary.state.put_start(&three, &placed(1, 0), &[]).unwrap();
    let item = understudy_metadata::PutStartItem { key: b"a", size: 1 };
    primary.state.put_start(&three, &placed(1, 0), &[item]).unwrap_err();
    primary.state.remove_all(&primary.numbered(3, 1), false).unwrap_err();
    primary.state.remove_matching(&primary.numbered(3, 1), "a", false).unwrap_err();
    primary.state.remove(&primary.numbered(3, 1), false, &[b"a"]).unwrap_err();
    assert_eq!(primary.state.totals().clients, 2);
    assert_eq!(primary.digest(), before);
    assert!(primary.start(1, "a", 1).is_ok());
}

#[test]
fn many_clients_expire_at_once() {
    let primary = mortal();
    for who in 1..=200 {
        primary.state.remount(&primary.call(who), &[memory(who, "m", 64)]).unwrap();
        primary.start(who, &who.to_string(), 1).unwrap();
    }
    primary.pass(TTL_MS);
    let done = primary.step_to_the_end();
    assert_eq!((done.clients_expired, done.segments_gone), (200, 200));
    let totals = primary.state.totals();
    assert_eq!((totals.clients, totals.segments, totals.objects, totals.unfinished), (0, 0, 0, 0));
    assert_eq!(refusal(primary.start(1, "a", 1)), Refusal::NoSpace);
}
