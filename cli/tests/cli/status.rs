//! The status of a member, once and repeatedly; and tenants.

use serde_json::{Value, json};

use crate::world::{Process, World};

#[test]
fn status_is_printed_for_people_and_programs() {
    let world = World::with(&["seg"]);
    world.ok(&["kv", "put-start", "k", "--size", "512MiB"]);
    let text = world.ok(&["status"]);
    for part in ["primary, version", "epoch 1, applied", "1 (1 unfinished)", "[###############...............] 50.0 %"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    for name in ["segments", "clients", "tasks", "evicted", "log tail", "digest", "longest lock", "memory"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["role"], &status["objects"], &status["objects_unfinished"]),
        (&json!("primary"), &json!(1), &json!(1))
    );
    assert_eq!((&status["capacity_bytes"], &status["used_bytes"]), (&json!(1 << 30), &json!(1 << 29)));
    assert_eq!(status["digest"].as_str().unwrap().len(), 32);
    assert_eq!(status["committed_seq"], status["position"]["seq"]);
    assert!(status["memory_resident_bytes"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn watched_status_comes_again_and_survives_the_master() {
    let mut world = World::empty();
    let mut watch = Process::spawn(world.command(&["status", "--watch", "100ms", "--json", "--timeout-ms", "500"]));
    let seen: Vec<Value> = (0..3).map(|_| serde_json::from_str(&watch.line()).unwrap()).collect();
    assert!(seen[0]["uptime_ms"].as_u64() < seen[2]["uptime_ms"].as_u64());
    world.kill_server();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    watch.signal("INT");
    let ended = watch.end();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let told: Value = serde_json::from_str(ended.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(told["error"]["reason"], "DEADLINE");
}

#[test]
fn tenants_are_listed_and_limited() {
    let world = World::with(&["seg"]);
    world.put("k");
    assert_eq!(world.ok(&["tenants", "set-quota", "t", "1MiB"]), "t may hold 1 MiB\n");
    let table = world.ok(&["tenants"]);
    let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["OBJECTS", "USED", "QUOTA", "USED", "%", "NAME"]);
    assert_eq!(lines[1], ["1", "4", "KiB", "-", "-", "(default)"]);
    assert_eq!(lines[2], ["0", "0", "B", "1", "MiB", "0.0", "%", "t"]);
    world.run(&["kv", "put-start", "k", "--size", "2MiB", "--tenant", "t"]).fails(1, "QUOTA_EXCEEDED");
    assert_eq!(world.json(&["tenants", "set-quota", "t", "none"])["quota_bytes"], Value::Null);
    world.ok(&["kv", "put-start", "k", "--size", "2MiB", "--tenant", "t"]);
    let tenants = world.json(&["tenants", "ls"])["tenants"].clone();
    assert_eq!(tenants[1], json!({ "name": "t", "objects": 1, "used_bytes": 2 << 20, "quota_bytes": null }));
    world.run(&["tenants", "set-quota", "t", "much"]).fails(2, "USAGE");
    world.run(&["tenants", "set-quota", "t", "0"]).fails(2, "USAGE");
}

#[test]
fn tenant_is_deleted_once_it_is_empty() {
    let world = World::with(&["seg"]);
    world.run(&["tenants", "delete", ""]).fails(2, "USAGE");
    world.run(&["tenants", "delete", "t"]).fails(1, "TENANT_NOT_FOUND");
    world.ok(&["tenants", "set-quota", "t", "1MiB"]);
    world.ok(&["kv", "put-start", "k", "--size", "4KiB", "--tenant", "t"]);
    let refused = world.run(&["tenants", "delete", "t", "--json"]);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    let told: Value = serde_json::from_str(refused.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(told["error"]["reason"], "TENANT_NOT_EMPTY");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("1 objects") && message.contains("0 open tasks"), "{message}");
    let what_to_do = told["error"]["what_to_do"].as_str().unwrap();
    assert!(what_to_do.contains("kv rm --all --force --tenant"), "{what_to_do}");
    world.ok(&["kv", "rm", "--all", "--yes", "--force", "--tenant", "t"]);
    assert_eq!(world.ok(&["tenants", "delete", "t"]), "t is deleted\n");
    assert_eq!(world.json(&["tenants"])["tenants"].as_array().unwrap().len(), 1);
    world.ok(&["tenants", "set-quota", "t", "1MiB"]);
    assert_eq!(world.json(&["tenants", "delete", "t"])["deleted"], true);
}
