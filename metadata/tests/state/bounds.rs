//! Bounds that one caller could use against others: what one client, or one address, may take; and space that is retired.
//!
//! Deliberately absent: bounds of tenants (`tenants`).

use understudy_metadata::{
    Address, AtBound, Bound, Call, CallRefused, Config, ItemId, PutRevokeItem, PutStartItem, Refusal, Scope, Settings,
    TransferKind,
};

use crate::support::{Primary, bound_of, config, memory, one, placed, refusal};

fn at(refused: CallRefused) -> AtBound {
    match refused {
        CallRefused::Overloaded { at: Some(at), retry_after_ms: 1.., .. } => at,
        other => panic!("{other}"),
    }
}

fn start_many(primary: &Primary, who: u8, keys: &[&str]) -> Result<(), CallRefused> {
    let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 1 }).collect();
    primary.state.put_start(&primary.call(who), &placed(1, 0), &items).map(drop)
}

#[test]
fn every_bound_that_can_be_set_says_its_setting_and_both_figures() {
    for bound in Bound::ALL {
        let told = AtBound { bound: *bound, have: 1234, limit: 5678 }.to_string();
        assert!(told.contains("1234") && told.contains("the limit is 5678"), "{told}");
        if let Some(setting) = bound.setting() {
            assert!(told.starts_with(&format!("{setting}: ")), "{told}");
        }
    }
    let fixed: Vec<_> = Bound::ALL.iter().filter(|bound| bound.setting().is_none()).collect();
    assert_eq!(fixed, [&Bound::SegmentBytes, &Bound::Replicas], "limits of the format");
}

#[test]
fn one_address_fills_no_more_than_its_share_of_the_clients() {
    let primary = Primary::with(Config { clients_max: 5, clients_per_address_max: 2, ..config() });
    let remount = |who: u8, address: u64| {
        let call = Call { address: Some(Address::new(address)), ..primary.call(who) };
        primary.state.remount(&call, &[]).map(drop)
    };
    remount(1, 7).unwrap();
    remount(2, 7).unwrap();
    let full = AtBound { bound: Bound::ClientsPerAddress, have: 2, limit: 2 };
    assert_eq!(at(remount(3, 7).unwrap_err()), full);
    remount(1, 7).expect("it is known");
    remount(3, 8).expect("of another address");
    remount(4, 8).unwrap();
    primary.state.remount(&primary.call(5), &[]).expect("from within");
    assert_eq!(at(remount(6, 9).unwrap_err()), AtBound { bound: Bound::Clients, have: 5, limit: 5 });
    primary.state.check().unwrap();
    // Whoever is silent makes room.
    primary.pass(config().settings.client_ttl_ms);
    primary.step();
    remount(3, 7).unwrap();
    primary.state.check().unwrap();
}

#[test]
fn a_new_primary_counts_the_clients_that_it_hears() {
    let primary = Primary::with(Config { clients_per_address_max: 2, ..config() });
    let from = |primary: &Primary, who: u8| Call { address: Some(Address::new(7)), ..primary.call(who) };
    primary.state.remount(&from(&primary, 1), &[]).unwrap();
    primary.state.remount(&from(&primary, 2), &[]).unwrap();
    let next = primary.fail_over();
    assert!(next.state.heartbeat(&from(&next, 1), "").unwrap().known);
    next.state.remount(&from(&next, 2), &[]).unwrap();
    next.state.remount(&from(&next, 3), &[]).expect_err("both of them are heard");
    next.state.check().unwrap();
}

#[test]
fn one_client_fills_no_more_than_its_share_of_the_segments() {
    let bounds = Config { client_segments_max: 2, client_segment_bytes_max: 10_000, ..config() };
    let primary = Primary::with(bounds);
    primary.mount(1, memory(1, "m", 4096)).unwrap();
    assert_eq!(bound_of(refusal(primary.mount(1, memory(2, "m", 8192)))), Bound::ClientSegmentBytes);
    primary.mount(1, memory(2, "m", 4096)).unwrap();
    let full = Refusal::Overloaded(AtBound { bound: Bound::ClientSegments, have: 2, limit: 2 });
    assert_eq!(refusal(primary.mount(1, memory(3, "m", 64))), full);
    primary.mount(2, memory(3, "m", 8192)).expect("another client");
    primary.unmount(1, 1, 0).unwrap();
    primary.step_to_the_end();
    primary.mount(1, memory(4, "m", 4096)).unwrap();
}

#[test]
fn one_client_has_no_more_than_its_share_of_puts_under_way() {
    let primary = Primary::with(Config { client_puts_max: 2, ..config() });
    primary.mount(1, memory(1, "m1", 65536)).unwrap();
    primary.mount(1, memory(2, "m2", 65536)).unwrap();
    start_many(&primary, 1, &["a", "b"]).unwrap();
    let before = primary.digest();
    let full = at(start_many(&primary, 1, &["c"]).unwrap_err());
    assert_eq!(full, AtBound { bound: Bound::ClientPuts, have: 3, limit: 2 });
    assert_eq!(primary.digest(), before);
    start_many(&primary, 2, &["c"]).expect("another client");
    one(primary.state.remove(&primary.call(1), true, &[b"a"])).unwrap();
    primary.put(1, "d", 1);
    primary.put(1, "e", 1);
    one(primary.state.remove(&primary.call(1), true, &[b"b"])).unwrap();
    primary
        .transfer(1, TransferKind::Copy, "d", "m1", &["m2"])
        .or_else(|_| primary.transfer(1, TransferKind::Copy, "d", "m2", &["m1"]))
        .unwrap();
    start_many(&primary, 1, &["f"]).unwrap();
    start_many(&primary, 1, &["g"]).expect_err("a copy counts too");
}

/// Clients mount their segments again at once, and readers and writers of before may still be at work in them.
#[test]
fn no_space_is_given_out_in_a_cluster_that_began_anew_before_earlier_promises_are_over() {
    let primary = Primary::anew(config(), 5);
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let Settings { object_lease_ms, put_start_timeout_ms, .. } = config().settings;
    primary.pass(object_lease_ms.max(put_start_timeout_ms) - 1);
    let refused = start_many(&primary, 1, &["a"]).unwrap_err();
    assert!(
        matches!(&refused, CallRefused::Overloaded { what, at: None, .. } if what.contains("began anew")),
        "{refused:?}"
    );
    // Another member does not know how long ago that was.
    let next = primary.fail_over();
    next.pass(object_lease_ms.max(put_start_timeout_ms) - 1);
    start_many(&next, 1, &["a"]).unwrap_err();
    next.pass(1);
    start_many(&next, 1, &["a"]).unwrap();
    primary.pass(1);
    start_many(&primary, 1, &["a"]).unwrap();
    start_many(&primary.fail_over(), 1, &["b"]).expect("puts have begun: the wait was over");
    one(primary.state.remove(&primary.call(1), true, &[b"a"])).unwrap();
    start_many(&primary.fail_over_to_rebuilt(), 1, &["b"]).expect("an image tells that, too, where nothing is left");
    let first = Primary::anew(config(), 1);
    first.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    start_many(&first, 1, &["a"]).expect("nothing was promised before the first epoch");
}

/// What its clients may be writing, and what they gave up and no client may use yet.
#[test]
fn one_address_takes_no_more_than_its_share_of_the_space_that_waits() {
    let primary = Primary::with(Config { extents_per_address_max: 6, ..config() });
    for n in 1..=4 {
        primary.mount(n, memory(n, "m", 1 << 20)).unwrap();
    }
    let start = |who: u8, address: u64, key: &str, replicas: u32| {
        let call = Call { address: Some(Address::new(address)), ..primary.call(who) };
        let item = PutStartItem { key: key.as_bytes(), size: 1 };
        primary.state.put_start(&call, &placed(replicas, 0), &[item]).map(drop)
    };
    let full = |have| AtBound { bound: Bound::ExtentsPerAddress, have, limit: 6 };
    start(1, 7, "a", 3).unwrap();
    start(2, 7, "b", 3).unwrap();
    assert_eq!(at(start(3, 7, "c", 1).unwrap_err()), full(6), "whatever client it is");
    start(3, 8, "c", 1).expect("another address");
    start(4, 7, "d", 1).expect_err("a client that is new");
    primary.state.check().unwrap();
    // An unmount gives up what is being written there, one replica of each put; a removal all that is left.
    primary.unmount(1, 1, 0).unwrap();
    primary.step();
    primary.state.check().unwrap();
    one(primary.state.remove(&primary.call(1), true, &[b"a"])).unwrap();
    primary.state.check().unwrap();
    assert_eq!(at(start(2, 7, "e", 1).unwrap_err()), full(6), "its space waits");
    primary.pass(config().settings.put_release_timeout_ms - 1);
    primary.step();
    assert_eq!(at(start(2, 7, "e", 1).unwrap_err()), full(6), "its space waits still");
    primary.state.check().unwrap();
    primary.pass(1);
    primary.step();
    primary.state.check().unwrap();
    start(2, 7, "e", 3).unwrap();
    // What ends as it should counts no more.
    primary.put(2, "f", 1);
    let call = Call { address: Some(Address::new(7)), ..primary.call(2) };
    for key in ["e", "g", "h", "i"] {
        if key != "e" {
            start(2, 7, key, 3).unwrap();
        }
        let item = PutRevokeItem { key: key.as_bytes(), put: ItemId::NONE };
        one(primary.state.put_revoke(&call, Scope::All, &[item])).unwrap();
    }
    primary.state.check().unwrap();
    let next = primary.fail_over();
    next.state.check().unwrap();
}

#[test]
fn one_address_mounts_no_more_than_its_share_of_the_segments() {
    let primary = Primary::with(Config { segments_per_address_max: 2, ..config() });
    let mount = |who: u8, address: u64, n: u8| {
        let call = Call { address: Some(Address::new(address)), ..primary.call(who) };
        one(primary.state.mount(&call, &[memory(n, "m", 4096)])).map(drop)
    };
    mount(1, 7, 1).unwrap();
    mount(2, 7, 2).unwrap();
    let full = Refusal::Overloaded(AtBound { bound: Bound::SegmentsPerAddress, have: 2, limit: 2 });
    assert_eq!(mount(3, 7, 3).unwrap_err(), full);
    mount(2, 7, 2).expect("it is mounted");
    mount(3, 8, 3).expect("from another address");
    primary.state.check().unwrap();
    primary.unmount(1, 1, 0).unwrap();
    primary.step_to_the_end();
    mount(3, 7, 4).unwrap();
    primary.state.check().unwrap();
}

/// What `health` tells: nothing more of these can be had by any client.
#[test]
fn bounds_of_all_clients_together_are_told_once_they_are_met() {
    let bounds = Config { objects_max: 1, segments_max: 2, clients_max: 3, tenants_max: 2, tasks_max: 2, ..config() };
    let primary = Primary::with(Config { finished_tasks_max: 1, ..bounds });
    let full = || primary.state.totals().full.iter().map(|at| (at.bound, at.have, at.limit)).collect::<Vec<_>>();
    assert_eq!(full(), []);
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    primary.put(1, "a", 1);
    assert_eq!(full(), [(Bound::Objects, 1, 1)]);
    one(primary.state.remove(&primary.call(1), true, &[b"a"])).unwrap();
    assert_eq!(full(), [], "there is room again");
    primary.mount(2, memory(2, "m2", 1 << 20)).unwrap();
    primary.state.remount(&primary.call(3), &[]).unwrap();
    assert_eq!(full(), [(Bound::Segments, 2, 2), (Bound::Clients, 3, 3)]);
    primary.state.set_tenant_quota("blue", 1 << 20, primary.now()).unwrap();
    assert_eq!(full()[2..], [(Bound::Tenants, 2, 2)], "a quota keeps it");
    primary.state.set_tenant_quota("blue", 0, primary.now()).unwrap();
    assert_eq!(full().len(), 2, "an idle tenant makes room");
    assert_eq!(Primary::with(Config { tenants_max: 1, ..config() }).state.totals().full, [], "none are wanted");
}

/// Puts that are begun and removed at once: their space waits for the time-out of a release, however many there are.
#[test]
fn retired_space_is_bounded_in_pieces_and_removals_go_on() {
    const MAX: u64 = 300;
    let primary = Primary::with(Config { retired_extents_max: MAX, ..config() });
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    primary.mount(1, memory(2, "m2", 1 << 20)).unwrap();
    primary.put(2, "whole", 1);
    primary.put(2, "other", 1);
    let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let bytes: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    for _ in 0..3 {
        start_many(&primary, 1, &keys).unwrap();
        primary.state.remove(&primary.call(1), true, &bytes).unwrap();
    }
    let totals = primary.state.totals();
    assert_eq!((totals.retired_extents, totals.retired_bytes), (MAX, 64 * MAX));
    let full = at(start_many(&primary, 2, &["new"]).unwrap_err());
    assert_eq!(full, AtBound { bound: Bound::RetiredExtents, have: MAX, limit: MAX });
    let item = understudy_metadata::TransferItem { key: b"whole", source: "", targets: vec!["m1"] };
    let refused = primary.state.transfer_start(&primary.call(2), TransferKind::Copy, &[item]).unwrap_err();
    assert_eq!(at(refused).bound, Bound::RetiredExtents);
    // What makes room is never refused, though it may retire more.
    primary.lookup("whole").unwrap();
    primary.remove_forced("whole").unwrap();
    assert_eq!(primary.state.totals().retired_extents, MAX + 1);
    assert_eq!(primary.rebuilt().totals().retired_extents, MAX + 1, "counted again from images");
    // The promise of the time-out stands: nothing is free before.
    primary.pass(config().settings.put_release_timeout_ms - 1);
    primary.step();
    assert_eq!(primary.state.totals().retired_extents, MAX);
    primary.pass(1);
    primary.step();
    assert_eq!(primary.state.totals().retired_extents, 0);
    start_many(&primary, 2, &["new"]).unwrap();
}

/// Without a number nobody could ask again for the rest, so that it is told of each item.
#[test]
fn the_rest_of_a_long_call_says_which_bound_it_met() {
    let primary = Primary::with(Config { client_puts_max: 300, ..config() });
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let names: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    let items: Vec<_> = names.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 1 }).collect();
    let results = primary.state.put_start(&primary.call(1), &placed(1, 0), &items).unwrap().results;
    assert!(results[..256].iter().all(Result::is_ok));
    assert!(
        results[256..].iter().all(|result| matches!(result, Err(refused) if bound_of(*refused) == Bound::ClientPuts))
    );
}
