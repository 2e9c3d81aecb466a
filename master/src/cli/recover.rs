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

use crate::config::{Flags, Logging};
use crate::logging;
use crate::membership::open_coordinator;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Do it. Without this it only says what would be done.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let config = args.flags.load()?;
    logging::start(&Logging { log_level: "error".to_owned(), ..Logging::default() }, "")?;
    if !config.cluster.is_on() {
        bail!("coordinator: none is named. Say the same --coordinator that the members were started with");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let coordinator = open_coordinator(&config.cluster).await?;
        recover(&*coordinator, args.yes).await
    })
}

async fn recover(coordinator: &dyn Coordinator, yes: bool) -> Result<ExitCode> {
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
    println!("{}", situation(&known, &members, &unknown));
    if unknown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !yes {
        println!("Nothing was done. If you are sure that they will not be back with their state: --yes");
        return Ok(ExitCode::FAILURE);
    }
    for who in unknown {
        coordinator.report_dead(who).await?;
    }
    println!("They are declared dead.");
    Ok(ExitCode::SUCCESS)
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
