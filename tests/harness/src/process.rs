//! A process of a test: started, signalled by its own pid, and killed when it is dropped, even when
//! the test panics.
//!
//! Its output goes into a file, so that nothing is lost when it dies and no pipe fills up.
//!
//! Its standard input is a pipe that is never written. A member with the right flag ends with it,
//! and so with its owner, however that ends.
//!
//! Deliberately absent: what the process is.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Whether processes get a group of their own.
static APART: AtomicBool = AtomicBool::new(false);

/// From here on, Ctrl-C at the terminal is for this process only, which ends the others itself.
pub fn start_apart() {
    APART.store(true, Ordering::Relaxed);
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// `log` is truncated.
    pub fn start(command: Command, log: &Path) -> Process {
        let out = File::create(log).unwrap_or_else(|why| panic!("{}: {why}", log.display()));
        let errors = out.try_clone().expect("a file handle can be cloned");
        Process::start_with(command, log, out, errors)
    }

    /// As [`Process::start`], on a disk without room for a single line.
    pub fn start_on_full_disk(command: Command, log: &Path) -> Process {
        File::create(log).unwrap_or_else(|why| panic!("{}: {why}", log.display()));
        let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
        Process::start_with(command, log, full(), full())
    }

    fn start_with(mut command: Command, log: &Path, out: File, errors: File) -> Process {
        if APART.load(Ordering::Relaxed) {
            command.process_group(0);
        }
        let child = command.stdin(Stdio::piped()).stdout(out).stderr(errors).spawn();
        let child = child.unwrap_or_else(|why| panic!("{:?} cannot be started: {why}", command.get_program()));
        Process { child, log: log.to_owned() }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|why| panic!("{}: {why}", self.log.display()))
    }

    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child, and was not waited for");
    }

    /// Ended, and not waited for: a zombie.
    pub fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    }

    /// kill -9, and waits until it has ended.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// kill -9 of the one process that this one has started.
    pub fn kill_child(&self) {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let children = threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("children")));
        let children: String = children.map(|children| children.expect("it runs")).collect();
        let pid = children.split_ascii_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        kill_process(pid.expect("it has a child"), Signal::KILL).expect("it is our child's child");
    }

    pub async fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(began.elapsed() < limit, "it still runs after {limit:?}; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
