//! Tests of what is offered for installation, and of versions.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsStr;

use super::{CXX, DENY, GRPC_FOR_PYTHON, Needs, PYTHON, Program, PythonPackages, Version, find_program};
use crate::repo::as_typed;

fn needs() -> Needs {
    Needs { programs: vec![CXX], tools: vec![DENY], packages: vec![GRPC_FOR_PYTHON] }
}

fn shown(is_root: bool) -> Vec<String> {
    needs().install_commands(is_root, true).unwrap().iter().map(as_typed).collect()
}

#[test]
fn root_installs_packages_itself_and_others_through_sudo() {
    let install = "apt-get install -y --no-install-recommends g++";
    let tool = format!("cargo install --locked cargo-deny@{}", DENY.version);
    let environment = "python3 -m venv --clear target/python";
    let packages = "target/python/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
                    --requirement tests/python/requirements.txt";
    assert_eq!(shown(true), ["apt-get update", install, &tool, environment, packages]);
    let sudo = ["sudo apt-get update", &format!("sudo {install}"), &tool, environment, packages];
    assert_eq!(shown(false), sudo, "what goes below target/ needs no rights");
}

#[test]
fn without_apt_the_packages_are_named_to_be_installed_by_hand() {
    let error = needs().install_commands(true, false).unwrap_err().to_string();
    assert!(error.contains("g++"), "{error}");
    let others = Needs { programs: Vec::new(), ..needs() };
    assert_eq!(others.install_commands(true, false).unwrap().len(), 3, "cargo and pip need no apt");
}

#[test]
fn each_missing_thing_and_each_command_is_explained() {
    let text = needs().explanation(&needs().install_commands(true, true).unwrap());
    let things = ["c++", "g++", CXX.why, "cargo-deny", DENY.why, "PyPI", GRPC_FOR_PYTHON.why];
    let commands = ["  apt-get update", "  cargo install --locked", "  target/python/bin/python -m pip install"];
    for part in things.into_iter().chain(commands) {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn a_version_is_found_in_what_a_tool_prints() {
    for (text, version) in [
        ("cargo-deny 0.20.2", Some(Version(0, 20, 2))),
        ("0.9.2\n", Some(Version(0, 9, 2))),
        ("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.144", Some(Version(0, 9, 143))),
        ("tool 1.2.3-beta.1+build", Some(Version(1, 2, 3))),
        ("no version here 1.2", None),
        ("", None),
    ] {
        assert_eq!(Version::parse_in(text), version, "{text:?}");
    }
}

#[test]
fn versions_are_ordered_by_number_not_by_text() {
    assert!(Version(0, 9, 143) > Version(0, 9, 85));
    assert!(Version(0, 20, 0) > Version(0, 9, 999));
}

#[test]
fn a_program_is_looked_for_along_the_path_or_where_its_path_says() {
    let shell = find_program(OsStr::new("sh")).unwrap();
    assert_eq!(find_program(shell.as_os_str()), Some(shell));
    assert_eq!(find_program(OsStr::new("no-such-program-anywhere")), None);
    assert_eq!(find_program(OsStr::new("/etc/passwd")), None, "a file that is no program");
}

#[test]
fn a_program_that_cannot_do_what_it_is_for_counts_as_missing() {
    let shell = Program { name: "sh", proves: &["-c", "exit 0"], ..PYTHON };
    assert!(shell.find().is_some());
    let broken = Program { proves: &["-c", "exit 1"], ..shell };
    assert_eq!(broken.find(), None);
    let missing = Needs { programs: vec![shell, broken], ..Needs::default() }.missing();
    assert_eq!(missing.programs, [broken]);
}

#[test]
fn packages_without_their_environment_are_missing() {
    let nowhere = PythonPackages { environment: "target/no-such-environment", ..GRPC_FOR_PYTHON };
    assert!(!nowhere.are_here());
    assert_eq!(Needs { packages: vec![nowhere], ..Needs::default() }.missing().names(), [nowhere.requirements]);
}

#[test]
fn every_package_of_the_client_is_pinned_to_one_version() {
    let text = include_str!("../../tests/python/requirements.txt");
    let pins: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let is_pin = |line: &&str| {
        line.split_once("==").is_some_and(|(name, version)| {
            !name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(['*', ' ', ','])
        })
    };
    assert!(pins.len() >= 4 && pins.iter().all(is_pin), "{pins:?}");
}
