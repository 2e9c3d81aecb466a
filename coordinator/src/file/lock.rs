//! Locks that prove life: a process holds one until it ends, and others check it without touching
//! it.
//!
//! These are the kernel's locks of open files ("OFD"). The kernel can say which lock is in the way
//! without taking one, so a check disturbs no process, even if the checking process is stopped.
//! With `flock`, a check would have to take the lock.
//!
//! Invariant: no child process inherits a lock (every file is opened close-on-exec, as std does).

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// A lock on a file, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Locked(pub(super) File);

impl Drop for Locked {
    fn drop(&mut self) {
        // To close the file is not enough: a child process between its fork and its exec has a copy
        // of every open file.
        if let Err(error) = fcntl(&self.0, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK))) {
            tracing::error!(%error, "a lock could not be given back; it goes when the file is closed");
        }
    }
}

/// `None`: another holder has it. The file must be open for writing.
pub(super) fn take(file: File) -> io::Result<Option<Locked>> {
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(Some(Locked(file))),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether some process has it, this one included.
pub(super) fn is_taken(file: &File) -> io::Result<bool> {
    let mut found = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_lock_is_held_once_and_seen_by_all_until_it_is_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).open(dir.path().join("lock")).expect("opened")
        };
        assert!(!is_taken(&open()).expect("answered"));
        let held = take(open()).expect("answered").expect("it is free");
        // A copy of the descriptor, as in a child between fork and exec, does not keep the lock.
        let copy = held.0.try_clone().expect("copied");
        assert!(is_taken(&open()).expect("answered"));
        assert!(take(open()).expect("answered").is_none());
        assert!(is_taken(&open()).expect("answered"), "neither a look nor a try has changed anything");
        drop(held);
        assert!(!is_taken(&open()).expect("answered"));
        drop(copy);
    }
}
