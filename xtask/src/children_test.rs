//! Tests of finding the processes below this one.
//!
//! Absent on purpose: ending them, which would also end the children of concurrent tests.
//! `tests/x.rs` does that with a process of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{descendants, parse_stat};

#[test]
fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
    let (parent, process) = parse_stat("42 (tokio) S 7 (x) S 17 42 42 0 -1").unwrap();
    assert_eq!((parent, process.pid.as_raw_pid(), process.name.as_str()), (17, 42, "tokio) S 7 (x"));
}

#[test]
fn a_zombie_is_not_alive() {
    assert_eq!(parse_stat("42 (sh) Z 17 42 42 0 -1"), None);
    assert!(parse_stat("42 (sh) S 17 42 42 0 -1").is_some());
}

#[test]
fn what_is_no_stat_line_is_passed_over() {
    for text in ["", "42", "42 (sh", "42 (sh) ", "42 (sh) S x", "x (sh) S 1"] {
        assert_eq!(parse_stat(text), None, "{text:?}");
    }
}

#[test]
fn a_grandchild_is_found() {
    let script = "sleep 100 & echo $!; wait";
    let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let grandchild: i32 = line.trim().parse().unwrap();
    let found = descendants();
    let process = found.iter().find(|process| process.pid.as_raw_pid() == grandchild).cloned();
    let child_found = found.iter().any(|process| process.pid.as_raw_pid() == i32::try_from(child.id()).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let process = process.expect("the grandchild is below this process");
    rustix::process::kill_process(process.pid, rustix::process::Signal::KILL).unwrap();
    assert!(child_found, "the child is below this process");
    // Between fork and exec it still has the shell's name.
    assert!(["sleep", "sh"].contains(&process.name.as_str()), "{}", process.name);
}
