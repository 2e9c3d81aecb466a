//! On a terminal: the question before everything is removed, the look of a table, the line at the bottom of `dev`.
//! `script`, of Debian's bsdutils, makes the terminal.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::world::{PROGRAM, World, clean};

/// What a terminal shows, and the exit code.
fn on_terminal(world: &World, words: &str, typed: &str, environment: &[(&str, &str)]) -> (String, Option<i32>) {
    let line = format!("{PROGRAM} {words} --address {}", world.address());
    let mut script = Command::new("script");
    clean(&mut script);
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").envs(environment.iter().copied());
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let ended = script.wait_with_output().unwrap();
    (String::from_utf8_lossy(&ended.stdout).into_owned(), ended.status.code())
}

#[test]
fn everything_is_removed_only_when_somebody_agrees() {
    let world = World::with(&["seg"]);
    world.put("k");
    let (shown, code) = on_terminal(&world, "kv rm --all", "n\n", &[]);
    assert!(code == Some(1) && shown.contains("[y/N]") && shown.contains("NOT_CONFIRMED"), "{shown}");
    assert_eq!(world.json(&["status"])["objects"], 1);
    let (shown, code) = on_terminal(&world, "kv rm --all", "y\n", &[]);
    assert!(code == Some(0) && shown.contains("removed 1"), "{shown}");
    assert_eq!(world.json(&["status"])["objects"], 0);
}

#[test]
fn head_of_a_table_is_bold_on_a_terminal_unless_colors_are_off() {
    let world = World::with(&["seg"]);
    const BOLD: &str = "\u{1b}[1m";
    assert!(on_terminal(&world, "segments", "", &[]).0.contains(BOLD));
    assert!(!on_terminal(&world, "segments", "", &[("NO_COLOR", "1")]).0.contains('\u{1b}'));
    assert!(!on_terminal(&world, "segments", "", &[("TERM", "dumb")]).0.contains('\u{1b}'));
    assert!(!world.ok(&["segments"]).contains('\u{1b}'));
}

#[test]
fn dev_shows_how_it_goes_and_ends_by_ctrl_c() {
    let ports = [test_ports::free_port(), test_ports::free_port()];
    let mut script = Command::new("script");
    clean(&mut script);
    let line = format!("stty cols 200; exec {PROGRAM} dev --listen {},{}", ports[0].addr(), ports[1].addr());
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut shown = String::new();
    let mut more = [0; 4096];
    while !shown.contains("8 objects, 2 segments, 2 clients") {
        let bytes = screen.read(&mut more).unwrap();
        assert!(bytes > 0, "it has ended: {shown}");
        shown += &String::from_utf8_lossy(&more[..bytes]);
    }
    keyboard.write_all(b"\x03").unwrap();
    let mut rest = String::new();
    screen.read_to_string(&mut rest).unwrap();
    const ERASED: &str = "\u{1b}[2K";
    assert_eq!(rest.rsplit_once(ERASED).unwrap().1.trim_end(), "stopping", "the line has gone: {rest:?}");
    assert_eq!(script.wait().unwrap().code(), Some(0));
}
