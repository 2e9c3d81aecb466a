//! CPU time and memory of a process, from /proc.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{MemfdFlags, memfd_create};

/// A process whose costs are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    pub(crate) fn own() -> Process {
        Process::of(std::process::id())
    }

    pub(crate) fn of(pid: u32) -> Process {
        Process { pid }
    }

    /// Nanoseconds on a CPU so far, in user and kernel mode, of all its threads.
    pub(crate) fn cpu_ns(self) -> Result<u64> {
        self.cpu_ns_where(|_| true)
    }

    /// The same for its threads of that name.
    pub(crate) fn cpu_ns_of(self, thread: &str) -> Result<u64> {
        self.cpu_ns_where(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == thread))
    }

    fn cpu_ns_where(self, counts: impl Fn(&Path) -> bool) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).context("the process is gone")? {
            let task = task?.path();
            if !counts(&task) {
                continue;
            }
            // A thread may end in between.
            let Ok(line) = fs::read_to_string(task.join("schedstat")) else { continue };
            let running = line.split_ascii_whitespace().next().context("schedstat is empty")?;
            sum += running.parse::<u64>()?;
        }
        Ok(sum)
    }

    pub(crate) fn resident_bytes(self) -> Result<u64> {
        let line = fs::read_to_string(format!("/proc/{}/statm", self.pid)).context("the process is gone")?;
        let pages: u64 = line.split_ascii_whitespace().nth(1).context("statm is short")?.parse()?;
        Ok(pages * 4096)
    }
}

/// Runs `work` and prints the cost of one of its `operations`.
pub(crate) fn report(name: &str, process: Process, operations: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (cpu, wall) = (process.cpu_ns()?, std::time::Instant::now());
    work()?;
    let (cpu, wall) = (process.cpu_ns()? - cpu, wall.elapsed());
    let per_op = cpu as f64 / operations as f64 / 1000.0;
    let per_second = operations as f64 / wall.as_secs_f64();
    println!("{name:<38} {per_op:>9.3} µs CPU/op {per_second:>12.0} op/s {operations:>10} ops");
    Ok(())
}

/// Touches this much memory and gives it back. Memory that the host of this machine hands out for
/// the first time costs a few µs more per page; after this call it has been in use just before,
/// whichever process is measured next.
pub(crate) fn warm_memory(bytes: usize) -> Result<()> {
    let mut file = File::from(memfd_create("warm", MemfdFlags::CLOEXEC)?);
    let piece = vec![1; 1 << 20];
    (0..bytes / piece.len()).try_for_each(|_| file.write_all(&piece))?;
    Ok(())
}
