//! Why a command did not do what it was asked to, in one line for people or one object for programs, and the exit code.
//!
//! ```text
//!   0  done, also when the output is not read any more
//!   1  refused, not found, no member answers
//!   2  the command itself is wrong: nothing was sent
//!   3 to 6   of `health` alone: DEGRADED, NO PRIMARY, LOST DATA, UNKNOWN
//! ```
//!
//! Invariant: every fault says what to do next.
//!
//! Deliberately absent: what reasons mean, which `proto::status` says once for everybody.

use std::io;
use std::process::ExitCode;

use client::{Error, Reason, Refused};
use master::config::ConfigError;
use master::{BindError, NotHandedOver, health, logging};
use serde_json::{Value, json};

use crate::words;

const COORDINATOR: &str = "Look at the coordinator and the way to it, and at where the command looks for it.";

const USAGE: &str = "Correct the command: `--help` behind it says how. Nothing was sent.";

/// How a command that ran to its end went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Yes,
    /// It did, but the answer is no: a key is not there, an item was refused.
    No,
    /// That of `health`, which has exit codes of its own.
    Health(health::Verdict),
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::Yes => ExitCode::SUCCESS,
            Verdict::No => ExitCode::from(1),
            Verdict::Health(verdict) => ExitCode::from(verdict.exit_code()),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Fault {
    /// The reader of the output has gone: not our concern.
    OutputClosed,
    Told(Told),
}

/// Something that the user must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// Stable, for programs.
    reason: String,
    message: String,
    what_to_do: String,
    exit: u8,
}

impl Told {
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn new(reason: &str, message: impl Into<String>, what_to_do: &str) -> Told {
        Told { reason: reason.to_owned(), message: message.into(), what_to_do: what_to_do.to_owned(), exit: 1 }
    }

    /// The refusal of one of several items, with what it is about.
    pub(crate) fn refused(about: &str, refused: &Refused) -> Told {
        let message = match about {
            "" => refused.message.clone(),
            about => format!("{about}: {}", refused.message),
        };
        match refused.reason {
            // Masters give reasons: something else listens there, or a master that knows more of them.
            Reason::Unspecified => {
                Told::new("NOT_UNDERSTOOD", message, "Is this a master, of this version? Check --address.")
            }
            reason => Told::new(reason.as_str_name(), message, &in_flags(refused.what_to_do())),
        }
    }

    /// `NOT_FOUND: key: no such object. Write it, or do without.`
    pub(crate) fn line(&self) -> String {
        let Told { reason, message, what_to_do, .. } = self;
        let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
        words::plain(&format!("{reason}: {message}{end} {what_to_do}")).trim_end().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        let Told { reason, message, what_to_do, .. } = self;
        json!({ "reason": reason, "message": message, "what_to_do": what_to_do })
    }
}

/// What the contract calls its fields is a flag or a command here.
fn in_flags(what_to_do: &str) -> String {
    const CALLED: [(&str, &str); 4] = [
        ("`force`", "--force"),
        ("`best_effort`", "--best-effort"),
        ("`if_exists = REPLACE`", "--replace"),
        ("`ListSegments`", "`understudy segments`"),
    ];
    CALLED.iter().fold(what_to_do.to_owned(), |text, (field, flag)| text.replace(field, flag))
}

impl Fault {
    pub(crate) fn new(reason: &str, message: impl Into<String>, what_to_do: &str) -> Fault {
        Fault::Told(Told::new(reason, message, what_to_do))
    }

    /// The command is wrong.
    pub(crate) fn usage(message: impl Into<String>, what_to_do: &str) -> Fault {
        Fault::Told(Told { exit: 2, ..Told::new("USAGE", message, what_to_do) })
    }

    /// Tells it on stderr; the exit code says the rest.
    pub(crate) fn tell(&self, as_json: bool) -> ExitCode {
        match self {
            Fault::OutputClosed => ExitCode::SUCCESS,
            Fault::Told(told) => {
                tell(told, as_json);
                ExitCode::from(told.exit)
            }
        }
    }
}

/// What came up from below in a command that is no client of a master: `serve`, `dev`, `recover`.
pub(crate) fn tell_error(error: &anyhow::Error, as_json: bool) -> ExitCode {
    let told = told(error);
    match as_json {
        true => tell(&told, true),
        // It says by itself what to do.
        false => note(&format!("error: {error:#}")),
    }
    ExitCode::from(told.exit)
}

/// What the command line is not understood for, or the help that it asks for.
pub(crate) fn tell_usage(error: &clap::Error, as_json: bool) -> ExitCode {
    if !as_json || !error.use_stderr() {
        // A reader that has gone is no fault.
        let _ = error.print();
        return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        tell(&Told::new("USAGE", "the command is not complete: a word is missing behind it", USAGE), true);
        return ExitCode::from(2);
    }
    let rendered = error.render().to_string();
    // Behind the first paragraph stands how the command is used.
    let said = rendered.split("\n\n").next().unwrap_or_default();
    let said: Vec<&str> = said.trim_start_matches("error: ").lines().map(str::trim).collect();
    let told = Told::new("USAGE", said.join(" "), USAGE);
    tell(&told, true);
    ExitCode::from(2)
}

fn told(error: &anyhow::Error) -> Told {
    let message = format!("{error:#}");
    let is_about = |kind: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(kind);
    if is_about(|cause| cause.is::<ConfigError>()) {
        return Told { exit: 2, ..Told::new("USAGE", message, "Correct the setting: nothing was started.") };
    }
    if is_about(|cause| cause.is::<BindError>()) {
        return Told::new("CANNOT_LISTEN", message, "Choose another address or port, or stop what listens there.");
    }
    if is_about(|cause| cause.is::<NotHandedOver>()) {
        return Told::new("NOT_HANDED_OVER", message, "See with `understudy health` who leads now.");
    }
    if is_about(|cause| cause.is::<coordinator::Error>()) {
        return Told::new("COORDINATOR", message, COORDINATOR);
    }
    Told::new("FAILED", message, "See to what the message names, then start it again.")
}

/// On stderr. Where that is closed too, it is told nowhere.
pub(crate) fn tell(told: &Told, as_json: bool) {
    let line = match as_json {
        true => json!({ "error": told.json() }).to_string(),
        false => format!("error: {}", told.line()),
    };
    note(&line);
}

/// A line on stderr that is no fault. Where there is a log, it stands in its turn: a member does not wait for who reads.
pub(crate) fn note(line: &str) {
    use io::Write as _;
    if !logging::say(line) {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

impl From<Told> for Fault {
    fn from(told: Told) -> Fault {
        Fault::Told(told)
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        Fault::Told(Told::refused("", &refused))
    }
}

impl From<coordinator::Error> for Fault {
    fn from(error: coordinator::Error) -> Fault {
        Fault::new("COORDINATOR", error.to_string(), COORDINATOR)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::OutputClosed,
            _ => Fault::new("OUTPUT", format!("cannot write the output: {error}"), "Check where it goes to."),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        const LOOK: &str = "Look at the state before you do it again.";
        const REACH: &str = "Start one (`understudy dev`, `understudy serve`), or name it with --address.";
        let text = error.to_string();
        match error {
            Error::Refused(refused) => refused.into(),
            Error::Invalid { .. } => Fault::usage(text, "Correct the command: nothing was sent."),
            Error::Unreachable { .. } => Fault::new("UNREACHABLE", text, REACH),
            Error::Deadline { .. } => Fault::new("DEADLINE", text, "Try again, or allow more with --timeout-ms."),
            Error::OutcomeUnknown { .. } => Fault::new("OUTCOME_UNKNOWN", text, LOOK),
            Error::Protocol { .. } => {
                Fault::new("PROTOCOL", text, "Compare the versions: `understudy --version`, `understudy status`.")
            }
            other => Fault::new("CLIENT", other.to_string(), LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fault: Fault) -> Told {
        match fault {
            Fault::Told(told) => told,
            Fault::OutputClosed => panic!("it is to be told"),
        }
    }

    #[test]
    fn refusal_is_one_line_with_what_to_do() {
        let refused = Refused { reason: Reason::NotFound, message: "no such object".to_owned() };
        let told = Told::refused("a\x1b[0m", &refused);
        assert_eq!(
            told.line(),
            r"NOT_FOUND: a\u{1b}[0m: no such object. No complete object has this key. Write it, or do without."
        );
        assert_eq!(told.json()["reason"], "NOT_FOUND");
        assert_eq!(told.json()["what_to_do"], proto::status::what_to_do(Reason::NotFound));
    }

    #[test]
    fn hints_name_flags_as_they_are() {
        for (reason, flag) in [
            (Reason::Leased, "--force"),
            (Reason::Pinned, "--force"),
            (Reason::NoSpace, "--best-effort"),
            (Reason::AlreadyExists, "--replace"),
            (Reason::SegmentNotFound, "understudy segments"),
        ] {
            let line = Told::refused("k", &Refused { reason, message: "no".to_owned() }).line();
            assert!(line.contains(flag), "{line}");
            assert!(
                !["`force`", "best_effort", "if_exists", "ListSegments"].iter().any(|field| line.contains(field)),
                "{line}"
            );
        }
    }

    #[test]
    fn refusal_without_a_reason_asks_whether_that_is_a_master() {
        let refused = Refused { reason: Reason::Unspecified, message: "HTTP status code 404".to_owned() };
        let line = Told::refused("", &refused).line();
        assert_eq!(line, "NOT_UNDERSTOOD: HTTP status code 404. Is this a master, of this version? Check --address.");
    }

    #[test]
    fn wrong_commands_exit_with_2_and_refused_ones_with_1() {
        let invalid = Error::Invalid { field: "addresses", what: "none is given".to_owned() };
        assert_eq!(told(invalid.into()).exit, 2);
        let unreachable = Error::Unreachable { tried: vec!["a:1: refused".to_owned()], waited: Default::default() };
        let told = told(unreachable.into());
        assert_eq!((told.reason.as_str(), told.exit), ("UNREACHABLE", 1));
        assert!(told.line().contains("a:1: refused") && told.line().contains("--address"), "{}", told.line());
    }

    #[test]
    fn closed_output_is_no_fault() {
        let closed = Fault::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed, Fault::OutputClosed));
        assert_eq!(told(io::Error::from(io::ErrorKind::StorageFull).into()).exit, 1);
    }
}
