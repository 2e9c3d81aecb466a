//! Long lists: pages, limits, and readers that stop early.

use std::process::{Command, Stdio};

use client::{PutEndItem, PutOptions, PutStartItem, ReplicaScope};

use crate::world::{PROGRAM, World, clean};

const KEYS: usize = 12_000;

/// Keys `key-00000` and so on.
fn many_keys() -> World {
    let world = World::with(&["seg"]);
    let keys: Vec<String> = (0..KEYS).map(|at| format!("key-{at:05}")).collect();
    world.sdk(async |client| {
        for part in keys.chunks(6_000) {
            let starts: Vec<_> = part.iter().map(|key| PutStartItem::new(key, 64)).collect();
            let started = client.put_start(&starts, PutOptions::default()).await.unwrap();
            assert!(started.results.iter().all(Result::is_ok));
            let ends: Vec<_> = part.iter().map(|key| PutEndItem::new(key, 0, None)).collect();
            client.put_end(&ends, ReplicaScope::All).await.unwrap().all().unwrap();
        }
    });
    world
}

#[test]
fn list_of_many_pages_is_whole_or_says_that_it_is_not() {
    let world = many_keys();
    let whole = world.ok(&["kv", "ls", "--all"]);
    let mut keys: Vec<&str> = whole.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), keys[0], keys[KEYS - 1]), (KEYS, "key-00000", "key-11999"));

    let document = world.json(&["kv", "ls", "--all"]);
    assert_eq!((document["keys"].as_array().unwrap().len(), &document["more"]), (KEYS, &false.into()));
    assert!(document["position"]["seq"].as_u64().unwrap() > 0);
    let listed = world.run(&["kv", "ls"]).hinted("1000 keys; there may be more");
    assert_eq!(listed.lines().count(), 1001);
    let document = world.json(&["kv", "ls", "--limit", "11000"]);
    assert_eq!((document["keys"].as_array().unwrap().len(), &document["more"]), (11_000, &true.into()));
}

#[test]
fn list_is_narrowed_by_prefix_and_pattern() {
    let world = World::with(&["seg"]);
    ["a/1", "a/2", "b/1"].into_iter().for_each(|key| world.put(key));
    world.ok(&["kv", "put-start", "b/2", "--size", "1.5KiB"]);
    let keys = |words: &[&str]| -> Vec<String> {
        let document = world.json(&[&["kv", "ls"], words].concat());
        let mut keys: Vec<_> =
            document["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap().to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&["--prefix", "a/"]), ["a/1", "a/2"]);
    assert_eq!(keys(&["--regex", "1$"]), ["a/1", "b/1"]);
    assert_eq!(keys(&["--prefix", "c"]), [""; 0]);
    let refused = world.run(&["kv", "ls", "--regex", "(", "--json"]).fails_json(1, "INVALID_ARGUMENT");
    assert_eq!(refused.stdout, "", "half a document is none");
    let table = world.ok(&["kv", "ls", "--prefix", "b/2"]);
    let words: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["1.5", "KiB", "0", "unfinished", "none", "b/2"], "{table}");
}

#[test]
fn reader_that_stops_early_is_no_fault() {
    let world = many_keys();
    for form in ["", "--json"] {
        let mut list = Command::new(PROGRAM);
        clean(&mut list);
        list.args(["kv", "ls", "--all", "--address", &world.address()])
            .args(Some(form).filter(|form| !form.is_empty()));
        let mut list = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before anything is read: every write fails.
        drop(list.stdout.take());
        let ended = list.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""), "{form}");
    }
}

#[test]
fn lists_are_sorted_whatever_the_order_in_which_things_came() {
    let world = World::with(&["zoo", "ark", "pen"]);
    let keys = ["m", "b", "z", "a", "k", "c", "y"];
    keys.iter().for_each(|key| world.put(key));
    for tenant in ["z", "b", "a"] {
        world.ok(&["tenants", "set-quota", tenant, "1GiB"]);
    }
    let names = |document: &serde_json::Value, list: &str, name: &str| -> Vec<String> {
        document[list].as_array().unwrap().iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
    };
    for (words, list, name) in
        [(&["kv", "ls"][..], "keys", "key"), (&["segments"], "segments", "name"), (&["tenants"], "tenants", "name")]
    {
        let names = names(&world.json(words), list, name);
        assert!(names.len() >= 3 && names.is_sorted(), "{words:?}: {names:?}");
    }
    let table = world.ok(&["segments"]);
    let at = |name: &str| table.find(name).unwrap();
    assert!(at("ark") < at("pen") && at("pen") < at("zoo"), "{table}");
}
