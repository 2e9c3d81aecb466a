//! Bad input: the error names the field, and nothing has changed.

use oplog::{ClientId, TailConfig};
use understudy_metadata::{
    Bound, CALL_ITEMS_MAX, Call, CallRefused, Config, KEY_BYTES_MAX, ListKeys, OBJECT_BYTES_MAX, Placement, PutEndItem,
    PutRevokeItem, PutStart, PutStartItem, REPLICAS_MAX, Refusal, Scope, SegmentId, SegmentSpec, Settings, Strategy,
    TEXT_BYTES_MAX, TransferFinishItem, TransferItem, TransferKind,
};

use crate::support::{Primary, bound_of, config, disk, field_of, memory, placed, refusal};

/// A field of each check, seen from a state that must be the same afterwards.
fn refused(check: impl Fn(&Primary) -> String) -> String {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let (digest, position) = (primary.digest(), primary.state.position());
    let field = check(&primary);
    assert_eq!((primary.digest(), primary.state.position()), (digest, position));
    field
}

#[test]
fn keys_have_from_one_byte_to_the_limit_in_every_call() {
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    for key in [&b""[..], &long] {
        let fields = |p: &Primary| {
            let call = p.call(1);
            let put = understudy_metadata::ItemId::NONE;
            [
                field_of(p.state.put_start(
                    &call,
                    &placed(1, 0),
                    &[PutStartItem { key: b"x", size: 1 }, PutStartItem { key, size: 1 }],
                )),
                field_of(p.state.put_end(
                    &call,
                    Scope::All,
                    &[PutEndItem { key: b"x", put, checksum: None }, PutEndItem { key, put, checksum: None }],
                )),
                field_of(p.state.put_revoke(
                    &call,
                    Scope::All,
                    &[PutRevokeItem { key: b"x", put }, PutRevokeItem { key, put }],
                )),
                field_of(p.state.remove(&call, true, &[b"x", key])),
                field_of(p.state.pin(&call, understudy_metadata::Pin::Hard, &[b"x", key])),
                field_of(p.state.transfer_start(
                    &call,
                    TransferKind::Copy,
                    &[
                        TransferItem { key: b"x", source: "", targets: vec!["m1"] },
                        TransferItem { key, source: "", targets: vec!["m1"] },
                    ],
                )),
                field_of(p.state.transfer_end(
                    &call,
                    TransferKind::Copy,
                    &[TransferFinishItem { key: b"x", id: put }, TransferFinishItem { key, id: put }],
                )),
            ]
            .join(" ")
        };
        let item = "items[1].key";
        let same = [item, item, item, "keys[1]", "keys[1]", item, item].join(" ");
        assert_eq!(refused(fields), same);
        assert_eq!(refused(|p| field_of(p.state.lookup("", [&b"x"[..], key].into_iter(), p.now(), |_| {}))), "keys[1]");
    }
    let primary = Primary::with_two_segments();
    let longest = "k".repeat(KEY_BYTES_MAX);
    primary.put(1, &longest, 1);
    assert!(primary.lookup(&longest).is_some());
}

#[test]
fn sizes_have_limits() {
    for size in [0, OBJECT_BYTES_MAX + 1, u64::MAX] {
        let check =
            |p: &Primary| field_of(p.state.put_start(&p.call(1), &placed(1, 0), &[PutStartItem { key: b"x", size }]));
        assert_eq!(refused(check), "items[0].size");
    }
    let primary = Primary::with_two_segments();
    assert_eq!(refusal(primary.start(1, "x", OBJECT_BYTES_MAX)), Refusal::NoSpace);
}

#[test]
fn placements_have_limits() {
    let field = |placement: Placement<'_>| {
        refused(|p| {
            let how = PutStart { placement: placement.clone(), ..PutStart::default() };
            field_of(p.state.put_start(&p.call(1), &how, &[PutStartItem { key: b"x", size: 1 }]))
        })
    };
    let base = Placement { memory_replicas: 1, ..Placement::default() };
    assert_eq!(field(Placement { memory_replicas: REPLICAS_MAX + 1, ..base.clone() }), "placement.replicas");
    assert_eq!(field(Placement { memory_replicas: u32::MAX, disk_replicas: 1, ..base.clone() }), "placement.replicas");
    assert_eq!(field(Placement { memory_replicas: 0, ..base.clone() }), "placement.replicas");
    assert_eq!(field(Placement { disk_replicas: u32::MAX, ..base.clone() }), "placement.disk_replicas");
    let many = vec!["m"; REPLICAS_MAX as usize + 1];
    assert_eq!(field(Placement { preferred: many, ..base.clone() }), "placement.preferred_segments");
    let long = "m".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(field(Placement { preferred: vec![&long], ..base }), "placement.preferred_segments");
}

#[test]
fn segments_have_limits() {
    let long = "m".repeat(TEXT_BYTES_MAX + 1);
    let good = memory(7, "m7", 4096);
    let bad = [
        ("id", SegmentSpec { id: SegmentId([0; 16]), ..good }),
        ("size", SegmentSpec { size: 63, ..good }),
        ("size", SegmentSpec { size: 0, ..good }),
        ("size", SegmentSpec { size: u64::MAX, ..good }),
        ("base", SegmentSpec { base: u64::MAX - 4095, ..good }),
        ("name", SegmentSpec { name: "", ..good }),
        ("name", SegmentSpec { name: &long, ..good }),
        ("endpoint", SegmentSpec { endpoint: &long, ..good }),
        ("protocol", SegmentSpec { protocol: &long, ..good }),
        ("host", SegmentSpec { host: &long, ..good }),
        ("path", SegmentSpec { path: &long, ..good }),
        ("path", SegmentSpec { path: "", ..disk(7, "d7", 4096) }),
    ];
    for (field, spec) in bad {
        assert_eq!(refused(|p| field_of(p.state.mount(&p.call(1), &[good, spec]))), format!("segments[1].{field}"));
        assert_eq!(refused(|p| field_of(p.state.remount(&p.call(1), &[spec]))), format!("segments[0].{field}"));
    }
    let primary = Primary::new();
    primary.mount(1, SegmentSpec { base: u64::MAX - 4096, ..good }).unwrap();
    let place = primary.put(1, "a", 4096 - 64).places[0];
    assert_eq!(place.address, u64::MAX - 4096);
}

#[test]
fn callers_have_limits() {
    let long = "t".repeat(TEXT_BYTES_MAX + 1);
    let keys: [&[u8]; 1] = [b"a"];
    let nobody = |p: &Primary| Call { client: ClientId::default(), ..p.call(1) };
    assert_eq!(refused(|p| field_of(p.state.remove(&nobody(p), false, &keys))), "caller.client_id");
    assert_eq!(refused(|p| field_of(p.state.remove_all(&nobody(p), false))), "caller.client_id");
    assert_eq!(refused(|p| field_of(p.state.heartbeat(&nobody(p), ""))), "caller.client_id");
    assert_eq!(refused(|p| field_of(p.state.heartbeat(&p.call(1), &long))), "host");
    let strange = |p: &Primary| field_of(p.state.remove(&Call { tenant: &long, ..p.call(1) }, false, &keys));
    assert_eq!(refused(strange), "caller.tenant");
    assert_eq!(refused(|p| field_of(p.state.lookup(&long, keys.into_iter(), p.now(), |_| {}))), "caller.tenant");
    assert_eq!(refused(|p| field_of(p.state.set_tenant_quota(&long, 1, p.now()))), "tenant");
}

#[test]
fn calls_have_a_bounded_number_of_items() {
    let keys: Vec<&[u8]> = vec![b"a"; CALL_ITEMS_MAX + 1];
    assert_eq!(refused(|p| field_of(p.state.remove(&p.call(1), true, &keys))), "keys");
    assert_eq!(refused(|p| field_of(p.state.lookup("", keys.iter().copied(), p.now(), |_| {}))), "keys");
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let results = primary.state.remove(&primary.call(1), true, &keys[1..]).unwrap().results;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.len(), CALL_ITEMS_MAX);
}

#[test]
fn lists_have_limits() {
    let list = |limit, regex: &str| {
        let what = ListKeys { tenant: "", prefix: b"", regex, limit };
        refused(|p| field_of(p.state.list_keys(&what, None)))
    };
    assert_eq!(list(0, ""), "limit");
    assert_eq!(list(CALL_ITEMS_MAX + 1, ""), "limit");
    assert_eq!(list(1, "("), "regex");
}

#[test]
fn a_log_without_room_refuses_the_call_and_nothing_has_changed() {
    let tail = TailConfig { entries_max: 5, ..TailConfig::default() };
    let primary = Primary::with_tail(config(), tail);
    primary.tail.set_floor(Some(1));
    primary.mount(1, memory(1, "m1", 65536)).unwrap();
    primary.mount(2, memory(2, "m2", 65536)).unwrap();
    primary.put(1, "a", 100);
    let (digest, bytes) = (primary.digest(), primary.bytes());
    let item = PutStartItem { key: b"b", size: 1 };
    let refused = primary.state.put_start(&primary.numbered(1, 1), &placed(1, 0), &[item]).unwrap_err();
    assert!(matches!(refused, CallRefused::Overloaded { .. }), "{refused}");
    primary.pass(1 << 41);
    primary.state.step(primary.now()).unwrap_err();
    primary.state.remove_all(&primary.call(1), true).unwrap_err();
    assert_eq!((primary.digest(), primary.bytes()), (digest, bytes));
}

/// What has been done of a long call is told; a retry could not ask for it again without a number.
#[test]
fn a_long_call_that_meets_a_full_log_tells_what_it_did() {
    let tail = TailConfig { entries_max: 4, ..TailConfig::default() };
    let primary = Primary::with_tail(config(), tail);
    primary.tail.set_floor(Some(1));
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let items: Vec<_> = names.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 1 }).collect();
    let results = primary.state.put_start(&primary.call(1), &placed(1, 0), &items).unwrap().results;
    assert_eq!(results.len(), 1000);
    assert!(results[..512].iter().all(Result::is_ok));
    assert!(
        results[512..].iter().all(|result| matches!(result, Err(refused) if bound_of(*refused) == Bound::TailEntries))
    );
}

/// With a number it is refused, and the retry goes on from there.
#[test]
fn a_long_numbered_call_that_meets_a_full_log_goes_on_at_its_retry() {
    let tail = TailConfig { entries_max: 4, ..TailConfig::default() };
    let mut primary = Primary::with_tail(config(), tail);
    primary.verify_at_end = false;
    primary.tail.set_floor(Some(1));
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let items: Vec<_> = names.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 1 }).collect();
    let call = primary.numbered(1, 1);
    let refused = primary.state.put_start(&call, &placed(1, 0), &items).unwrap_err();
    assert!(matches!(refused, CallRefused::InPart { done: 512, .. }), "{refused}");
    let (deposed, appender) = (&primary.state, primary.state.follow().unwrap());
    assert_eq!(
        deposed.put_start(&call, &placed(1, 0), &items).unwrap_err(),
        CallRefused::NotPrimary,
        "this try did not run"
    );
    deposed.lead(appender, primary.now(), 1);
    assert_eq!(primary.keys().len(), 512);
    primary.tail.set_floor(None);
    let results = primary.state.put_start(&call, &placed(1, 0), &items).unwrap().results;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(primary.keys().len(), 1000);
    primary.state.check().unwrap();
}

#[test]
fn objects_are_bounded() {
    let primary = Primary::with(Config { objects_max: 2, ..config() });
    primary.mount(1, memory(1, "m1", 65536)).unwrap();
    primary.put(1, "a", 1);
    primary.put(1, "b", 1);
    assert_eq!(bound_of(refusal(primary.start(1, "c", 1))), Bound::Objects);
    let put = primary.start_over(1, "b", 2).unwrap().put;
    primary.end(1, "b", put).unwrap();
    primary.remove("a").unwrap();
    primary.put(1, "c", 1);
}

#[test]
fn a_configuration_names_the_rule_that_it_breaks() {
    let good = Config { strategy: Strategy::FreeRatioFirst, ..Config::default() };
    good.validate().unwrap();
    let bad = [
        ("client_ttl_ms", Config { settings: Settings { client_ttl_ms: 0, ..good.settings }, ..good.clone() }),
        ("object_lease_ms", Config { settings: Settings { object_lease_ms: 0, ..good.settings }, ..good.clone() }),
        (
            "put_start_timeout_ms",
            Config { settings: Settings { put_start_timeout_ms: 0, ..good.settings }, ..good.clone() },
        ),
        (
            "put_release_timeout_ms",
            Config { settings: Settings { put_release_timeout_ms: 9_999, ..good.settings }, ..good.clone() },
        ),
        (
            "eviction_high_watermark",
            Config { settings: Settings { eviction_high_watermark: 1.1, ..good.settings }, ..good.clone() },
        ),
        (
            "eviction_high_watermark",
            Config { settings: Settings { eviction_high_watermark: f64::NAN, ..good.settings }, ..good.clone() },
        ),
        ("eviction_ratio", Config { settings: Settings { eviction_ratio: 0.9, ..good.settings }, ..good.clone() }),
        ("answers_max", Config { answers_max: 0, ..good.clone() }),
        ("answer_bytes_max", Config { answer_bytes_max: 1 << 30, ..good.clone() }),
        ("finished_tasks_max", Config { finished_tasks_max: 100_000, ..good.clone() }),
        ("tenants_max", Config { tenants_max: 0, ..good.clone() }),
    ];
    for (field, config) in bad {
        assert_eq!(field_of(config.validate()), field);
    }
}
