//! `./x attack`: all attacks, one after the other, each on a new member, and a report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use attack::report::{self, Row};
use attack::{Attack, Measured, Target, measure};
use clap::Parser;

/// Attack a member over loopback, and write down what it costs.
#[derive(Debug, Parser)]
#[command(bin_name = "./x attack")]
struct Options {
    /// Seconds of each attack.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The file of the report.
    #[arg(long, default_value = "docs/reports/attack.md")]
    report: PathBuf,
    /// The program of an earlier build: each attack runs on it, too, right before.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Run only the attacks whose names contain this, and write no report.
    #[arg(long, default_value = "")]
    only: String,
    /// Settings of the member, as flags of `understudy serve`.
    #[arg(last = true)]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let lasts = Duration::from_secs(options.seconds);
    let settings: Vec<&str> = options.settings.iter().map(String::as_str).collect();
    let mut rows = Vec::new();
    for attack in Attack::ALL.into_iter().filter(|attack| attack.name().contains(&options.only)) {
        let before = match &options.before {
            Some(program) => Some(make(attack, Some(program), &settings, lasts).await),
            None => None,
        };
        rows.push(Row { before, after: make(attack, None, &settings, lasts).await });
    }
    ensure!(!rows.is_empty(), "no attack has {:?} in its name", options.only);
    if !options.only.is_empty() {
        return Ok(());
    }
    let profile = if cfg!(debug_assertions) { "with all checks" } else { "release" };
    std::fs::write(&options.report, report::page(&rows, lasts, profile))
        .with_context(|| format!("cannot write {}", options.report.display()))?;
    println!("{}", options.report.display());
    Ok(())
}

async fn make(attack: Attack, program: Option<&Path>, settings: &[&str], lasts: Duration) -> Measured {
    println!("{}{} ...", attack.name(), if program.is_some() { ", before" } else { "" });
    let target = Target::start(program, settings).await;
    let measured = measure(attack, &target, lasts).await;
    println!("{measured:?}");
    measured
}
