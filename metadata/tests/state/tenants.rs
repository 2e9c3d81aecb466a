//! Tenants: keys apart, quotas, and a bound on their number.

use oplog::{ApplyError, Entry, Position, Rebuild as _, ReplicatedState as _};
use understudy_metadata::{
    Address, Answer, AtBound, Bound, Call, CallRefused, Config, ListKeys, Metadata, Outcome, PutEndItem, PutStart,
    PutStartItem, Refusal, Scope,
};

use crate::support::{Primary, config, memory, one, placed};

fn primary() -> Primary {
    let primary = Primary::with(Config { tenants_max: 3, ..config() });
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    primary.mount(1, memory(2, "m2", 1 << 20)).unwrap();
    primary
}

fn start(primary: &Primary, tenant: &str, how: &PutStart<'_>, key: &str, size: u64) -> Result<(), Refusal> {
    let call = Call { tenant, ..primary.call(1) };
    let item = PutStartItem { key: key.as_bytes(), size };
    one(primary.state.put_start(&call, how, &[item])).map(drop)
}

fn put(primary: &Primary, tenant: &str, key: &str, size: u64) -> Result<(), Refusal> {
    start(primary, tenant, &PutStart { replace: true, ..placed(1, 0) }, key, size)?;
    let call = Call { tenant, ..primary.call(1) };
    let item = PutEndItem { key: key.as_bytes(), put: understudy_metadata::ItemId::NONE, checksum: None };
    one(primary.state.put_end(&call, Scope::All, &[item]))
}

fn used(primary: &Primary, tenant: &str) -> (u64, u64) {
    let usage = primary.state.tenants().1;
    let found = usage.iter().find(|usage| usage.name == tenant).unwrap();
    (found.objects, found.used_bytes)
}

#[test]
fn the_same_key_in_two_tenants_is_two_objects() {
    let primary = primary();
    put(&primary, "", "a", 100).unwrap();
    put(&primary, "blue", "a", 200).unwrap();
    assert_eq!(primary.lookup_in("", "a").0.unwrap().size, 100);
    assert_eq!(primary.lookup_in("blue", "a").0.unwrap().size, 200);
    assert_eq!(primary.lookup_in("red", "a").0, None);
    let blue = ListKeys { tenant: "blue", prefix: b"", regex: "", limit: 10 };
    assert_eq!(primary.state.list_keys(&blue, None).unwrap().keys.len(), 1);
    assert_eq!([used(&primary, ""), used(&primary, "blue")], [(1, 128), (1, 256)]);
}

#[test]
fn calls_on_a_tenant_that_does_not_exist_make_none() {
    let primary = primary();
    let call = Call { tenant: "red", ..primary.call(1) };
    assert_eq!(one(primary.state.remove(&call, true, &[b"a"])), Err(Refusal::NotFound));
    assert_eq!(one(primary.state.remove(&Call { number: 1, ..call }, true, &[b"a"])), Err(Refusal::NotFound));
    assert_eq!(one(primary.state.pin(&call, understudy_metadata::Pin::Hard, &[b"a"])), Err(Refusal::NotFound));
    assert_eq!(primary.state.tenants().1.len(), 1);
}

#[test]
fn a_put_that_is_refused_makes_no_tenant() {
    let primary = Primary::with_two_segments();
    assert_eq!(start(&primary, "blue", &placed(1, 0), "a", 1 << 20), Err(Refusal::NoSpace));
    let many = Call { tenant: "blue", ..primary.numbered(1, 1) };
    let items = [PutStartItem { key: b"a", size: 1 << 20 }];
    let numbered = || -> Outcome<()> { one(primary.state.put_start(&many, &placed(1, 0), &items)).map(drop) };
    assert_eq!(numbered(), Err(Refusal::NoSpace));
    assert_eq!(primary.state.tenants().1.len(), 1);
    put(&primary, "blue", "a", 1).unwrap();
    assert_eq!(primary.state.tenants().1.len(), 2);
    assert_eq!(numbered(), Err(Refusal::NoSpace), "a retry");
}

#[test]
fn the_number_of_tenants_is_bounded() {
    let primary = primary();
    put(&primary, "blue", "a", 1).unwrap();
    put(&primary, "red", "a", 1).unwrap();
    let before = primary.digest();
    let call = Call { tenant: "green", ..primary.call(1) };
    let item = PutStartItem { key: b"a", size: 1 };
    let refused = primary.state.put_start(&call, &placed(1, 0), &[item]).unwrap_err();
    assert!(matches!(refused, CallRefused::Overloaded { .. }), "{refused}");
    let refused = primary.state.set_tenant_quota("green", 1, primary.now()).unwrap_err();
    assert!(matches!(refused, CallRefused::Overloaded { .. }), "{refused}");
    assert_eq!(primary.digest(), before);
    primary.state.set_tenant_quota("red", 1, primary.now()).unwrap();
}

#[test]
fn a_quota_counts_every_replica_and_what_is_being_written() {
    let primary = primary();
    primary.state.set_tenant_quota("blue", 512, primary.now()).unwrap();
    start(&primary, "blue", &placed(2, 0), "a", 100).unwrap();
    assert_eq!(used(&primary, "blue"), (1, 256));
    assert_eq!(start(&primary, "blue", &placed(2, 0), "b", 129), Err(Refusal::QuotaExceeded));
    start(&primary, "blue", &placed(2, 0), "b", 128).unwrap();
    assert_eq!(start(&primary, "blue", &placed(1, 0), "c", 1), Err(Refusal::QuotaExceeded));
    start(&primary, "", &placed(1, 0), "c", 1).unwrap();
    primary.state.set_tenant_quota("blue", 0, primary.now()).unwrap();
    start(&primary, "blue", &placed(1, 0), "c", 1).unwrap();
}

#[test]
fn a_replacement_needs_room_for_both_versions() {
    let primary = primary();
    primary.state.set_tenant_quota("blue", 256, primary.now()).unwrap();
    put(&primary, "blue", "a", 128).unwrap();
    assert_eq!(put(&primary, "blue", "a", 192), Err(Refusal::QuotaExceeded));
    put(&primary, "blue", "a", 64).unwrap();
    put(&primary, "blue", "a", 192).unwrap();
    assert_eq!(used(&primary, "blue"), (1, 192));
    put(&primary, "blue", "a", 192).unwrap();
}

#[test]
fn a_copy_counts_against_the_quota() {
    let primary = primary();
    primary.state.set_tenant_quota("blue", 128, primary.now()).unwrap();
    put(&primary, "blue", "a", 100).unwrap();
    let call = Call { tenant: "blue", ..primary.call(1) };
    let item = |targets: &[&'static str]| understudy_metadata::TransferItem {
        key: b"a",
        source: "",
        targets: targets.to_vec(),
    };
    let kind = understudy_metadata::TransferKind::Copy;
    let refused = one(primary.state.transfer_start(&call, kind, &[item(&["m1", "m2"])])).unwrap_err();
    assert_eq!(refused, Refusal::QuotaExceeded);
}

#[test]
fn what_is_over_a_lowered_quota_stays() {
    let primary = primary();
    put(&primary, "blue", "a", 1000).unwrap();
    primary.state.set_tenant_quota("blue", 100, primary.now()).unwrap();
    assert!(primary.lookup_in("blue", "a").0.is_some());
    assert_eq!(put(&primary, "blue", "b", 1), Err(Refusal::QuotaExceeded));
    let call = Call { tenant: "blue", ..primary.call(1) };
    one(primary.state.remove(&call, true, &[b"a"])).unwrap();
    assert_eq!(used(&primary, "blue"), (0, 0));
    put(&primary, "blue", "b", 1).unwrap();
}

#[test]
fn the_default_tenant_has_a_quota_too() {
    let primary = primary();
    primary.state.set_tenant_quota("", 64, primary.now()).unwrap();
    put(&primary, "", "a", 64).unwrap();
    assert_eq!(put(&primary, "", "b", 1), Err(Refusal::QuotaExceeded));
    let rebuilt = primary.rebuilt();
    assert_eq!(rebuilt.tenants().1[0].quota_bytes, 64);
}

/// Where no refusal was expected.
fn delete(primary: &Primary, name: &str) -> Outcome<()> {
    one(primary.state.delete_tenant(&primary.call(9), name).map(Answer::refused_as))
}

fn names(primary: &Primary) -> Vec<String> {
    primary.state.tenants().1.into_iter().map(|usage| usage.name).collect()
}

fn remove_all(primary: &Primary, tenant: &str) {
    primary.state.remove_all(&Call { tenant, ..primary.call(1) }, true).unwrap();
}

#[test]
fn a_tenant_goes_once_it_is_empty_with_its_quota() {
    let primary = primary();
    primary.state.set_tenant_quota("blue", 1000, primary.now()).unwrap();
    put(&primary, "blue", "a", 100).unwrap();
    start(&primary, "blue", &placed(1, 0), "b", 100).unwrap();
    let before = primary.digest();
    assert_eq!(delete(&primary, "blue"), Err(Refusal::TenantNotEmpty { objects: 2, tasks: 0 }));
    assert_eq!(delete(&primary, "red"), Err(Refusal::TenantNotFound));
    assert_eq!(primary.digest(), before, "what is refused changes nothing");
    remove_all(&primary, "blue");
    delete(&primary, "blue").unwrap();
    assert_eq!(names(&primary), [""]);
    assert_eq!(delete(&primary, "blue"), Err(Refusal::TenantNotFound));
    put(&primary, "blue", "a", 2000).unwrap();
    assert_eq!(primary.state.tenants().1[1].quota_bytes, 0, "it is another one");
}

#[test]
fn the_default_tenant_stays() {
    let primary = primary();
    let refused = primary.state.delete_tenant(&primary.call(9), "").unwrap_err();
    assert!(matches!(&refused, CallRefused::Invalid { field, .. } if field == "tenant"), "{refused}");
}

#[test]
fn an_open_task_keeps_its_tenant_and_a_finished_one_does_not() {
    let primary = primary();
    put(&primary, "blue", "a", 100).unwrap();
    let call = Call { tenant: "blue", ..primary.call(1) };
    primary.mount(1, memory(3, "m3", 4096)).unwrap();
    let transfer = understudy_metadata::TransferItem { key: b"a", source: "", targets: vec!["m3"] };
    let kind = understudy_metadata::TransferKind::Copy;
    let id = one(primary.state.create_tasks(&call, &[understudy_metadata::TaskSpec { kind, transfer }])).unwrap();
    remove_all(&primary, "blue");
    assert_eq!(delete(&primary, "blue"), Err(Refusal::TenantNotEmpty { objects: 0, tasks: 1 }));
    assert_eq!(primary.fail_over().state.tenants().1.len(), 2);
    primary.state.fetch_tasks(&call, 1).unwrap();
    let done = understudy_metadata::TaskDone { id, failed: true, message: "" };
    one(primary.state.complete_tasks(&call, &[done])).unwrap();
    delete(&primary, "blue").unwrap();
    put(&primary, "blue", "a", 1).unwrap();
    let told = &primary.state.tasks(&[id]).results[0].tenant;
    assert_eq!(told, "(deleted)", "the task was not of the tenant that has its name now");
}

/// Of another tenant with the same name nothing may be found of the one before, on no member.
#[test]
fn the_name_of_a_deleted_tenant_is_another_tenant_on_every_member() {
    let primary = primary();
    put(&primary, "blue", "a", 100).unwrap();
    remove_all(&primary, "blue");
    delete(&primary, "blue").unwrap();
    put(&primary, "blue", "b", 200).unwrap();
    let next = primary.fail_over();
    for member in [&primary, &next] {
        assert_eq!(member.lookup_in("blue", "a").0, None);
        assert_eq!(member.lookup_in("blue", "b").0.unwrap().size, 200);
        assert_eq!(used(member, "blue"), (1, 256));
    }
    remove_all(&next, "blue");
    delete(&next, "blue").unwrap();
    assert_eq!(names(&next), [""]);
    let rebuilt = next.rebuilt();
    assert_eq!(rebuilt.digest(), next.state.digest());
    put(&next, "red", "c", 1).unwrap();
    next.state.check().unwrap();
}

/// The answer to a read that finds no tenant tells of its deletion, and of the removals before it.
#[test]
fn a_read_in_a_deleted_tenant_waits_for_the_deletion() {
    let primary = primary();
    put(&primary, "blue", "a", 100).unwrap();
    remove_all(&primary, "blue");
    delete(&primary, "blue").unwrap();
    let deleted = primary.state.position().seq;
    put(&primary, "", "elsewhere", 1).unwrap();
    for key in ["a", "b", "c", "d"] {
        let (found, wait_seq) = primary.lookup_in("blue", key);
        assert_eq!(found, None);
        assert!(wait_seq >= deleted, "{wait_seq} is before {deleted}");
    }
    let blue = ListKeys { tenant: "blue", prefix: b"", regex: "", limit: 10 };
    assert!(primary.state.list_keys(&blue, None).unwrap().wait_seq >= deleted);
    // A new tenant of that name: its shards know nothing of what was removed.
    put(&primary, "blue", "other", 1).unwrap();
    for key in ["a", "b", "c", "d"] {
        let (found, wait_seq) = primary.lookup_in("blue", key);
        assert_eq!(found, None);
        assert!(wait_seq > deleted, "{wait_seq} is not behind {deleted}");
    }
    let (found, wait_seq) = primary.lookup_in("", "not there");
    assert!(found.is_none() && wait_seq <= deleted, "the default tenant waits for no other: {wait_seq}");
}

#[test]
fn a_deletion_runs_once() {
    let primary = primary();
    put(&primary, "blue", "a", 100).unwrap();
    let (refused, done) = (primary.numbered(9, 1), primary.numbered(9, 2));
    let ask = |call: &Call<'_>| one(primary.state.delete_tenant(call, "blue").map(Answer::refused_as));
    assert_eq!(ask(&refused), Err(Refusal::TenantNotEmpty { objects: 1, tasks: 0 }));
    remove_all(&primary, "blue");
    assert_eq!(ask(&refused), Err(Refusal::TenantNotEmpty { objects: 1, tasks: 0 }), "a retry is told the same");
    assert_eq!(ask(&done), Ok(()));
    primary.state.set_tenant_quota("blue", 5, primary.now()).unwrap();
    assert_eq!(ask(&done), Ok(()), "a retry");
    assert_eq!(names(&primary), ["", "blue"], "it did not run again");
    let next = primary.fail_over();
    let Answer { results, .. } = next.state.delete_tenant(&done, "blue").unwrap();
    assert_eq!((results, names(&next)), (vec![Ok(())], vec![String::new(), "blue".to_owned()]));
    let reused = next.state.delete_tenant(&done, "red").unwrap_err();
    assert_eq!(reused, CallRefused::RequestReused { number: 2 });
}

#[test]
fn a_tenant_that_would_not_be_missed_makes_room_for_a_new_one() {
    let primary = primary();
    put(&primary, "blue", "a", 1).unwrap();
    primary.state.set_tenant_quota("red", 100, primary.now()).unwrap();
    remove_all(&primary, "blue");
    put(&primary, "green", "a", 1).unwrap();
    assert_eq!(names(&primary), ["", "red", "green"], "the one with a quota stays, and so does the one with an object");
    let call = Call { tenant: "blue", ..primary.call(1) };
    let item = PutStartItem { key: b"a", size: 1 };
    let refused = primary.state.put_start(&call, &placed(1, 0), &[item]).unwrap_err();
    let CallRefused::Overloaded { at: Some(at), .. } = refused else { panic!("{refused}") };
    assert_eq!(at, AtBound { bound: Bound::Tenants, have: 3, limit: 3 });
    primary.state.set_tenant_quota("red", 0, primary.now()).unwrap();
    primary.state.set_tenant_quota("yellow", 7, primary.now()).unwrap();
    assert_eq!(names(&primary), ["", "green", "yellow"]);
}

#[test]
fn clients_of_one_address_fill_no_more_than_their_share_of_the_tenants() {
    let primary = Primary::with(Config { tenants_max: 10, tenants_per_address_max: 2, ..config() });
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    let put_from = |address: u64, tenant: &'static str| {
        let call = Call { tenant, address: Some(Address::new(address)), ..primary.call(1) };
        primary.state.put_start(&call, &placed(1, 0), &[PutStartItem { key: b"a", size: 1 }]).map(drop)
    };
    put_from(1, "blue").unwrap();
    put_from(1, "red").unwrap();
    let refused = put_from(1, "green").unwrap_err();
    assert!(refused.to_string().contains("tenants_per_address_max: 2 "), "{refused}");
    put_from(2, "green").unwrap();
    remove_all(&primary, "red");
    put_from(1, "yellow").expect("an empty one does not count");
    put_from(1, "white").expect_err("at the bound again");
    remove_all(&primary, "blue");
    delete(&primary, "blue").unwrap();
    put_from(1, "white").unwrap();
}

/// What no primary writes is refused by whoever applies it.
#[test]
fn a_deletion_of_a_tenant_with_an_object_is_not_believed() {
    let primary = primary();
    put(&primary, "blue", "a", 1).unwrap();
    remove_all(&primary, "blue");
    delete(&primary, "blue").unwrap();
    let entries = primary.entries();
    let (deletion, before) = entries.split_last().unwrap();
    let (removal, before) = before.split_last().unwrap();
    let late = Metadata::new(primary.config.clone(), Position::default());
    before.iter().for_each(|entry| late.apply(entry).unwrap());
    let refused = late.apply(&Entry { seq: removal.seq, ..deletion.clone() }).unwrap_err();
    assert!(matches!(refused, ApplyError::Inconsistent { .. }), "{refused}");
}

/// Images of different moments: the objects of a tenant that has gone by the time of the directory.
#[test]
fn a_full_sync_across_a_deletion_ends_with_the_same_state() {
    let primary = primary();
    put(&primary, "", "a", 1).unwrap();
    let mut rebuild = primary.state.rebuild();
    let shards = primary.state.shards();
    (0..shards - 1).for_each(|shard| rebuild.install(&primary.state.capture(shard)).unwrap());
    let before = primary.state.position();
    put(&primary, "blue", "b", 1).unwrap();
    remove_all(&primary, "blue");
    delete(&primary, "blue").unwrap();
    put(&primary, "blue", "c", 1).unwrap();
    rebuild.install(&primary.state.capture(shards - 1)).unwrap();
    for frame in primary.tail.entries_since(before.seq, usize::MAX, usize::MAX).unwrap() {
        rebuild.apply(&frame.decode().unwrap()).unwrap();
    }
    let rebuilt = rebuild.finish().unwrap();
    rebuilt.check().unwrap();
    assert_eq!(rebuilt.digest(), primary.state.digest());
}
