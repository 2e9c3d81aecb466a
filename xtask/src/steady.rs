//! `./x steady`: the failover and the simulator suite again and again. A test that fails once in twenty runs hides a bug.
//!
//! Invariants:
//! - The first run that fails is the last, and nothing is tried again.
//! - The report tells every run, also the one that failed, and is whole after each.
//!
//! Absent on purpose: what the tests print. The runner shows it, and members' logs of a failure are kept.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::test::{Scope, test_command};
use crate::tools::{self, ETCD, ETCDCTL, NEXTEST};
use crate::{children, repo};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// So many runs in a row.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Write the report here, and not to docs/reports/steady.md.
    #[arg(long, value_name = "FILE", default_value = "docs/reports/steady.md")]
    report: PathBuf,
    /// Install what is missing without asking.
    #[arg(long)]
    yes: bool,
}

/// One run of both suites.
#[derive(Clone, Copy, Debug)]
struct Run {
    passed: bool,
    took: Duration,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    tools::ensure_here(&[ETCD, ETCDCTL], &[], args.yes)?;
    let (commit, mut runs) = (commit(), Vec::new());
    let (nextest, ci) = (NEXTEST.is_here(), repo::is_ci());
    // What is built is no part of a run.
    let mut build = test_command(Scope::Suites, &[], nextest, ci);
    build.arg("--no-run");
    ensure!(children::run(&mut build)?.success(), "the build failed: `{}`", repo::as_typed(&build));
    for number in 1..=args.times {
        println!("\n== run {number} of {} ==", args.times);
        let mut command = test_command(Scope::Suites, &[], nextest, ci);
        let began = Instant::now();
        let status = children::run(&mut command)?;
        runs.push(Run { passed: status.success(), took: began.elapsed() });
        let command = repo::as_typed(&command);
        fs::write(&args.report, report(&commit, args.times, &command, &runs))
            .with_context(|| format!("cannot write {}", args.report.display()))?;
        ensure!(status.success(), "run {number} failed ({status}): find out why, it is the best news of the day");
    }
    println!("\n{} runs, all green: {}", args.times, args.report.display());
    Ok(())
}

fn report(commit: &str, times: u32, command: &str, runs: &[Run]) -> String {
    let green = runs.iter().filter(|run| run.passed).count();
    let cpus = available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "# The failover and the simulator suite, {green} times green\n\n\
         | | |\n|---|---|\n\
         | commit | {commit} |\n\
         | command | `./x steady --times {times}` |\n\
         | each run | `{command}` |\n\
         | machine | {cpus} CPUs |\n\n\
         | run | result | seconds |\n|---:|---|---:|\n"
    );
    for (number, run) in (1..).zip(runs) {
        let result = if run.passed { "green" } else { "FAILED" };
        writeln!(text, "| {number} | {result} | {:.0} |", run.took.as_secs_f64()).expect("a string takes everything");
    }
    text
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]);
    let told = children::capture(&mut git).ok().filter(|output| output.status.success());
    told.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_run_is_told() {
        let run = |passed| Run { passed, took: Duration::from_millis(1600) };
        let text = report("abc", 20, "cargo test", &[run(true), run(false)]);
        assert!(text.starts_with("# The failover and the simulator suite, 1 times green\n"), "{text}");
        assert!(text.ends_with("| 1 | green | 2 |\n| 2 | FAILED | 2 |\n"), "{text}");
    }
}
