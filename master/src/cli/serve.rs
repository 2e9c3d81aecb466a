//! `understudy serve`: a node, until a signal stops it.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::Flags;
use crate::process::node_name;
use crate::serve::{Server, Started, StopsAt};
use crate::{guard, logging, serve};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Stop also when standard input ends: for processes that start this one and may end without a word.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
    /// Number of this member's incarnation: for a guard, which reports its end under that.
    #[arg(long, hide = true)]
    incarnation: Option<u64>,
    /// Run the member under a tiny parent that tells the others when its process has ended, so that they need not wait.
    ///
    /// With `file:DIR` as the coordinator the others see that by themselves.
    #[arg(long)]
    guarded: bool,
    /// Say where it listens as one JSON object on one line, and errors as one JSON object on stderr.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let config = args.flags.load()?;
    logging::start(&config.logging, &node_name(&config.serving.node_name))?;
    if args.guarded {
        return guard::run(&config);
    }
    let stops_at = if args.until_stdin_ends { StopsAt::SignalOrEndOfInput } else { StopsAt::Signal };
    let started = Started { stops_at, incarnation: args.incarnation };
    serve::run_process(config, started, |server| {
        let address = server.local_addr();
        if args.json {
            return println!("{}", listening(server));
        }
        let admin = server.admin_addr().map(|address| format!("; admin HTTP on http://{address}/")).unwrap_or_default();
        println!(
            "listening on {address} (gRPC: understudy.v1.Metadata, understudy.v1.Admin, health, reflection){admin}"
        );
    })?;
    Ok(ExitCode::SUCCESS)
}

fn listening(server: &Server) -> Value {
    json!({
        "node": server.node_name(),
        "address": server.local_addr().to_string(),
        "admin_address": server.admin_addr().map(|address| address.to_string()),
        "pid": std::process::id(),
    })
}
