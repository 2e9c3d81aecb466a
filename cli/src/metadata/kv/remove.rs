//! `kv rm`: by key, by pattern, or everything of the tenant.
//!
//! Invariant: everything is removed only if a user at a terminal has agreed, or `--yes` was given.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use client::{Force, Removed};
use serde_json::json;

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::keys;
use crate::output::{Output, waiting};
use crate::{json, words};

#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub(crate) struct Args {
    /// The keys.
    #[arg(value_name = "KEY", group = "what")]
    keys: Vec<String>,
    /// Keys are given as hex digits, for those that are not text.
    #[arg(long, requires = "keys")]
    hex: bool,
    /// All keys that match anywhere; syntax of the Rust regex crate.
    #[arg(long, value_name = "RE", group = "what")]
    regex: Option<String>,
    /// All keys of the tenant.
    #[arg(long, group = "what")]
    all: bool,
    /// Also what is leased by readers or hard pinned.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long, short, requires = "all")]
    yes: bool,
}

pub(crate) async fn remove(connect: &Connect, args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    let force = if args.force { Force::Yes } else { Force::No };
    if args.all && !args.yes {
        agree(connect)?;
    }
    let keys = args.keys.iter().map(|key| keys::bytes(key, args.hex)).collect::<Result<Vec<_>, _>>()?;
    let client = connect.client().await?;
    if let Some(regex) = &args.regex {
        let removed = waiting("removing", connect.patient(&client).await?.remove_matching(regex, force)).await?;
        return report_many(removed, out);
    }
    if args.all {
        let removed = waiting("removing", connect.patient(&client).await?.remove_all(force)).await?;
        return report_many(removed, out);
    }
    let answer = client.remove(&keys, force).await?;
    keys::report(out, "removed", &keys, &answer)
}

/// What stays is no refusal: the command takes what it may.
fn report_many(removed: Removed, out: &mut Output) -> Result<Verdict, Fault> {
    if out.is_json() {
        out.document(&json!({
            "position": json::position(removed.position),
            "removed": removed.removed,
            "refused": removed.refused,
        }))?;
        return Ok(Verdict::Yes);
    }
    out.line(&format!("removed {}", words::count(removed.removed)))?;
    if removed.refused > 0 {
        let left = words::count(removed.refused);
        out.hint(&format!("{left} stay: leased, hard pinned (--force takes those too) or being written"))?;
    }
    Ok(Verdict::Yes)
}

fn agree(connect: &Connect) -> Result<(), Fault> {
    const SAY: &str = "Say --yes if it is meant.";
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Fault::usage("this removes every object of the tenant, and there is no terminal to ask at", SAY));
    }
    let tenant = match connect.tenant() {
        "" => "the default tenant".to_owned(),
        name => format!("tenant {name:?}"),
    };
    let mut stderr = io::stderr();
    write!(stderr, "Remove every object of {tenant}? [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Fault::new("NOT_CONFIRMED", "nothing was removed", SAY)),
    }
}
