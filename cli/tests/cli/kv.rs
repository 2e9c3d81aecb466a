//! Commands for objects, with output for people and for programs.

use serde_json::{Value, json};

use crate::world::{World, paste};

#[test]
fn put_is_ended_by_the_command_that_its_start_prints() {
    let world = World::with(&["seg"]);
    let started = world.ok(&["kv", "put-start", "it's a key", "--size", "4KiB"]);
    assert!(started.contains("seg:1") && started.contains("4 KiB") && started.contains("within 10 s"), "{started}");
    world.run(&["kv", "get", "it's a key"]).fails(1, "NOT_FOUND");
    let end = started.lines().last().unwrap();
    assert_eq!(paste(end).ok(), "ended it's a key\n", "{end}");
    let found = world.run(&["kv", "get", "it's a key"]).hinted("stays there for");
    let lines: Vec<_> = found.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["KEY", "SIZE", "CHECKSUM", "SEGMENT", "KIND", "HOST", "ENDPOINT", "AT"]);
    assert_eq!(lines[1][3..9], ["4", "KiB", "-", "seg", "memory", "seg"]);
}

#[test]
fn put_in_json_from_start_to_removal() {
    let world = World::with(&["seg"]);
    let started = world.json(&["kv", "put-start", "k", "--size", "5000"]);
    assert_eq!((&started["key"], &started["size"]), (&json!("k"), &json!(5000)));
    let replica = &started["replicas"][0];
    assert_eq!(
        (&replica["segment"], &replica["kind"], &replica["complete"]),
        (&json!("seg"), &json!("memory"), &json!(false))
    );
    assert!(replica["address"].as_str().unwrap().starts_with("0x1000"), "{replica}");
    assert!(started["end_within_ms"].as_u64().unwrap() <= 10_000);

    let put_id = started["put_id"].as_u64().unwrap().to_string();
    let ended = world.json(&["kv", "put-end", "k", "--put-id", &put_id, "--checksum", "0xffffffffffffffff"]);
    assert_eq!(ended["results"], json!([{ "key": "k", "ok": true }]));
    assert!(ended["position"]["seq"].as_u64() > started["position"]["seq"].as_u64());

    let found = world.json(&["kv", "get", "k"]);
    let result = &found["results"][0];
    assert_eq!(
        (&result["ok"], &result["size"], &result["checksum"]),
        (&json!(true), &json!(5000), &json!("0xffffffffffffffff"))
    );
    assert_eq!(result["replicas"][0]["address"], replica["address"]);
    assert!(found["leased_ms"].as_u64().unwrap() > 5_000);

    world.run(&["kv", "rm", "k", "--json"]).fails_json(1, "LEASED");
    assert_eq!(world.json(&["kv", "rm", "k", "--force"])["results"], json!([{ "key": "k", "ok": true }]));
    world.run(&["kv", "get", "k", "--json"]).fails_json(1, "NOT_FOUND");
}

#[test]
fn options_of_a_put_reach_the_master() {
    let world = World::with(&["a", "b", "c"]);
    let segments = |started: &Value| -> Vec<String> {
        started["replicas"].as_array().unwrap().iter().map(|r| r["segment"].as_str().unwrap().to_owned()).collect()
    };
    let two =
        world.json(&["kv", "put-start", "k", "--size", "1", "--replicas", "2", "--preferred", "c,a", "--hard-pin"]);
    assert_eq!(segments(&two), ["c", "a"]);
    world.ok(&["kv", "put-end", "k"]);
    world.run(&["kv", "put-start", "k", "--size", "1"]).fails(1, "ALREADY_EXISTS");
    world.ok(&["kv", "put-start", "k", "--size", "2", "--replace", "--soft-pin=1h"]);
    world.ok(&["kv", "put-end", "k"]);
    assert_eq!(world.json(&["kv", "ls"])["keys"][0]["pin"], "soft");
    world.run(&["kv", "put-start", "many", "--size", "1", "--replicas", "4"]).fails(1, "NO_SPACE");
    let fewer = world.json(&["kv", "put-start", "many", "--size", "1", "--replicas", "4", "--best-effort"]);
    assert_eq!(segments(&fewer).len(), 3);
    world.run(&["kv", "put-start", "disk", "--size", "1", "--disk-replicas", "1"]).fails(1, "NO_SPACE");
}

#[test]
fn same_host_is_the_host_of_the_command() {
    let mut world = World::with(&["elsewhere-1", "elsewhere-2", "elsewhere-3"]);
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    world.mount("here", here.trim());
    for key in ["a", "b", "c", "d"] {
        let started = world.json(&["kv", "put-start", key, "--size", "1", "--same-host"]);
        assert_eq!(started["replicas"][0]["segment"], "here", "{started}");
    }
}

#[test]
fn put_is_revoked_and_its_key_is_free_again() {
    let world = World::with(&["seg"]);
    world.ok(&["kv", "put-start", "k", "--size", "1"]);
    assert_eq!(world.ok(&["kv", "revoke", "k"]), "revoked k\n");
    world.run(&["kv", "put-end", "k"]).fails(1, "NOT_FOUND");
    world.ok(&["kv", "put-start", "k", "--size", "1"]);
    assert_eq!(world.json(&["kv", "put-revoke", "k"])["results"][0]["ok"], true);
}

#[test]
fn put_of_one_client_is_not_ended_by_another() {
    let world = World::with(&["seg"]);
    let (one, other) = ("000000000000000000000000000000a1", "000000000000000000000000000000a2");
    let started = world.ok(&["kv", "put-start", "k", "--size", "1", "--client-id", one]);
    world.run(&["kv", "put-end", "k", "--client-id", other]).fails(1, "NOT_OWNER");
    world.run(&["kv", "put-end", "k"]).fails(1, "NOT_OWNER");
    assert_eq!(paste(started.lines().last().unwrap()).ok(), "ended k\n", "it names the client: {started}");
}

#[test]
fn exists_says_no_with_its_exit_code() {
    let world = World::with(&["seg"]);
    world.put("a");
    assert_eq!(world.ok(&["kv", "exists", "a"]), "EXISTS  KEY\nyes     a\n");
    let both = world.run(&["kv", "exists", "a", "b"]);
    assert_eq!((both.code, both.stdout.as_str()), (Some(1), "EXISTS  KEY\nyes     a\nno      b\n"));
    assert_eq!(both.stderr, "", "that is no fault");
    let both = world.run(&["kv", "exists", "b", "a", "--json"]);
    let results = json!([{ "key": "b", "exists": false }, { "key": "a", "exists": true }]);
    assert_eq!((both.code, &both.document()["results"]), (Some(1), &results));
}

#[test]
fn some_found_and_some_not_is_told_item_by_item() {
    let world = World::with(&["seg"]);
    world.put("a");
    let ran = world.run(&["kv", "get", "x", "a", "y", "--json"]).fails_json(1, "NOT_FOUND");
    let results = &ran.document()["results"];
    assert_eq!([&results[0]["ok"], &results[1]["ok"], &results[2]["ok"]], [&json!(false), &json!(true), &json!(false)]);
    assert_eq!(results[2]["error"]["reason"], "NOT_FOUND");
    let ran = world.run(&["kv", "get", "x", "a", "y"]);
    assert!(ran.code == Some(1) && ran.stdout.lines().count() == 2, "{ran:#?}");
    let told = ["x", "y"].map(|key| ran.stderr.contains(&format!("error: NOT_FOUND: {key}: ")));
    assert_eq!(told, [true, true], "{ran:#?}");
    let removed = world.run(&["kv", "rm", "--force", "a", "x"]);
    assert_eq!((removed.code, removed.stdout.as_str()), (Some(1), "removed 1 of 2\n"));
}

#[test]
fn keys_that_are_no_text_go_in_as_hex_and_come_out_escaped() {
    let world = World::with(&["seg"]);
    let started = world.ok(&["kv", "put-start", "--hex", "ff00", "--size", "1"]);
    assert_eq!(paste(started.lines().last().unwrap()).ok(), "ended \\xff\\x00\n");
    assert!(world.ok(&["kv", "ls"]).contains(r"\xff\x00"));
    assert_eq!(world.json(&["kv", "ls"])["keys"][0]["key"], json!({ "hex": "ff00" }));
    assert_eq!(world.json(&["kv", "exists", "--hex", "ff00"])["results"][0]["exists"], true);
    assert_eq!(world.json(&["kv", "ls", "--prefix", "ff", "--hex"])["keys"].as_array().unwrap().len(), 1);
    world.run(&["kv", "exists", "--hex", "f"]).fails(2, "USAGE");
}

#[test]
fn pins_are_set_and_taken_away() {
    let world = World::with(&["seg"]);
    world.put("a");
    world.put("b");
    let pin = |key: &str| {
        let keys = world.json(&["kv", "ls", "--prefix", key]);
        keys["keys"][0]["pin"].as_str().unwrap().to_owned()
    };
    assert_eq!(world.ok(&["kv", "pin", "a", "b"]), "pinned 2 of 2\n");
    assert_eq!((pin("a"), pin("b")), ("soft".into(), "soft".into()));
    assert_eq!(world.json(&["kv", "pin", "a", "--hard"])["results"][0]["ok"], true);
    assert_eq!(world.ok(&["kv", "pin", "--soft=10m", "b"]), "pinned b\n");
    assert_eq!((pin("a"), pin("b")), ("hard".into(), "soft".into()));
    world.run(&["kv", "rm", "a"]).fails(1, "PINNED");
    assert_eq!(world.ok(&["kv", "unpin", "a"]), "unpinned a\n");
    assert_eq!(world.json(&["kv", "unpin", "b"])["results"][0]["ok"], true);
    assert_eq!((pin("a"), pin("b")), ("none".into(), "none".into()));
    world.run(&["kv", "pin", "missing"]).fails(1, "NOT_FOUND");
}

#[test]
fn many_are_removed_by_pattern_or_all_at_once_when_that_is_meant() {
    let world = World::with(&["seg"]);
    ["a1", "a2", "b1", "b2", "b3"].into_iter().for_each(|key| world.put(key));
    assert_eq!(world.ok(&["kv", "rm", "--regex", "^a"]), "removed 2\n");
    world.run(&["kv", "rm", "--regex", "("]).fails(1, "INVALID_ARGUMENT");
    world.ok(&["kv", "pin", "--hard", "b1"]);
    assert_eq!(world.json(&["kv", "rm", "--regex", "b[12]"])["removed"], 1);
    world.run(&["kv", "rm", "--all"]).fails(2, "USAGE");
    assert_eq!(world.run(&["kv", "rm", "--all", "--yes"]).hinted("1 stay"), "removed 1\n");
    let removed = world.json(&["kv", "rm", "--all", "-y", "--force"]);
    assert_eq!((&removed["removed"], &removed["refused"]), (&json!(1), &json!(0)));
    assert_eq!(world.json(&["status"])["objects"], 0);
}

#[test]
fn replica_is_copied_and_moved_by_hand() {
    let world = World::with(&["a", "b", "c"]);
    world.ok(&["kv", "put-start", "k", "--size", "1KiB", "--preferred", "a"]);
    world.ok(&["kv", "put-end", "k"]);
    let segments = || {
        let found = world.json(&["kv", "get", "k"]);
        let mut names: Vec<_> =
            found["results"][0]["replicas"].as_array().unwrap().iter().map(|r| r["segment"].clone()).collect();
        names.sort_by_key(Value::to_string);
        names
    };
    let copy = world.ok(&["kv", "copy-start", "k", "--to", "b"]);
    assert_eq!(paste(copy.lines().last().unwrap()).ok(), "copied k\n", "{copy}");
    assert_eq!(segments(), ["a", "b"]);

    let moved = world.json(&["kv", "move-start", "k", "--from", "a", "--to", "c"]);
    assert_eq!((&moved["source"]["segment"], &moved["targets"][0]["segment"]), (&json!("a"), &json!("c")));
    assert_eq!(paste(moved["end_with"].as_str().unwrap()).ok(), "moved k\n");
    assert_eq!(segments(), ["b", "c"]);

    world.ok(&["kv", "copy-start", "k", "--to", "a", "--from", "b"]);
    assert_eq!(world.ok(&["kv", "copy-revoke", "k"]), "revoked the copy of k\n");
    let id = world.json(&["kv", "move-start", "k", "--from", "b", "--to", "a"])["transfer_id"].to_string();
    assert_eq!(world.json(&["kv", "move-revoke", "k", "--transfer-id", &id])["results"][0]["ok"], true);
    assert_eq!(segments(), ["b", "c"]);
    world.run(&["kv", "copy-start", "k", "--to", "b"]).fails(1, "REPLICA_EXISTS");
    world
        .run(&["kv", "move-start", "k", "--from", "nowhere", "--to", "a", "--json"])
        .fails_json(1, "REPLICA_NOT_FOUND");
}

#[test]
fn keys_of_tenants_are_apart() {
    let world = World::with(&["seg"]);
    world.put("k");
    world.ok(&["kv", "put-start", "k", "--size", "1", "--tenant", "other"]);
    let end = world.json(&["kv", "put-start", "l", "--size", "1", "--tenant", "other"])["end_with"].clone();
    assert_eq!(paste(end.as_str().unwrap()).ok(), "ended l\n");
    assert_eq!(world.json(&["kv", "exists", "k"])["results"][0]["exists"], true);
    assert_eq!(world.run(&["kv", "--tenant", "other", "exists", "k"]).code, Some(1));
    assert_eq!(world.json(&["kv", "ls", "--tenant", "other"])["keys"].as_array().unwrap().len(), 2);
}
