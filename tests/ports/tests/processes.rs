//! Several processes ask for ports at once: none gets another one's port, and a killed holder
//! blocks no other.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A child that holds ports. It is killed when this is dropped, so that a failing test leaves none
/// behind.
struct Holder {
    child: Child,
}

impl Holder {
    fn start(count: usize, temp_dir: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_hold-ports"))
            .arg(count.to_string())
            .env("TMPDIR", temp_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    fn ports(&mut self, count: usize) -> Vec<u16> {
        let lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        lines.take(count).map(|line| line.unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn many_processes_at_once_get_distinct_ports() {
    const PROCESSES: usize = 8;
    const EACH: usize = 50;
    let mut holders: Vec<Holder> = (0..PROCESSES).map(|_| Holder::start(EACH, &std::env::temp_dir())).collect();
    let mut numbers: HashSet<u16> = holders.iter_mut().flat_map(|holder| holder.ports(EACH)).collect();
    assert_eq!(numbers.len(), PROCESSES * EACH, "two processes got the same port");
    // This process is one more, with threads of the other tests beside it.
    for _ in 0..EACH {
        assert!(numbers.insert(*test_ports::free_port()), "a port of a living holder was given again");
    }
}

#[test]
fn ports_of_a_killed_process_are_free_again() {
    // Its own temp dir, so that no other process takes the port once the holder is dead.
    let temp_dir = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(1, temp_dir.path());
    let [number] = holder.ports(1)[..] else { panic!("the holder printed no port") };
    let path = temp_dir.path().join(format!("understudy-test-ports/{number}.lock"));
    let lock = std::fs::File::open(path).unwrap();
    lock.try_lock().expect_err("the holder lives, so it holds the lock");
    drop(holder);
    lock.try_lock().expect("the holder was killed, so the lock is free");
}
