//! The binary as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    // Settings in the environment of the test run do not count.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("UNDERSTUDY_")) {
        command.env_remove(name);
    }
    command
}

/// Killed when it is dropped.
pub(crate) struct Master {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The line that it prints at its start.
    pub(crate) line: String,
    _port: test_ports::Port,
}

impl Master {
    /// `understudy serve` on a port of its own, once it listens.
    pub(crate) fn start(args: &[&str]) -> Master {
        let port = test_ports::free_port();
        let mut child = command()
            .args(["serve", "--listen", &port.addr().to_string()])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it is text");
        assert_eq!(line.split_whitespace().nth(2), Some(port.addr().to_string().as_str()), "{line}");
        Master { child, address: port.addr(), line, _port: port }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// How it ended, how long that took, and what it logged.
    pub(crate) fn ended_within(mut self, limit: Duration) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                let took = began.elapsed();
                let mut log = String::new();
                let stderr = self.child.stderr.as_mut().expect("it is a pipe");
                stderr.read_to_string(&mut log).expect("it is text");
                return (status, took, log);
            }
            assert!(began.elapsed() < limit, "it still runs after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).expect("it runs");
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("statm has pages") * 4096
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
