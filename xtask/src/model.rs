//! `./x model`: tests of the formal model of the election, and the model itself, checked to the last state.
//!
//! It is a workspace of its own (tests/model): the model checker brings more crates than a build of the others should wait for.

use anyhow::{Result, ensure};

use crate::{children, repo};

pub(crate) const MANIFEST: &str = "tests/model/Cargo.toml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Three members and two failures: takes long, and memory.
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.full { run_cargo("run", &["--", "3", "2"]) } else { check_small() }
}

/// That each deliberate mistake is found, and that two members and one failure break no promise.
pub(crate) fn check_small() -> Result<()> {
    run_cargo("test", &[])?;
    run_cargo("run", &[])
}

/// Beside the workspace's own clippy run, which does not see this one.
pub(crate) fn lint() -> Result<()> {
    run_cargo("clippy", &["--all-targets", "--", "-D", "warnings"])
}

fn run_cargo(subcommand: &str, more: &[&str]) -> Result<()> {
    let words = ["--release", "--manifest-path", MANIFEST, "--target-dir", "tests/model/target"];
    let mut cargo = repo::cargo([subcommand].into_iter().chain(words));
    cargo.args(repo::is_ci().then_some("--locked")).args(more);
    println!("$ {}", repo::as_typed(&cargo));
    let status = children::run(&mut cargo)?;
    ensure!(status.success(), "`{}` failed ({status})", repo::as_typed(&cargo));
    Ok(())
}
