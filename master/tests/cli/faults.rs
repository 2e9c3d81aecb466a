//! What goes wrong, in one line or one object, with the exit code.

use crate::world::{World, program, run};

#[test]
fn nobody_there_is_one_line_with_the_addresses_and_why() {
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
    let mut command = program(&["kv", "ls", "--address", "host"]);
    command.args(["--json"]);
    let ran = run(command).fails_json(2, "USAGE");
    assert!(ran.stderr.contains("must be host:port"), "{}", ran.stderr);
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
