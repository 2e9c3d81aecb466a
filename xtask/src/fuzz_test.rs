//! Tests of finding targets and of reading libFuzzer's log.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use super::{TELLING_LINES, again, all_targets, summary, telling_lines};

const PASSED: &str = "\
INFO: Seed: 1
#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 31Mb
#524288\tpulse  cov: 40 ft: 61 corp: 9/90b lim: 4096 exec/s: 262144 rss: 31Mb
#812331\tDONE   cov: 41 ft: 62 corp: 10/99b lim: 4096 exec/s: 270777 rss: 31Mb
Done 812331 runs in 3 second(s)
stat::number_of_executed_units: 812331
stat::peak_rss_mb:              31
";

#[test]
fn a_run_that_passed_is_summed_up_in_one_line() {
    assert_eq!(summary(PASSED).unwrap(), "ok, 812331 inputs, 41 places reached");
}

#[test]
fn a_run_without_coverage_is_no_success() {
    let blind = PASSED.lines().filter(|line| !line.contains(" cov: ")).collect::<Vec<_>>().join("\n");
    assert!(summary(&blind).unwrap_err().to_string().contains("without counters"));
}

#[test]
fn a_run_that_ended_early_is_no_success() {
    let cut = PASSED.lines().take(3).collect::<Vec<_>>().join("\n");
    assert!(summary(&cut).unwrap_err().to_string().contains("no statistics"));
}

#[test]
fn the_bad_input_is_named() {
    let log = "MS: 2\nartifact_prefix='a/'; Test unit written to a/crash-34f7\nBase64: 776t\n";
    assert_eq!(again(log), Some("a/crash-34f7"));
    assert_eq!(again(PASSED), None);
}

#[test]
fn long_log_is_shown_from_the_panic_on() {
    let log = format!("{}thread panicked at x.rs:1\nwhy\n{}", "noise\n".repeat(500), "frame\n".repeat(500));
    let shown = telling_lines(&log);
    assert!(shown.starts_with("thread panicked at x.rs:1\nwhy\nframe\n"), "{shown}");
    assert_eq!(shown.lines().count(), TELLING_LINES);
}

#[test]
fn log_without_a_failure_is_shown_at_its_end() {
    let log = format!("{}the end\n", "noise\n".repeat(500));
    let shown = telling_lines(&log);
    assert!(shown.ends_with("the end"));
    assert_eq!(shown.lines().count(), TELLING_LINES);
    assert_eq!(telling_lines("a\n"), "a");
}

#[test]
fn targets_are_the_rust_files_of_the_directory_in_order() {
    let dir = tempfile::tempdir().unwrap();
    assert!(all_targets(dir.path()).is_err(), "no targets is a mistake");
    for name in ["payload.rs", "frame.rs", "notes.txt"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert_eq!(all_targets(dir.path()).unwrap(), ["frame", "payload"]);
    assert!(all_targets(&dir.path().join("gone")).is_err());
}

#[test]
fn stored_corpora_stay_small() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for corpus in fs::read_dir(corpora).unwrap() {
        let corpus = corpus.unwrap().path();
        let inputs = fs::read_dir(&corpus).unwrap().count();
        assert!(inputs < 64, "{} has {inputs} inputs: docs/development.md says how to choose", corpus.display());
    }
}
