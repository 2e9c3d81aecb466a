//! `dev`: the commands that it prints work as printed, and it ends well.

use std::net::TcpListener;

use serde_json::Value;

use crate::world::{Process, Ran, eventually, paste, program, run};

struct Dev {
    process: Process,
    address: String,
    /// As they are printed.
    commands: Vec<String>,
    _ports: [test_ports::Port; 2],
}

impl Dev {
    fn start(words: &[&str]) -> Dev {
        let (port, other) = (test_ports::free_port(), test_ports::free_port());
        let address = format!("127.0.0.1:{port}");
        let mut command = program(&["dev", "--listen", &format!("{address},127.0.0.1:{other}")]);
        command.args(words);
        let mut process = Process::spawn(command);
        let first = process.line();
        assert!(first.contains(&format!("listens on {address}")), "{first}");
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains("Ctrl-C stops")) {
            lines.push(process.line());
        }
        let commands = lines.iter().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect();
        Dev { process, address, commands, _ports: [port, other] }
    }

    fn json(&self, words: &[&str]) -> Value {
        let mut command = program(words);
        command.args(["--json", "--address", &self.address]);
        run(command).document()
    }

    fn stop(self, signal: &str) -> Ran {
        self.process.signal(signal);
        self.process.end()
    }
}

#[test]
fn printed_commands_work_as_printed_and_a_second_time() {
    let dev = Dev::start(&[]);
    assert_eq!(dev.commands.len(), 11, "{:?}", dev.commands);
    for round in 0..2 {
        for line in &dev.commands {
            let ran = paste(line);
            // The demo clients may have finished the first copy by then.
            let is_there = round == 1 && line.contains("tasks create copy") && ran.stderr.contains("REPLICA_EXISTS");
            assert!((ran.code == Some(0) && !ran.stdout.is_empty()) || is_there, "{line}: {ran:#?}");
        }
    }
    assert_eq!(dev.json(&["segments"])["segments"].as_array().unwrap().len(), 2);
    assert_eq!(dev.json(&["status"])["objects"], 8);
    eventually("the demo clients do their tasks", || {
        let tasks = dev.json(&["tasks"]);
        let mut states: Vec<_> = tasks["tasks"].as_array().unwrap().iter().map(|task| task["state"].clone()).collect();
        states.sort_by_key(Value::to_string);
        // The second copy, if it was not refused, finds that there is one.
        states == ["done", "failed"] || states == ["done"]
    });
    let ended = dev.stop("INT");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "stopping\n"));
}

#[test]
fn demo_has_the_size_that_was_asked_for() {
    let dev = Dev::start(&["--segments", "1", "--segment-size", "2GiB"]);
    assert_eq!(dev.json(&["status"])["capacity_bytes"], 2_u64 << 30);
    assert!(dev.commands.iter().all(|line| paste(line).code == Some(0)), "{:?}", dev.commands);
    let started = dev.json(&["kv", "put-start", "k", "--size", "1"]);
    assert!(started["end_within_ms"].as_u64().unwrap() > 500_000, "hands are slow: {started}");
    assert_eq!(dev.stop("TERM").code, Some(0));
}

#[test]
fn node_without_demo_is_empty_until_the_printed_mount() {
    let dev = Dev::start(&["--no-demo"]);
    let status = dev.json(&["status"]);
    assert_eq!([&status["objects"], &status["segments"]], [&Value::from(0), &Value::from(0)]);
    let (mounts, others): (Vec<_>, Vec<_>) = dev.commands.iter().partition(|line| line.contains("segments mount"));
    let mut shell = std::process::Command::new("sh");
    crate::world::clean(&mut shell);
    // Exec, so that the signal reaches the command and not the shell.
    shell.args(["-c", &format!("exec {}", mounts[0])]);
    let mut mount = Process::spawn(shell);
    assert!(mount.line().starts_with("mounted hand"));
    for line in others {
        assert_eq!(paste(line).code, Some(0), "{line}");
    }
    mount.signal("INT");
    assert_eq!(mount.end().code, Some(0));
    assert_eq!(dev.stop("INT").code, Some(0));
}

#[test]
fn address_that_was_asked_for_and_is_taken_is_a_fault() {
    let port = test_ports::free_port();
    let _stranger = TcpListener::bind(port.addr()).unwrap();
    let ran = run(program(&["dev", "--listen", &port.addr().to_string()]));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("taken by another process") && ran.stderr.contains("--listen"), "{}", ran.stderr);
}

#[test]
fn what_is_ready_can_be_had_as_json() {
    let ports = [test_ports::free_port(), test_ports::free_port()];
    let listen = format!("{},{}", ports[0].addr(), ports[1].addr());
    let mut dev = Process::spawn(program(&["dev", "--json", "--listen", &listen]));
    let ready: Value = serde_json::from_str(&dev.line()).unwrap();
    let members = ready["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{ready}");
    assert!(members.iter().any(|member| member["pid"] == ready["primary_pid"]), "{ready}");
    let commands = ready["commands"].as_array().unwrap();
    assert_eq!(paste(commands[0].as_str().unwrap()).code, Some(0), "{ready}");
    dev.signal("INT");
    let ended = dev.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

/// Even if it can do nothing any more: etcd ends with it, and its files are removed.
#[test]
fn dev_with_etcd_leaves_nothing_behind_whatever_ends_it() {
    for signal in ["KILL", "HUP", "TERM"] {
        let port = test_ports::free_port();
        let words = ["dev", "--json", "--etcd", "--no-demo", "--members", "1", "--listen", &port.addr().to_string()];
        let mut dev = Process::spawn(program(&words));
        let ready: Value = serde_json::from_str(&dev.line()).unwrap();
        let dir = ready["logs"].as_str().unwrap().to_owned();
        assert!(running_with(&dir).iter().any(|line| line.contains("etcd")), "{:?}", running_with(&dir));
        dev.signal(signal);
        dev.end();
        eventually(signal, || running_with(&dir).is_empty() && !std::path::Path::new(&dir).exists());
    }
}

/// Command lines of processes that name this directory.
fn running_with(dir: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(dir)).collect()
}
