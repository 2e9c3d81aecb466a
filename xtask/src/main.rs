//! The repository's chores behind `./x`. This file is the command line; the other modules do the
//! work.
//!
//! Invariants:
//! - All commands run at the root of the repository; only what `dev`, `bench` and `sim` start runs
//!   in the caller's directory.
//! - Nothing is installed that was not printed and agreed to first (`tools`).
//! - No child process outlives this one, however it ends, except by SIGKILL (`children`).
//!
//! Absent on purpose: all that cargo does by itself (`cargo check`, `cargo test -p …`), and
//! dependencies on the crates of this workspace: a chore must build even when they do not.

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
    /// Put one bug after another into a copy of the cores: the simulator must find each by its
    /// check.
    Bites(bites::Args),
    /// Check the formal model of the election exhaustively.
    Model(model::Args),
    /// Kill, transfer and cut off members many times under load, and print how long clients noticed
    /// it.
    Failover(failover::Args),
    /// Run random faults of real members under load, check all that clients were told, and write a
    /// report to docs/reports, e.g. `--minutes 30 --seed 7`.
    #[command(disable_help_flag = true)]
    Chaos {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Attack a member over loopback in all known ways, and write to docs/reports what it costs and
    /// what others notice: `--seconds 20`.
    #[command(disable_help_flag = true)]
    Attack {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Show which programs are installed, with their versions, and which are missing.
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
        Command::Doctor => doctor::run(),
    }
}
