//! Runs seeds, for a night or a single one again, and writes down what happened.

use std::fs;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use understudy_test_sim::{Outcome, World, keep_panics, run_seeds};

/// Simulate clusters. Ends at the first seed that breaks a promise.
#[derive(Parser, Debug)]
#[command(name = "understudy-test-sim", bin_name = "./x sim")]
struct Args {
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run only this seed, and print what happens.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    replay: Option<u64>,
    /// Write what happened to this file, in Markdown.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.replay {
        let world = World::new(seed);
        println!("{}", world.options());
        println!("{:#?}", world.loud().run());
        return ExitCode::SUCCESS;
    }
    keep_panics();
    let began = Instant::now();
    let shows = stderr().is_terminal();
    let outcome = run_seeds(args.from, args.seeds, |done| {
        if shows && done % 20 == 0 {
            eprint!("\r{done} of {} seeds, {:.0} s ", args.seeds, began.elapsed().as_secs_f64());
            // If the terminal does not show it now, it shows it later.
            let _ = stderr().flush();
        }
    });
    if shows {
        eprintln!();
    }
    let text = report(&args, &outcome, began.elapsed());
    if let Some(file) = &args.report
        && let Err(error) = fs::write(file, &text)
    {
        eprintln!("cannot write {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    println!("{text}");
    match &outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            eprintln!("seed {} breaks a promise: {}", violation.seed, violation.what);
            eprintln!("options: {}", violation.options);
            eprintln!("run it again with: ./x sim --replay {}", violation.seed);
            ExitCode::FAILURE
        }
    }
}

fn report(args: &Args, outcome: &Outcome, took: Duration) -> String {
    let (from, to) = (args.from, args.from + args.seeds - 1);
    let result = match &outcome.violation {
        None => "No violation.".to_owned(),
        Some(violation) => format!("**Seed {} breaks a promise:** `{}`", violation.seed, violation.what),
    };
    let tally = outcome.tally.lines();
    let lines = tally.iter().map(|(name, count)| format!("| {} | {count} |\n", name.replace('_', " ")));
    format!(
        "# Simulator: {} seeds\n\n{result}\n\n\
         | | |\n|---|---|\n| commit | {} |\n| command | `./x sim --from {from} --seeds {}` (seeds {from} to {to}) |\n\
         | machine | {} |\n| took | {:.0} s |\n| longest until whole again | {} ms |\n\n\
         What happened, in all of them together:\n\n| | |\n|---|---|\n{}",
        outcome.seeds,
        commit(),
        args.seeds,
        machine(),
        took.as_secs_f64(),
        outcome.healed_after_ms_max,
        lines.collect::<String>(),
    )
}

fn commit() -> String {
    let told = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok();
    let told = told.and_then(|output| String::from_utf8(output.stdout).ok());
    told.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} × {}", model.map_or("CPU", |(_, name)| name))
}
