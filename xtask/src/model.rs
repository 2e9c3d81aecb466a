//! `./x model`: tests of the formal model of the election, and the model itself, checked
//! exhaustively.
//!
//! It is a workspace of its own (tests/model), since the model checker needs more crates than other
//! builds should wait for.

use anyhow::{Result, ensure};

use crate::{children, repo};

pub(crate) const MANIFEST: &str = "tests/model/Cargo.toml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check three members and two failures, and a loss of data with one more takeover. This takes
    /// some minutes, and some gigabytes of memory.
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.full {
        return check_small();
    }
    println!("some minutes, and some gigabytes of memory");
    run_cargo("run", &["--", "2", "0", "1", "3"])?;
    run_cargo("run", &["--", "3", "2"])
}

/// Checks that each deliberate mistake is found, and that no promise is broken by two members and
/// one failure, by three members without a failure, or by two members and one failure when the
/// coordinator loses its data.
pub(crate) fn check_small() -> Result<()> {
    run_cargo("test", &[])?;
    run_cargo("run", &["--", "2", "1"])?;
    run_cargo("run", &["--", "3", "0"])?;
    run_cargo("run", &["--", "2", "1", "1"])
}

/// The workspace's own clippy run does not see this one.
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
