//! Tests of what is offered for installation, and of versions.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsStr;

use super::{CXX, DENY, Version, explanation, find_program, install_commands};
use crate::repo::as_typed;

fn shown(is_root: bool) -> Vec<String> {
    install_commands(&[CXX], &[DENY], is_root, true).unwrap().iter().map(as_typed).collect()
}

#[test]
fn root_installs_packages_itself_and_others_through_sudo() {
    let install = "apt-get install -y --no-install-recommends g++";
    let tool = format!("cargo install --locked cargo-deny@{}", DENY.version);
    assert_eq!(shown(true), ["apt-get update", install, &tool]);
    assert_eq!(shown(false), ["sudo apt-get update", &format!("sudo {install}"), &tool]);
}

#[test]
fn without_apt_the_packages_are_named_for_a_person_to_install() {
    let error = install_commands(&[CXX], &[], true, false).unwrap_err().to_string();
    assert!(error.contains("g++"), "{error}");
    assert_eq!(install_commands(&[], &[DENY], true, false).unwrap().len(), 1, "cargo needs no apt");
}

#[test]
fn each_missing_thing_and_each_command_is_explained() {
    let commands = install_commands(&[CXX], &[DENY], true, true).unwrap();
    let text = explanation(&[CXX], &[DENY], &commands);
    for part in ["c++", "g++", CXX.why, "cargo-deny", DENY.why, "  apt-get update", "  cargo install --locked"] {
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
