//! `./x bites`: proves that the simulator finds bugs. Each patch in `tests/sim/bites` puts one bug
//! into a production core. The simulator must find it by the check that the patch names, and must
//! find nothing without a bug.
//!
//! ```text
//!   the sources ─► target/bites/tree ─► for each patch: apply, build, run the seeds, revert
//! ```
//!
//! Invariants: the repository itself is not changed; a patch that does not apply any more is an
//! error that names it.
//!
//! Absent on purpose: the checks and the meaning of seeds, which belong to the simulator.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{children, repo};

const PATCHES: &str = "tests/sim/bites";
const PLACE: &str = "target/bites";
const SIMULATOR: &str = "understudy-test-sim";
/// Each bug is found within this many seeds, or as many as its patch says after `Seeds:`. The tree
/// without a bug passes all of them.
const SEEDS: u32 = 1000;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Run only patches whose names contain one of these.
    filters: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bite {
    name: String,
    patch: PathBuf,
    bug: String,
    check: String,
    seeds: u32,
}

/// The first violation that the simulator found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    seed: u64,
    check: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bites = bites()?;
    let chosen: Vec<&Bite> = bites.iter().filter(|bite| is_chosen(&bite.name, &args.filters)).collect();
    ensure!(!chosen.is_empty(), "no patch in {PATCHES} is named like that");
    let place = Place::ready()?;
    println!("{:<34} {:<26} {:>6} {:>8}", "bug", "caught by", "seed", "seconds");
    let mut wrong = Vec::new();
    for bite in chosen {
        let began = Instant::now();
        let found = place.try_bite(bite)?;
        println!("{}", line(&bite.name, found.as_ref(), began.elapsed()));
        if found.as_ref().map(|found| found.check.as_str()) != Some(&bite.check) {
            wrong.push(format!("{}: expected {}, found {found:?} ({})", bite.name, bite.check, bite.bug));
        }
    }
    let began = Instant::now();
    let found = place.simulate(SEEDS)?;
    println!("{}", line("none", found.as_ref(), began.elapsed()));
    ensure!(found.is_none(), "without a bug there must be no violation: {found:?}");
    ensure!(wrong.is_empty(), "not caught as they should be:\n{}", wrong.join("\n"));
    Ok(())
}

fn is_chosen(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
}

fn line(name: &str, found: Option<&Found>, took: Duration) -> String {
    let (check, seed) = found.map_or(("-", "-".to_owned()), |found| (&found.check, found.seed.to_string()));
    format!("{name:<34} {check:<26} {seed:>6} {:>8.1}", took.as_secs_f64())
}

fn bites() -> Result<Vec<Bite>> {
    let files = fs::read_dir(PATCHES).with_context(|| format!("{PATCHES} cannot be read"))?;
    let mut paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    paths.into_iter().map(|patch| read(&patch)).collect()
}

fn read(patch: &Path) -> Result<Bite> {
    let text = fs::read_to_string(patch).with_context(|| format!("{} cannot be read", patch.display()))?;
    let name = patch.file_stem().context("a patch has a name")?.to_string_lossy().into_owned();
    let said = |word: &str| text.lines().find_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned());
    let header = |word: &str| said(word).with_context(|| format!("{}: no line {word:?}", patch.display()));
    let seeds = said("Seeds:").map_or(Ok(SEEDS), |seeds| seeds.parse());
    let seeds = seeds.with_context(|| format!("{}: \"Seeds:\" is no number", patch.display()))?;
    Ok(Bite { bug: header("Bug:")?, check: header("Caught by:")?, seeds, name, patch: patch.canonicalize()? })
}

/// The place where the tree is patched and built. It keeps its own target directory.
struct Place {
    tree: PathBuf,
    target: PathBuf,
}

impl Place {
    fn ready() -> Result<Place> {
        fs::create_dir_all(PLACE).with_context(|| format!("{PLACE} cannot be made"))?;
        let place = Path::new(PLACE).canonicalize()?;
        let place = Place { tree: place.join("tree"), target: place.join("target") };
        mirror(Path::new("."), &place.tree)?;
        Ok(place)
    }

    fn try_bite(&self, bite: &Bite) -> Result<Option<Found>> {
        self.apply(bite, &[])?;
        let found = self.simulate(bite.seeds);
        self.apply(bite, &["--reverse"])?;
        found.with_context(|| format!("with {}", bite.name))
    }

    fn apply(&self, bite: &Bite, how: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        // The tree lies within a repository, which git must not find.
        let above = self.tree.parent().context("the tree lies in a directory")?;
        git.current_dir(&self.tree).env("GIT_CEILING_DIRECTORIES", above);
        git.arg("apply").args(how).arg(&bite.patch);
        let applied = children::capture(&mut git)?;
        let said = String::from_utf8_lossy(&applied.stderr);
        ensure!(applied.status.success(), "{} does not apply any more, make it anew: {said}", bite.patch.display());
        Ok(())
    }

    /// Builds, and runs the seeds. `None`: no promise was broken.
    fn simulate(&self, seeds: u32) -> Result<Option<Found>> {
        let mut cargo = repo::cargo(["build", "--quiet", "--profile", "checked", "-p", SIMULATOR]);
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // It is built often and runs shortly: without debug information, and incrementally.
        cargo.env("CARGO_PROFILE_CHECKED_DEBUG", "false").env("CARGO_INCREMENTAL", "1");
        // A bug may leave unused code behind.
        cargo.env("RUSTFLAGS", "-Awarnings");
        let built = children::run(&mut cargo)?;
        ensure!(built.success(), "`{}` failed in {}", repo::as_typed(&cargo), self.tree.display());
        let mut simulator = Command::new(self.target.join("checked").join(SIMULATOR));
        let ran = children::capture(simulator.args(["--seeds", &seeds.to_string()]))?;
        let said = String::from_utf8_lossy(&ran.stderr);
        match (ran.status.success(), found_in(&said)) {
            (true, None) => Ok(None),
            (false, Some(found)) => Ok(Some(found)),
            (_, _) => bail!("the simulator ended with {}: {said}", ran.status),
        }
    }
}

/// Makes `to` a copy of `from`, except build results. Writes only changed files, so that cargo
/// rebuilds only what has changed.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let wanted = entries(from)?;
    for name in entries(to)?.difference(&wanted) {
        let stale = to.join(name);
        let gone = if stale.is_dir() { fs::remove_dir_all(&stale) } else { fs::remove_file(&stale) };
        gone.with_context(|| format!("{} cannot be removed", stale.display()))?;
    }
    for name in wanted {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            mirror(&from, &to)?;
            continue;
        }
        let content = fs::read(&from).with_context(|| format!("{} cannot be read", from.display()))?;
        if !fs::read(&to).is_ok_and(|there| there == content) {
            fs::write(&to, content).with_context(|| format!("{} cannot be written", to.display()))?;
        }
    }
    Ok(())
}

/// Names of files and directories that belong to the sources.
fn entries(dir: &Path) -> Result<BTreeSet<OsString>> {
    let listed = fs::read_dir(dir).with_context(|| format!("{} cannot be listed", dir.display()))?;
    let names = listed.map(|entry| Ok(entry?.file_name())).collect::<Result<BTreeSet<OsString>>>()?;
    let is_source = |name: &OsString| !(name == "target" || name == "fuzz" || name.to_string_lossy().starts_with('.'));
    Ok(names.into_iter().filter(is_source).collect())
}

/// `seed N breaks a promise: CHECK: …`
fn found_in(said: &str) -> Option<Found> {
    said.lines().find_map(|line| {
        let (seed, rest) = line.strip_prefix("seed ")?.split_once(" breaks a promise: ")?;
        let check = rest.split_once(':').map_or(rest, |(check, _)| check);
        Some(Found { seed: seed.parse().ok()?, check: check.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_names_its_bug_and_a_check_that_there_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the repository");
        let mut count = 0;
        for file in fs::read_dir(root.join(PATCHES)).expect("it is there") {
            let bite = read(&file.expect("it can be listed").path()).expect("it has a header");
            let check = root.join(format!("tests/sim/src/checks/{}.rs", bite.check));
            // A check of the member itself, after each event.
            let is_own = bite.check == "validate";
            assert!(is_own || check.is_file(), "{}: there is no check {:?}", bite.name, bite.check);
            assert!(!bite.bug.is_empty());
            count += 1;
        }
        assert!(count >= 12, "{count} patches");
    }

    #[test]
    fn what_the_simulator_found_is_read_from_what_it_says() {
        let said = "17 of 20 seeds\nseed 17 breaks a promise: cursors: 0.1: purged 3 (a.rs:1)\noptions: {}\n";
        assert_eq!(found_in(said), Some(Found { seed: 17, check: "cursors".to_owned() }));
        assert_eq!(found_in("20 of 20 seeds\n"), None);
    }

    #[test]
    fn mirror_takes_over_what_is_there_and_no_longer_there() {
        let dir = tempfile::tempdir().expect("there is room");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().expect("it has one")).expect("there is room");
            fs::write(path, text).expect("there is room");
        };
        write(&from.join("src/a.rs"), "new");
        write(&from.join("target/built"), "");
        write(&to.join("src/a.rs"), "old");
        write(&to.join("src/b.rs"), "gone by now");
        write(&to.join("gone/c.rs"), "");
        mirror(&from, &to).expect("it can be read and written");
        assert_eq!(fs::read_to_string(to.join("src/a.rs")).expect("it is there"), "new");
        assert!(!to.join("src/b.rs").exists() && !to.join("gone").exists() && !to.join("target").exists());
    }
}
