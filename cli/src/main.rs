//! The command `understudy`. Each of its commands stands in a file of its own: its arguments, and one function that runs it.
//!
//! Those that talk to a master share `connect` (where it is, who asks), `output` with `table` and `json` (what they
//! say), `fault` (why not, and the exit code) and `words` (how sizes, times and keys are written). Those of one kind of
//! state have a folder: `metadata`.
//!
//! Deliberately absent: what a member does. `master` has it.

mod config;
mod connect;
mod dev;
mod diff;
mod docs;
mod etcd;
mod fault;
mod health;
mod json;
mod members;
mod metadata;
mod output;
mod recover;
mod serve;
mod snapshot;
mod snapshot_file;
mod status;
mod table;
mod tenants;
mod verify;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A metadata master for distributed object and KV-cache stores.
#[derive(Parser, Debug)]
#[command(name = "understudy", version, max_term_width = 120)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs a cluster to try things out with: no settings, some demo data, commands to paste.
    Dev(dev::Args),
    /// Runs a member, or a node that is alone.
    Serve(Box<serve::Args>),
    /// Gives one verdict on the cluster, with the reason and what to do; exits with 0 OK, 3 DEGRADED, 4 NO PRIMARY, 5 LOST DATA,
    /// 6 UNKNOWN (the coordinator cannot be asked where the members are).
    Health(health::Args),
    /// Shows how a member is: its role, its log, its state.
    Status(status::Args),
    /// Shows the members of the cluster: roles, positions, lag.
    Members(members::MembersArgs),
    /// Gives the place of the primary to another member, without loss.
    Transfer(members::TransferArgs),
    /// Shows and changes the settings that all members go by, and shows which members were started with others.
    Config(config::Args),
    /// Compares every standby with the primary now; with --full, every record with its digest too.
    Verify(verify::Args),
    /// Shows in what two members, or snapshots of them, differ, down to the key and the field.
    Diff(diff::Args),
    /// Keeps what a member holds in a file, to be compared later.
    Snapshot(snapshot::Args),
    /// Where no member can go on by itself: says what is left; declares members dead, or names the one that goes on.
    Recover(Box<recover::Args>),
    #[command(flatten)]
    Metadata(metadata::Command),
    /// Lists and deletes tenants, and sets their quotas.
    Tenants(tenants::Args),
    /// Becomes another program that ends with the process which starts it.
    #[command(hide = true)]
    Tied(dev::tied::TiedArgs),
    /// Removes a directory at the end of standard input.
    #[command(hide = true)]
    Sweep(dev::tied::SweepArgs),
    /// Writes the pages that are generated from the code.
    #[command(hide = true)]
    Docs(docs::Args),
}

fn main() -> ExitCode {
    master::avoid_huge_pages();
    master::abort_on_panic();
    // Without that thread the allocator does it by itself.
    let _ = master::give_memory_back_aside();
    let code = run();
    master::logging::finish();
    code
}

/// Runs the command that the arguments of the process name.
fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return fault::tell_usage(&error, std::env::args_os().any(|word| word == "--json")),
    };
    match args.command {
        Command::Dev(args) => or_told(dev::run(&args), args.json),
        Command::Serve(args) => or_told(serve::run(&args), args.json),
        Command::Health(args) => health::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Members(args) => members::run(&args),
        Command::Transfer(args) => members::transfer(&args),
        Command::Config(args) => config::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Recover(args) => or_told(recover::run(&args), args.json),
        Command::Metadata(command) => metadata::run(&command),
        Command::Tenants(args) => tenants::run(&args),
        Command::Tied(args) => or_told(dev::tied::tied(&args), false),
        Command::Sweep(args) => or_told(dev::tied::sweep(&args), false),
        Command::Docs(args) => or_told(docs::run(&args).map(|()| ExitCode::SUCCESS), false),
    }
}

fn or_told(ran: anyhow::Result<ExitCode>, as_json: bool) -> ExitCode {
    ran.unwrap_or_else(|error| fault::tell_error(&error, as_json))
}
