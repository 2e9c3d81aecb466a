//! Tests of how commands are shown and which environment they get.

use std::process::Command;

use super::{as_typed, cargo};

#[test]
fn a_command_is_shown_as_one_would_type_it() {
    let mut command = Command::new("/somewhere/bin/cargo");
    command.args(["test", "-p", "a b", "it's", "", "x=y", "$HOME"]);
    assert_eq!(as_typed(&command), r"cargo test -p 'a b' 'it'\''s' '' x=y '$HOME'");
    assert_eq!(as_typed(&Command::new("target/python/bin/python")), "target/python/bin/python");
}

#[test]
fn a_cargo_started_here_does_not_see_the_variables_of_the_cargo_above() {
    // `cargo test` set this one for us.
    let inherited = std::env::vars_os().any(|(name, _)| name == "CARGO_PKG_NAME");
    assert!(inherited, "the test runs without cargo");
    let command = cargo(["check"]);
    let removed = command.get_envs().any(|(name, value)| name == "CARGO_PKG_NAME" && value.is_none());
    assert!(removed);
}
