//! The walks through the code in ARCHITECTURE.md: each file and function that they name must exist.
//! So must each test that the table of failures names, and each row must name one.
//!
//! ```text
//!   …(`member/src/ride.rs`: `takes`, `bring`; `standby/src/standby.rs`: `on_frames`)…
//! ```
//!
//! Absent on purpose: whether a function does what the walk says. A reviewer checks that.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::repo;

const PAGE: &str = "ARCHITECTURE.md";
const BEGINS: &str = "## Three walks through the code";
const FAILURES: &str = "### Who fails, and what a client sees";

/// A function that a walk names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    file: String,
    function: String,
}

pub(crate) fn check() -> Result<()> {
    let page = fs::read_to_string(PAGE).with_context(|| format!("{PAGE} cannot be read"))?;
    let named = named(walks(&page).with_context(|| format!("{PAGE} has no chapter {BEGINS:?}"))?);
    ensure!(named.len() > 30, "the walks name only {} functions: how they are written has changed", named.len());
    let missing: Vec<String> = named.iter().filter_map(missing).collect();
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    let rows = failures(&page).with_context(|| format!("{PAGE} has no table {FAILURES:?}"))?;
    ensure!(rows.len() > 20, "the table of failures has only {} rows: how it is written has changed", rows.len());
    let sources = repo::sources()?;
    let unshown: Vec<String> = rows.iter().filter_map(|row| unshown(row, &sources)).collect();
    ensure!(unshown.is_empty(), "{}", unshown.join("\n"));
    Ok(())
}

/// The rows, without the head.
fn failures(page: &str) -> Option<Vec<&str>> {
    let (_, rest) = page.split_once(FAILURES)?;
    let table = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    Some(table.skip(2).collect())
}

/// Why the tests in a row's last cell do not show it.
fn unshown(row: &str, sources: &[String]) -> Option<String> {
    let (_, last) = row.trim_end_matches(['|', ' ']).rsplit_once('|')?;
    let tests: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
    if tests.is_empty() {
        return Some(format!("no test is named by the row {row}"));
    }
    let is_there = |test: &str| sources.iter().any(|text| text.contains(&format!("fn {test}()")));
    tests
        .into_iter()
        .find(|test| !is_there(test))
        .map(|test| format!("{PAGE} names the test `{test}`, which is not there"))
}

fn walks(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once(BEGINS)?;
    Some(rest.split_once("\n## ").map_or(rest, |(chapter, _)| chapter))
}

/// A file is followed by a colon and its functions, up to the next file.
fn named(chapter: &str) -> Vec<Named> {
    let mut named = Vec::new();
    let mut file = None;
    let pieces: Vec<&str> = chapter.split('`').collect();
    // Every other piece stands in backticks. The piece after it says whether it is a file that
    // begins a list.
    for quoted in pieces.windows(2).skip(1).step_by(2) {
        let (code, after) = (quoted[0], quoted[1]);
        let is_list = after.starts_with(':');
        if code.ends_with(".rs") {
            file = is_list.then(|| code.to_owned());
        } else if let Some(file) = &file {
            named.push(Named { file: file.clone(), function: code.to_owned() });
        }
        if after.contains(')') {
            file = None;
        }
    }
    named
}

fn missing(named: &Named) -> Option<String> {
    let Named { file, function } = named;
    match fs::read_to_string(file) {
        Err(error) => Some(format!("{PAGE} names {file}: {error}")),
        Ok(text) => {
            let has = text.contains(&format!("fn {function}(")) || text.contains(&format!("fn {function}<"));
            (!has).then(|| format!("{PAGE} names `{function}` in {file}, which has no such function"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_functions_are_found_and_other_code_is_not() {
        let chapter =
            "1. It asks for `PutStart` (`a/b.rs`: `one`, `two`; `c.rs`:\n   `three`). The `gate` opens (`d.rs`).";
        let of = |file: &str, function: &str| Named { file: file.to_owned(), function: function.to_owned() };
        assert_eq!(named(chapter), [of("a/b.rs", "one"), of("a/b.rs", "two"), of("c.rs", "three")]);
    }

    #[test]
    fn failure_without_a_test_is_named() {
        let page = format!("{FAILURES}\n\n| who | shown by |\n|---|---|\n| a | `one`, `two` |\n| b | - |\n\n| other |");
        let rows = failures(&page).unwrap_or_default();
        assert_eq!(rows, ["| a | `one`, `two` |", "| b | - |"]);
        let sources = ["fn one() {}".to_owned(), "async fn two() {}".to_owned()];
        assert_eq!(unshown(rows[0], &sources), None);
        assert!(unshown(rows[0], &sources[..1]).is_some_and(|said| said.contains("`two`")));
        assert!(unshown(rows[1], &sources).is_some_and(|said| said.contains("no test")));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let of = |file: &str, function: &str| Named { file: file.to_owned(), function: function.to_owned() };
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/walks.rs");
        assert_eq!(missing(&of(here, "walks")), None);
        assert!(missing(&of(here, "flies")).is_some_and(|said| said.contains("no such function")));
        assert!(missing(&of("nowhere.rs", "walks")).is_some());
    }
}
