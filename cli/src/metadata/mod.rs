//! The commands of the metadata: objects, the space for them, and tasks.

pub(crate) mod kv;
pub(crate) mod segments;
pub(crate) mod tasks;

use std::process::ExitCode;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists, mounts and unmounts the space that storage clients offer.
    Segments(segments::Args),
    /// Works on objects: put, get, exists, rm, ls, pin, copy, move.
    Kv(kv::Args),
    /// Lists and creates tasks: copies and moves that storage clients are asked to make.
    Tasks(tasks::Args),
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Segments(args) => segments::run(args),
        Command::Kv(args) => kv::run(args),
        Command::Tasks(args) => tasks::run(args),
    }
}
