//! Texts with numbers, of which the highest counts: how a text is replaced by compare-and-swap
//! without a lock.
//!
//! A text is added under the next number by a hard link, which fails if another process was faster.
//! So no process waits for another, and a process that is stopped half-way delays none.
//!
//! Invariants:
//! - The highest number is never removed, and numbers are added only above a highest one that was
//!   seen.
//! - A process that was stopped before its link for so long that its number has come and gone is
//!   told that the outcome is unknown: it finds a number higher than its own when it looks again.
//!   The file that it has left counts for nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, Aside, fault};
use super::own;
use crate::contract::Error;

/// How many are kept. So a late process mostly finds its number taken; and one that has read the
/// directory still finds the highest file when it opens it, unless as many were added meanwhile.
const KEPT: u64 = 64;
/// How often to look again at a directory in which the highest file is gone each time it is opened.
const LOOKS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Numbered {
    dir: PathBuf,
}

impl Numbered {
    pub(super) fn make(dir: PathBuf) -> Result<Numbered, Error> {
        own::make_dir(&dir)?;
        Ok(Numbered { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// A directory that is gone is not an empty one.
    fn numbers(&self, what: &'static str) -> Result<Vec<u64>, Error> {
        let names = || -> io::Result<Vec<u64>> {
            let mut numbers = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
            }
            Ok(numbers)
        };
        names().map_err(|error| fault(what, &self.dir, &error))
    }

    /// The highest number with its text.
    pub(super) fn last(&self, what: &'static str) -> Result<Option<(u64, Vec<u8>)>, Error> {
        for _ in 0..LOOKS_MAX {
            let Some(number) = self.numbers(what)?.into_iter().max() else { return Ok(None) };
            if let Some(text) = disk::read(what, &self.path(number))? {
                return Ok(Some((number, text)));
            }
        }
        let why = format!("{LOOKS_MAX} times the highest was gone when it was opened");
        Err(Error::Unavailable { what, place: self.dir.display().to_string(), why })
    }

    /// False: the number exists. Must be called with the number after the highest.
    pub(super) fn add(&self, what: &'static str, number: u64, text: &[u8]) -> Result<bool, Error> {
        if !Aside::write(what, &self.dir, text)?.put_new(what, &self.path(number))? {
            return Ok(false);
        }
        let found = self.numbers(what)?;
        if found.iter().any(|found| *found > number) {
            let why =
                format!("{number} was added, and later ones are there: this came late, and may count for nothing");
            return Err(Error::Unavailable { what, place: self.dir.display().to_string(), why });
        }
        self.forget(&found, number);
        Ok(true)
    }

    /// Adds or replaces: for numbers that have only one writer each.
    pub(super) fn set(&self, what: &'static str, number: u64, text: &[u8]) -> Result<(), Error> {
        Aside::write(what, &self.dir, text)?.replace(what, &self.path(number))?;
        self.forget(&self.numbers(what)?, number);
        Ok(())
    }

    fn forget(&self, found: &[u64], number: u64) {
        for old in found.iter().filter(|old| **old + KEPT <= number) {
            let _ = fs::remove_file(self.path(*old));
        }
        if number.is_multiple_of(KEPT) {
            disk::sweep(&self.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> (tempfile::TempDir, Numbered) {
        let temporary = tempfile::tempdir().expect("a directory");
        let numbered = Numbered::make(temporary.path().join("texts")).expect("made");
        (temporary, numbered)
    }

    #[test]
    fn the_highest_counts_and_few_are_kept() {
        let (_temporary, texts) = numbered();
        assert_eq!(texts.last("test").expect("read"), None);
        for number in 1..=200 {
            assert!(texts.add("test", number, number.to_string().as_bytes()).expect("added"));
            assert_eq!(texts.last("test").expect("read"), Some((number, number.to_string().into_bytes())));
            assert!(!texts.add("test", number, b"again").expect("answered"));
        }
        assert_eq!(texts.numbers("test").expect("read").len(), KEPT as usize);
    }

    #[test]
    fn one_that_comes_after_its_number_has_gone_is_not_told_that_it_has_won() {
        let (_temporary, texts) = numbered();
        for number in 1..=100 {
            assert!(texts.add("test", number, b"in time").expect("added"));
        }
        // It saw 6, was stopped, and now goes on.
        let error = texts.add("test", 7, b"late").expect_err("the outcome is unknown");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert_eq!(texts.last("test").expect("read"), Some((100, b"in time".to_vec())));
        assert!(texts.add("test", 101, b"next").expect("added"));
        assert!(!texts.path(7).exists());
    }
}
