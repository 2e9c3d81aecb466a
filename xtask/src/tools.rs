//! What the chores need beside Rust, and how it is installed: visibly, and only if the caller
//! agrees.
//!
//! Invariants:
//! - Every command that changes the machine is printed before it runs, and runs only after a yes:
//!   typed, `--yes`, or `CI=true`. Without a terminal the answer is no, and the error names the
//!   commands.
//! - If everything is installed, nothing is printed.
//! - Packages of PyPI go into an environment below target/, never into the system's Python.
//!
//! Absent on purpose: what rustup installs by itself (rust-toolchain.toml names the compiler and
//! its components), and package managers other than apt: there the error says what is missing.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::steps::run_command;
use crate::{children, repo};

/// A program of the system, with its Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// A variable that may name another program to use instead.
    pub(crate) variable: Option<&'static str>,
    pub(crate) package: &'static str,
    /// With these arguments it must succeed, or it does not count. Empty: it only has to exist.
    pub(crate) proves: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// Packages of PyPI, in an environment of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PythonPackages {
    /// The directory of the environment, unless `X_PYTHON_DIR` names another one.
    pub(crate) environment: &'static str,
    /// The file with their names and exact versions.
    pub(crate) requirements: &'static str,
    pub(crate) why: &'static str,
}

/// All that a chore needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) programs: Vec<Program>,
    pub(crate) tools: Vec<CargoTool>,
    pub(crate) packages: Vec<PythonPackages>,
}

/// A subcommand of cargo from crates.io.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CargoTool {
    pub(crate) subcommand: &'static str,
    pub(crate) krate: &'static str,
    /// The oldest version that will do, which is the one that gets installed.
    pub(crate) version: Version,
    pub(crate) why: &'static str,
}

/// Ordered like versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

pub(crate) const CXX: Program =
    Program { name: "c++", variable: Some("CXX"), package: "g++", proves: &[], why: "builds libFuzzer, which is C++" };
pub(crate) const ETCD: Program = Program {
    name: "etcd",
    variable: None,
    package: "etcd-server",
    proves: &[],
    why: "tests run members against a real one, which they start and stop",
};
pub(crate) const ETCDCTL: Program = Program {
    name: "etcdctl",
    variable: None,
    package: "etcd-client",
    proves: &[],
    why: "tests change keys under the members' feet",
};
/// Debian has the module that creates environments in a package of its own.
pub(crate) const PYTHON: Program = Program {
    name: "python3",
    variable: None,
    package: "python3-venv",
    proves: &["-c", "import ensurepip, venv"],
    why: "runs the client that follows docs/clients.md",
};
pub(crate) const GRPC_FOR_PYTHON: PythonPackages = PythonPackages {
    environment: "target/python",
    requirements: "tests/python/requirements.txt",
    why: "gRPC for that client",
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
    why: "finds dependencies that no crate uses",
};
/// Used if it is installed, but never installed: `cargo test` works, too, without time limits.
pub(crate) const NEXTEST: CargoTool = CargoTool {
    subcommand: "nextest",
    krate: "cargo-nextest",
    version: Version(0, 9, 85),
    why: "runs tests in parallel and ends hung ones",
};

impl Program {
    /// Its path.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let other = self.variable.and_then(env::var_os).filter(|value| !value.is_empty());
        let found = find_program(other.as_deref().unwrap_or(OsStr::new(self.name)))?;
        let counts = self.proves.is_empty() || succeeds(Command::new(&found).args(self.proves));
        counts.then_some(found)
    }
}

fn succeeds(command: &mut Command) -> bool {
    children::capture(command).is_ok_and(|output| output.status.success())
}

/// Succeeds if the environment has each package of the file, in its version.
const HAS_ALL: &str = "import sys, importlib.metadata as m; lines = map(str.strip, open(sys.argv[1])); \
                       pins = [line.split('==') for line in lines if line and line[0] != '#']; \
                       sys.exit(any(m.version(name) != version for name, version in pins))";

impl PythonPackages {
    pub(crate) fn directory(&self) -> PathBuf {
        let other = env::var_os("X_PYTHON_DIR").filter(|value| !value.is_empty());
        other.map_or_else(|| PathBuf::from(self.environment), PathBuf::from)
    }

    /// The interpreter of the environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.directory().join("bin/python")
    }

    pub(crate) fn are_here(&self) -> bool {
        let python = self.python();
        is_program(&python) && succeeds(Command::new(python).args(["-c", HAS_ALL, self.requirements]))
    }

    fn install(&self) -> [Command; 2] {
        let mut environment = Command::new(PYTHON.name);
        environment.args(["-m", "venv", "--clear"]).arg(self.directory());
        let mut packages = Command::new(self.python());
        packages.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        packages.args(["--requirement", self.requirements]);
        [environment, packages]
    }
}

impl CargoTool {
    /// Its version, if it is installed.
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
    ensure_all(&Needs { programs: programs.to_vec(), tools: tools.to_vec(), packages: Vec::new() }, yes)
}

/// The same, with packages of PyPI.
pub(crate) fn ensure_all(needs: &Needs, yes: bool) -> Result<()> {
    let missing = needs.missing();
    if missing == Needs::default() {
        return Ok(());
    }
    let commands = missing.install_commands(is_root(), find_program(OsStr::new("apt-get")).is_some())?;
    println!("{}", missing.explanation(&commands));
    ensure!(yes || repo::is_ci() || ask()?, "nothing was installed; run the commands above, or use --yes");
    commands.into_iter().try_for_each(run_command)?;
    let still = needs.missing().names();
    ensure!(still.is_empty(), "still missing after the installation: {}", still.join(", "));
    Ok(())
}

impl Needs {
    fn missing(&self) -> Needs {
        Needs {
            programs: self.programs.iter().copied().filter(|program| program.find().is_none()).collect(),
            tools: self.tools.iter().copied().filter(|tool| !tool.is_here()).collect(),
            packages: self.packages.iter().copied().filter(|packages| !packages.are_here()).collect(),
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let programs = self.programs.iter().map(|program| program.name);
        let tools = self.tools.iter().map(|tool| tool.krate);
        programs.chain(tools).chain(self.packages.iter().map(|packages| packages.requirements)).collect()
    }

    fn explanation(&self, commands: &[Command]) -> String {
        let mut lines = vec!["Missing on this machine:".to_owned()];
        let line = |name: &str, source: String, why: &str| format!("  {name:<14} {source:<20} {why}");
        lines.extend(self.programs.iter().map(|p| line(p.name, format!("Debian package {}", p.package), p.why)));
        lines.extend(self.tools.iter().map(|t| line(t.krate, format!("crates.io {}", t.version), t.why)));
        lines.extend(self.packages.iter().map(|p| line("PyPI packages", p.requirements.to_owned(), p.why)));
        lines.push("These commands bring it:".to_owned());
        lines.extend(commands.iter().map(|command| format!("  {}", repo::as_typed(command))));
        lines.join("\n")
    }

    fn install_commands(&self, is_root: bool, has_apt: bool) -> Result<Vec<Command>> {
        let mut commands = Vec::new();
        if !self.programs.is_empty() {
            let packages: Vec<&str> = self.programs.iter().map(|program| program.package).collect();
            ensure!(has_apt, "there is no apt-get to install {} with; install it by hand", packages.join(", "));
            commands.push(as_root(&["apt-get", "update"], is_root));
            let install = ["apt-get", "install", "-y", "--no-install-recommends"];
            commands.push(as_root(&[&install[..], &packages[..]].concat(), is_root));
        }
        commands.extend(self.tools.iter().map(install_tool));
        commands.extend(self.packages.iter().flat_map(PythonPackages::install));
        Ok(commands)
    }
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

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Searches PATH like a shell.
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
