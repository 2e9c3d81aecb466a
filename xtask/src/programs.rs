//! `dev`, `bench` and `sim`: build in release, then become the program.
//!
//! Becoming it (exec) means that signals, the exit code and the terminal are the program's own, with nobody between.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{children, repo};

/// The server, ready to use.
pub(crate) fn dev(args: Vec<OsString>) -> Result<()> {
    build(&["understudy"])?;
    let args = [OsString::from("dev")].into_iter().chain(args).collect();
    become_program("understudy", args)
}

/// The benchmarks. They start the server too, so it is built with them.
pub(crate) fn bench(args: Vec<OsString>) -> Result<()> {
    build(&["understudy", "understudy-bench"])?;
    become_program("understudy-bench", args)
}

/// The simulator, for many seeds, or for one again.
pub(crate) fn sim(args: Vec<OsString>) -> Result<()> {
    build(&["understudy-test-sim"])?;
    become_program("understudy-test-sim", args)
}

fn build(packages: &[&str]) -> Result<()> {
    let selected = packages.iter().flat_map(|package| ["-p", package]);
    let mut cargo = repo::cargo(["build", "--release", "--bins"].into_iter().chain(selected));
    let status = children::run(&mut cargo)?;
    ensure!(status.success(), "the build failed: `{}` ({status})", repo::as_typed(&cargo));
    Ok(())
}

fn become_program(name: &str, args: Vec<OsString>) -> Result<()> {
    let mut command = Command::new(repo::release_program(name)?);
    command.args(args).current_dir(repo::caller_dir());
    repo::clean_environment(&mut command);
    children::release_guard()?;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {name}"))
}
