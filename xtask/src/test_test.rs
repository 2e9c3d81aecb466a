//! Tests of the command that runs the tests, for each runner, scope and place.

use super::{Scope, filtered, full_run, test_command};
use crate::repo::as_typed;

fn shown(scope: Scope, filters: &[&str], nextest: bool, ci: bool) -> String {
    let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
    as_typed(&test_command(scope, &filters, nextest, ci))
}

#[test]
fn nextest_is_called_with_the_profile_of_the_place() {
    let base = "cargo nextest run --workspace --all-features";
    assert_eq!(shown(Scope::All, &[], true, false), format!("{base} --cargo-profile checked"));
    assert_eq!(shown(Scope::All, &[], true, true), format!("{base} --cargo-profile checked --profile ci"));
    assert_eq!(shown(Scope::All, &["a", "b"], true, false), format!("{base} --cargo-profile checked a b"));
    assert_eq!(shown(Scope::Unit, &[], true, false), format!("{base} --lib --bins"));
}

#[test]
fn without_nextest_cargo_test_runs_the_same_tests() {
    let base = "cargo test --workspace --all-features";
    assert_eq!(shown(Scope::All, &[], false, true), format!("{base} --profile checked --tests"));
    assert_eq!(shown(Scope::All, &["a", "b"], false, false), format!("{base} --profile checked --tests -- a b"));
    assert_eq!(shown(Scope::Unit, &["a"], false, false), format!("{base} --lib --bins -- a"));
}

#[test]
fn every_step_of_a_full_run_says_what_to_do_when_it_fails() {
    let steps = full_run();
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    assert_eq!(
        names,
        [
            "format",
            "arrows",
            "walks",
            "words",
            "clippy",
            "docs",
            "cargo deny",
            "cargo machete",
            "tests",
            "python",
            "doc tests",
            "bites",
            "model",
            "fuzz"
        ]
    );
    assert!(steps.iter().all(|step| !step.hint.is_empty()));
}

#[test]
fn step_python_is_chosen_by_its_very_name() {
    let names = |filters: &[&str]| -> Vec<&str> {
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        filtered(Scope::All, &filters).iter().map(|step| step.name).collect()
    };
    assert_eq!(names(&["python"]), ["python"]);
    assert_eq!(names(&["lease", "python"]), ["tests", "python"]);
    assert_eq!(names(&["pyth"]), ["tests"], "a part of it is a filter for the runner");
}
