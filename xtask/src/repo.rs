//! Paths: the root of the repository, the target directory, the caller's own directory; and how
//! cargo is called.
//!
//! Invariant: a cargo that is started here sees the environment of the caller of `./x`, not that of
//! the `cargo run` in between. Otherwise build scripts would see other variables than in a cargo
//! started by hand, and would run again and again.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Set by `x`: the caller's directory. Not named after the project, whose variables the server
/// reads as settings.
const CALLER_DIR: &str = "X_CALLER_DIR";

/// All further paths are relative to the root.
pub(crate) fn enter_root() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask/ lies in no directory")?;
    env::set_current_dir(root).with_context(|| format!("{} cannot be entered; was it moved?", root.display()))
}

/// The caller's directory, or the root if it is gone.
pub(crate) fn caller_dir() -> PathBuf {
    env::var_os(CALLER_DIR).map(PathBuf::from).filter(|dir| dir.is_dir()).unwrap_or_else(|| PathBuf::from("."))
}

/// The absolute path of a program that cargo built into this directory, which lies beside `debug/`
/// with this program.
pub(crate) fn program(dir: &str, name: &str) -> Result<PathBuf> {
    let me = env::current_exe().context("this program's own path")?;
    let target = me.ancestors().nth(2).context("this program lies in no target directory")?;
    let program = target.join(dir).join(name);
    ensure!(program.is_file(), "{} was built, but is not there", program.display());
    Ok(program)
}

/// The cargo that runs this program, so of the pinned toolchain.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    clean_environment(&mut command);
    command
}

/// Removes what `cargo run` and `x` have added.
pub(crate) fn clean_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == CALLER_DIR {
            command.env_remove(&name);
        }
    }
}

/// The text of each Rust source file, except build results.
pub(crate) fn sources() -> Result<Vec<String>> {
    let mut texts = Vec::new();
    gather(Path::new("."), &mut texts)?;
    Ok(texts)
}

fn gather(dir: &Path, texts: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{} cannot be listed", dir.display()))? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            gather(&path, texts)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?);
        }
    }
    Ok(())
}

/// There is no one to ask, and nothing may change by itself.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// As typed in a shell, to be read and repeated.
pub(crate) fn as_typed(command: &Command) -> String {
    // A program from PATH is shown by its name; a program of the repository by its path.
    let path = Path::new(command.get_program());
    let name = path.file_name().filter(|_| path.is_absolute()).unwrap_or(command.get_program());
    let words = [name].into_iter().chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[path = "repo_test.rs"]
mod repo_test;
