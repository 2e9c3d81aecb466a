//! `./x steady`: runs the failover and the simulator suite again and again. A test that fails once
//! in twenty runs hides a bug.
//!
//! Invariants:
//! - After a failed run no other one begins, and nothing is retried.
//! - The report has every run, including a failed one, and is complete after each.
//!
//! Absent on purpose: the output of the tests. Each run has a file with it, and members' logs are
//! kept after a failure.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::test::{Scope, test_command};
use crate::tools::{self, ETCD, ETCDCTL, NEXTEST};
use crate::{children, repo, steps};

/// The output of each run goes here.
const OUTPUT: &str = "target/steady";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The number of runs in a row.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    times: u32,
    /// How many of them run at the same time, so that they disturb each other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,
    /// Write the report here.
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
    let commit = commit();
    let suites = || test_command(Scope::Suites, &[], NEXTEST.is_here(), repo::is_ci());
    // Building is not part of a run.
    let mut build = suites();
    build.arg("--no-run");
    ensure!(children::run(&mut build)?.success(), "the build failed: `{}`", repo::as_typed(&build));
    fs::create_dir_all(OUTPUT).with_context(|| format!("cannot create {OUTPUT}"))?;
    let mut runs = Vec::new();
    while runs.len() < args.times as usize {
        let first = runs.len() as u32 + 1;
        let last = args.times.min(first + args.at_once - 1);
        println!("run {first} to {last} of {}: what they print goes to {OUTPUT}", args.times);
        let began = Instant::now();
        let started = (first..=last).map(|number| start(suites(), number)).collect::<Result<Vec<_>>>()?;
        for (child, command) in started {
            let passed = children::wait(child, &command)?.success();
            runs.push(Run { passed, took: began.elapsed() });
            println!("run {}: {} after {:.0} s", runs.len(), word(passed), began.elapsed().as_secs_f64());
        }
        fs::write(&args.report, report(&commit, args, &repo::as_typed(&suites()), &runs))
            .with_context(|| format!("cannot write {}", args.report.display()))?;
        steps::refuse_strays(children::end_strays())?;
        if let Some(failed) = runs.iter().position(|run| !run.passed) {
            let output = output_of(failed as u32 + 1);
            anyhow::bail!(
                "run {} failed: find out why, it is the best news of the day: {}",
                failed + 1,
                output.display()
            );
        }
    }
    println!("{} runs, all green: {}", args.times, args.report.display());
    Ok(())
}

fn output_of(number: u32) -> PathBuf {
    Path::new(OUTPUT).join(format!("{number}.log"))
}

fn start(mut command: Command, number: u32) -> Result<(Child, Command)> {
    let path = output_of(number);
    let create = || {
        let file = File::create(&path)?;
        Ok::<_, std::io::Error>((file.try_clone()?, file))
    };
    let (out, err) = create().with_context(|| format!("cannot write {}", path.display()))?;
    let child = children::start(command.stdout(out).stderr(err))?;
    Ok((child, command))
}

fn word(passed: bool) -> &'static str {
    if passed { "green" } else { "FAILED" }
}

fn report(commit: &str, args: &Args, command: &str, runs: &[Run]) -> String {
    let green = runs.iter().filter(|run| run.passed).count();
    let cpus = available_parallelism().map_or(1, usize::from);
    let Args { times, at_once, .. } = args;
    let mut text = format!(
        "# The failover and the simulator suite, {green} times green\n\n\
         | | |\n|---|---|\n\
         | commit | {commit} |\n\
         | command | `./x steady --times {times} --at-once {at_once}` |\n\
         | each run | `{command}` |\n\
         | machine | {cpus} CPUs |\n\n\
         | run | result | seconds |\n|---:|---|---:|\n"
    );
    for (number, run) in (1..).zip(runs) {
        let (result, seconds) = (word(run.passed), run.took.as_secs_f64());
        writeln!(text, "| {number} | {result} | {seconds:.0} |").expect("a string takes everything");
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
        let args = Args { times: 20, at_once: 2, report: PathBuf::new(), yes: false };
        let text = report("abc", &args, "cargo test", &[run(true), run(false)]);
        assert!(text.starts_with("# The failover and the simulator suite, 1 times green\n"), "{text}");
        assert!(text.ends_with("| 1 | green | 2 |\n| 2 | FAILED | 2 |\n"), "{text}");
    }
}
