//! By name and as an op: what is believed, and what a change owes.

use super::*;

fn refused<T: std::fmt::Debug>(what: Result<T, CallRefused>) -> String {
    what.expect_err("it must be refused").to_string()
}

/// Than the default one, and goes with all others.
fn other_value(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("eviction_") => "0.25",
        "object_lease_ms" => "500000",
        _ => "700000",
    }
}

#[test]
fn every_setting_is_read_and_set_by_its_name() {
    let settings = Settings::default();
    for name in Settings::names() {
        let value = settings.get(name).expect("it is there");
        assert_eq!(settings.with(name, &value), Ok(settings));
        let other = other_value(name);
        let changed = settings.with(name, other).expect("it keeps the rules");
        assert_eq!(changed.get(name).as_deref(), Some(other));
        assert_eq!(changed.differences(&settings), [(*name, other.to_owned(), value)]);
    }
    assert_eq!(settings.get("objects_max"), None);
}

#[test]
fn a_refused_value_is_named_with_its_setting_and_the_rule() {
    let with = |name, value| refused(Settings::default().with(name, value));
    assert_eq!(with("client_ttl_ms", "0"), "client_ttl_ms: 0 must be 1 to 3600000");
    assert_eq!(with("client_ttl_ms", "-1"), "client_ttl_ms: \"-1\" is not a whole number");
    assert_eq!(with("object_lease_ms", "600001"), PUT_RELEASE);
    assert_eq!(with("put_start_timeout_ms", "3600001"), format!("put_start_timeout_ms: 3600001 {WAIT}"));
    assert_eq!(with("task_timeout_ms", "0"), format!("task_timeout_ms: 0 {WAIT}"));
    let limit = "\"4294967296\" is not a whole number of at most 4294967295";
    assert_eq!(with("soft_pin_ttl_ms", "4294967296"), format!("soft_pin_ttl_ms: {limit}"));
    for value in ["NaN", "inf", "0", "1.1", "0.0009", "-1"] {
        let rule = "must be 0.001 to 1";
        assert_eq!(with("eviction_high_watermark", value), format!("eviction_high_watermark: {value} {rule}"));
    }
    for value in ["NaN", "-0.1", "-0", "0.0009", "1.1"] {
        let rule = "must be 0, or 0.001 to 1";
        assert_eq!(with("eviction_ratio", value), format!("eviction_ratio: {value} {rule}"));
    }
    let tiny = with("eviction_ratio", "1e-300");
    assert!(tiny.starts_with("eviction_ratio: 0.000") && tiny.ends_with("must be 0, or 0.001 to 1"), "{tiny}");
    let rule = "0.9 must be below eviction_high_watermark, which is 0.9";
    assert_eq!(with("eviction_ratio", "0.9"), format!("eviction_ratio: {rule}"));
    assert!(
        Settings::default().with("eviction_ratio", "0").is_ok()
            && Settings::default().with("eviction_ratio", "0.001").is_ok()
    );
    for value in ["0", "1048577"] {
        assert_eq!(with("tombstones_max", value), format!("tombstones_max: {value} must be 1 to 1048576"));
    }
    let names = "client_ttl_ms, object_lease_ms, soft_pin_ttl_ms, put_start_timeout_ms, put_release_timeout_ms, \
                 task_timeout_ms, eviction_high_watermark, eviction_ratio, tombstones_max";
    let unknown = format!("name: \"objects_max\" is no setting of the cluster; these are: {names}");
    assert_eq!(with("objects_max", "7"), unknown);
}

const WAIT: &str = "must be 1 to 3600000";
const PUT_RELEASE: &str = "put_release_timeout_ms: 600000 must not be below object_lease_ms, which is 600001";

#[test]
fn settings_that_limit_each_other_are_changed_together_and_each_once() {
    let both = [("object_lease_ms", "700000"), ("put_release_timeout_ms", "700000")];
    assert_eq!(Settings::default().with_all(&both).expect("together they fit").object_lease_ms, 700_000);
    let twice = [("object_lease_ms", "1"), ("object_lease_ms", "2")];
    assert_eq!(refused(Settings::default().with_all(&twice)), "object_lease_ms: given twice");
}

fn in_force(settings: Settings) -> ClusterSettings {
    let mut cluster = ClusterSettings::default();
    cluster.apply(SettingsOp { settings, owed: None }, 1).expect("the first ones");
    cluster
}

#[test]
fn a_change_owes_the_longer_of_each_wait_and_nothing_else() {
    let first = Settings::default();
    let second = Settings { object_lease_ms: 5000, client_ttl_ms: 20_000, tombstones_max: 7, ..first };
    let mut cluster = in_force(first);
    cluster.apply(cluster.get().expect("set").change_to(second), 5).expect("a change");
    let now = cluster.get().expect("set");
    let owed = Settings { object_lease_ms: 10_000, ..second };
    assert_eq!(now, InForce { settings: second, owed: Some(owed), changed_seq: 5 });
    // What was owed before stays owed; what is longer in force is not.
    let third = Settings { object_lease_ms: 6000, put_start_timeout_ms: 1000, client_ttl_ms: 30_000, ..second };
    cluster.apply(now.change_to(third), 9).expect("a change");
    let now = cluster.get().expect("set");
    let owed = Settings { object_lease_ms: 10_000, put_start_timeout_ms: 30_000, ..third };
    assert_eq!(now, InForce { settings: third, owed: Some(owed), changed_seq: 9 });
    // The end of it is no change of the settings.
    cluster.apply(now.settled(), 12).expect("the end of what is owed");
    assert_eq!(cluster.get(), Some(InForce { settings: third, owed: None, changed_seq: 9 }));
    let longer = Settings { object_lease_ms: 60_000, ..third };
    assert_eq!(now.settled().settings, third);
    let settled = cluster.get().expect("set");
    assert_eq!(settled.change_to(longer), SettingsOp { settings: longer, owed: None });
    cluster.check().expect("its digest is kept");
}

#[test]
fn what_no_primary_writes_is_refused_and_changes_nothing() {
    let first = Settings::default();
    let mut cluster = in_force(first);
    let before = (cluster.get(), cluster.digest());
    let shorter = Settings { object_lease_ms: 5000, ..first };
    let hostile = [
        SettingsOp { settings: Settings { eviction_high_watermark: f64::NAN, ..first }, owed: None },
        SettingsOp { settings: Settings { client_ttl_ms: 0, ..first }, owed: None },
        SettingsOp { settings: Settings { client_ttl_ms: u64::MAX, ..first }, owed: None },
        SettingsOp { settings: Settings { tombstones_max: usize::MAX, ..first }, owed: None },
        SettingsOp { settings: Settings { eviction_ratio: -0.0, ..first }, owed: None },
        // It forgets what was promised.
        SettingsOp { settings: shorter, owed: None },
        SettingsOp { settings: shorter, owed: Some(Settings { client_ttl_ms: 10_001, ..first }) },
        SettingsOp { settings: shorter, owed: Some(Settings { tombstones_max: 5, ..first }) },
        // It owes what nobody was promised.
        SettingsOp { settings: first, owed: Some(Settings { object_lease_ms: 20_000, ..first }) },
        SettingsOp { settings: first, owed: Some(first) },
        SettingsOp { settings: first, owed: Some(shorter) },
        SettingsOp { settings: first, owed: Some(Settings { eviction_ratio: f64::NAN, ..first }) },
    ];
    for op in hostile {
        cluster.apply(op, 7).expect_err("it must be refused");
        assert_eq!((cluster.get(), cluster.digest()), before, "{op:?}");
    }
    let images = [
        InForce { settings: Settings { tombstones_max: 0, ..first }, owed: None, changed_seq: 1 },
        InForce { settings: first, owed: Some(shorter), changed_seq: 1 },
        InForce { settings: first, owed: None, changed_seq: 8 },
    ];
    for image in images {
        ClusterSettings::default().install(Some(image), 7).expect_err("it must be refused");
    }
}

#[test]
fn every_field_counts_in_the_digest() {
    let in_force = InForce { settings: Settings::default(), owed: None, changed_seq: 1 };
    let mut seen = vec![in_force.digest(), InForce { changed_seq: 2, ..in_force }.digest()];
    for name in Settings::names() {
        let settings = in_force.settings.with(name, other_value(name)).expect("it keeps the rules");
        seen.push(InForce { settings, ..in_force }.digest());
        seen.push(InForce { owed: Some(settings), ..in_force }.digest());
    }
    let count = seen.len();
    seen.sort_unstable_by_key(|digest| digest.0);
    seen.dedup();
    assert_eq!(seen.len(), count);
}
