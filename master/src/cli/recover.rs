//! `understudy recover`: a person's word that members of the in-sync set have ended and will not be back with their state.
//!
//! Only needed where nobody could see them end: with etcd, without a guard, when all of the set died at once. Then another
//! member may begin anew with nothing, if `unclean` is `cold`.
//!
//! Invariant: a member that can be seen is never declared dead.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use coordinator::{Coordinator, MemberInfo};
use election::{Incarnation, Versioned};
use serde_json::{Value, json};

use crate::cli::json;
use crate::config::{ConfigError, Flags, Logging};
use crate::logging;
use crate::membership::open_coordinator;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Do it. Without this it only says what would be done.
    #[arg(long)]
    yes: bool,
    /// Say it as one JSON document, and errors as one JSON object on stderr.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let config = args.flags.load()?;
    logging::start(&Logging { log_level: "error".to_owned(), ..Logging::default() }, "")?;
    if !config.cluster.is_on() {
        let rule = "none is named. Say the same --coordinator that the members were started with".to_owned();
        return Err(ConfigError::Rule { field: "coordinator", rule }.into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let coordinator = open_coordinator(&config.cluster).await?;
        recover(&*coordinator, args).await
    })
}

async fn recover(coordinator: &dyn Coordinator, args: &Args) -> Result<ExitCode> {
    let known = coordinator.read().await?.context("there is no record of roles: no member was ever the primary")?;
    let members = coordinator.members().await?;
    let mut unknown = Vec::new();
    for &who in &known.record.insync {
        if let Some(info) = members.iter().find(|info| info.who == who) {
            bail!(
                "member {:?} of the in-sync set is running, at {}: there is nothing to recover",
                info.name,
                info.address
            );
        }
        if !coordinator.is_dead(who).await? {
            unknown.push(who);
        }
    }
    let declares = args.yes && !unknown.is_empty();
    if declares {
        for &who in &unknown {
            coordinator.report_dead(who).await?;
        }
    }
    if args.json {
        println!("{:#}", document(&known, &members, &unknown, declares));
    } else {
        println!("{}", situation(&known, &members, &unknown));
        match (unknown.is_empty(), declares) {
            (true, _) => {}
            (false, true) => println!("They are declared dead."),
            (false, false) => {
                println!("Nothing was done. If you are sure that they will not be back with their state: --yes");
            }
        }
    }
    Ok(if unknown.is_empty() || declares { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(known: &Versioned, members: &[MemberInfo], unknown: &[Incarnation], declared: bool) -> Value {
    // Both take all 64 bits.
    let who = |who: &Incarnation| json!({ "member": json::wide(who.member.0), "incarnation": json::wide(who.number) });
    json!({
        "epoch": known.record.epoch,
        "insync": known.record.insync.iter().map(who).collect::<Vec<_>>(),
        "not_known_to_have_ended": unknown.iter().map(who).collect::<Vec<_>>(),
        "declared_dead": declared,
        "running": members.iter().map(|info| json!({ "name": info.name, "address": info.address })).collect::<Vec<_>>(),
    })
}

fn situation(known: &Versioned, members: &[MemberInfo], unknown: &[Incarnation]) -> String {
    let here: Vec<&str> = members.iter().map(|info| info.name.as_str()).collect();
    let here =
        if here.is_empty() { "no member is running".to_owned() } else { format!("running: {}", here.join(", ")) };
    let lost = format!(
        "Epoch {}: of the {} members that held every acknowledged write none is running, and of {} nobody knows that it has \
         ended; {here}.",
        known.record.epoch,
        known.record.insync.len(),
        unknown.len(),
    );
    format!(
        "{lost}\nOnce all of them are known to have ended, a member with `unclean = cold` begins anew with NO objects."
    )
}
