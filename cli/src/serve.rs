//! `understudy serve`: a node, until a signal stops it.

use std::process::ExitCode;

use anyhow::Result;
use master::config::{Flags, check_name, refuse_secrets};
use master::serve::{Server, Started, StopsAt};
use master::{guard, logging, node_name, reload, serve};
use serde_json::{Value, json};

use crate::output::print;

/// The end of `--help`.
const OF_THE_CLUSTER: &str = "Some settings belong to the cluster, docs/configuration.md says which: all members go by one value, \
which the first member of a new cluster takes from its own flags. Later `understudy config set` changes it for all of them.";

#[derive(clap::Args, Debug)]
#[command(after_help = OF_THE_CLUSTER)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Stop also when standard input ends: for processes that start this one and may end without a word.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
    /// Number of this member's incarnation: for a guard, which reports its end under that.
    #[arg(long, hide = true)]
    incarnation: Option<u64>,
    /// Begin with this fault: for tests of what finds it.
    #[cfg(feature = "faults")]
    #[arg(long, hide = true)]
    fault: Option<String>,
    /// Say where it listens as one JSON object on one line, and errors as one JSON object on stderr.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    refuse_secrets(std::env::args_os())?;
    let config = args.flags.load()?;
    // The host's name, where none is set: that may be no valid name either.
    check_name("node_name", &node_name(&config.serving.node_name))?;
    logging::start(&config.logging, &node_name(&config.serving.node_name))?;
    reload::start(args.flags.clone(), config.clone())?;
    let has_guard = args.incarnation.is_some();
    if config.cluster.guarded && !has_guard {
        return guard::run(&config);
    }
    let stops_at = if args.until_stdin_ends { StopsAt::SignalOrEndOfInput } else { StopsAt::Signal };
    let started = Started { stops_at, incarnation: args.incarnation };
    serve::run_process(config, started, |server| {
        let address = server.local_addr();
        #[cfg(feature = "faults")]
        if let Some(fault) = &args.fault {
            assert!(server.inflict(fault), "there is no fault {fault:?}");
        }
        if args.json {
            return say(&listening(server).to_string());
        }
        let admin = server.admin_addr().map(|address| format!("; admin HTTP on http://{address}/")).unwrap_or_default();
        say(&format!(
            "listening on {address} (gRPC: understudy.v1.Metadata, understudy.v1.Admin, health, reflection){admin}"
        ));
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A member that serves does not end since what it prints goes nowhere.
fn say(line: &str) {
    if let Err(error) = print(line) {
        tracing::warn!("standard output takes nothing ({error}); this was to be said there: {line}");
    }
}

fn listening(server: &Server) -> Value {
    json!({
        "node": server.node_name(),
        "address": server.local_addr().to_string(),
        "admin_address": server.admin_addr().map(|address| address.to_string()),
        "pid": std::process::id(),
    })
}
