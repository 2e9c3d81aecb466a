//! Files, and what their errors mean.
//!
//! Invariant: a file that is put in its place has its text, whole and on the disk, from the first
//! moment that it can be seen, whatever crashes or is stopped meanwhile.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::own;
use crate::contract::Error;

/// Names of temporary files begin with this.
const ASIDE: &str = "aside-";
/// A temporary file of this age belongs to a process that has ended, or that will be told that it
/// is too late.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

/// The text of a file, if it exists.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(what, path, &error)),
    }
}

/// A temporary file that is whole, and not in its place yet. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Aside(PathBuf);

impl Aside {
    /// Writes to a file in the same directory as its final place.
    pub(super) fn write(what: &'static str, dir: &Path, text: &[u8]) -> Result<Aside, Error> {
        let (path, mut file) = Aside::create(dir).map_err(|error| fault(what, dir, &error))?;
        let written = file.write_all(text).and_then(|()| file.sync_all());
        let aside = Aside(path);
        written.map_err(|error| fault(what, &aside.0, &error))?;
        Ok(aside)
    }

    /// Under a new name: other processes may write at the same time, and a crash may have left
    /// files.
    fn create(dir: &Path) -> io::Result<(PathBuf, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{ASIDE}{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(own::FILE_MODE).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| (path, file)),
            }
        }
    }

    /// Replaces the file at `path`.
    pub(super) fn replace(self, what: &'static str, path: &Path) -> Result<(), Error> {
        fs::rename(&self.0, path).map_err(|error| fault(what, path, &error))?;
        std::mem::forget(self);
        sync_dir(what, path)
    }

    /// False: the file exists. If several processes try, one wins, and none waits for another.
    pub(super) fn put_new(self, what: &'static str, path: &Path) -> Result<bool, Error> {
        match fs::hard_link(&self.0, path) {
            Ok(()) => sync_dir(what, path).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(fault(what, path, &error)),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sync_dir(what: &'static str, path: &Path) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| fault(what, dir, &error))
}

/// Removes temporary files of processes that were killed. A file that cannot be removed does no
/// harm.
pub(super) fn sweep(dir: &Path) {
    let is_abandoned = |entry: &fs::DirEntry| {
        let written = entry.metadata().and_then(|data| data.modified()).ok();
        let is_old = written.and_then(|written| written.elapsed().ok()).is_some_and(|age| age > ABANDONED_AFTER);
        is_old && is_aside(&entry.file_name())
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(is_abandoned) {
        let _ = fs::remove_file(entry.path());
    }
}

fn is_aside(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(ASIDE))
}

/// A file that this process may not write is [`Error::Denied`]; all other faults may pass.
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

    fn aside(dir: &Path, text: &str) -> Aside {
        Aside::write("test", dir, text.as_bytes()).expect("written")
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.into_string().expect("text")).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        aside(dir.path(), "one, which is longer").replace("test", &path).expect("replaced");
        aside(dir.path(), "two").replace("test", &path).expect("replaced");
        assert_eq!(read("test", &path).expect("read"), Some(b"two".to_vec()));
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn of_two_that_are_put_in_one_place_the_first_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let (one, two) = (aside(dir.path(), "one"), aside(dir.path(), "two"));
        assert!(two.put_new("test", &path).expect("answered"));
        assert!(!one.put_new("test", &path).expect("answered"));
        assert_eq!(read("test", &path).expect("read"), Some(b"two".to_vec()));
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn only_what_was_left_aside_long_ago_is_swept() {
        let dir = tempfile::tempdir().expect("a directory");
        let young = aside(dir.path(), "young");
        for name in ["aside-1-1", "record"] {
            let old = File::create(dir.path().join(name)).expect("made");
            old.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
        }
        sweep(dir.path());
        assert!(young.0.exists() && dir.path().join("record").exists());
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn errors_say_what_an_operator_must_do() {
        let of = |errno| fault("test", Path::new("/d/record"), &io::Error::from_raw_os_error(errno)).to_string();
        // EROFS, EACCES, ENOSPC, ENOENT.
        assert_eq!(of(30), "/d/record refused test: Read-only file system (os error 30)");
        assert_eq!(of(13), "/d/record refused test: Permission denied (os error 13)");
        assert_eq!(of(28), "test: no answer from /d/record: No space left on device (os error 28)");
        assert_eq!(of(2), "test: no answer from /d/record: it is gone; was the directory removed?");
    }
}
