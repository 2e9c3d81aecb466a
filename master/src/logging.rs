//! The log of this process, on standard error: standard output is for the output of a command.
//!
//! ```text
//!   text   2026-11-01T10:00:00Z  INFO master::pair: a peer is gone peer="b" node=a epoch=7
//!   json   {"timestamp":…,"node":"a","epoch":7,"fields":{"message":"a peer is gone","peer":"b"},…}
//! ```
//!
//! | file | decides |
//! |---|---|
//! | `repeats` | which lines are written, and which are only counted |
//! | `sink` | how they are written without delaying anything, and what becomes of those that cannot be written |
//! | `level` | the words of a log level |
//!
//! Invariants: every line of a member names the member and, once one is known, the epoch in which
//! it was written; an epoch that the line itself is about stands in its fields. A line of text is
//! one line, whatever its fields hold. No fault of standard error ends or delays the process.
//!
//! Deliberately absent: a span around everything. Tasks of libraries have none.

mod level;
mod repeats;
mod sink;

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use self::repeats::{Detail, Fate, Repeated, Repeats};
use self::sink::{Sink, Source};
use crate::config::{LogFormat, Logging};
use crate::gate::Gate;
pub(crate) use level::check_level;

/// The gate of this process's member. A process has one log, and at most one member that the log is
/// for.
static GATE: OnceLock<Arc<Gate>> = OnceLock::new();
static LOG: OnceLock<Started> = OnceLock::new();

/// At the end of a process, for a slow log. A log that accepts nothing is not waited for any
/// longer.
const DRAIN_WITHIN: Duration = Duration::from_millis(300);
/// Between two checks whether there are counted lines to report.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 16 << 10;

struct Started {
    log: Arc<Log>,
    level: reload::Handle<EnvFilter, Registry>,
}

/// Lines that the log has not written, since the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
}

/// Once for each process. `node`: the name of its member. Empty: it has none.
pub fn start(logging: &Logging, node: &str) -> anyhow::Result<()> {
    let stderr = io::stderr();
    // A handle of its own: the thread may block in a write, and must not hold the lock of
    // `io::stderr` meanwhile.
    let file = File::from(stderr.as_fd().try_clone_to_owned()?);
    let ansi = logging.log_format == LogFormat::Text && io::IsTerminal::is_terminal(&stderr);
    let log = Arc::new(Log::new(node, logging.log_format, ansi));
    let writer = Arc::clone(&log);
    let named = std::thread::Builder::new().name("understudy-log".to_owned());
    named.spawn(move || sink::run(&writer.sink, &*writer, file))?;
    let (filter, level) = reload::Layer::new(EnvFilter::try_new(&logging.log_level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(Arc::clone(&log))).log_internal_errors(false);
    let started = match logging.log_format {
        LogFormat::Text => {
            let line = format().without_time().with_ansi(ansi);
            let lines = lines.with_ansi(ansi).event_format(Labelled { line, log: Arc::clone(&log) });
            tracing_subscriber::registry().with(filter).with(lines).try_init()
        }
        LogFormat::Json => {
            let line = format().json().without_time();
            let lines = lines.json().event_format(Labelled { line, log: Arc::clone(&log) });
            tracing_subscriber::registry().with(filter).with(lines).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
    // The subscriber of a process is set once, and so is this.
    let _ = LOG.set(Started { log, level });
    Ok(())
}

/// From now on every line has the epoch that this gate knows.
pub(crate) fn follow(gate: Arc<Gate>) {
    // A second member in one process is a test, whose log does not count.
    let _ = GATE.set(gate);
}

/// From now on this level is logged. `level`: checked by [`check_level`].
pub(crate) fn set_level(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)?;
    match LOG.get() {
        Some(started) => Ok(started.level.reload(filter)?),
        None => anyhow::bail!("there is no log"),
    }
}

pub(crate) fn counts() -> Counts {
    LOG.get().map_or_else(Counts::default, |started| started.log.counts())
}

/// Before the end of the process: writes what can still be written, within a short time.
pub fn finish() {
    if let Some(Started { log, .. }) = LOG.get() {
        let repeated = log.repeats.lock().all();
        log.push_repeated(repeated);
        log.sink.drain(DRAIN_WITHIN);
    }
}

/// Writes a line beside the log, in its turn. False: there is no log, so nothing is in the way.
pub fn say(line: &str) -> bool {
    let started = LOG.get();
    if let Some(Started { log, .. }) = started {
        log.sink.push(format!("{line}\n"));
    }
    started.is_some()
}

/// Lines from `line`, each with its labels.
struct Labelled<F> {
    line: F,
    log: Arc<Log>,
}

impl<S, N, F> FormatEvent<S, N> for Labelled<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        to.write_str(&self.log.labelled(line.trim_end_matches('\n')))
    }
}

/// Between an event and its bytes: labels, repeats, the time.
#[derive(Debug)]
struct Log {
    node: String,
    format: LogFormat,
    ansi: bool,
    began: Instant,
    repeats: Mutex<Repeats<Identifier>>,
    repeated: AtomicU64,
    sink: Sink,
}

impl Log {
    fn new(node: &str, format: LogFormat, ansi: bool) -> Log {
        Log {
            node: node.to_owned(),
            format,
            ansi,
            began: Instant::now(),
            repeats: Mutex::new(Repeats::default()),
            repeated: AtomicU64::new(0),
            sink: Sink::default(),
        }
    }

    fn counts(&self) -> Counts {
        Counts { lost: self.sink.lost(), repeated: self.repeated.load(Ordering::Relaxed) }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn labelled(&self, line: &str) -> String {
        let epoch = GATE.get().map_or(0, |gate| gate.known_epoch());
        match self.format {
            _ if self.node.is_empty() && self.format == LogFormat::Json => line.to_owned(),
            LogFormat::Json => json_labels(line, &self.node, epoch),
            LogFormat::Text if self.node.is_empty() => one_line(line),
            LogFormat::Text => text_labels(&one_line(line), &self.node, epoch),
        }
    }

    /// A line without its time, from its place in the code.
    fn take(&self, place: Identifier, level: Level, text: &str) {
        let detail = if level <= Level::INFO { Detail::Usual } else { Detail::AskedFor };
        let fate = self.repeats.lock().take(place, text, detail, self.now_ms());
        match fate {
            Fate::Written => drop(self.sink.push(self.stamped(text))),
            Fate::Counted => {
                self.repeated.fetch_add(1, Ordering::Relaxed);
                self.sink.wake();
            }
        }
    }

    fn push_repeated(&self, repeated: Vec<Repeated>) {
        for Repeated { text, count } in repeated {
            let line = match self.format {
                LogFormat::Text => format!("{text} repeated={count}"),
                LogFormat::Json => format!("{{\"repeated\":{count},{}", text.strip_prefix('{').unwrap_or(&text)),
            };
            self.sink.push(self.stamped(&line));
        }
    }

    /// As it is written: with the time and its end, and no longer than allowed.
    fn stamped(&self, text: &str) -> String {
        let mut line = String::with_capacity(text.len() + 48);
        match self.format {
            LogFormat::Text => {
                line.push_str(if self.ansi { "\x1b[2m" } else { "" });
                let _ = SystemTime.format_time(&mut Writer::new(&mut line));
                line.push_str(if self.ansi { "\x1b[0m " } else { " " });
                line.push_str(cut(text));
                if text.len() > LINE_BYTES_MAX {
                    let _ = write!(line, "… cut={}", text.len() - cut(text).len());
                }
            }
            LogFormat::Json => {
                line.push_str("{\"timestamp\":\"");
                let _ = SystemTime.format_time(&mut Writer::new(&mut line));
                line.push_str("\",");
                match text.strip_prefix('{') {
                    Some(rest) if text.len() <= LINE_BYTES_MAX => line.push_str(rest),
                    _ => {
                        let (whole, is) = (serde_json::Value::from(cut(text)), text.len() - cut(text).len());
                        let _ = write!(line, "\"cut\":{is},\"line\":{whole}}}");
                    }
                }
            }
        }
        line.push('\n');
        line
    }
}

impl Source for Log {
    fn look(&self) -> Option<Duration> {
        let mut repeats = self.repeats.lock();
        let due = repeats.due(self.now_ms());
        let has_counted = repeats.has_counted();
        drop(repeats);
        self.push_repeated(due);
        has_counted.then_some(LOOK_EVERY)
    }

    fn lost_line(&self, lines: u64, why: &str) -> String {
        let target = module_path!();
        let what = match lines {
            1 => format!("1 line of this log was lost: {why}"),
            lines => format!("{lines} lines of this log were lost: {why}"),
        };
        let text = match self.format {
            LogFormat::Text => format!(" WARN {target}: {what}"),
            LogFormat::Json => {
                let fields = serde_json::json!({ "message": what, "lines": lines });
                serde_json::json!({ "level": "WARN", "fields": fields, "target": target }).to_string()
            }
        };
        self.stamped(&self.labelled(&text))
    }
}

/// Takes one whole line.
struct Line<'a> {
    log: &'a Log,
    /// Its place in the code, and its level.
    event: Option<(Identifier, Level)>,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((place, level)) = self.event.take() {
            self.log.take(place, level, &String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives the lines of the subscriber.
struct Lines(Arc<Log>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    /// For no event: the subscriber of this process does not ask for it.
    fn make_writer(&'a self) -> Line<'a> {
        Line { log: &self.0, event: None }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { log: &self.0, event: Some((meta.callsite(), *meta.level())) }
    }
}

/// As many whole characters of it as a line may have.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LINE_BYTES_MAX)]
}

/// Characters that end a line elsewhere do not end it here, so a name that a peer has chosen cannot
/// begin a line of its own.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
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

    #[test]
    fn long_lines_are_cut_and_stay_what_they_are() {
        let long = "ü".repeat(LINE_BYTES_MAX);
        let text = Log::new("a", LogFormat::Text, false).stamped(&long);
        assert!(text.len() < LINE_BYTES_MAX + 100 && text.ends_with(&format!("… cut={LINE_BYTES_MAX}\n")), "{text}");
        let log = Log::new("a", LogFormat::Json, false);
        for line in [format!("{{\"fields\":{{\"message\":\"{long}\"}}}}"), "{\"fields\":{}}".to_owned()] {
            let line = log.stamped(&line);
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
            assert!(parsed["timestamp"].is_string() && line.len() < 2 * LINE_BYTES_MAX, "{line}");
        }
    }

    #[test]
    fn text_that_comes_from_elsewhere_begins_no_line() {
        let log = Log::new("a", LogFormat::Text, false);
        assert_eq!(log.labelled("INFO peer=b\nERROR forged"), "INFO peer=b\\nERROR forged node=a");
    }

    #[test]
    fn line_about_lost_lines_is_a_line_of_the_log() {
        let line = Log::new("a", LogFormat::Json, false).lost_line(12, "no room");
        let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!((line["node"].as_str(), line["level"].as_str()), (Some("a"), Some("WARN")));
        assert_eq!(line["fields"]["message"], "12 lines of this log were lost: no room");
        let line = Log::new("a", LogFormat::Text, false).lost_line(1, "no room");
        assert!(line.contains("  WARN master::logging: 1 line of this log was lost: no room node=a"), "{line}");
    }
}
