//! On a terminal: the confirmation before everything is removed, the look of a table, the line at
//! the bottom of `dev`. `script`, of Debian's bsdutils, makes the terminal.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::world::{PROGRAM, World, clean};

/// A command on a terminal of its own.
struct Terminal {
    script: Child,
    dir: TempDir,
}

impl Terminal {
    /// The shell writes the exit code down, since `script` returns a random number if its terminal
    /// closes a moment before its child is seen to have ended (util-linux 2.38). It survives Ctrl-C
    /// to do so.
    fn run(words: &str, environment: &[(&str, &str)]) -> Terminal {
        let dir = tempfile::tempdir().unwrap();
        let code = dir.path().join("code");
        let line = format!("stty cols 200; trap : INT; {PROGRAM} {words}; echo $? >'{}'", code.display());
        let mut script = Command::new("script");
        clean(&mut script);
        script.args(["-qc", &line, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh");
        script.envs(environment.iter().copied());
        let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Terminal { script, dir }
    }

    fn type_in(&mut self, text: &str) {
        self.script.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Reads what it shows, up to `last`.
    fn read_upto(&mut self, last: &str) -> String {
        let (mut shown, mut more) = (String::new(), [0; 4096]);
        while !shown.contains(last) {
            let bytes = self.script.stdout.as_mut().unwrap().read(&mut more).unwrap();
            assert!(bytes > 0, "it has ended: {shown}");
            shown += &String::from_utf8_lossy(&more[..bytes]);
        }
        shown
    }

    /// The rest of its output, and the exit code.
    fn end(mut self) -> (String, i32) {
        let mut rest = Vec::new();
        self.script.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        self.script.wait().unwrap();
        let code = std::fs::read_to_string(self.dir.path().join("code")).unwrap();
        (String::from_utf8_lossy(&rest).into_owned(), code.trim().parse().unwrap())
    }
}

fn on_terminal(world: &World, words: &str, typed: &str, environment: &[(&str, &str)]) -> (String, i32) {
    let mut terminal = Terminal::run(&format!("{words} --address {}", world.address()), environment);
    terminal.type_in(typed);
    terminal.end()
}

#[test]
fn everything_is_removed_only_after_a_yes() {
    let world = World::with(&["seg"]);
    world.put("k");
    let (shown, code) = on_terminal(&world, "kv rm --all", "n\n", &[]);
    assert!(code == 1 && shown.contains("[y/N]") && shown.contains("NOT_CONFIRMED"), "{shown}");
    assert_eq!(world.json(&["status"])["objects"], 1);
    let (shown, code) = on_terminal(&world, "kv rm --all", "y\n", &[]);
    assert!(code == 0 && shown.contains("removed 1"), "{shown}");
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
    let mut terminal = Terminal::run(&format!("dev --listen {},{}", ports[0].addr(), ports[1].addr()), &[]);
    terminal.read_upto("8 objects, 2 segments, 2 clients");
    terminal.type_in("\x03");
    let (rest, code) = terminal.end();
    const ERASED: &str = "\u{1b}[2K";
    assert_eq!(rest.rsplit_once(ERASED).unwrap().1.trim_end(), "stopping", "the line has gone: {rest:?}");
    assert_eq!(code, 0);
}
