//! Segments: list, mount and keep, unmount on behalf of their owner.

use serde_json::{Value, json};

use crate::world::{Process, World, eventually};

#[test]
fn segments_are_listed_with_and_without_the_word() {
    let world = World::with(&["one", "two"]);
    world.ok(&["kv", "put-start", "k", "--size", "256MiB", "--preferred", "one"]);
    for words in [&["segments"][..], &["segments", "ls"]] {
        let table = world.ok(words);
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[0], ["NAME", "KIND", "STATE", "SIZE", "USED", "OBJECTS", "HOST", "ENDPOINT", "CLIENT", "ID"]);
        let one = lines.iter().find(|line| line[0] == "one").unwrap();
        assert_eq!(one[1..10], ["memory", "mounted", "1", "GiB", "25.0", "%", "1", "one", "one:1"]);
    }
    let document = world.json(&["segments", "ls", "--name", "two"]);
    let segments = document["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!((&segments[0]["size"], &segments[0]["base"]), (&json!(1 << 30), &json!("0x100000000000")));
    let client = segments[0]["client_id"].as_str().unwrap();
    assert_eq!(world.json(&["segments", "ls", "--client", client])["segments"].as_array().unwrap().len(), 1);
    assert!(world.ok(&["segments", "ls", "--full"]).contains(client));
}

#[test]
fn no_segment_is_an_empty_table_with_a_hint() {
    let world = World::empty();
    let table = world.run(&["segments"]).hinted(&format!("segments mount --size 1GiB --address {}", world.address()));
    assert_eq!(table.lines().count(), 1);
    assert_eq!(world.json(&["segments"])["segments"], json!([]));
}

#[test]
fn mounted_segment_stays_until_ctrl_c() {
    let world = World::empty();
    let mut mount = Process::spawn(world.command(&["segments", "mount", "--size", "64MiB", "--endpoint", "e:1"]));
    assert!(mount.line().starts_with("mounted hand of 64 MiB"));
    assert!(mount.line().contains("Ctrl-C"));
    let segment = world.json(&["segments"])["segments"][0].clone();
    assert_eq!(
        (&segment["name"], &segment["endpoint"], &segment["state"]),
        (&json!("hand"), &json!("e:1"), &json!("mounted"))
    );
    world.put("k");
    mount.signal("INT");
    let ended = mount.end();
    assert_eq!((ended.code, ended.stderr.trim_end()), (Some(0), "unmounted"));
    eventually("it is gone", || world.json(&["segments"])["segments"] == json!([]));
    assert_eq!(world.run(&["kv", "exists", "k"]).code, Some(1));
}

#[test]
fn mounted_segment_comes_back_after_a_restart_of_the_master_and_says_so() {
    let mut world = World::empty();
    let mut mount = Process::spawn(world.command(&["segments", "mount", "--size", "64MiB"]));
    assert!(mount.line().starts_with("mounted hand of 64 MiB"));
    world.restart_server();
    eventually("it is mounted again", || world.json(&["segments"])["segments"][0]["name"] == "hand");
    // Its hint comes after the answer that the list has shown already.
    std::thread::sleep(std::time::Duration::from_millis(200));
    mount.signal("INT");
    let ended = mount.end();
    let hints: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(hints, ["the master had forgotten the segment: it is mounted again, and empty", "unmounted"]);
    assert_eq!(ended.code, Some(0));
}

#[test]
fn segment_that_another_client_has_unmounted_is_no_fault_at_the_end() {
    let world = World::empty();
    let mut mount = Process::spawn(world.command(&["segments", "mount", "--size", "64MiB"]));
    assert!(mount.line().starts_with("mounted hand of 64 MiB"));
    world.ok(&["segments", "unmount", "hand"]);
    mount.signal("INT");
    let ended = mount.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "it has been unmounted already\n"));
}

#[test]
fn disk_segment_is_mounted_and_tells_itself_in_json() {
    let world = World::empty();
    let words =
        ["segments", "mount", "--kind", "disk", "--path", "/data", "--size", "1G", "--name", "d", "--host", "h"];
    let mut mount = Process::spawn(world.command(&[&words[..], &["--json"]].concat()));
    let mut document = String::new();
    while serde_json::from_str::<Value>(&document).is_err() {
        document += &mount.line();
    }
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&document["kind"], &document["path"], &document["size"]),
        (&json!("disk"), &json!("/data"), &json!(1_000_000_000))
    );
    assert_eq!(document["client_id"], world.json(&["segments"])["segments"][0]["client_id"]);
    let started = world.json(&["kv", "put-start", "k", "--size", "1", "--disk-replicas", "1"]);
    assert!(started["replicas"][0]["path"].as_str().unwrap().starts_with("/data"), "{started}");
    mount.signal("TERM");
    assert_eq!(mount.end().code, Some(0));
}

#[test]
fn segment_is_unmounted_in_its_owners_name() {
    let world = World::with(&["one", "two", "twin", "twin"]);
    assert_eq!(world.ok(&["segments", "unmount", "one"]), "unmounted one\n");
    let state = |name: &str| world.json(&["segments", "ls", "--name", name])["segments"][0]["state"].clone();
    assert_eq!(world.ok(&["segments", "unmount", "two", "--grace", "1h"]), "two drains: unmounted in 1h 0m\n");
    assert_eq!(state("two"), "draining");
    world.run(&["segments", "unmount", "one-and-more"]).fails(1, "SEGMENT_NOT_FOUND");
    world.run(&["segments", "unmount", "twin", "--json"]).fails_json(1, "AMBIGUOUS");
    let twin = world.json(&["segments", "ls", "--name", "twin"])["segments"][0]["id"].as_str().unwrap().to_owned();
    let done = world.json(&["segments", "unmount", &twin[..8]]);
    assert_eq!(done["results"], json!([{ "id": twin, "name": "twin", "ok": true }]));
    eventually("it is gone", || {
        world.json(&["segments", "ls", "--name", "twin"])["segments"].as_array().unwrap().len() == 1
    });
}

#[test]
fn segment_that_cannot_be_mounted_is_refused_at_once() {
    let world = World::empty();
    world.run(&["segments", "mount", "--size", "1"]).fails(1, "INVALID_ARGUMENT");
    assert_eq!(world.run(&["segments", "mount", "--size", "1x"]).code, Some(2));
    assert_eq!(world.run(&["segments", "mount", "--size", "1k", "--kind", "disk"]).code, Some(2));
}
