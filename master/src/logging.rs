//! The log of this process, on standard error: standard output is for what a command is asked to print.
//!
//! ```text
//!   text   2026-11-01T10:00:00Z  INFO master::pair: a peer is gone peer="b" node=a epoch=7
//!   json   {"node":"a","epoch":7,"timestamp":…,"fields":{"message":"a peer is gone","peer":"b"},…}
//! ```
//!
//! Invariant: every line of a member says which member it is of and, once one is known, in which epoch it was written; an
//! epoch that the line itself speaks of stands in its fields.
//!
//! Deliberately absent: a span around everything. Tasks of libraries are in none.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{ConfigError, LogFormat, Logging};
use crate::gate::Gate;

/// Of the member that this process is. A process has one log, and at most one member that it is the log of.
static GATE: OnceLock<Arc<Gate>> = OnceLock::new();

/// Once for each process. `node`: the member that it is; empty: it is none.
pub(crate) fn start(logging: &Logging, node: &str) -> anyhow::Result<()> {
    let level = &logging.log_level;
    let filter = EnvFilter::try_new(level)
        .map_err(|why| ConfigError::Rule { field: "log_level", rule: format!("{level:?} is not understood: {why}") })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let node = node.to_owned();
    let started = match logging.log_format {
        LogFormat::Text => {
            let line = format().with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            log.event_format(Labelled { line, node, labels: text_labels }).try_init()
        }
        LogFormat::Json => {
            let line = format().json();
            log.json().event_format(Labelled { line, node, labels: json_labels }).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// From now on every line says the epoch that this gate knows.
pub(crate) fn follow(gate: Arc<Gate>) {
    // A second member in one process: a test, whose log is nobody's.
    let _ = GATE.set(gate);
}

/// Lines as `line` makes them, and in each one whose they are.
struct Labelled<F> {
    line: F,
    node: String,
    labels: fn(line: &str, node: &str, epoch: u64) -> String,
}

impl<S, N, F> FormatEvent<S, N> for Labelled<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.node.is_empty() {
            return self.line.format_event(context, to, event);
        }
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        let epoch = GATE.get().map_or(0, |gate| gate.known_epoch());
        to.write_str(&(self.labels)(line.trim_end_matches('\n'), &self.node, epoch))?;
        to.write_char('\n')
    }
}

fn text_labels(line: &str, node: &str, epoch: u64) -> String {
    match epoch {
        0 => format!("{line} node={node}"),
        _ if line.contains(" epoch=") => format!("{line} node={node}"),
        epoch => format!("{line} node={node} epoch={epoch}"),
    }
}

/// `line`: an object with at least one field.
fn json_labels(line: &str, node: &str, epoch: u64) -> String {
    let rest = line.strip_prefix('{').unwrap_or(line);
    let node = serde_json::Value::from(node);
    match epoch {
        0 => format!("{{\"node\":{node},{rest}"),
        epoch => format!("{{\"node\":{node},\"epoch\":{epoch},{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_the_member_and_an_epoch_once() {
        assert_eq!(text_labels("INFO a peer", "a", 0), "INFO a peer node=a");
        assert_eq!(text_labels("INFO a peer", "a", 7), "INFO a peer node=a epoch=7");
        assert_eq!(text_labels("INFO begins epoch=8", "a", 7), "INFO begins epoch=8 node=a");
    }

    #[test]
    fn json_stays_json_whatever_the_member_is_called() {
        let line = json_labels(r#"{"fields":{"epoch":8}}"#, "a \"b\"\n", 7);
        let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        let meant = serde_json::json!({"node": "a \"b\"\n", "epoch": 7, "fields": {"epoch": 8}});
        assert_eq!(line, meant);
    }
}
