//! This process: its name, its memory, and what happens when it panics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs;

use oplog::Secret;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::logging;

/// `wanted`, or else the name of the host.
pub fn node_name(wanted: &str) -> String {
    match wanted {
        "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        wanted => wanted.to_owned(),
    }
}

/// Random bytes from the kernel. A cluster cannot begin on a system without randomness.
pub(crate) fn draw_secret() -> Secret {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    Secret(bytes)
}

/// 0 if the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Identifies this process, so that the same host can tell for good whether it has ended: boot of
/// the kernel, namespace of process ids, id, and start time. Empty if the system does not tell.
pub(crate) fn identity() -> String {
    let (Some(place), pid) = (place(), std::process::id()) else { return String::new() };
    started(pid).map_or_else(String::new, |ticks| format!("{place}/{pid}/{ticks}"))
}

/// Proof by the kernel that the process of this identity has ended. `false`: it has not, or it
/// cannot be known here. A zombie has not ended, since its other threads may live.
pub(crate) fn has_ended(identity: &str) -> bool {
    let mut parts = identity.rsplitn(3, '/');
    let (ticks, pid) = (parts.next().and_then(|ticks| ticks.parse::<u64>().ok()), parts.next());
    let (Some(ticks), Some(pid), Some(there)) = (ticks, pid.and_then(|pid| pid.parse::<u32>().ok()), parts.next())
    else {
        return false;
    };
    if place().is_none_or(|here| here != there) {
        return false;
    }
    let nobody = i32::try_from(pid).ok().and_then(Pid::from_raw).is_some_and(|pid| {
        // Not by /proc, which may hide processes of other users.
        test_kill_process(pid) == Err(Errno::SRCH)
    });
    nobody || started(pid).is_some_and(|now| now != ticks)
}

/// Where process ids mean the same.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim_end(), namespace.display()))
}

/// The start of a process, in the kernel's ticks since its boot.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may contain anything, come the fields from the third on; this is the
    // 22nd.
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// From now on the memory of this process comes in small pages. The allocator asks for huge ones,
/// and the kernel clears 2 MiB when the first byte of one is touched: up to 8 ms on a virtual
/// machine whose host has not backed them yet, all of it in the middle of a client's call, under
/// the writer's lock. If the kernel refuses, nothing changes.
pub fn avoid_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// A half-dead member is worse than a dead one: any panic is logged, and ends the process. For the
/// binary only, not for tests that run a node in process.
///
/// Nothing here waits for standard error, or needs it: a process that hangs in its last message is
/// half dead, too.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("a fault of this member, it ends now: {panic}");
        let backtrace = Backtrace::capture();
        let trace = match backtrace.status() {
            BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        // A command has no log, and prints like any program.
        if !logging::say(&format!("{panic}{trace}")) {
            print(panic);
        }
        logging::finish();
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_do_without_huge_pages() {
        avoid_huge_pages();
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
        let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
        assert!(line.is_none_or(|line| line.ends_with('0')), "{line:?}");
    }

    #[test]
    fn process_has_ended_when_it_is_gone_and_not_before() {
        assert!(!has_ended(&identity()), "this one lives: {}", identity());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it can be started");
        let of_child = |ticks| format!("{}/{}/{ticks}", place().expect("Linux tells"), child.id());
        let ticks = started(child.id()).expect("it runs");
        let (living, before, elsewhere) = (of_child(ticks), of_child(ticks - 1), format!("other/{}", of_child(ticks)));
        assert!(!has_ended(&living));
        assert!(has_ended(&before), "its id has come again");
        child.kill().expect("it is ours");
        while started_state(child.id()) != Some('Z') {
            std::thread::yield_now();
        }
        assert!(!has_ended(&living), "a zombie");
        child.wait().expect("it is ours");
        assert!(has_ended(&living));
        for unknown in ["", "7", "a/b", "a/7/8", &elsewhere] {
            assert!(!has_ended(unknown), "{unknown:?}");
        }
    }

    fn started_state(pid: u32) -> Option<char> {
        fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
    }

    #[test]
    fn this_process_has_a_name_and_takes_memory() {
        assert_eq!(node_name("a"), "a");
        assert!(!node_name("").is_empty());
        assert!(resident_bytes() > 100_000);
    }
}
