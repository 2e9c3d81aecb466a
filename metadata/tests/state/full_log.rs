//! A log that is full at the worst moment: what was applied is in the log, what is not in the log was not applied.
//!
//! Each scene runs once with all the room it wants, then once for every point where the log may be full instead: after
//! each entry, and, where an entry's size is only known once it is applied, at each byte.
//!
//! Deliberately absent: what the steps do (`clients`, `eviction`, `segments`, …).

use oplog::DomainId;
use oplog::{Entry, ReplicatedState, TailConfig};
use understudy_metadata::{
    Call, CallRefused, Config, LedgerOp, OpType, PutEndItem, PutStartItem, Scope, Settings, TaskDone, TaskSpec,
    TransferItem, TransferKind,
};

use crate::support::{Primary, config, memory, placed};

struct Scene {
    config: Config,
    /// With room enough.
    prepare: fn(&Primary),
    /// Until nothing is left to do, or the first refusal.
    act: fn(&Primary) -> Result<(), CallRefused>,
    /// One call of a client.
    is_call: bool,
}

impl Scene {
    /// Nothing ever leaves the log.
    fn primary(&self, tail: TailConfig) -> Primary {
        let mut primary = Primary::with_tail(self.config.clone(), tail);
        primary.verify_at_end = false;
        primary.tail.set_floor(Some(1));
        (self.prepare)(&primary);
        primary
    }

    /// How large the log is before and after, and the ops that it gets in between.
    fn rehearse(&self) -> (TailConfig, TailConfig, Vec<String>) {
        let size = |primary: &Primary| {
            let stats = primary.tail.stats();
            TailConfig { entries_max: stats.entries, bytes_max: stats.bytes, ..TailConfig::default() }
        };
        let primary = self.primary(TailConfig::default());
        let before = size(&primary);
        (self.act)(&primary).unwrap();
        check(&primary);
        let ops = primary.entries()[before.entries_max..].iter().map(name_of).collect();
        (before, size(&primary), ops)
    }

    fn run(&self, tail: TailConfig) {
        let primary = self.primary(tail);
        let state = || (primary.digest(), primary.state.position());
        let before = state();
        match (self.act)(&primary) {
            // Of steps, that one which was refused.
            Err(CallRefused::Overloaded { .. }) => assert!(!self.is_call || state() == before, "something has changed"),
            Err(CallRefused::InPart { done, .. }) => assert!(done > 0 && state() != before, "nothing has changed"),
            other => panic!("there was room: {other:?}"),
        }
        check(&primary);
        let before = state();
        let again = (self.act)(&primary);
        let in_part = matches!(again, Err(CallRefused::InPart { .. }));
        assert!(in_part || matches!(again, Err(CallRefused::Overloaded { .. })), "there still is none: {again:?}");
        assert_eq!(state(), before, "a refusal changed something");
    }

    /// At each entry; gives what the log gets when it has room.
    fn at_each_entry(&self) -> Vec<String> {
        let (before, after, ops) = self.rehearse();
        for entries_max in before.entries_max..after.entries_max {
            self.run(TailConfig { entries_max, ..TailConfig::default() });
        }
        ops
    }
}

/// The log is all that another member has.
fn check(primary: &Primary) {
    primary.state.check().unwrap();
    let follower = primary.follower();
    follower.check().unwrap();
    assert_eq!(follower.digest(), primary.state.digest(), "a replay differs");
}

fn steps(primary: &Primary) -> Result<(), CallRefused> {
    while primary.state.step(primary.now())?.more {}
    Ok(())
}

/// And once more when nothing that was dropped is in use.
fn steps_to_the_end(primary: &Primary) -> Result<(), CallRefused> {
    steps(primary)?;
    primary.pass(primary.config.settings.put_release_timeout_ms);
    primary.heartbeat(2);
    steps(primary)
}

/// Of the ledger or of the metadata.
fn name_of(entry: &Entry) -> String {
    match entry.domain {
        DomainId::ENGINE => format!("{:?}", LedgerOp::from_number(entry.op_type).unwrap()),
        _ => format!("{:?}", OpType::from_number(entry.op_type).unwrap()),
    }
}

#[track_caller]
fn has_all(ops: &[String], wanted: &[&str]) {
    wanted.iter().for_each(|op| assert!(ops.iter().any(|have| have == op), "no {op:?} among {ops:?}"));
}

fn create_task(primary: &Primary, key: &str, target: &str) {
    let transfer = TransferItem { key: key.as_bytes(), source: "m1", targets: vec![target] };
    let spec = TaskSpec { kind: TransferKind::Copy, transfer };
    primary.state.create_tasks(&primary.call(2), &[spec]).unwrap().results[0].unwrap();
}

/// Client 1 has a segment with objects, a put under way and tasks; client 2 has another segment.
fn two_clients(primary: &Primary) {
    primary.state.remount(&primary.call(1), &[memory(1, "m1", 65536)]).unwrap();
    let mut how = placed(1, 0);
    how.placement.preferred = vec!["m1"];
    ["a", "b", "c"].into_iter().for_each(|key| drop(primary.put_as(1, &how, key, 100)));
    primary.start(1, "open", 100).unwrap();
    primary.state.remount(&primary.call(2), &[memory(2, "m2", 65536)]).unwrap();
    primary.put(2, "kept", 70_000 / 2);
    create_task(primary, "a", "m2");
    create_task(primary, "b", "m2");
}

#[test]
fn expiry_of_a_client_in_a_full_log() {
    let scene = Scene {
        config: Config {
            settings: Settings { client_ttl_ms: 10_000, put_start_timeout_ms: 3_600_000, ..config().settings },
            ..config()
        },
        prepare: |primary| {
            two_clients(primary);
            primary.pass(10_000);
            primary.heartbeat(2);
        },
        act: steps_to_the_end,
        is_call: false,
    };
    let ops = scene.at_each_entry();
    has_all(&ops, &["ClientExpire", "TaskUpdate", "Discard", "DropReplicas"]);
    has_all(&ops, &["SegmentGone", "ClientGone"]);
}

#[test]
fn a_discard_and_a_release_in_a_full_log() {
    let scene = Scene {
        config: Config {
            settings: Settings {
                object_lease_ms: 1,
                put_start_timeout_ms: 10_000,
                put_release_timeout_ms: 1,
                ..config().settings
            },
            ..config()
        },
        prepare: |primary| {
            two_clients(primary);
            primary.transfer(2, TransferKind::Copy, "c", "m1", &["m2"]).unwrap();
            primary.lookup("b").unwrap();
            primary.remove_forced("b").unwrap();
            primary.pass(10_000);
        },
        act: steps_to_the_end,
        is_call: false,
    };
    let ops = scene.at_each_entry();
    has_all(&ops, &["Discard", "Release"]);
    assert!(ops.len() >= 4, "two clients' work, retired for two reasons: {ops:?}");
}

#[test]
fn an_unmount_in_a_full_log() {
    let scene = Scene {
        config: config(),
        prepare: |primary| {
            two_clients(primary);
            primary.transfer(2, TransferKind::Copy, "c", "m1", &["m2"]).unwrap();
            primary.unmount(1, 1, 5000).unwrap();
            primary.pass(5000);
        },
        act: steps_to_the_end,
        is_call: false,
    };
    has_all(&scene.at_each_entry(), &["Drain", "DropReplicas", "SegmentGone"]);
}

#[test]
fn tasks_that_come_back_or_go_in_a_full_log() {
    let scene = Scene {
        config: Config { finished_tasks_max: 0, ..config() },
        prepare: |primary| {
            two_clients(primary);
            create_task(primary, "c", "m2");
            let ids = primary.state.fetch_tasks(&primary.call(1), 3).unwrap().results;
            let done = TaskDone { id: ids[0].task.id, failed: false, message: "" };
            primary.state.complete_tasks(&primary.call(1), &[done]).unwrap();
            primary.pass(300_000);
        },
        act: |primary| primary.state.step(primary.now()).map(drop),
        is_call: false,
    };
    has_all(&scene.at_each_entry(), &["TaskUpdate"]);
}

fn put_many(primary: &Primary, count: usize, size: u64) {
    let keys: Vec<String> = (0..count).map(|n| format!("k{n}")).collect();
    let starts: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size }).collect();
    let puts = primary.state.put_start(&primary.call(1), &placed(1, 0), &starts).unwrap().results;
    let puts = puts.into_iter().map(|put| put.unwrap().put);
    let ends = keys.iter().zip(puts).map(|(key, put)| PutEndItem { key: key.as_bytes(), put, checksum: None });
    let ends: Vec<_> = ends.collect();
    primary.state.put_end(&primary.call(1), Scope::All, &ends).unwrap();
}

#[test]
fn an_eviction_in_a_full_log() {
    let scene = Scene {
        config: Config {
            settings: Settings { eviction_high_watermark: 0.5, eviction_ratio: 0.4, ..config().settings },
            ..config()
        },
        prepare: |primary| {
            primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
            put_many(primary, 1000, 1024);
            primary.pass(60_000);
        },
        act: steps,
        is_call: false,
    };
    let ops = scene.at_each_entry();
    assert!(ops.len() > 2 && ops.iter().all(|op| op == "Eviction"), "{ops:?}");
}

/// The count in it takes more bytes from 251 on, and is known for sure only when the entry has been applied.
#[test]
fn a_removal_of_all_in_a_log_that_is_full_to_the_byte() {
    let scene = Scene {
        config: config(),
        prepare: |primary| {
            primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
            put_many(primary, 252, 64);
        },
        act: |primary| primary.state.remove_all(&primary.numbered(9, 1), true).map(drop),
        is_call: true,
    };
    let (before, after, ops) = scene.rehearse();
    assert!(ops.len() > 100 && ops.iter().all(|op| op == "RemoveMany"), "{ops:?}");
    // The last ones, of which one counts up to 251.
    let last = (after.bytes_max - before.bytes_max) / ops.len() * 5;
    for bytes_max in after.bytes_max - last..after.bytes_max {
        scene.run(TailConfig { bytes_max, ..TailConfig::default() });
    }
}

#[test]
fn calls_in_a_full_log() {
    let scene = Scene {
        config: config(),
        prepare: |primary| {
            primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
        },
        // The first one makes the tenant too; each takes three entries for its items.
        act: |primary| {
            let keys: Vec<String> = (0..600).map(|n| format!("k{n}")).collect();
            let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 64 }).collect();
            let call = Call { tenant: "blue", ..primary.numbered(1, 1) };
            primary.state.put_start(&call, &placed(1, 0), &items).map(drop)
        },
        is_call: true,
    };
    let ops = scene.at_each_entry();
    // A tenant without an object is made by nobody: `Overloaded` says that nothing has changed.
    assert_eq!(ops, ["Tenant", "PutStart", "PutStart", "PutStart"]);
}
