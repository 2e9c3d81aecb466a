//! The repository's chores behind `./x`: this file is the command line, the other modules do the
//! work.
//!
//! Invariants:
//! - All commands run at the root of the repository; only what `dev`, `bench` and `sim` start runs
//!   where the caller stands.
//! - Nothing is installed that was not printed and agreed to first (`tools`).
//! - No child process outlives this one, however it ends, SIGKILL apart (`children`).
//!
//! Absent on purpose: whatever cargo does by itself (`cargo check`, `cargo test -p …`), and
//! dependencies on the crates of this workspace: a chore must still build when they do not.

mod arrows;
mod bites;
mod children;
mod circles;
mod contract;
mod doctor;
mod failover;
mod fuzz;
mod model;
mod programs;
mod repo;
mod steady;
mod steps;
mod test;
mod tools;
mod walks;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "x", bin_name = "./x", about = "Chores of the Understudy repository", help_template = HELP)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const HELP: &str = "{about}\n\n{usage-heading} {usage}\n\n{subcommands}\n\n`./x COMMAND --help` tells more.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the server in release and run `understudy dev` with these arguments.
    #[command(disable_help_flag = true)]
    Dev {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Check everything that CI checks, or only the tests whose names contain a filter.
    Test(test::Args),
    /// Run the fuzz targets for a bounded time.
    Fuzz(fuzz::Args),
    /// Build in release and run the benchmarks with these arguments.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build with all checks and run the simulator: `--seeds 100000 --from 1`, `--replay SEED`,
    /// `--report FILE`.
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Put one bug after another into a copy of the cores, and require that the simulator finds
    /// each by its name.
    Bites(bites::Args),
    /// Check the formal model of the election exhaustively.
    Model(model::Args),
    /// Kill, transfer and cut off members many times under load, and print how long clients
    /// noticed.
    Failover(failover::Args),
    /// Random faults of real members under load, with a check of all that clients were told, and a
    /// report in docs/reports, e.g. `--minutes 30 --seed 7`.
    #[command(disable_help_flag = true)]
    Chaos {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Attack a member over loopback in all ways that are known, and write down in docs/reports
    /// what it takes and what others notice: `--seconds 20`.
    #[command(disable_help_flag = true)]
    Attack {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run the failover and the simulator suite many times in a row, and write down each run in
    /// docs/reports.
    Steady(steady::Args),
    /// Say which programs are here, which are missing, and their versions.
    Doctor,
}

fn main() -> ExitCode {
    match Cli::parse().command.map_or_else(print_help, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("x: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_help() -> Result<()> {
    Cli::command().print_help()?;
    println!();
    Ok(())
}

fn run(command: Command) -> Result<()> {
    repo::enter_root()?;
    children::guard()?;
    match command {
        Command::Dev { args } => programs::dev(args),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench { args } => programs::bench(args),
        Command::Sim { args } => programs::sim(args),
        Command::Bites(args) => bites::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Failover(args) => failover::run(&args),
        Command::Chaos { args } => programs::chaos(args),
        Command::Attack { args } => programs::attack(args),
        Command::Steady(args) => steady::run(&args),
        Command::Doctor => doctor::run(),
    }
}
