//! Steps that run one after the other, each with a heading and its time. The first failure ends the
//! run.
//!
//! Invariants:
//! - However a run ends, a table of its steps is printed, and a failure says what to do.
//! - A step that leaves processes running has failed, and they are ended.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::children::{self, Descendant};
use crate::repo::as_typed;

/// One step: its name, what to do if it fails, and the work.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) work: Box<dyn FnOnce() -> Result<()>>,
}

impl Step {
    pub(crate) fn new(name: &'static str, hint: &'static str, work: impl FnOnce() -> Result<()> + 'static) -> Self {
        Self { name, hint, work: Box::new(work) }
    }

    /// A step that runs these commands, in this order.
    pub(crate) fn commands(name: &'static str, hint: &'static str, commands: Vec<Command>) -> Self {
        Self::new(name, hint, || commands.into_iter().try_for_each(run_command))
    }
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    name: &'static str,
    passed: bool,
    took: Duration,
}

pub(crate) fn run_command(mut command: Command) -> Result<()> {
    println!("$ {}", as_typed(&command));
    let status = children::run(&mut command)?;
    ensure!(status.success(), "`{}` failed ({status})", as_typed(&command));
    Ok(())
}

pub(crate) fn run_all(steps: Vec<Step>) -> Result<()> {
    let mut outcomes = Vec::new();
    for step in steps {
        println!("\n== {} ==", step.name);
        let start = Instant::now();
        let result = (step.work)().and_then(|()| refuse_strays(children::end_strays()));
        let took = start.elapsed();
        println!("== {}: {}, {:.1} s ==", step.name, word(result.is_ok()), took.as_secs_f64());
        outcomes.push(Outcome { name: step.name, passed: result.is_ok(), took });
        if let Err(error) = result {
            print!("\n{}", table(&outcomes));
            bail!("{}: {error:#}\n   what to do: {}", step.name, step.hint);
        }
    }
    print!("\n{}", table(&outcomes));
    Ok(())
}

fn refuse_strays(strays: Vec<Descendant>) -> Result<()> {
    let list: Vec<String> = strays.iter().map(|stray| format!("{} (pid {})", stray.name, stray.pid)).collect();
    ensure!(list.is_empty(), "it left processes running, which were ended: {}", list.join(", "));
    Ok(())
}

fn word(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

fn table(outcomes: &[Outcome]) -> String {
    let total: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    let line = |name: &str, result: &str, took: Duration| {
        format!("{}\n", format!("{name:<16} {result:<8} {:>9.1}", took.as_secs_f64()).trim_end())
    };
    let lines = outcomes.iter().map(|outcome| line(outcome.name, word(outcome.passed), outcome.took));
    let heading = format!("{:<16} {:<8} {:>9}\n", "step", "result", "seconds");
    heading + &lines.collect::<String>() + &line("all", "", total)
}

#[cfg(test)]
#[path = "steps_test.rs"]
mod steps_test;
