//! The words of the pages, of the command line and of comments: no line of prose is wider than 100
//! columns, and each sentence names its actor.
//!
//! | where | columns | words |
//! |---|---|---|
//! | README.md, ARCHITECTURE.md, docs/*.md | yes | yes |
//! | docs/reports | | yes |
//! | generated pages: their tables have long cells, and each paragraph is one line | | yes |
//! | CHANGELOG.md, above [`HISTORY`] | yes | yes |
//! | settings, metrics, wire contracts ([`TEXTS`]), of which pages are generated | in comments | yes |
//! | [`COMMANDS`] | | yes |
//! | all other sources of the crates in [`CRATES`] | in comments | in comments |
//!
//! A word is refused where it stands for an actor that has a name: a client, a member, the primary,
//! a standby, an operator. So is a sentence that begins with "Of".
//!
//! Deliberately absent: tables, blocks of code and links alone on a line, which cannot be broken;
//! whether a sentence is true, or good. A reviewer checks that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const COLUMNS_MAX: usize = 100;

const WORDS: [&str; 3] = ["whoever", "somebody", "nobody"];

const PAGES: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

const GENERATED: [&str; 3] = ["docs/configuration.md", "docs/metrics.md", "docs/errors.md"];

const TEXTS: [&str; 4] = ["master/src/config", "master/src/metrics.rs", "proto/src/reasons.rs", "proto/proto"];

const COMMANDS: &str = "cli/src";

/// The crates whose comments are checked.
const CRATES: [&str; 15] = [
    "bench",
    "cli",
    "client",
    "coordinator",
    "election",
    "fuzz",
    "master",
    "member",
    "oplog",
    "proto",
    "replication",
    "standby",
    "tests",
    "verification",
    "xtask",
];

/// What cargo builds lies in directories of this name.
const BUILT: &str = "target";

const CHANGES: &str = "CHANGELOG.md";

/// The newest entry of CHANGELOG.md that was there before this check: it and what stands below it
/// keep the words of their time.
const HISTORY: &str = "- Rust SDK: a session that the client leaves is ended at its side, too.";

/// Lines of a file that are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lines {
    All,
    Comments,
    None,
}

/// What a file is held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rule {
    words: Lines,
    columns: Lines,
}

impl Rule {
    const PAGE: Rule = Rule { words: Lines::All, columns: Lines::All };
    const WORDS: Rule = Rule { words: Lines::All, columns: Lines::None };
    const TEXTS: Rule = Rule { words: Lines::All, columns: Lines::Comments };
    const SOURCE: Rule = Rule { words: Lines::Comments, columns: Lines::Comments };
}

pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    for path in files()? {
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        faults.extend(faults_of(&path.to_string_lossy(), &text, rule(&path)));
    }
    let changes = fs::read_to_string(CHANGES).with_context(|| format!("{CHANGES} cannot be read"))?;
    faults.extend(faults_of(CHANGES, new_changes(&changes)?, Rule::PAGE));
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn files() -> Result<BTreeSet<PathBuf>> {
    let mut paths: Vec<PathBuf> = PAGES.iter().map(PathBuf::from).collect();
    for place in ["docs"].iter().chain(&TEXTS).chain(&CRATES) {
        gather(Path::new(place), &mut paths)?;
    }
    ensure!(paths.len() > 400, "only {} files are checked: their places have changed", paths.len());
    Ok(paths.into_iter().collect())
}

fn rule(path: &Path) -> Rule {
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    let is_generated = GENERATED.iter().any(|page| path == Path::new(page)) || path.starts_with("docs/reports");
    let is_source = path.extension().is_some_and(|extension| extension == "rs" || extension == "proto");
    match (is_page, is_source) {
        (true, _) if !is_generated => Rule::PAGE,
        (_, true) if path.starts_with(COMMANDS) => Rule::WORDS,
        (_, true) if TEXTS.iter().any(|text| path.starts_with(text)) => Rule::TEXTS,
        (_, true) => Rule::SOURCE,
        _ => Rule::WORDS,
    }
}

/// The files below, except pictures and what is built.
fn gather(place: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    if place.ends_with(BUILT) {
        return Ok(());
    }
    if place.is_file() {
        let is_text = |extension: &str| place.extension().is_some_and(|have| have == extension);
        paths.extend(["md", "rs", "proto", "toml"].into_iter().any(is_text).then(|| place.to_owned()));
        return Ok(());
    }
    let entries = fs::read_dir(place).with_context(|| format!("{} cannot be listed", place.display()))?;
    let mut below = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    below.sort();
    below.iter().try_for_each(|path| gather(path, paths))
}

fn new_changes(changes: &str) -> Result<&str> {
    let (new, _) = changes.split_once(HISTORY).with_context(|| format!("{CHANGES} has no entry {HISTORY:?}"))?;
    Ok(new)
}

fn faults_of(name: &str, text: &str, rule: Rule) -> Vec<String> {
    let mut faults = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        let at = |what: String| format!("{name}:{}: {what}", index + 1);
        let comment = comment(line);
        let has = |lines: Lines| lines == Lines::All || (lines == Lines::Comments && comment.is_some());
        let prose = comment.unwrap_or(line);
        if prose.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        // A comment ends before its block of code does only by mistake.
        in_code &= comment.is_some() || rule.columns == Lines::All;
        if has(rule.words) {
            faults.extend(word(line).map(|word| at(format!("{word:?}: say which member, client or operator it is"))));
        }
        if has(rule.words) && begins_with_of(line) {
            faults.push(at("a sentence begins with \"Of\": begin with its subject".to_owned()));
        }
        let columns = line.chars().count();
        if has(rule.columns) && columns > COLUMNS_MAX && !in_code && !cannot_be_broken(prose) {
            faults.push(at(format!("{columns} columns, more than {COLUMNS_MAX}")));
        }
    }
    faults
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text))
}

/// The first banned word in a line, but not one within a name such as that of a test.
fn word(line: &str) -> Option<&'static str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.find_map(|have| WORDS.into_iter().find(|word| have.eq_ignore_ascii_case(word)))
}

/// Behind the marks of a list, a comment, a table or a string, and behind a full stop.
fn begins_with_of(line: &str) -> bool {
    let sentence = line.trim_start_matches(|c: char| " -*/!#\"|>".contains(c));
    sentence.starts_with("Of ") || [". Of ", "| Of "].iter().any(|begin| line.contains(begin))
}

/// A row of a table, or a link and nothing else.
fn cannot_be_broken(line: &str) -> bool {
    let line = line.trim().trim_start_matches("- ");
    let is_link = line.starts_with('[') && line.trim_end_matches(['.', ',', ';', ':']).ends_with(')');
    line.starts_with('|') || (is_link && line.matches("](").count() == 1)
}

#[cfg(test)]
#[path = "words_test.rs"]
mod words_test;
