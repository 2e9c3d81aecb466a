//! Settings of the cluster: all members go by the same ones, whatever they were started with; a change shortens nothing
//! that was promised.

use oplog::{
    ApplyError, DomainId, Draft, Entry, InstallError, OP_EPOCH_START, Position, Rebuild, ReplicatedState, Secret, Tail,
    TailConfig,
};
use understudy_metadata::{
    CallRefused, Config, LedgerOp, Metadata, Refusal, Settings, TaskSpec, TransferItem, TransferKind,
};

use crate::support::{Primary, config, field_of, memory, one, refusal};

/// Behind those of the objects.
const DIRECTORY: u32 = 1024;

fn settings() -> Settings {
    Settings {
        client_ttl_ms: 100_000,
        object_lease_ms: 10_000,
        put_start_timeout_ms: 30_000,
        put_release_timeout_ms: 40_000,
        task_timeout_ms: 50_000,
        ..Settings::default()
    }
}

/// How long anything lives that those promise.
const PROMISED_MS: u64 = 100_000;

fn primary() -> Primary {
    let primary = Primary::with(Config { settings: settings(), ..config() });
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    primary
}

/// What another member is started with: nothing of it is as in [`settings`].
fn other_flags() -> Config {
    let settings = Settings {
        client_ttl_ms: 7,
        object_lease_ms: 8,
        soft_pin_ttl_ms: 9,
        put_start_timeout_ms: 10,
        put_release_timeout_ms: 11,
        task_timeout_ms: 12,
        eviction_high_watermark: 0.2,
        eviction_ratio: 0.1,
        tombstones_max: 1,
    };
    assert_eq!(settings.differences(&self::settings()).len(), Settings::names().len());
    Config { settings, ..config() }
}

/// A member with other flags that has applied all of the log.
fn follower(primary: &Primary) -> Metadata {
    let state = Metadata::new(other_flags(), Position::default());
    primary.entries().iter().for_each(|entry| state.apply(entry).unwrap());
    state
}

/// A member with other flags that has it all from images.
fn rebuilt(primary: &Primary) -> Metadata {
    let mut rebuild = Metadata::new(other_flags(), Position::default()).rebuild();
    (0..=DIRECTORY).for_each(|shard| rebuild.install(&primary.state.capture(shard)).unwrap());
    rebuild.finish().unwrap()
}

fn fail_over(primary: &Primary) -> Primary {
    Primary::promoted(follower(primary), other_flags(), primary.now().ttl_ms)
}

fn set(primary: &Primary, name: &str, value: u64) {
    primary.state.set_settings(&[(name, &value.to_string())], primary.now()).unwrap();
}

/// Steps, and says whether all retired space is free again.
fn is_released(primary: &Primary) -> bool {
    primary.heartbeat(1);
    primary.step();
    primary.bytes().1 == 0
}

/// At that time and not a millisecond before.
#[track_caller]
fn happens_after(primary: &Primary, ms: u64, what: impl Fn(&Primary) -> bool) {
    primary.pass(ms - 1);
    assert!(!what(primary), "too early");
    primary.pass(1);
    assert!(what(primary), "too late");
}

fn is_settings(entry: &oplog::Entry) -> bool {
    (entry.domain, entry.op_type) == (oplog::DomainId::ENGINE, LedgerOp::Settings as u8)
}

fn changes(primary: &Primary) -> usize {
    primary.entries().iter().filter(|entry| is_settings(entry)).count()
}

#[test]
fn members_with_other_flags_agree_with_the_first_primary() {
    let primary = primary();
    for who in 2..=5 {
        primary.state.remove(&primary.numbered(who, 3), false, &[b"nothing"]).unwrap();
    }
    primary.pass(PROMISED_MS);
    primary.heartbeat(1);
    assert_eq!(primary.step().clients_expired, 4);
    primary.put(1, "a", 100);
    for member in [follower(&primary), rebuilt(&primary)] {
        member.check().unwrap();
        assert_eq!(member.digest(), primary.state.digest());
        assert_eq!(member.settings(), primary.state.settings());
        let promoted = Primary::promoted(member, other_flags(), 5);
        assert_eq!(promoted.state.settings().settings, settings());
        assert_eq!(promoted.state.position().seq, primary.state.position().seq, "it has set its own");
        let looked = promoted.state.lookup("", [&b"a"[..]].into_iter(), promoted.now(), |_| {}).unwrap();
        assert_eq!(looked.lease_ms, 10_000);
        promoted.remove_forced("a").unwrap();
        happens_after(&promoted, 10_000, is_released);
        happens_after(&promoted, PROMISED_MS, |promoted| promoted.step().clients_expired == 1);
    }
}

#[test]
fn they_are_the_first_entry_and_no_later_primary_logs_its_own() {
    let first = primary();
    assert!(is_settings(&first.entries()[0]));
    assert_eq!(first.state.settings().changed_seq, 1);
    assert_eq!(changes(&first), 1);
    assert_ne!(Primary::with(other_flags()).digest(), Primary::new().digest());
    assert_eq!(changes(&fail_over(&first)), 0);
    let standby = Metadata::new(other_flags(), Position::default());
    assert_eq!((standby.settings().settings, standby.settings().changed_seq), (other_flags().settings, 0));
}

#[test]
fn a_primary_whose_log_was_full_sets_them_with_its_first_step() {
    let state = Metadata::new(config(), Position::default());
    let (tail, mut log) = Tail::new(TailConfig { entries_max: 1, ..TailConfig::default() }, Position::default());
    tail.set_floor(Some(1));
    let (domain, op_type) = (DomainId::ENGINE, OP_EPOCH_START);
    let payload = &Secret([7; 16]).payload_behind(0);
    let draft = Draft { domain, op_type, timestamp_ms: 0, request: None, key: b"", payload };
    state.apply(&log.reserve(payload.len()).unwrap().append(&draft).decode().unwrap()).unwrap();
    let now = understudy_metadata::Now { ttl_ms: 1, wall_ms: 1 };
    state.lead(log, now, 1);
    assert_eq!(state.settings().changed_seq, 0);
    assert!(matches!(state.step(now), Err(CallRefused::Overloaded { .. })));
    tail.set_floor(None);
    state.step(now).unwrap();
    assert_eq!((state.settings().settings, state.settings().changed_seq), (config().settings, 2));
    state.check().unwrap();
}

#[test]
fn a_shortened_lease_keeps_what_was_promised() {
    let primary = primary();
    primary.put(1, "a", 100);
    primary.put(1, "b", 100);
    primary.lookup("a").unwrap();
    primary.lookup("b").unwrap();
    set(&primary, "object_lease_ms", 1000);
    let looked = primary.state.lookup("", [&b"a"[..]].into_iter(), primary.now(), |_| {}).unwrap();
    assert_eq!(looked.lease_ms, 1000, "what is promised from now on");
    primary.remove_forced("a").unwrap();
    happens_after(&primary, 10_000, is_released);
    primary.remove("b").unwrap();
    // Once nothing is owed any more, the new one counts alone.
    primary.pass(PROMISED_MS - 10_000);
    primary.heartbeat(1);
    primary.step();
    assert_eq!(primary.state.settings().owed, None);
    primary.put(1, "c", 100);
    primary.lookup("c").unwrap();
    primary.remove_forced("c").unwrap();
    happens_after(&primary, 1000, is_released);
}

#[test]
fn a_shortened_lease_keeps_what_was_promised_over_a_promotion() {
    let first = primary();
    first.put(1, "a", 100);
    first.lookup("a").unwrap();
    set(&first, "object_lease_ms", 1000);
    let second = fail_over(&first);
    assert_eq!(second.state.settings(), first.state.settings());
    assert_eq!(refusal(second.remove("a")), Refusal::Leased);
    second.pass(9_999);
    assert_eq!(refusal(second.remove("a")), Refusal::Leased);
    second.remove_forced("a").unwrap();
    happens_after(&second, 10_000, is_released);
    // Counted in full from the promotion.
    let rest_ms = PROMISED_MS - 19_999;
    happens_after(&second, rest_ms, |second| is_released(second) && second.state.settings().owed.is_none());
    assert_eq!(second.digest(), second.rebuilt().digest().1);
}

#[test]
fn eviction_after_a_promotion_spares_what_was_leased_for_longer() {
    let first = primary();
    let keys: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    keys.iter().for_each(|key| drop(first.put(1, key, 1 << 16)));
    let shorter = [("object_lease_ms", "1000"), ("eviction_high_watermark", "0.4"), ("eviction_ratio", "0.2")];
    keys.iter().for_each(|key| drop(first.lookup(key).unwrap()));
    first.state.set_settings(&shorter, first.now()).unwrap();
    let second = fail_over(&first);
    happens_after(&second, 10_000, |second| second.step().objects_evicted > 0);
}

#[test]
fn a_second_change_keeps_what_was_promised_before_the_first() {
    let primary = primary();
    primary.put(1, "a", 100);
    primary.lookup("a").unwrap();
    set(&primary, "object_lease_ms", 5000);
    primary.pass(1000);
    set(&primary, "object_lease_ms", 100);
    let owed = primary.state.settings().owed.unwrap();
    assert_eq!(owed, Settings { object_lease_ms: 10_000, ..primary.state.settings().settings });
    primary.remove_forced("a").unwrap();
    happens_after(&primary, 10_000, is_released);
    // From the second change on.
    happens_after(&primary, PROMISED_MS - 10_000, |p| is_released(p) && p.state.settings().owed.is_none());
}

/// It may be discarded at the end of its time, and its writer be told at the end of the other.
#[test]
fn a_put_that_was_under_way_keeps_both_of_its_times() {
    let settings = Settings { client_ttl_ms: 60_000, ..settings() };
    let primary = Primary::with(Config { settings, ..config() });
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    primary.start(1, "a", 100).unwrap();
    let shorter = [("put_start_timeout_ms", "2000"), ("put_release_timeout_ms", "15000")];
    primary.state.set_settings(&shorter, primary.now()).unwrap();
    let is_discarded = |primary: &Primary| {
        primary.heartbeat(1);
        primary.step().puts_discarded == 1
    };
    happens_after(&primary, 30_000, is_discarded);
    happens_after(&primary, 40_000, is_released);
    assert_eq!(primary.state.settings().owed, None);
    primary.start(1, "b", 100).unwrap();
    happens_after(&primary, 2000, is_discarded);
    happens_after(&primary, 15_000, is_released);
}

#[test]
fn a_client_and_a_task_keep_the_time_that_they_had() {
    let primary = primary();
    primary.mount(2, memory(2, "m2", 1 << 20)).unwrap();
    let mut how = crate::support::placed(1, 0);
    how.placement.preferred = vec!["m1"];
    primary.put_as(1, &how, "a", 100);
    let transfer = TransferItem { key: b"a", source: "m1", targets: vec!["m2"] };
    one(primary.state.create_tasks(&primary.call(2), &[TaskSpec { kind: TransferKind::Copy, transfer }])).unwrap();
    assert_eq!(primary.state.fetch_tasks(&primary.call(1), 1).unwrap().results.len(), 1);
    set(&primary, "task_timeout_ms", 10);
    set(&primary, "client_ttl_ms", 500);
    let heard = primary.state.heartbeat(&primary.call(1), "").unwrap();
    assert_eq!(heard.client_ttl_ms, 500);
    happens_after(&primary, 50_000, |primary| primary.step().tasks_updated == 1);
    // Client 2 has not been heard since; client 1 has.
    happens_after(&primary, PROMISED_MS - 50_000, |primary| {
        primary.heartbeat(1);
        primary.step().clients_expired == 1
    });
    assert_eq!(primary.state.settings().owed, None);
    happens_after(&primary, 500, |primary| primary.step().clients_expired == 1);
}

#[test]
fn a_longer_wait_counts_at_once() {
    let primary = primary();
    primary.put(1, "a", 100);
    let changed =
        primary.state.set_settings(&[("object_lease_ms", "60000"), ("put_release_timeout_ms", "60000")], primary.now());
    let changed = changed.unwrap();
    assert_eq!((changed.results.owed, changed.results.changed_seq), (None, changed.position.seq));
    let looked = primary.state.lookup("", [&b"a"[..]].into_iter(), primary.now(), |_| {}).unwrap();
    assert_eq!(looked.lease_ms, 60_000);
    assert!(looked.wait_seq >= changed.position.seq, "another primary might keep the shorter one");
    primary.remove_forced("a").unwrap();
    happens_after(&primary, 60_000, is_released);
}

#[test]
fn eviction_goes_by_the_new_watermark() {
    let primary = primary();
    let how = crate::support::placed(1, 0);
    (0..8).for_each(|n| drop(primary.put_as(1, &how, &n.to_string(), 1 << 16)));
    assert_eq!(primary.step().objects_evicted, 0);
    let changes = [("eviction_high_watermark", "0.4"), ("eviction_ratio", "0.2")];
    primary.state.set_settings(&changes, primary.now()).unwrap();
    assert!(primary.step().objects_evicted >= 4);
}

#[test]
fn a_setting_that_is_in_force_logs_nothing() {
    let primary = primary();
    set(&primary, "object_lease_ms", 1000);
    let (before, known) = (primary.state.settings(), primary.entries().len());
    let again = primary.state.set_settings(&[("object_lease_ms", "1000")], primary.now()).unwrap();
    assert_eq!((again.results, again.position.seq), (before, known as u64));
    assert_eq!(primary.entries().len(), known);
    primary.state.set_settings(&[], primary.now()).unwrap();
    assert_eq!(primary.entries().len(), known);
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let tail = TailConfig { entries_max: 2, ..TailConfig::default() };
    let primary = Primary::with_tail(Config { settings: settings(), ..config() }, tail);
    primary.tail.set_floor(Some(1));
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let before = (primary.state.digest(), primary.state.settings());
    let set = |name, value| primary.state.set_settings(&[(name, value)], primary.now());
    assert_eq!(field_of(set("client_ttl_ms", "0")), "client_ttl_ms");
    assert_eq!(field_of(set("objects_max", "7")), "name");
    assert!(matches!(set("object_lease_ms", "1000"), Err(CallRefused::Overloaded { .. })));
    assert_eq!((primary.state.digest(), primary.state.settings()), before);
    let standby = follower(&primary);
    assert_eq!(standby.set_settings(&[], primary.now()).unwrap_err(), CallRefused::NotPrimary);
}

#[test]
fn an_image_carries_them_and_what_is_owed() {
    let primary = primary();
    set(&primary, "object_lease_ms", 1000);
    assert!(primary.state.settings().owed.is_some());
    let rebuilt = rebuilt(&primary);
    assert_eq!(rebuilt.settings(), primary.state.settings());
    assert_eq!(rebuilt.digest(), primary.state.digest());
    rebuilt.check().unwrap();
    // A repair brings them to a member that has others.
    let mut other = Primary::with(other_flags());
    other.verify_at_end = false;
    other.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    set(&other, "object_lease_ms", 10);
    assert_eq!(other.state.position(), primary.state.position());
    other.state.follow();
    let image = oplog::Verifiable::capture_parts(&primary.state, &[oplog::Part { shard: DIRECTORY, bucket: 0 }]);
    let found = oplog::Verifiable::repair(&other.state, &image, 10).unwrap();
    assert!(found.iter().any(|mismatch| mismatch.record == "directory: settings"), "{found:?}");
    assert_eq!(other.state.settings(), primary.state.settings());
    assert_eq!(other.state.digest(), primary.state.digest());
}

/// With every byte of the op another one, and cut anywhere: no member falls over it, and none goes on with what is wrong.
#[test]
fn a_payload_that_no_primary_wrote_is_refused() {
    let primary = primary();
    set(&primary, "object_lease_ms", 1000);
    let entries = primary.entries();
    let good = entries.last().unwrap();
    let before = &entries[..entries.len() - 1];
    let mut refused = 0;
    let mut try_one = |payload: Vec<u8>| {
        let state = Metadata::new(config(), Position::default());
        before.iter().for_each(|entry| state.apply(entry).unwrap());
        let applied = state.apply(&Entry { payload: payload.into(), ..good.clone() });
        match applied {
            Ok(()) => state.settings().settings.validate().unwrap(),
            Err(ApplyError::Inconsistent { .. } | ApplyError::Decode(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        state.check().unwrap();
    };
    for at in 0..good.payload.len() {
        try_one(good.payload[..at].to_vec());
        for value in [0, 1, 0x7f, 0x80, 0xfd, 0xff] {
            let mut payload = good.payload.to_vec();
            payload[at] = value;
            try_one(payload);
        }
    }
    // What is owed stands twice, so hardly any change of a byte goes unseen.
    assert!(refused > 5 * good.payload.len(), "{refused} of {}", good.payload.len());
}

#[test]
fn an_image_with_settings_of_the_future_is_refused() {
    let primary = primary();
    set(&primary, "object_lease_ms", 1000);
    let mut rebuild = primary.state.rebuild();
    (0..DIRECTORY).for_each(|shard| {
        let image = primary.state.capture(shard);
        rebuild.install(&oplog::ShardImage { at: Position { epoch: 0, seq: 1 }, ..image }).unwrap();
    });
    let image = primary.state.capture(DIRECTORY);
    let early = oplog::ShardImage { at: Position { epoch: 0, seq: 1 }, ..image };
    let refused = rebuild.install(&early);
    assert!(matches!(&refused, Err(InstallError::Inconsistent { what }) if what.contains("settings")), "{refused:?}");
}

#[test]
fn a_lower_bound_of_gone_clients_is_met_in_small_steps_and_equally_on_all_members() {
    let settings = Settings { client_ttl_ms: 1000, ..settings() };
    let mut primary = Primary::with(Config { settings, ..config() });
    primary.verify_at_end = false;
    let goes = |primary: &Primary, whom: std::ops::RangeInclusive<u8>| {
        whom.for_each(|who| drop(primary.state.remove(&primary.numbered(who, 7), false, &[b"a"]).unwrap()));
        primary.pass(1000);
        primary.step();
    };
    let kept = |state: &Metadata| state.capture(DIRECTORY).records - 1;
    goes(&primary, 1..=200);
    assert_eq!(kept(&primary.state), 200);
    set(&primary, "tombstones_max", 3);
    assert_eq!(kept(&primary.state), 200, "one entry does not take them all away");
    goes(&primary, 201..=201);
    assert_eq!(kept(&primary.state), 200 + 1 - 64);
    // A member that joins in the middle of it has as many.
    let (joined, upto) = (rebuilt(&primary), primary.state.position().seq);
    assert_eq!(joined.digest(), primary.state.digest());
    for who in 202..=205 {
        goes(&primary, who..=who);
    }
    primary.entries().iter().filter(|entry| entry.seq > upto).for_each(|entry| joined.apply(entry).unwrap());
    assert_eq!(kept(&primary.state), 3);
    for member in [joined, follower(&primary), rebuilt(&primary)] {
        member.check().unwrap();
        assert_eq!(member.digest(), primary.state.digest());
        // The last three are known to it, and no other.
        let member = Primary::promoted(member, other_flags(), primary.now().ttl_ms);
        let expired = |who| member.state.remove(&member.numbered(who, 7), false, &[b"a"]).is_err();
        assert_eq!([1, 200, 202, 203, 204, 205].map(expired), [false, false, false, true, true, true]);
    }
}
