//! What this process is and takes: its name, its memory, and what happens when it panics.

use std::fs;

/// `wanted`, or else the name of the host.
pub(crate) fn node_name(wanted: &str) -> String {
    match wanted {
        "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        wanted => wanted.to_owned(),
    }
}

/// 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// The memory of this process comes in small pages from now on. The allocator asks for huge ones, and the kernel clears
/// 2 MiB when the first byte of one is touched: up to 8 ms on a virtual machine whose host has not backed them yet, all
/// of it in the middle of somebody's call, under the writer's lock. Where the kernel refuses, it is as before.
pub fn avoid_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// A half-dead master is worse than a dead one: any panic is logged, and ends the process. For the binary only, not
/// for tests that run a node in process.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("a fault of the master, it ends now: {panic}");
        print(panic);
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
    fn this_process_has_a_name_and_takes_memory() {
        assert_eq!(node_name("a"), "a");
        assert!(!node_name("").is_empty());
        assert!(resident_bytes() > 100_000);
    }
}
