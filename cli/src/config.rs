//! `understudy config`: the settings that belong to the cluster. What stands in one member's flags alone is its own affair.

use std::process::ExitCode;

use client::{Setting, Status};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::output::Output;
use crate::table::{Table, left};
use crate::{members, words};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows what all members go by (also without a command).
    Get {
        /// Only these settings.
        #[arg(value_name = "SETTING")]
        names: Vec<String>,
    },
    /// Changes what all members go by, whatever they are started with later.
    ///
    /// A change takes back nothing that was promised before: leases, and space that is still to be kept, keep their times. Until those
    /// are over, or for up to two hours, new ones are kept as long (STILL KEPT in `config get`): a wait that was too long by mistake for
    /// a moment is felt for that time. Where all members are lost, and another one begins with nothing, that one's flags count again
    /// for leases, time-outs and eviction.
    ///
    /// One command may name settings of both kinds: leases, time-outs and eviction change first, the tenure and what goes with it
    /// right after that. Where a failure comes in between, the answer is OUTCOME_UNKNOWN, and `config get` shows how far it came.
    Set {
        /// e.g. tenure_ms=800 drop_after_ms=500
        #[arg(value_name = "SETTING=VALUE", required = true, value_parser = parse_change)]
        changes: Vec<(String, String)>,
    },
    /// Shows which members were started with other values than the cluster goes by; exits with 1 where there are any.
    Diff,
}

fn parse_change(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} must be SETTING=VALUE"))?;
    // As on the command line of `serve`.
    Ok((name.trim().replace('-', "_"), value.trim().to_owned()))
}

pub(super) fn run(args: &Args) -> ExitCode {
    let connect = &args.connect;
    connect.run(async |out| match &args.command {
        None => get(connect, &[], out).await,
        Some(Command::Get { names }) => get(connect, names, out).await,
        Some(Command::Set { changes }) => set(connect, changes, out).await,
        Some(Command::Diff) => diff(connect, out).await,
    })
}

async fn get(connect: &Connect, names: &[String], out: &mut Output) -> Result<Verdict, Fault> {
    let status = members::the_one_who_knows(connect).await?;
    let names: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
    if let Some(unknown) = names.iter().find(|name| !status.settings.iter().any(|setting| setting.name == **name)) {
        return Err(not_of_the_cluster(unknown));
    }
    let chosen = |setting: &&Setting| names.is_empty() || names.contains(&setting.name);
    let settings: Vec<&Setting> = status.settings.iter().filter(chosen).collect();
    if out.is_json() {
        out.document(
            &json!({ "node": status.node, "settings": settings.iter().map(|one| document(one)).collect::<Value>() }),
        )?;
        return Ok(Verdict::Yes);
    }
    let mut table = Table::new([left("SETTING"), left("VALUE"), left("STILL KEPT"), left("STARTED WITH")]);
    for setting in settings {
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        table.row([setting.name.clone(), known(&setting.value), known(&setting.owed), setting.started_with.clone()]);
    }
    out.table(&mut table)?;
    out.line(&format!("\nAs {} knows them, and what it was started with.", words::plain(&status.node)))?;
    Ok(Verdict::Yes)
}

/// The cluster's value, where a member is known to have been started with another one.
pub(super) fn difference(setting: &Setting) -> Option<(&str, &Setting)> {
    setting.value.as_deref().filter(|value| *value != setting.started_with).map(|value| (value, setting))
}

fn not_of_the_cluster(name: &str) -> Fault {
    let what = format!("{name:?} is no setting of the cluster");
    Fault::usage(what, "`understudy config get` lists them; others are a member's own, see docs/configuration.md.")
}

pub(super) fn document(setting: &Setting) -> Value {
    let Setting { name, value, started_with, owed } = setting;
    json!({ "name": name, "value": value, "started_with": started_with, "still_kept": owed })
}

async fn set(connect: &Connect, changes: &[(String, String)], out: &mut Output) -> Result<Verdict, Fault> {
    let client = connect.client().await?;
    let before = members::the_one_who_knows(connect).await?.settings;
    client.set_settings(changes).await?;
    let now = members::the_one_who_knows(connect).await?.settings;
    let of = |settings: &[Setting], name: &str| {
        settings.iter().find(|setting| setting.name == name).and_then(|setting| setting.value.clone())
    };
    if out.is_json() {
        let told = |(name, _): &(String, String)| json!({ "name": name, "value": of(&now, name), "before": of(&before, name) });
        out.document(&json!({ "settings": changes.iter().map(told).collect::<Value>() }))?;
        return Ok(Verdict::Yes);
    }
    for (name, value) in changes {
        let now = of(&now, name).unwrap_or_else(|| value.clone());
        out.line(&match of(&before, name) {
            Some(before) if before == now => format!("{name} is {now} for all members, as it was"),
            Some(before) => format!("{name} is {now} for all members from now on; it was {before}"),
            None => format!("{name} is {now} for all members from now on"),
        })?;
    }
    Ok(Verdict::Yes)
}

async fn diff(connect: &Connect, out: &mut Output) -> Result<Verdict, Fault> {
    let (statuses, silent) = everyone(connect).await?;
    let of = |status: &'_ Status| -> Vec<(String, Setting)> {
        let differ = status.settings.iter().filter_map(difference);
        differ.map(|(_, setting)| (status.node.clone(), setting.clone())).collect()
    };
    let differences: Vec<(String, Setting)> = statuses.iter().flat_map(of).collect();
    if out.is_json() {
        let told = |(node, setting): &(String, Setting)| {
            let mut told = document(setting);
            told["node"] = json!(node);
            told
        };
        let differences = differences.iter().map(told).collect::<Value>();
        out.document(&json!({ "differences": differences, "did_not_answer": silent }))?;
    } else if differences.is_empty() {
        out.line(&format!("{} members were started with what the cluster goes by", statuses.len()))?;
    } else {
        let mut table = Table::new([left("SETTING"), left("CLUSTER"), left("STARTED WITH"), left("MEMBER")]);
        for (node, setting) in &differences {
            let Setting { name, value, started_with, .. } = setting.clone();
            table.row([name, value.unwrap_or_default(), started_with, node.clone()]);
        }
        out.table(&mut table)?;
    }
    if !out.is_json() {
        silent.iter().try_for_each(|name| out.line(&format!("{name} did not answer")))?;
    }
    Ok(if differences.is_empty() && silent.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// The statuses of all members that answer, and the names of those that do not.
async fn everyone(connect: &Connect) -> Result<(Vec<Status>, Vec<String>), Fault> {
    let status = members::the_one_who_knows(connect).await?;
    let Some(cluster) = &status.cluster else { return Ok((vec![status], Vec::new())) };
    let asked = cluster.members.iter().filter(|member| member.name != status.node).map(async |member| {
        let asked = async { Connect::to(&member.address).client().await?.status().await.map_err(Fault::from) };
        (member.name.clone(), asked.await.ok())
    });
    let (mut statuses, mut silent) = (Vec::new(), Vec::new());
    for (name, answer) in join_all(asked).await {
        match answer {
            Some(status) => statuses.push(status),
            None => silent.push(name),
        }
    }
    statuses.push(status);
    statuses.sort_by(|one, other| one.node.cmp(&other.node));
    Ok((statuses, silent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_as_in_the_file_or_as_on_the_command_line() {
        let expected = Ok(("tenure_ms".to_owned(), "800".to_owned()));
        assert_eq!(parse_change("tenure_ms=800"), expected);
        assert_eq!(parse_change("tenure-ms = 800"), expected);
        assert!(parse_change("tenure_ms").is_err());
    }
}
