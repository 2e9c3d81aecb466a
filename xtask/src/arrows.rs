//! Which crate may import which: the arrows of the code map, checked against Cargo, and no circle
//! of files within a crate.
//!
//! Invariant: a crate that is not in the table is an error, so a new one gets its arrow before it
//! is used.
//!
//! Absent on purpose: imports of tests only, and third-party crates.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::{children, circles, repo};

/// A crate, and what it may import. A crate may only import crates that stand above it.
const ARROWS: [(&str, &[&str]); 14] = [
    ("proto", &[]),
    ("oplog", &[]),
    ("ledger", &["oplog"]),
    ("metadata", &["ledger", "oplog"]),
    ("election", &[]),
    ("coordinator", &["election"]),
    ("replication", &["oplog", "proto"]),
    ("standby", &["oplog", "proto", "replication"]),
    ("verification", &["oplog", "proto"]),
    ("member", &["election", "oplog", "proto", "replication", "standby", "verification"]),
    ("client", &["coordinator", "proto"]),
    (
        "master",
        &["coordinator", "election", "member", "metadata", "oplog", "proto", "replication", "standby", "verification"],
    ),
    ("cli", &["client", "coordinator", "election", "master", "metadata", "oplog", "proto", "verification"]),
    ("bench", &["client", "metadata", "oplog", "test-ports"]),
];

/// Chores and tests: no shipped crate may import them, and they may import any crate.
const TOOLS: [&str; 9] = [
    "xtask",
    "protoc",
    "test-attack",
    "test-sim",
    "test-ports",
    "test-chaos",
    "test-harness",
    "test-histories",
    "test-stress",
];

/// By Cargo: each crate of the workspace, with the crates of the workspace that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn check() -> Result<()> {
    let args = ["tree", "--workspace", "--all-features", "--edges", "normal", "--depth", "1", "--prefix", "depth"];
    let mut cargo = repo::cargo(args);
    cargo.args(["--format", "{p}"]);
    let output = children::capture(&mut cargo)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = wrong(&imports(&String::from_utf8(output.stdout).context("Cargo writes UTF-8")?));
    wrong.extend(circles::found()?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The name in the code map of a crate of this workspace.
fn short(package: &str) -> Option<&str> {
    match package {
        "understudy" => Some("cli"),
        "xtask" => Some("xtask"),
        _ => package.strip_prefix("understudy-"),
    }
}

fn imports(tree: &str) -> Imports {
    let mut imports = Imports::new();
    let mut importer = None;
    for line in tree.lines() {
        let Some((depth, rest)) = line.split_at_checked(1) else { continue };
        let Some(name) = rest.split_whitespace().next().and_then(short) else { continue };
        match (depth, &importer) {
            ("0", _) => {
                imports.entry(name.to_owned()).or_default();
                importer = Some(name.to_owned());
            }
            (_, Some(importer)) => drop(imports.entry(importer.clone()).or_default().insert(name.to_owned())),
            (_, None) => {}
        }
    }
    imports
}

fn wrong(imports: &Imports) -> Vec<String> {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for (name, imported) in imports.iter().filter(|(name, _)| !TOOLS.contains(&name.as_str())) {
        let Some(allowed) = arrows.get(name.as_str()) else {
            wrong.push(format!("{name} is in no code map: give it an arrow in xtask/src/arrows.rs"));
            continue;
        };
        for other in imported.iter().filter(|other| !allowed.contains(&other.as_str())) {
            wrong.push(format!("{name} imports {other}, and may import only {}", allowed.join(", ")));
        }
    }
    let missing = arrows.keys().filter(|name| !imports.contains_key(**name));
    wrong.extend(missing.map(|name| format!("{name} has an arrow, and is no crate of the workspace")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0understudy-election v0.1.0 (/a/election)\n1thiserror v2.0.0\n\n\
                        0understudy-coordinator v0.1.0 (/a/coordinator)\n1understudy-election v0.1.0 (/a/election)\n";

    #[test]
    fn tree_of_cargo_is_read_and_crates_of_others_are_left_out() {
        let imports = imports(TREE);
        assert_eq!(imports["election"], BTreeSet::new());
        assert_eq!(imports["coordinator"], BTreeSet::from(["election".to_owned()]));
    }

    #[test]
    fn import_against_the_arrow_a_new_crate_and_a_missing_one_are_named() {
        let tree =
            "0understudy-election v0.1.0 (/a)\n1understudy-coordinator v0.1.0 (/b)\n0understudy-new v0.1.0 (/c)\n";
        let wrong = wrong(&imports(tree)).join("\n");
        for told in ["election imports coordinator", "new is in no code map", "oplog has an arrow"] {
            assert!(wrong.contains(told), "{told}: {wrong}");
        }
    }

    #[test]
    fn no_arrow_points_down_the_table() {
        let names: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
        for (at, (name, allowed)) in ARROWS.iter().enumerate() {
            let is_above = |other: &&str| names[..at].contains(other) || TOOLS.contains(other);
            assert!(allowed.iter().all(is_above), "{name} imports what stands below it");
        }
    }
}
