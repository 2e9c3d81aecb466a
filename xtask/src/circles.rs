//! Files of one crate that import each other in a circle: each of them can be understood only
//! together with all others.
//!
//! Invariant: in a listed crate, a file imports only files that can be read without it.
//!
//! Absent on purpose: tests (they may import anything), and methods: calling a method is no import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Crates that had circles, or are large enough to grow them.
const CRATES: [&str; 2] = ["ledger", "metadata"];

/// Each file, by its module path, with the files that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// One line for each circle.
pub(crate) fn found() -> Result<Vec<String>> {
    let mut circles = Vec::new();
    for name in CRATES {
        let root = Path::new(name).join("src");
        let mut texts = BTreeMap::new();
        read(&root, "", &mut texts)?;
        if let Some(circle) = circle(&imports(&texts)) {
            circles.push(format!("{name}: these files import each other in a circle: {}", circle.join(" → ")));
        }
    }
    Ok(circles)
}

/// All files of a directory, by their module paths. `mod.rs` and the crate's root stand for their
/// directory.
fn read(dir: &Path, prefix: &str, texts: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.contains("test")) else {
            continue;
        };
        let module = if prefix.is_empty() { stem.to_owned() } else { format!("{prefix}::{stem}") };
        if path.is_dir() {
            read(&path, &module, texts)?;
        } else if stem != "lib" {
            let module = if stem == "mod" { prefix.to_owned() } else { module };
            texts.insert(module, fs::read_to_string(&path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(())
}

fn imports(texts: &BTreeMap<String, String>) -> Imports {
    let of = |(module, text): (&String, &String)| {
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        let paths = lines.flat_map(|line| line.split("crate::").skip(1));
        let imported = paths.filter_map(|path| module_of(path, texts)).filter(|other| other != module);
        (module.clone(), imported.collect())
    };
    texts.iter().map(of).collect()
}

/// The longest module path with which this path of names begins.
fn module_of(path: &str, texts: &BTreeMap<String, String>) -> Option<String> {
    let end = path.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(path.len());
    let names: Vec<&str> = path[..end].split("::").collect();
    (1..=names.len()).rev().map(|count| names[..count].join("::")).find(|module| texts.contains_key(module))
}

/// One circle, if there is any: files that import none of the remaining ones are removed until
/// nothing changes.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let mut left = imports.clone();
    loop {
        let done: Vec<String> =
            left.iter().filter(|(_, others)| others.is_empty()).map(|(name, _)| name.clone()).collect();
        if done.is_empty() {
            break;
        }
        done.iter().for_each(|name| drop(left.remove(name)));
        left.values_mut().for_each(|others| others.retain(|other| !done.contains(other)));
    }
    // Each remaining file imports a remaining one, so following imports ends in a circle.
    let mut way = vec![left.keys().next()?.clone()];
    loop {
        let next = left[way.last()?].first()?.clone();
        if let Some(at) = way.iter().position(|name| *name == next) {
            way.push(next);
            return Some(way.split_off(at));
        }
        way.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle_in(texts: &[(&str, &str)]) -> Option<Vec<String>> {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        circle(&imports(&texts))
    }

    #[test]
    fn a_circle_over_three_files_is_shown_and_a_line_of_them_is_none() {
        let line = [("a", "use crate::b::B;"), ("b", "use crate::c::d::{C, D};"), ("c::d", "// crate::a\n")];
        assert_eq!(circle_in(&line), None);
        let mut round = line;
        round[2].1 = "fn f() -> crate::a::A {}";
        assert_eq!(circle_in(&round).unwrap().join(" "), "a b c::d a");
    }

    #[test]
    fn what_tests_import_makes_no_circle() {
        let texts = [("a", "use crate::b;"), ("b", "fn f() {}\n\nmod tests {\n use crate::a;\n}")];
        assert_eq!(circle_in(&texts), None);
    }
}
