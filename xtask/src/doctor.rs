//! `./x doctor`: one line for each program, with its version, or with what is missing and how to
//! install it.
//!
//! Invariant: it changes nothing, and fails exactly if a program is missing that a chore needs.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::tools::{
    CXX, CargoTool, DENY, ETCD, ETCDCTL, GRPC_FOR_PYTHON, MACHETE, NEXTEST, PYTHON, Program, PythonPackages,
    find_program,
};
use crate::{children, repo};

/// The result of a check.
enum Finding {
    Here(String),
    Missing { remedy: String },
    Optional { remedy: String },
}

const RUSTUP: &str = "get Rust from https://rustup.rs";

pub(crate) fn run() -> Result<()> {
    let checks = [
        ("cargo", cargo_part(&["--version"], RUSTUP)),
        ("rustc", command("rustc", RUSTUP)),
        ("rustfmt", cargo_part(&["fmt", "--version"], "rustup component add rustfmt")),
        ("clippy", cargo_part(&["clippy", "--version"], "rustup component add clippy")),
        ("git", command("git", "apt-get install git")),
        ("cc", command("cc", "apt-get install gcc libc6-dev")),
        (CXX.name, program(&CXX)),
        (ETCD.name, program(&ETCD)),
        (ETCDCTL.name, program(&ETCDCTL)),
        (PYTHON.name, program(&PYTHON)),
        ("grpcio", packages(&GRPC_FOR_PYTHON)),
        (DENY.krate, tool(&DENY)),
        (MACHETE.krate, tool(&MACHETE)),
        (NEXTEST.krate, optional(tool(&NEXTEST))),
    ];
    for (name, finding) in &checks {
        println!("{name:<14} {}", finding.line());
    }
    let missing: Vec<&str> = checks
        .iter()
        .filter(|(_, finding)| matches!(finding, Finding::Missing { .. }))
        .map(|(name, _)| *name)
        .collect();
    ensure!(missing.is_empty(), "missing: {}", missing.join(", "));
    Ok(())
}

impl Finding {
    fn line(&self) -> String {
        match self {
            Self::Here(version) => version.clone(),
            Self::Missing { remedy } => format!("MISSING: {remedy}"),
            Self::Optional { remedy } => format!("not here, and not needed: {remedy}"),
        }
    }
}

fn command(name: &str, remedy: &str) -> Finding {
    match find_program(OsStr::new(name)) {
        Some(path) => first_line(Command::new(path).arg("--version"), remedy),
        None => Finding::Missing { remedy: remedy.to_owned() },
    }
}

fn cargo_part(args: &[&str], remedy: &str) -> Finding {
    first_line(&mut repo::cargo(args), remedy)
}

fn program(program: &Program) -> Finding {
    let remedy = format!("apt-get install {} ({})", program.package, program.why);
    match program.find() {
        Some(path) => first_line(Command::new(path).arg("--version"), &remedy),
        None => Finding::Missing { remedy },
    }
}

fn tool(tool: &CargoTool) -> Finding {
    let remedy = format!("cargo install --locked {}@{} ({})", tool.krate, tool.version, tool.why);
    match tool.find() {
        Some(version) if version >= tool.version => Finding::Here(version.to_string()),
        Some(version) => Finding::Missing { remedy: format!("{version} is too old: {remedy}") },
        None => Finding::Missing { remedy },
    }
}

fn packages(packages: &PythonPackages) -> Finding {
    let PythonPackages { requirements, why, .. } = packages;
    match packages.are_here() {
        true => Finding::Here(format!("all of {requirements}, in {}", packages.directory().display())),
        false => Finding::Missing { remedy: format!("./x test python --yes ({why})") },
    }
}

fn optional(finding: Finding) -> Finding {
    match finding {
        Finding::Missing { remedy } => Finding::Optional { remedy },
        other => other,
    }
}

fn first_line(command: &mut Command, remedy: &str) -> Finding {
    match children::capture(command) {
        Ok(output) if output.status.success() => {
            Finding::Here(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned())
        }
        _ => Finding::Missing { remedy: remedy.to_owned() },
    }
}
