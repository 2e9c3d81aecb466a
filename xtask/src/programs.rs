//! `dev`, `bench` and `attack`: build in release, then become the program. `sim` and `chaos`: the
//! same, built like the tests.
//!
//! This process becomes the program (exec), so signals, the exit code and the terminal are the
//! program's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tools::{self, ETCD, ETCDCTL};
use crate::{children, repo};

/// The server, ready to use.
pub(crate) fn dev(args: Vec<OsString>) -> Result<()> {
    build(&RELEASE, &["understudy"])?;
    let args = [OsString::from("dev")].into_iter().chain(args).collect();
    become_program(RELEASE.program("understudy")?, args, &repo::caller_dir())
}

/// The benchmarks. They start the server, so it is built with them.
pub(crate) fn bench(args: Vec<OsString>) -> Result<()> {
    build(&RELEASE, &["understudy", "understudy-bench"])?;
    become_program(RELEASE.program("understudy-bench")?, args, &repo::caller_dir())
}

/// The simulator, for many seeds, or for one again. Not in release: there a broken promise would
/// end the process without a message.
pub(crate) fn sim(args: Vec<OsString>) -> Result<()> {
    build(&CHECKED, &["understudy-test-sim"])?;
    become_program(CHECKED.program("understudy-test-sim")?, args, &repo::caller_dir())
}

/// Random faults of real members. Optimised, with all assertions; runs at the root, where the
/// reports are.
pub(crate) fn chaos(args: Vec<OsString>) -> Result<()> {
    if !args.iter().any(|arg| arg == "--file") {
        tools::ensure_here(&[ETCD, ETCDCTL], &[], false)?;
    }
    build(&CHECKED, &["understudy", "understudy-test-chaos"])?;
    become_program(CHECKED.program("understudy-test-chaos")?, args, Path::new("."))
}

/// What one client can do to a member. Built as it is released; runs at the root, where the reports
/// are.
pub(crate) fn attack(args: Vec<OsString>) -> Result<()> {
    build(&RELEASE, &["understudy", "understudy-test-attack"])?;
    become_program(RELEASE.program("understudy-test-attack")?, args, Path::new("."))
}

/// How programs are built.
struct Built {
    /// Beside this program's own directory.
    dir: &'static str,
    how: &'static [&'static str],
}

const RELEASE: Built = Built { dir: "release", how: &["--release"] };
/// With the features of the tests, so that nothing is built twice.
const CHECKED: Built = Built { dir: "checked", how: &["--profile", "checked", "--all-features"] };

impl Built {
    fn program(&self, name: &str) -> Result<PathBuf> {
        repo::program(self.dir, name)
    }
}

fn build(built: &Built, packages: &[&str]) -> Result<()> {
    let selected = packages.iter().flat_map(|package| ["-p", package]);
    let how = ["build"].iter().chain(built.how).chain(&["--bins"]).copied();
    let mut cargo = repo::cargo(how.chain(selected));
    let status = children::run(&mut cargo)?;
    ensure!(status.success(), "the build failed: `{}` ({status})", repo::as_typed(&cargo));
    Ok(())
}

fn become_program(program: PathBuf, args: Vec<OsString>, dir: &Path) -> Result<()> {
    let mut command = Command::new(&program);
    command.args(args).current_dir(dir);
    repo::clean_environment(&mut command);
    children::release_guard()?;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
