//! Tenants: keys apart, quotas, and a bound on their number.

use understudy_metadata::{
    Call, CallRefused, Config, ListKeys, Outcome, PutEndItem, PutStart, PutStartItem, Refusal, Scope,
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
