//! The step `python`: a client in Python that follows docs/clients.md, rule by rule, against a pair
//! of real members.
//!
//! Invariants:
//! - It runs the server that the tests have built, and builds nothing a second time.
//! - `hold-ports` holds the ports until the client has ended, in whatever way.
//!
//! Absent on purpose: the promises and their checks, which are in docs/clients.md and
//! tests/python/.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::steps::{Step, run_command};
use crate::tools::GRPC_FOR_PYTHON;
use crate::{children, repo};

pub(crate) const NAME: &str = "python";

/// As many as tests/python/contract.py needs: three for each of two members, and one without a
/// listener.
const PORTS: usize = 7;

pub(crate) fn step() -> Step {
    let hint = "the line BROKEN names the rule of docs/clients.md: keep the promise, or change page and test together";
    Step::new(NAME, hint, run)
}

fn run() -> Result<()> {
    run_command(build())?;
    with_ports(|ports| run_command(client(&repo::program("checked", "understudy")?.display().to_string(), ports)))
}

/// The tests that need the server and `hold-ports` build both, with the features and dependencies
/// of all tests.
fn build() -> Command {
    let mut cargo = repo::cargo(["test", "--workspace", "--all-features", "--profile", "checked", "--no-run"]);
    cargo.args(["--test", "failover", "--test", "processes"]);
    cargo
}

fn client(server: &str, ports: &str) -> Command {
    let mut python = Command::new(GRPC_FOR_PYTHON.python());
    python.args(["tests/python/contract.py", "--server", server, "--ports", ports]);
    // No files beside the sources, and no report of each connection that ends.
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("GRPC_VERBOSITY", "ERROR");
    python
}

/// Calls `run` with free ports, separated by commas, that no other test gets meanwhile.
fn with_ports(run: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let mut command = Command::new(repo::program("checked", "hold-ports")?);
    command.arg(PORTS.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = children::start(&mut command)?;
    let printed = BufReader::new(holder.stdout.take().context("hold-ports has no output")?);
    let ports: Vec<String> = printed.lines().take(PORTS).collect::<std::io::Result<_>>().context("hold-ports")?;
    let enough = ports.len() == PORTS;
    let ran = if enough { run(&ports.join(",")) } else { Ok(()) };
    // It ends with its input.
    drop(holder.stdin.take());
    let status = children::wait(holder, &command)?;
    ensure!(enough && status.success(), "hold-ports gave {} of {PORTS} ports ({status})", ports.len());
    ran
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::as_typed;

    #[test]
    fn client_is_started_with_the_server_and_its_ports() {
        let typed = "target/python/bin/python tests/python/contract.py --server target/checked/understudy --ports 1,2";
        assert_eq!(as_typed(&client("target/checked/understudy", "1,2")), typed);
    }

    #[test]
    fn tests_that_are_built_exist_and_client_wants_as_many_ports() {
        let features = "cargo test --workspace --all-features --profile checked --no-run";
        assert_eq!(as_typed(&build()), format!("{features} --test failover --test processes"));
        assert!(include_str!("../../tests/ports/tests/processes.rs").contains("hold-ports"));
        assert!(include_str!("../../cli/tests/failover/main.rs").contains("mod kills;"));
        assert!(include_str!("../../tests/python/contract.py").contains(&format!("PORTS = {PORTS}\n")));
    }
}
