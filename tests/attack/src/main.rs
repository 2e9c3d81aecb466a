//! `./x attack`: all attacks, one after the other, each on a member of its own, and a report.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use attack::{Attack, Target, measure, report};
use clap::Parser;

/// Attack a member over loopback, and write down what it takes.
#[derive(Debug, Parser)]
#[command(bin_name = "./x attack")]
struct Options {
    /// Seconds of each attack.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Where the report goes.
    #[arg(long, default_value = "docs/reports/attack.md")]
    report: PathBuf,
    /// Settings of the member, as flags of `understudy serve`.
    #[arg(last = true)]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let lasts = Duration::from_secs(options.seconds);
    let settings: Vec<&str> = options.settings.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for attack in Attack::ALL {
        println!("{} ...", attack.name());
        let target = Target::start(&settings).await;
        let measured = measure(attack, &target, lasts).await;
        println!("{measured:?}");
        all.push(measured);
    }
    let profile = if cfg!(debug_assertions) { "with all checks" } else { "release" };
    std::fs::write(&options.report, report::page(&all, lasts, profile))
        .with_context(|| format!("cannot write {}", options.report.display()))?;
    println!("{}", options.report.display());
    Ok(())
}
