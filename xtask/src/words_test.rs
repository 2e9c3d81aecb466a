//! Tests of the check of words: what it refuses, with file and line, and what it lets pass.

use std::path::Path;

use super::{COLUMNS_MAX, HISTORY, Rule, faults_of, new_changes, rule};

fn faults(text: &str) -> Vec<String> {
    faults_of("a.md", text, Rule::PAGE)
}

#[test]
fn word_without_an_actor_is_named_with_its_place() {
    for word in ["whoever", "Somebody", "nobody"] {
        let found = faults(&format!("A member is promoted.\nIt is known to {word}'s heir."));
        assert_eq!(found.len(), 1, "{word}: {found:?}");
        assert!(found[0].starts_with("a.md:2: "), "{found:?}");
    }
    assert!(faults("A busybody, and `primary_that_answers_nobody`.").is_empty());
}

#[test]
fn word_is_found_in_tables_in_code_and_where_columns_do_not_count() {
    assert_eq!(faults("| who | nobody |").len(), 1);
    assert_eq!(faults("```text\nnobody\n```").len(), 1);
    assert_eq!(faults_of("a.rs", "    /// Nobody asks.", Rule::TEXTS).len(), 1);
}

#[test]
fn sentence_that_begins_with_of_is_refused() {
    for line in
        ["Of them, two.", "- Of them, two.", "    /// Of them, two.", "It has five. Of them, two are.", "| a | Of it |"]
    {
        assert_eq!(faults(line).len(), 1, "{line}");
    }
    assert!(faults("Two of them. Offers are listed.").is_empty());
}

#[test]
fn line_may_have_100_columns_and_no_more() {
    let line = "é".repeat(COLUMNS_MAX);
    assert!(faults(&line).is_empty());
    let found = faults(&format!("{line}\n{line}.\n"));
    assert_eq!(found, ["a.md:2: 101 columns, more than 100"]);
    assert!(faults_of("docs/errors.md", &format!("{line}."), Rule::WORDS).is_empty());
}

#[test]
fn tables_code_and_a_link_alone_on_a_line_may_be_wider() {
    let wide = "a ".repeat(COLUMNS_MAX);
    assert!(faults(&format!("| {wide} |\n  | {wide} |")).is_empty());
    assert!(faults(&format!("```console\n{wide}\n```")).is_empty());
    assert!(faults(&format!("- [{wide}](https://a.b/c)")).is_empty());
    assert_eq!(faults(&format!("```console\n```\n{wide}")).len(), 1, "the block has ended");
    assert_eq!(faults(&format!("See [this](https://a.b/c) {wide}")).len(), 1);
    assert_eq!(faults(&format!("[this](https://a.b/c) {wide} [that](d)")).len(), 1);
}

#[test]
fn comments_have_words_and_columns_and_code_has_neither() {
    let source = |text: &str| faults_of("a.rs", text, Rule::SOURCE);
    assert_eq!(source("    // Nobody asks.\nlet nobody = 1;"), source("    // Nobody asks."));
    assert_eq!(source("    // Nobody asks.").len(), 1);
    let wide = "a ".repeat(COLUMNS_MAX);
    assert!(source(&format!("let a = \"{wide}\";\n//! ```text\n//!   {wide}\n//! ```\n/// | {wide} |")).is_empty());
    assert_eq!(source(&format!("//! ```text\n//! ```\n//! {wide}")).len(), 1);
    assert_eq!(faults_of("a.rs", "\"nobody\"", Rule::TEXTS).len(), 1);
}

#[test]
fn each_kind_of_file_has_its_rule() {
    for (path, expected) in [
        ("README.md", Rule::PAGE),
        ("docs/glossary.md", Rule::PAGE),
        ("docs/configuration.md", Rule::WORDS),
        ("docs/reports/sim.md", Rule::WORDS),
        ("docs/understudy.toml", Rule::WORDS),
        ("cli/src/dev.rs", Rule::WORDS),
        ("proto/proto/understudy/v1/admin.proto", Rule::TEXTS),
        ("election/src/lib.rs", Rule::SOURCE),
    ] {
        assert_eq!(rule(Path::new(path)), expected, "{path}");
    }
}

#[test]
fn changes_below_what_was_there_before_the_check_are_history() {
    let changes = format!("# Changelog\n\n- New.\n{HISTORY} nobody\n");
    assert!(new_changes(&changes).is_ok_and(|new| new.ends_with("- New.\n")));
    assert!(new_changes("# Changelog\n").is_err_and(|error| error.to_string().contains(HISTORY)));
}
