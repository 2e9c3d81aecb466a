//! `./x test`: the checks and their order. Quick ones come first, so that a mistake shows early.
//!
//! Invariants:
//! - Without a filter and without `--quick` this is exactly what CI runs.
//! - The test runner writes to this process's own output, so its closing lines can be read.
//!
//! Absent on purpose: checks of speed (`./x bench` measures; a timed test would only flicker).

use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::{self, Step};
use crate::tools::{self, CXX, DENY, ETCD, ETCDCTL, GRPC_FOR_PYTHON, MACHETE, NEXTEST, Needs, PYTHON};
use crate::{arrows, bites, contract, fuzz, model, repo, walks, words};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only check the format, run clippy and the unit tests.
    #[arg(long)]
    quick: bool,
    /// Run only the steps of these names, e.g. `--step words --step model`.
    #[arg(long, value_name = "NAME")]
    step: Vec<String>,
    /// Install what is missing without asking.
    #[arg(long)]
    yes: bool,
    /// Run only the tests whose names contain one of these, and no other check. `python` is the
    /// client in Python.
    filters: Vec<String>,
}

/// Seconds of each fuzz target within the run: enough for the stored corpus and a bit more.
const FUZZ_SECONDS: u32 = 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.filters.is_empty() {
        let scope = if args.quick { Scope::Unit } else { Scope::All };
        return run_some(filtered(scope, &args.filters), args.yes);
    }
    if args.quick {
        return steps::run_all(vec![format(), clippy(), tests(Scope::Unit, &[])]);
    }
    if !args.step.is_empty() {
        return run_some(named(&args.step)?, args.yes);
    }
    let (programs, tools) = (vec![CXX, ETCD, ETCDCTL, PYTHON], vec![DENY, MACHETE]);
    tools::ensure_all(&Needs { programs, tools, packages: vec![GRPC_FOR_PYTHON] }, args.yes)?;
    steps::run_all(full_run())
}

/// The step `python` is a test of that very name. All other filters go to the test runner.
/// Asks for what these steps need, beside cargo's tools.
fn run_some(steps: Vec<Step>, yes: bool) -> Result<()> {
    if steps.iter().any(|step| step.name == contract::NAME) {
        let (programs, packages) = (vec![PYTHON], vec![GRPC_FOR_PYTHON]);
        tools::ensure_all(&Needs { programs, packages, ..Needs::default() }, yes)?;
    }
    steps::run_all(steps)
}

fn filtered(scope: Scope, filters: &[String]) -> Vec<Step> {
    let (python, others): (Vec<_>, Vec<_>) = filters.iter().cloned().partition(|filter| filter == contract::NAME);
    let tests = (!others.is_empty()).then(|| tests(scope, &others));
    tests.into_iter().chain((!python.is_empty()).then(contract::step)).collect()
}

/// The steps of these names, in their order.
fn named(names: &[String]) -> Result<Vec<Step>> {
    let all = full_run();
    let unknown = names.iter().find(|name| !all.iter().any(|step| step.name == **name));
    let known: Vec<_> = all.iter().map(|step| step.name).collect();
    if let Some(name) = unknown {
        bail!("no step is called {name:?}; there are: {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|step| names.iter().any(|name| step.name == *name)).collect())
}

/// What costs least comes first.
fn full_run() -> Vec<Step> {
    vec![
        format(),
        arrows(),
        walks(),
        words(),
        clippy(),
        docs(),
        dependencies(),
        unused_dependencies(),
        tests(Scope::All, &[]),
        contract::step(),
        doc_tests(),
        bugs(),
        small_model(),
        short_fuzz(),
    ]
}

/// Which tests: those beside the code; or those and the integration tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Unit,
    All,
}

fn format() -> Step {
    let fuzz = ["fmt", "--manifest-path", fuzz::MANIFEST, "--check"];
    let model = ["fmt", "--manifest-path", model::MANIFEST, "--check"];
    let commands = vec![repo::cargo(["fmt", "--all", "--check"]), repo::cargo(fuzz), repo::cargo(model)];
    Step::commands("format", "run `cargo fmt --all` (for fuzz/ and tests/model/: in that directory)", commands)
}

fn arrows() -> Step {
    let hint = "import what stands above in the code map, or change the map: ARCHITECTURE.md and xtask/src/arrows.rs";
    Step::new("arrows", hint, arrows::check)
}

fn walks() -> Step {
    Step::new("walks", "say in ARCHITECTURE.md which function does it now", walks::check)
}

fn words() -> Step {
    let hint = "say who does what, and wrap prose at 100 columns; docs/glossary.md has the project's words";
    Step::new("words", hint, words::check)
}

fn clippy() -> Step {
    let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    let hint = "follow what clippy says; where it is wrong, `#[allow(…, reason = \"…\")]` on the smallest item";
    Step::commands("clippy", hint, vec![repo::cargo(args)])
}

fn docs() -> Step {
    let mut cargo = repo::cargo(["doc", "--workspace", "--all-features", "--no-deps"]);
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    Step::commands("docs", "fix the comment that rustdoc names", vec![cargo])
}

fn dependencies() -> Step {
    let hint =
        "take another dependency, or change deny.toml and say why there; `cargo deny check` shows who needs what";
    Step::commands(
        "cargo deny",
        hint,
        vec![repo::cargo(["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])],
    )
}

fn unused_dependencies() -> Step {
    let hint = "take the dependency out of the crate's Cargo.toml";
    Step::commands("cargo machete", hint, vec![repo::cargo(["machete"])])
}

fn tests(scope: Scope, filters: &[String]) -> Step {
    let command = test_command(scope, filters, NEXTEST.is_here(), repo::is_ci());
    Step::commands("tests", "`./x test NAME` runs only the tests whose names contain NAME", vec![command])
}

/// All tests run optimised and with every check on (profile `checked`). Unit tests alone are built
/// faster than they run, so they use the dev profile.
fn test_command(scope: Scope, filters: &[String], nextest: bool, ci: bool) -> Command {
    let mut words: Vec<&str> = if nextest { vec!["nextest", "run"] } else { vec!["test"] };
    words.extend(["--workspace", "--all-features"]);
    match scope {
        Scope::Unit => words.extend(["--lib", "--bins"]),
        Scope::All => words.extend([if nextest { "--cargo-profile" } else { "--profile" }, "checked"]),
    }
    if nextest {
        words.extend(ci.then_some(["--profile", "ci"]).into_iter().flatten());
    } else {
        // Otherwise it would run the doc tests, too, which are a step of their own. Filters come
        // after the dashes.
        words.extend((scope == Scope::All).then_some("--tests"));
        words.extend((!filters.is_empty()).then_some("--"));
    }
    words.extend(filters.iter().map(String::as_str));
    repo::cargo(words)
}

/// Neither nextest nor `--tests` runs the examples in comments.
fn doc_tests() -> Step {
    let command = repo::cargo(["test", "--doc", "--workspace", "--all-features", "--profile", "checked"]);
    Step::commands("doc tests", "fix the example that rustdoc names", vec![command])
}

fn bugs() -> Step {
    let hint =
        "a check does not notice its bug any more, or a patch in tests/sim/bites no longer applies: make it anew";
    Step::new("bites", hint, || bites::run(&bites::Args::default()))
}

fn small_model() -> Step {
    let hint =
        "the trace shows how a promise is broken: put it right in election/ if it happens there too, else in the model";
    Step::new("model", hint, || model::lint().and_then(|()| model::check_small()))
}

fn short_fuzz() -> Step {
    let hint =
        "fix the bug that the input shows, then put the input into fuzz/corpus/TARGET so that every run replays it";
    Step::new("fuzz", hint, || fuzz::lint().and_then(|()| fuzz::run_targets(&[], FUZZ_SECONDS)))
}

#[cfg(test)]
#[path = "test_test.rs"]
mod test_test;
