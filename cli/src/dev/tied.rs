//! Two hidden commands by which `dev` leaves nothing behind, also when it is killed and can do nothing more itself.
//!
//! - `tied` becomes a program, which the kernel ends with the process that started it.
//! - `sweep` waits until its standard input ends, as it does with `dev`, and removes the directory, unless it was told not to.
//!
//! Invariant: neither touches anything that `dev` has not made.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Members end within five seconds of `dev`, and may write into the directory until then.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
const SWEEPS: u32 = 12;
/// What `sweep` is told by.
const KEEP: &[u8] = b"keep";

#[derive(Debug, clap::Args)]
pub(crate) struct TiedArgs {
    /// Process id of the one that starts this.
    #[arg(long)]
    parent: i32,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    dir: PathBuf,
}

pub(crate) fn tied(args: &TiedArgs) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("the kernel does not tie processes together")?;
    // It may have ended before that.
    if getppid().map(Pid::as_raw_pid) != Some(args.parent) {
        bail!("process {} has ended", args.parent);
    }
    let (program, rest) = args.command.split_first().context("there is no command")?;
    Err(Command::new(program).args(rest).exec()).with_context(|| format!("{} cannot be started", program.display()))
}

pub(crate) fn sweep(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    let mut told = Vec::new();
    // An error: there is no more to be read.
    let _ = std::io::stdin().take(KEEP.len() as u64).read_to_end(&mut told);
    for _ in 0..SWEEPS {
        if told == KEEP || !args.dir.exists() {
            break;
        }
        // An error: something was written meanwhile, or all is gone.
        let _ = std::fs::remove_dir_all(&args.dir);
        std::thread::sleep(SWEEP_EVERY);
    }
    Ok(ExitCode::SUCCESS)
}

/// What starts `program` so that it ends with this process. To be called on the thread that lives as long as the process.
pub(super) fn tied_command(program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot find itself")?);
    command.args(["tied", "--parent", &std::process::id().to_string(), program]);
    Ok(command)
}

/// Removes a directory once this process has ended, however that happens.
pub(super) struct Sweeper(Child);

impl Sweeper {
    pub(super) fn start(dir: &Path) -> anyhow::Result<Sweeper> {
        let mut command = Command::new(std::env::current_exe().context("this program cannot find itself")?);
        // In a group of its own: Ctrl-C is not for it.
        command
            .arg("sweep")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Ok(Sweeper(command.spawn().context("the process that removes the logs cannot be started")?))
    }

    /// The directory stays.
    pub(super) fn keep(&mut self) {
        use std::io::Write as _;
        if let Some(told) = &mut self.0.stdin {
            // An error: another process has ended it, and it removes nothing.
            let _ = told.write_all(KEEP);
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It sees that the directory is gone, or that it stays.
        let _ = self.0.wait();
    }
}
