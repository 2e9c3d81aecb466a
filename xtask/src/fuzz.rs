//! `./x fuzz`: builds the targets of fuzz/ with coverage counters and runs them one after the
//! other.
//!
//! libFuzzer needs the counters, not a sanitizer, and the stable toolchain can add counters by a
//! compiler pass. So neither nightly nor cargo-fuzz is needed; cargo-fuzz's layout
//! (fuzz/fuzz_targets, corpus, artifacts) is kept.
//!
//! Invariants:
//! - The stored corpus (fuzz/corpus/TARGET, in git) is only read. New inputs are collected under
//!   fuzz/target; `--store` copies those that reach something new into the stored corpus.
//! - An input that breaks a target is stored in fuzz/artifacts/TARGET, and the error says how to
//!   run it again.
//! - Time and memory are bounded.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::tools::{self, CXX};
use crate::{children, repo};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds that each target runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Afterwards, copy inputs that reach something new into fuzz/corpus.
    #[arg(long)]
    store: bool,
    /// Install what is missing without asking.
    #[arg(long)]
    yes: bool,
    /// Run only these targets. Default: all.
    targets: Vec<String>,
}

pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

/// What cargo-fuzz sets, except the sanitizer. libFuzzer reads the counters and the table of their
/// places; comparisons are traced so that it finds magic numbers.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Targets that run at the same time.
const AT_ONCE: usize = 2;
const MEMORY_LIMIT_MB: u32 = 2048;
/// One input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
/// How many lines of a failed run's log are printed.
const TELLING_LINES: usize = 40;

pub(crate) fn run(args: &Args) -> Result<()> {
    tools::ensure_here(&[CXX], &[], args.yes)?;
    run_targets(&args.targets, args.seconds)?;
    if args.store { selected(&args.targets)?.iter().try_for_each(|target| store(target)) } else { Ok(()) }
}

/// Builds all targets and runs the named ones (all if none is named), each for this long.
pub(crate) fn run_targets(names: &[String], seconds: u32) -> Result<()> {
    let targets = selected(names)?;
    build()?;
    // Each takes one CPU, and CI machines have two.
    for few in targets.chunks(AT_ONCE) {
        let ran: Vec<Result<()>> = thread::scope(|scope| {
            let running: Vec<_> = few.iter().map(|target| scope.spawn(|| run_target(target, seconds))).collect();
            running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a target's thread panicked"))).collect()
        });
        ran.into_iter().collect::<Result<()>>()?;
    }
    Ok(())
}

fn selected(names: &[String]) -> Result<Vec<String>> {
    let all = all_targets(Path::new("fuzz/fuzz_targets"))?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; there are: {}", all.join(", "));
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}

fn all_targets(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("no fuzz targets in {}", dir.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let sources = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<String> = sources.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    ensure!(!names.is_empty(), "no fuzz targets in {}", dir.display());
    Ok(names)
}

fn build() -> Result<()> {
    run_cargo("build", &[])
}

/// The workspace's own clippy run does not see this one.
pub(crate) fn lint() -> Result<()> {
    run_cargo("clippy", &["--", "-D", "warnings"])
}

/// The explicit triple keeps the flags away from build scripts and macros, which run without
/// libFuzzer.
fn run_cargo(subcommand: &str, more: &[&str]) -> Result<()> {
    let triple = host_triple()?;
    let words =
        ["--release", "--bins", "--manifest-path", MANIFEST, "--target-dir", "fuzz/target", "--target", &triple];
    let mut cargo = repo::cargo([subcommand].into_iter().chain(words));
    cargo.args(repo::is_ci().then_some("--locked")).args(more);
    cargo.env("RUSTFLAGS", RUSTFLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    println!("$ RUSTFLAGS='…' {}", repo::as_typed(&cargo));
    let status = children::run(&mut cargo)?;
    ensure!(status.success(), "`cargo {subcommand}` of the fuzz targets failed ({status})");
    Ok(())
}

fn host_triple() -> Result<String> {
    let output = children::capture(&mut repo::cargo(["--version", "--verbose"]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("`cargo --version --verbose` names no host")
}

fn binary(target: &str) -> Result<PathBuf> {
    let path = PathBuf::from(format!("fuzz/target/{}/release/{target}", host_triple()?));
    ensure!(path.is_file(), "fuzz_targets/{target}.rs is there, but {MANIFEST} has no [[bin]] named {target}");
    Ok(path)
}

fn run_target(target: &str, seconds: u32) -> Result<()> {
    let binary = binary(target)?;
    let [found, stored, artifacts] = directories(target)?;
    let log_path = PathBuf::from(format!("fuzz/target/{target}.log"));
    println!("{target}: {seconds} s, log in {}", log_path.display());
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut command = Command::new(&binary);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MB}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        // New inputs go into the first directory; the others are only read.
        .args([found, stored])
        .stdout(log.try_clone()?)
        .stderr(log);
    let status = children::run(&mut command)?;
    let log = fs::read(&log_path).with_context(|| format!("cannot read {}", log_path.display()))?;
    let log = String::from_utf8_lossy(&log);
    if !status.success() {
        println!("{}", telling_lines(&log));
        let again = again(&log).map(|input| format!("; again: {} {input}", binary.display())).unwrap_or_default();
        bail!("fuzz target {target} failed ({status}){again}");
    }
    println!("{target}: {}", summary(&log)?);
    Ok(())
}

/// Directories of new inputs, of the stored corpus, and of inputs that broke the target.
fn directories(target: &str) -> Result<[PathBuf; 3]> {
    let dirs =
        [format!("fuzz/target/corpus/{target}"), format!("fuzz/corpus/{target}"), format!("fuzz/artifacts/{target}")]
            .map(PathBuf::from);
    for dir in &dirs {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    Ok(dirs)
}

/// libFuzzer's merge copies the fewest inputs that reach all that no stored input reaches.
fn store(target: &str) -> Result<()> {
    let [found, stored, _] = directories(target)?;
    let before = fs::read_dir(&stored)?.count();
    let mut command = Command::new(binary(target)?);
    command.arg("-set_cover_merge=1").args([&stored, &found]);
    let output = children::capture(&mut command)?;
    ensure!(output.status.success(), "the merge of {target} failed: {}", String::from_utf8_lossy(&output.stderr));
    println!("{target}: {} inputs stored, {before} before", fs::read_dir(&stored)?.count());
    Ok(())
}

/// The lines from the failure on, or the last lines if the log names none.
fn telling_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.iter().position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    let start = first.unwrap_or(lines.len().saturating_sub(TELLING_LINES));
    lines[start..].iter().take(TELLING_LINES).copied().collect::<Vec<_>>().join("\n")
}

/// The file that libFuzzer wrote the bad input to.
fn again(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim())
}

/// A run without coverage counters would always pass and find nothing. That is a failure of the
/// build, so it is reported.
fn summary(log: &str) -> Result<String> {
    let runs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs = runs.context("libFuzzer printed no statistics")?.trim();
    let last = log.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "));
    let last = last.context("libFuzzer saw no coverage: the targets were built without counters")?;
    let reached = last.split_once(" cov: ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?");
    Ok(format!("ok, {runs} inputs, {reached} places reached"))
}

#[cfg(test)]
#[path = "fuzz_test.rs"]
mod fuzz_test;
