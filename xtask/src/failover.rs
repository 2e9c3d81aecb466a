//! `./x failover`: the failover tests that take too long for every run. Each runs as often, or for
//! as long, as asked.
//!
//! Invariants:
//! - They have no time limit: a hang is seen by the operator who waits.
//! - Their output is shown, since the figures are the purpose.
//!
//! Absent on purpose: the scenarios, in `cli/tests/failover/long.rs`.

use std::process::Command;

use anyhow::Result;

use crate::repo;
use crate::steps::{self, Step};
use crate::tools::{self, ETCD, ETCDCTL};

#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "Without any of these: 200 kills of each kind, 100 transfers, 60 s without etcd, a soak of 30 minutes."
)]
pub(crate) struct Args {
    /// Kill this many primaries, one after the other, under load, with etcd and default settings.
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// The same, with members under a guard.
    #[arg(long, value_name = "N")]
    guarded_kills: Option<u32>,
    /// The same, with members of one host without etcd.
    #[arg(long, value_name = "N")]
    file_kills: Option<u32>,
    /// Transfer this many times, there and back.
    #[arg(long, value_name = "N")]
    transfers: Option<u32>,
    /// Stop etcd for this many seconds under load.
    #[arg(long, value_name = "SECONDS")]
    etcd_away: Option<u32>,
    /// Run under load and faults for this many minutes, with expiry, eviction and full syncs:
    /// verification must find nothing.
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u32>,
    /// Install what is missing without asking.
    #[arg(long)]
    yes: bool,
}

/// The tests read their number from here.
const NUMBER: &str = "FAILOVER_NUMBER";

pub(crate) fn run(args: &Args) -> Result<()> {
    tools::ensure_here(&[ETCD, ETCDCTL], &[], args.yes)?;
    let hint = "the directory with the logs is named above";
    let step = |(name, command)| Step::commands(name, hint, vec![command]);
    steps::run_all(commands(args).into_iter().map(step).collect())
}

fn commands(args: &Args) -> Vec<(&'static str, Command)> {
    let asked = [
        ("kills", args.kills, 200),
        ("guarded_kills", args.guarded_kills, 200),
        ("file_kills", args.file_kills, 200),
        ("transfers", args.transfers, 100),
        ("etcd_away", args.etcd_away, 60),
        ("soak", args.soak, 1800),
    ];
    let all = asked.iter().all(|(_, number, _)| number.is_none());
    let chosen =
        asked.into_iter().filter_map(|(test, number, default)| Some((test, number.or(all.then_some(default))?)));
    chosen.map(|(test, number)| (test, command(test, number))).collect()
}

/// With cargo's own runner, which has no time limit and shows output.
fn command(test: &str, number: u32) -> Command {
    let mut cargo =
        repo::cargo(["test", "--profile", "checked", "-p", "understudy", "--all-features", "--test", "failover"]);
    cargo.args(["--", "--ignored", "--nocapture", "--exact", &format!("long::{test}")]).env(NUMBER, number.to_string());
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::as_typed;

    fn shown(args: &Args) -> Vec<String> {
        let number = |command: &Command| {
            let set = command.get_envs().find(|(name, _)| *name == NUMBER).and_then(|(_, value)| value);
            set.expect("it is set").to_string_lossy().into_owned()
        };
        commands(args).iter().map(|(name, command)| format!("{name} {}", number(command))).collect()
    }

    #[test]
    fn only_what_is_asked_for_runs_or_all_of_it() {
        let args = Args { kills: Some(7), transfers: Some(3), ..Args::default() };
        assert_eq!(shown(&args), ["kills 7", "transfers 3"]);
        let all = ["kills 200", "guarded_kills 200", "file_kills 200", "transfers 100", "etcd_away 60", "soak 1800"];
        assert_eq!(shown(&Args::default()), all);
    }

    #[test]
    fn every_test_that_is_named_exists() {
        let tests = include_str!("../../cli/tests/failover/long.rs");
        for (name, command) in commands(&Args::default()) {
            assert!(tests.contains(&format!("async fn {name}()")), "long.rs has no {name}");
            assert!(as_typed(&command).ends_with(&format!("--exact long::{name}")), "{command:?}");
        }
        assert!(tests.contains(NUMBER));
    }
}
