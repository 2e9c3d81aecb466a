//! What the chores need beside Rust, and how it gets here: in plain sight, and only if a person agrees.
//!
//! Invariants:
//! - Every command that changes the machine is printed before it runs, and runs only after a yes: typed, `--yes`, or
//!   `CI=true`. With nobody to ask, the answer is no, and the error names the commands.
//! - When everything is here, nothing is printed.
//!
//! Absent on purpose: what rustup brings by itself (rust-toolchain.toml names the compiler and its components), and
//! other systems' package managers: there the error says what is missing.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::steps::run_command;
use crate::{children, repo};

/// A program of the system, with the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Names another program that will do instead.
    pub(crate) variable: Option<&'static str>,
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
}

/// A subcommand of cargo that crates.io has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CargoTool {
    pub(crate) subcommand: &'static str,
    pub(crate) krate: &'static str,
    /// The oldest that will do, and the one that gets installed.
    pub(crate) version: Version,
    pub(crate) why: &'static str,
}

/// Ordered as versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

pub(crate) const CXX: Program =
    Program { name: "c++", variable: Some("CXX"), package: "g++", why: "builds libFuzzer, which is C++" };
pub(crate) const ETCD: Program = Program {
    name: "etcd",
    variable: None,
    package: "etcd-server",
    why: "tests run members against a real one, which they start and stop",
};
pub(crate) const ETCDCTL: Program = Program {
    name: "etcdctl",
    variable: None,
    package: "etcd-client",
    why: "tests change keys under the members' feet",
};
pub(crate) const DENY: CargoTool = CargoTool {
    subcommand: "deny",
    krate: "cargo-deny",
    version: Version(0, 20, 2),
    why: "checks licences, sources and doubles among the dependencies",
};
pub(crate) const MACHETE: CargoTool = CargoTool {
    subcommand: "machete",
    krate: "cargo-machete",
    version: Version(0, 9, 2),
    why: "finds dependencies that nobody uses",
};
/// Used where it is present, never installed: `cargo test` does too, without time limits.
pub(crate) const NEXTEST: CargoTool = CargoTool {
    subcommand: "nextest",
    krate: "cargo-nextest",
    version: Version(0, 9, 85),
    why: "runs tests in parallel and ends hung ones",
};

impl Program {
    /// Where it is.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let other = self.variable.and_then(env::var_os).filter(|value| !value.is_empty());
        find_program(other.as_deref().unwrap_or(OsStr::new(self.name)))
    }
}

impl CargoTool {
    /// Its version, if it is here.
    pub(crate) fn find(&self) -> Option<Version> {
        let output = children::capture(&mut repo::cargo([self.subcommand, "--version"])).ok()?;
        if output.status.success() { Version::parse_in(&String::from_utf8_lossy(&output.stdout)) } else { None }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.find().is_some_and(|found| found >= self.version)
    }
}

impl Version {
    /// The first word of the text that is a version.
    pub(crate) fn parse_in(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let core = word.split(['-', '+']).next()?;
            let numbers: Vec<u32> = core.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            if let [major, minor, patch] = numbers[..] { Some(Self(major, minor, patch)) } else { None }
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Installs what is missing, after a yes.
pub(crate) fn ensure_here(programs: &[Program], tools: &[CargoTool], yes: bool) -> Result<()> {
    let programs: Vec<Program> = programs.iter().copied().filter(|program| program.find().is_none()).collect();
    let tools: Vec<CargoTool> = tools.iter().copied().filter(|tool| !tool.is_here()).collect();
    if programs.is_empty() && tools.is_empty() {
        return Ok(());
    }
    let commands = install_commands(&programs, &tools, is_root(), find_program(OsStr::new("apt-get")).is_some())?;
    println!("{}", explanation(&programs, &tools, &commands));
    ensure!(yes || repo::is_ci() || ask()?, "nothing was installed; run the commands above, or use --yes");
    commands.into_iter().try_for_each(run_command)?;
    still_missing(&programs, &tools)
}

fn explanation(programs: &[Program], tools: &[CargoTool], commands: &[Command]) -> String {
    let mut lines = vec!["Missing on this machine:".to_owned()];
    let line = |name: &str, source: String, why: &str| format!("  {name:<14} {source:<20} {why}");
    lines.extend(programs.iter().map(|p| line(p.name, format!("Debian package {}", p.package), p.why)));
    lines.extend(tools.iter().map(|t| line(t.krate, format!("crates.io {}", t.version), t.why)));
    lines.push("These commands bring it:".to_owned());
    lines.extend(commands.iter().map(|command| format!("  {}", repo::as_typed(command))));
    lines.join("\n")
}

fn install_commands(programs: &[Program], tools: &[CargoTool], is_root: bool, has_apt: bool) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    if !programs.is_empty() {
        let packages: Vec<&str> = programs.iter().map(|program| program.package).collect();
        ensure!(has_apt, "there is no apt-get to install {} with; install it by hand", packages.join(", "));
        commands.push(as_root(&["apt-get", "update"], is_root));
        let install = ["apt-get", "install", "-y", "--no-install-recommends"];
        commands.push(as_root(&[&install[..], &packages[..]].concat(), is_root));
    }
    commands.extend(tools.iter().map(install_tool));
    Ok(commands)
}

fn install_tool(tool: &CargoTool) -> Command {
    repo::cargo(["install", "--locked", &format!("{}@{}", tool.krate, tool.version)])
}

fn as_root(words: &[&str], is_root: bool) -> Command {
    let words = if is_root { words.to_vec() } else { [&["sudo"], words].concat() };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn ask() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("Run them now? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn still_missing(programs: &[Program], tools: &[CargoTool]) -> Result<()> {
    let programs = programs.iter().filter(|program| program.find().is_none()).map(|program| program.name);
    let tools = tools.iter().filter(|tool| !tool.is_here()).map(|tool| tool.krate);
    let names: Vec<&str> = programs.chain(tools).collect();
    if !names.is_empty() {
        bail!("still missing after the installation: {}", names.join(", "));
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Looks along PATH as a shell does.
pub(crate) fn find_program(name: &OsStr) -> Option<PathBuf> {
    if Path::new(name).components().count() > 1 {
        return is_program(Path::new(name)).then(|| PathBuf::from(name));
    }
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[path = "tools_test.rs"]
mod tools_test;
