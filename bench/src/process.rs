//! A server process that is started for a benchmark and ends with it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use test_ports::{Port, free_port};

use crate::measure::Process;

/// Ends when the value is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: Port,
}

impl Server {
    pub(crate) fn start(arguments: &[String]) -> Result<Server> {
        let binary = program()?;
        let port = free_port();
        let child = Command::new(&binary)
            .args(["serve", "--listen", &port.addr().to_string(), "--log-level", "warn"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} can't be started; build it with the same profile", binary.display()))?;
        let mut server = Server { child, port };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.port.addr()).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once: {status}");
            }
            if Instant::now() > deadline {
                bail!("the server does not listen on {} after 10 s", self.port.addr());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> String {
        self.port.addr().to_string()
    }

    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }
}

impl Server {
    /// Like a power failure.
    pub(crate) fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The `understudy` that was built beside this binary.
pub(crate) fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().context("this binary lies nowhere")?.join("understudy"))
}

/// All that `start` starts runs on that CPU alone. This process, and what it starts later, runs on
/// the others.
pub(crate) fn apart<T>(cpu: Option<usize>, start: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(cpu) = cpu else { return start() };
    let mut others = sched_getaffinity(None)?;
    others.unset(cpu);
    let mut alone = CpuSet::new();
    alone.set(cpu);
    // A child inherits this from the thread that starts it.
    sched_setaffinity(None, &alone).with_context(|| format!("there is no CPU {cpu} for this process"))?;
    let started = start();
    for task in std::fs::read_dir("/proc/self/task")? {
        let id = task?.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        sched_setaffinity(id, &others).context("no CPU is left for the rest")?;
    }
    started
}
