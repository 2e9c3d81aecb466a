//! Failures are reported in one line or one object, with the exit code.

use serde_json::Value;

use crate::world::{Process, World, eventually, program, run};

#[test]
fn no_member_there_is_one_line_with_the_addresses_and_why() {
    let ports = [test_ports::free_port(), test_ports::free_port()];
    let addresses = ports.each_ref().map(|port| format!("127.0.0.1:{port}"));
    let list = addresses.join(",");
    for words in [&["status"][..], &["kv", "ls"], &["segments"], &["tenants"], &["tasks"], &["status", "--watch"]] {
        let mut command = program(words);
        command.args(["--address", &list, "--timeout-ms", "300"]);
        let ran = run(command).fails(1, "UNREACHABLE");
        assert!(addresses.iter().all(|address| ran.stderr.contains(address)), "{}", ran.stderr);
        assert!(ran.stderr.contains("refused") && ran.stderr.contains("understudy dev"), "{}", ran.stderr);
    }
    let mut command = program(&["status", "--json"]);
    command.env("UNDERSTUDY_ADDRESS", &list).args(["--timeout-ms", "300"]);
    run(command).fails_json(1, "UNREACHABLE");
}

#[test]
fn wrong_commands_exit_with_2() {
    let world = World::empty();
    let wrong: [&[&str]; 12] = [
        &["kv"],
        &["kv", "put-start", "k"],
        &["kv", "put-start", "k", "--size", "much"],
        &["kv", "put-start", "k", "--size", "1", "--soft-pin", "--hard-pin"],
        &["kv", "rm"],
        &["kv", "rm", "k", "--all"],
        &["kv", "ls", "--limit", "0"],
        &["kv", "ls", "--limit", "5", "--all"],
        &["kv", "get", "k", "--client-id", "12"],
        &["kv", "move-start", "k", "--to", "x"],
        &["segments", "unmount"],
        &["status", "--watch", "1ms"],
    ];
    for words in wrong {
        let ran = world.run(words);
        assert!(ran.code == Some(2) && !ran.stderr.is_empty() && ran.stdout.is_empty(), "{words:?}: {ran:#?}");
    }
    // For programs, too.
    for words in wrong {
        world.run(&[words, &["--json"]].concat()).fails_json(2, "USAGE");
    }
    for words in [
        &["--json"][..],
        &["nonsense", "--json"],
        &["serve", "--json", "--listen", "x"],
        &["recover", "--json", "--nonsense"],
    ] {
        run(program(words)).fails_json(2, "USAGE");
    }
    for (words, what) in [
        (&["status", "--etcd", "h:1"][..], "--etcd: \"h:1\" has no http:// or https:// in front"),
        (&["status", "--etcd", "https://h:1"], "https:// needs a CA file"),
        (
            &["status", "--etcd", "http://h:1", "--etcd-user", "u", "--etcd-password-file", "/no/such"],
            "cannot read /no/such",
        ),
        (&["status", "--etcd", "http://h:1", "--etcd-cert-file", "/c"], "needs --etcd-ca-file"),
    ] {
        let ran = run(program(&[words, &["--json"]].concat())).fails_json(2, "USAGE");
        let told: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert!(told["error"]["message"].as_str().unwrap().contains(what), "{words:?}: {}", ran.stderr);
    }
    let mut command = program(&["kv", "ls", "--address", "host"]);
    command.args(["--json"]);
    let ran = run(command).fails_json(2, "USAGE");
    assert!(ran.stderr.contains("must be host:port"), "{}", ran.stderr);
    for address in ["foo", ":1", "127.0.0.1:99999", "http://127.0.0.1:1"] {
        let ran = run(program(&["health", "--json", "--address", address])).fails_json(2, "USAGE");
        assert!(ran.stderr.contains("must be HOST:PORT"), "{}", ran.stderr);
    }
}

#[test]
fn long_and_empty_keys_are_refused_with_the_limit() {
    let world = World::with(&["seg"]);
    let ran = world.run(&["kv", "put-start", &"k".repeat(4097), "--size", "1"]).fails(1, "INVALID_ARGUMENT");
    assert!(ran.stderr.contains("4096"), "{}", ran.stderr);
    world.run(&["kv", "get", ""]).fails(1, "INVALID_ARGUMENT");
    world.run(&["kv", "put-start", "k", "--size", "0"]).fails(1, "INVALID_ARGUMENT");
    let tenant = "t".repeat(257);
    world.run(&["kv", "ls", "--tenant", &tenant]).fails(2, "USAGE");
}

#[test]
fn first_address_that_answers_is_taken() {
    let world = World::empty();
    let nobody = test_ports::free_port();
    let mut command = program(&["status", "--json"]);
    command.args(["--address", &format!("127.0.0.1:{nobody}"), "--address", &world.address()]);
    assert_eq!(run(command).document()["role"], "primary");
}

#[test]
fn environment_stands_in_for_flags() {
    let world = World::with(&["seg"]);
    let with_environment = |words: &[&str]| {
        let mut command = program(words);
        command.env("UNDERSTUDY_ADDRESS", world.address()).env("UNDERSTUDY_TENANT", "t");
        command.env("UNDERSTUDY_CLIENT_ID", "000000000000000000000000000000a1");
        run(command).ok()
    };
    let started = with_environment(&["kv", "put-start", "k", "--size", "1"]);
    assert!(
        started.trim_end().ends_with(" k") && !started.contains("--address") && !started.contains("--tenant"),
        "{started}"
    );
    assert!(!started.contains("--client-id"), "{started}");
    world.run(&["kv", "put-end", "k", "--tenant", "t"]).fails(1, "NOT_OWNER");
    with_environment(&["kv", "put-end", "k"]);
    assert_eq!(world.json(&["kv", "exists", "k", "--tenant", "t"])["results"][0]["exists"], true);
}

#[test]
fn serve_dev_and_recover_speak_json_too() {
    let port = test_ports::free_port();
    let address = port.addr().to_string();
    let mut server = Process::spawn(program(&["serve", "--json", "--node-name", "n", "--listen", &address]));
    let listening: Value = serde_json::from_str(&server.line()).unwrap();
    assert_eq!((&listening["address"], &listening["node"]), (&Value::from(address.as_str()), &Value::from("n")));
    assert!(listening["pid"].is_u64() && listening["admin_address"].is_null(), "{listening}");
    run(program(&["serve", "--json", "--listen", &address])).fails_json(1, "CANNOT_LISTEN");
    run(program(&["serve", "--json", "--tail-bytes", "1"])).fails_json(2, "USAGE");
    run(program(&["dev", "--json", "--listen", &address])).fails_json(1, "CANNOT_LISTEN");
    run(program(&["recover", "--json"])).fails_json(2, "USAGE");
    let dir = tempfile::tempdir().unwrap();
    let coordinator = format!("file:{}", dir.path().display());
    run(program(&["recover", "--json", "--coordinator", &coordinator])).fails_json(1, "FAILED");
}

#[test]
fn recover_says_in_json_which_members_are_not_known_to_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = format!("file:{}", dir.path().display());
    let port = test_ports::free_port();
    let words = ["serve", "--json", "--coordinator", &coordinator, "--listen", &port.addr().to_string()];
    let mut member = Process::spawn(program(&words));
    member.line();
    let recover = || run(program(&["recover", "--json", "--coordinator", &coordinator]));
    eventually("it leads, and there is nothing to recover", || recover().stderr.contains("is running"));
    recover().fails_json(1, "FAILED");
    member.kill();
    let document: Value = serde_json::from_str(&recover().ok()).unwrap();
    assert_eq!((&document["epoch"], &document["declared_dead"]), (&Value::from(1), &Value::from(false)));
    assert_eq!(document["insync"].as_array().unwrap().len(), 1, "{document}");
    assert_eq!(document["not_known_to_have_ended"], Value::Array(Vec::new()), "its lock is free: that is proof");
}
