//! Files and locks under a time limit, and what their errors mean.
//!
//! Invariants: a file that is replaced holds the old text or the new one, whole, whenever it is looked at and whatever
//! crashes; no lock is waited for longer than the deadline, be its holder stopped; no lock goes to a child process
//! (every file is opened close-on-exec, which is std's rule).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::contract::Error;

/// Between two looks at a lock that somebody else holds. They hold it for as long as a write to disk takes.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lock {
    Shared,
    Exclusive,
}

/// A lock on a file, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Locked(pub(super) File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Not by closing alone: a child process between its fork and its exec has a copy of every open file.
        if let Err(error) = self.0.unlock() {
            tracing::error!(%error, "a lock could not be given back; it goes when the file is closed");
        }
    }
}

/// `None`: somebody else has it.
pub(super) fn try_lock(file: File, kind: Lock) -> io::Result<Option<Locked>> {
    let tried = match kind {
        Lock::Shared => file.try_lock_shared(),
        Lock::Exclusive => file.try_lock(),
    };
    match tried {
        Ok(()) => Ok(Some(Locked(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The lock of the file at `path`, which must be there: whoever made the directory made it.
pub(super) fn lock(what: &'static str, path: &Path, kind: Lock, deadline: Instant) -> Result<Locked, Error> {
    loop {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| fault(what, path, &error))?;
        if let Some(locked) = try_lock(file, kind).map_err(|error| fault(what, path, &error))? {
            return Ok(locked);
        }
        if Instant::now() >= deadline {
            let why = "another process holds the lock, and may be stopped".to_owned();
            return Err(Error::Unavailable { what, place: path.display().to_string(), why });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The text of a file, if there is one.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(what, path, &error)),
    }
}

/// Writes aside, and renames. Only one may do so at a time: whoever calls holds a lock.
pub(super) fn replace(what: &'static str, path: &Path, text: &[u8]) -> Result<(), Error> {
    let aside = path.with_extension("aside");
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(|error| fault(what, &aside, &error))?;
    std::fs::rename(&aside, path).map_err(|error| fault(what, path, &error))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| fault(what, dir, &error))
}

/// What is not ours to write is [`Error::Denied`]; all else may pass.
pub(super) fn fault(what: &'static str, path: &Path, error: &io::Error) -> Error {
    let (place, why) = (path.display().to_string(), error.to_string());
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists => Error::Denied { what, place, why },
        io::ErrorKind::NotFound => {
            Error::Unavailable { what, place, why: "it is gone; was the directory removed?".to_owned() }
        }
        _ => Error::Unavailable { what, place, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_what_a_crash_left_aside_does_not_matter() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("record");
        std::fs::write(dir.path().join("record.aside"), "half of something longer than the new text").expect("written");
        replace("test", &path, b"one").expect("replaced");
        replace("test", &path, b"two").expect("replaced");
        assert_eq!(read("test", &path).expect("read"), Some(b"two".to_vec()));
        assert!(!dir.path().join("record.aside").exists());
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_no_longer_than_the_deadline() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        File::create(&path).expect("made");
        let soon = || Instant::now() + Duration::from_millis(30);
        let held = lock("test", &path, Lock::Shared, soon()).expect("free");
        lock("test", &path, Lock::Shared, soon()).expect("shared");
        let error = lock("test", &path, Lock::Exclusive, soon()).expect_err("held");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        drop(held);
        lock("test", &path, Lock::Exclusive, soon()).expect("free again");
    }

    #[test]
    fn errors_say_what_a_person_must_do() {
        let of = |errno| fault("test", Path::new("/d/record"), &io::Error::from_raw_os_error(errno)).to_string();
        // EROFS, EACCES, ENOSPC, ENOENT.
        assert_eq!(of(30), "/d/record refused test: Read-only file system (os error 30)");
        assert_eq!(of(13), "/d/record refused test: Permission denied (os error 13)");
        assert_eq!(of(28), "test: no answer from /d/record: No space left on device (os error 28)");
        assert_eq!(of(2), "test: no answer from /d/record: it is gone; was the directory removed?");
    }
}
