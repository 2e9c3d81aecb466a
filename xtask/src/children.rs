//! Runs child processes so that none stays behind.
//!
//! Cargo does not end its children when it is told to end, and tests start servers. So this process
//! becomes the reaper of its orphans (it inherits a grandchild whose parent died, whatever group or
//! session it is in). On SIGINT, SIGTERM or SIGHUP it ends everything below it before it ends
//! itself: first by SIGTERM, then by SIGKILL.
//!
//! Absent on purpose: own process groups. Children stay in the terminal's foreground group, so
//! Ctrl-C reaches them at once and sudo can ask for a password.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, ExitStatus, Output, Stdio, exit};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::repo::as_typed;

/// A signal arrived: nothing more is started, and what children report from now on is its
/// consequence.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// Children that are being started. Each side raises its own flag before it reads the other's, so
/// no child is missed.
static STARTING: AtomicUsize = AtomicUsize::new(0);

/// How long children have to end by themselves. A terminal's Ctrl-C has reached them, too.
const OWN_ACCORD: Duration = Duration::from_millis(1000);
/// How long they have after SIGTERM. A test runner ends its tests in this time.
const AFTER_TERM: Duration = Duration::from_millis(3000);
/// How long they have after SIGKILL, which only a process stuck in the kernel survives.
const AFTER_KILL: Duration = Duration::from_millis(3000);
const POLL: Duration = Duration::from_millis(20);

/// A process below this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descendant {
    pub(crate) pid: Pid,
    pub(crate) name: String,
}

/// From here on no process that this one starts survives it. Call it before the first child.
pub(crate) fn guard() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("cannot become the reaper of orphans")?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            STOPPING.store(true, Ordering::SeqCst);
            while STARTING.load(Ordering::SeqCst) > 0 {
                thread::sleep(POLL);
            }
            end_descendants();
            exit(128 + signal);
        }
    });
    Ok(())
}

/// For a program that replaces this process: it reaps its own children only.
pub(crate) fn release_guard() -> Result<()> {
    set_child_subreaper(None).context("cannot stop being the reaper of orphans")
}

/// Runs a command to its end. It inherits standard input and output unless it says otherwise.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    let child = start(command)?;
    wait(child, command)
}

/// Waits until the child has ended.
pub(crate) fn wait(mut child: Child, command: &Command) -> Result<ExitStatus> {
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", as_typed(command)))?;
    if !status.success() {
        yield_to_signal();
    }
    Ok(status)
}

/// Runs a command with little output to its end, and returns the output.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    let child = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    child.wait_with_output().with_context(|| format!("cannot read from `{}`", as_typed(command)))
}

pub(crate) fn start(command: &mut Command) -> Result<Child> {
    STARTING.fetch_add(1, Ordering::SeqCst);
    let refused = STOPPING.load(Ordering::SeqCst);
    let child = if refused { None } else { Some(command.spawn()) };
    STARTING.fetch_sub(1, Ordering::SeqCst);
    let child = child.unwrap_or_else(|| wait_for_the_end());
    child.with_context(|| format!("cannot start `{}`", as_typed(command)))
}

/// A child that fails because of a signal may be seen before the signal is. Then this is not
/// reported as a failure.
fn yield_to_signal() {
    thread::sleep(Duration::from_millis(100));
    if STOPPING.load(Ordering::SeqCst) {
        wait_for_the_end();
    }
}

/// The thread that handles the signal ends the process.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// Ends what a finished command has left running, and returns it. Processes that are about to end
/// do not count.
pub(crate) fn end_strays() -> Vec<Descendant> {
    if all_gone_within(AFTER_TERM) {
        return Vec::new();
    }
    let strays = descendants();
    end_descendants();
    strays
}

fn end_descendants() {
    if all_gone_within(OWN_ACCORD) {
        return;
    }
    // Once only: a test runner takes a second one as impatience and skips its clean-up.
    send_to_all(Signal::TERM);
    if all_gone_within(AFTER_TERM) {
        return;
    }
    let deadline = Instant::now() + AFTER_KILL;
    // Repeatedly, since a process may have started another one just before it was killed.
    while send_to_all(Signal::KILL) > 0 && Instant::now() < deadline {
        thread::sleep(POLL);
    }
}

fn all_gone_within(patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if descendants().is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
}

fn send_to_all(signal: Signal) -> usize {
    let all = descendants();
    for process in &all {
        // It has ended meanwhile, or belongs to root (sudo, which passes the terminal's signals
        // on).
        let _ = kill_process(process.pid, signal);
    }
    all.len()
}

/// All living processes below this one.
pub(crate) fn descendants() -> Vec<Descendant> {
    let mut by_parent: HashMap<i32, Vec<Descendant>> = HashMap::new();
    for (parent, process) in processes() {
        by_parent.entry(parent).or_default().push(process);
    }
    let mut found = by_parent.remove(&getpid().as_raw_pid()).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let children = by_parent.remove(&process.pid.as_raw_pid()).unwrap_or_default();
        found.extend(children);
        next += 1;
    }
    found
}

/// Every process of the host that is not a zombie, with its parent.
fn processes() -> impl Iterator<Item = (i32, Descendant)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    // A process that ends during this look has no file any more.
    entries.filter_map(|entry| parse_stat(&fs::read_to_string(entry.path().join("stat")).ok()?))
}

/// `pid (name) state parent …`. The name may contain blanks and brackets, but none comes after its
/// own last bracket.
fn parse_stat(stat: &str) -> Option<(i32, Descendant)> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let pid = Pid::from_raw(pid.parse().ok()?)?;
    let is_alive = state != "Z" && state != "X";
    is_alive.then(|| (parent, Descendant { pid, name: name.to_owned() }))
}

#[cfg(test)]
#[path = "children_test.rs"]
mod children_test;
