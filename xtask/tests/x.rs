//! The whole of xtask against a fake cargo that only records how it was called: the order of steps,
//! failures, what is installed and when, and that no process stays behind.
//!
//! Absent on purpose: real builds, which `./x test` itself is.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const FAKES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes");
/// Far more than a run with fakes takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine that has a shell's own programs, and the fakes.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for (name, real) in ["bash", "env", "basename", "touch", "ln", "true", "setsid", "sleep", "mv", "grep", "mkdir"]
            .map(|name| (name, find(name)))
        {
            symlink(real, dir.path().join(name)).unwrap();
        }
        for name in ["cargo", "sudo", "apt-get"] {
            symlink(Path::new(FAKES).join("cargo"), dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// A machine that lacks nothing.
    fn complete() -> Self {
        let machine = Self::new();
        for name in ["cargo-deny", "cargo-machete"] {
            fs::write(machine.path(name), "").unwrap();
        }
        for program in ["c++", "etcd", "etcdctl"] {
            symlink(find("true"), machine.path(program)).unwrap();
        }
        fs::create_dir_all(machine.path("python/bin")).unwrap();
        fs::write(machine.path("packages"), "").unwrap();
        for python in ["python3", "python/bin/python"] {
            symlink(Path::new(FAKES).join("cargo"), machine.path(python)).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn xtask(&self, args: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_xtask")), args)
    }

    fn program(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("CARGO", self.path("cargo"))
            .env("PATH", self.dir.path())
            .env("X_PYTHON_DIR", self.path("python"))
            .env("FAKE_DIR", self.dir.path());
        command.env_remove("CI").env_remove("CXX").stdin(Stdio::null());
        command
    }

    /// How the fakes were called, without requests for versions and calls of Python.
    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let asks = |line: &str| line.ends_with("--version") || line.starts_with("python") && line.contains(" -c ");
        log.lines().filter(|line| !asks(line)).map(str::to_owned).collect()
    }

    /// The process that a fake left behind.
    fn left_behind(&self) -> Pid {
        let deadline = Instant::now() + PATIENCE;
        while !self.path("pid").exists() {
            assert!(Instant::now() < deadline, "the fake has started nothing");
            thread::sleep(Duration::from_millis(10));
        }
        Pid::from_raw(fs::read_to_string(self.path("pid")).unwrap().trim().parse().unwrap()).unwrap()
    }
}

fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.exists()).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn quick_runs_format_clippy_and_unit_tests_and_prints_a_table() {
    let machine = Machine::new();
    let output = machine.xtask(&["test", "--quick"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(
        machine.calls(),
        [
            "cargo fmt --all --check",
            "cargo fmt --manifest-path fuzz/Cargo.toml --check",
            "cargo fmt --manifest-path tests/model/Cargo.toml --check",
            "cargo clippy --workspace --all-targets --all-features -- -D warnings",
            "cargo test --workspace --all-features --lib --bins",
        ]
    );
    let table = text(&output);
    for name in ["format", "clippy", "tests"] {
        let row = table.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        assert!(row.contains(" ok "), "{row}");
    }
}

#[test]
fn a_failing_step_stops_the_run_and_says_what_to_do() {
    let machine = Machine::new();
    let output = machine.xtask(&["test", "--quick"]).env("FAKE_FAILS", "clippy").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(machine.calls().iter().all(|call| !call.starts_with("cargo test")), "tests ran after a failure");
    let text = text(&output);
    assert!(text.contains("clippy           FAILED"), "{text}");
    assert!(text.contains("(exit status: 7)") && text.contains("what to do:"), "{text}");
}

#[test]
fn nothing_is_installed_without_a_yes() {
    let machine = Machine::new();
    let output = machine.xtask(&["test"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.calls(), [""; 0], "something ran without a yes");
    let text = text(&output);
    for named in ["apt-get install -y --no-install-recommends g++", "cargo install --locked cargo-deny@", "--yes"] {
        assert!(text.contains(named), "{named} is not named in:\n{text}");
    }
}

#[test]
fn with_yes_what_is_missing_is_installed_before_the_first_step() {
    for (flag, ci) in [(Some("--yes"), "false"), (None, "true")] {
        let machine = Machine::new();
        let args: Vec<&str> = ["test"].into_iter().chain(flag).collect();
        let output = machine.xtask(&args).env("CI", ci).env("FAKE_FAILS", "fmt").output().unwrap();
        let calls: Vec<String> = machine.calls().into_iter().filter(|call| !call.starts_with("sudo")).collect();
        let expected = [
            "apt-get update",
            "apt-get install",
            "cargo install",
            "cargo install",
            "python3 -m venv --clear",
            "python -m pip install",
            "cargo fmt",
        ];
        assert_eq!(calls.len(), expected.len(), "{calls:?}\n{}", text(&output));
        for (call, start) in calls.iter().zip(expected) {
            assert!(call.starts_with(start), "{start} expected, got {call}");
        }
    }
}

#[test]
fn nothing_is_printed_of_tools_that_are_here() {
    let machine = Machine::complete();
    let output = machine.xtask(&["test"]).env("FAKE_FAILS", "fmt").output().unwrap();
    assert_eq!(machine.calls(), ["cargo fmt --all --check"]);
    assert!(!text(&output).contains("issing"), "{}", text(&output));
}

#[test]
fn a_filter_runs_the_tests_alone() {
    let machine = Machine::new();
    let output = machine.xtask(&["test", "takeover", "fence"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(machine.calls(), ["cargo test --workspace --all-features --profile checked --tests -- takeover fence"]);
}

#[test]
fn step_python_asks_for_python_alone() {
    let machine = Machine::new();
    let output = machine.xtask(&["test", "python"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.calls(), [""; 0], "something ran without a yes");
    let text = text(&output);
    assert!(text.contains("--no-install-recommends python3-venv\n"), "{text}");
    assert!(text.contains("-m pip install") && !text.contains("cargo-deny"), "{text}");

    let machine = Machine::complete();
    let output = machine.xtask(&["test", "python"]).env("FAKE_FAILS", "test").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a build that fails");
    let calls = machine.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].starts_with("cargo test ") && calls[0].contains("--no-run"), "{calls:?}");
}

#[test]
fn a_step_that_leaves_a_process_behind_fails_and_the_process_is_ended() {
    let machine = Machine::new();
    let output = machine.xtask(&["test", "--quick"]).env("FAKE_LEAVES_BEHIND", "clippy").output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("left processes running"), "{text}");
    assert!(!is_alive(machine.left_behind()));
}

#[test]
fn a_signal_ends_every_process_below_even_a_deaf_one_in_another_session() {
    for (kind, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let machine = Machine::new();
        let mut command = machine.xtask(&["test", "--quick"]);
        command
            .env("FAKE_LEAVES_BEHIND", "clippy")
            .env("FAKE_WAITS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let left_behind = machine.left_behind();
        assert!(is_alive(left_behind));
        signal(&child, kind);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(!is_alive(left_behind), "{kind:?} left a process behind");
        assert!(!text(&output).contains("FAILED"), "a signal is no failure of a step:\n{}", text(&output));
    }
}

/// xtask in a target directory of its own, with a program beside it in `release/`.
fn xtask_beside_program(machine: &Machine, program: &str) -> PathBuf {
    let xtask = machine.path("target/debug/xtask");
    fs::create_dir_all(xtask.parent().unwrap()).unwrap();
    fs::create_dir_all(machine.path("target/release")).unwrap();
    fs::hard_link(env!("CARGO_BIN_EXE_xtask"), &xtask).unwrap();
    symlink(Path::new(FAKES).join("program"), machine.path("target/release").join(program)).unwrap();
    xtask
}

#[test]
fn dev_becomes_the_server_with_its_arguments_its_exit_code_and_the_callers_directory() {
    let machine = Machine::new();
    let xtask = xtask_beside_program(&machine, "understudy");
    let caller = tempfile::tempdir().unwrap();
    let mut command = machine.program(&xtask, &["dev", "--help", "-x", "a b"]);
    let output = command.env("X_CALLER_DIR", caller.path()).env("CARGO_PKG_NAME", "xtask").output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{}", text(&output));
    assert_eq!(machine.calls(), ["cargo build --release --bins -p understudy"]);
    let expected = format!("understudy [dev --help -x a b] in {}\n", caller.path().display());
    assert_eq!(text(&output), expected, "and no variable of cargo or x");
}

#[test]
fn a_build_that_fails_starts_no_server() {
    let machine = Machine::new();
    let xtask = xtask_beside_program(&machine, "understudy");
    let output = machine.program(&xtask, &["dev"]).env("FAKE_FAILS", "build").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("the build failed"), "{}", text(&output));
}

#[test]
fn without_a_command_the_commands_are_listed() {
    let output = Machine::new().xtask(&[]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["dev", "test", "fuzz", "bench", "doctor"] {
        let lines = text.lines().filter(|line| line.trim_start().starts_with(&format!("{name} "))).count();
        assert_eq!(lines, 1, "{name} in:\n{text}");
    }
}

#[test]
fn doctor_fails_on_a_machine_that_lacks_something_and_names_it() {
    let output = Machine::new().xtask(&["doctor"]).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.starts_with("c++")).unwrap();
    assert!(line.contains("MISSING") && line.contains("g++"), "{line}");
}

#[test]
fn an_unknown_fuzz_target_is_refused_by_name() {
    let output = Machine::complete().xtask(&["fuzz", "no-such-target"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no fuzz target `no-such-target`; there are: "), "{}", text(&output));
}
