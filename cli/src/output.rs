//! Where a command's answer goes: a table or a few lines for people, one JSON document with `--json`.
//!
//! Invariants: what is on stdout is the answer and nothing else; the rest (faults, hints, progress) goes to stderr. A
//! reader that has gone is no fault. Colors only on a terminal, and never with NO_COLOR set.
//!
//! Deliberately absent: what the answers look like, which each command decides.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::fault::{Fault, Told, Verdict, note, tell};
use crate::table::Table;

/// Waits that are longer show that something goes on.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// Refused items that are told one by one.
const TOLD_MAX: usize = 20;

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    People,
    Json,
}

pub(crate) struct Output {
    form: Form,
    is_styled: bool,
    out: BufWriter<Box<dyn Write + Send>>,
}

impl Output {
    pub(crate) fn new(form: Form) -> Output {
        let is_styled = io::stdout().is_terminal() && wants_style();
        Output { form, is_styled, out: BufWriter::new(Box::new(io::stdout())) }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub(crate) fn is_styled(&self) -> bool {
        self.is_styled
    }

    /// The whole answer of a command for programs.
    pub(crate) fn document(&mut self, document: &Value) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, document)?;
        writeln!(self.out)
    }

    pub(crate) fn table(&mut self, table: &mut Table) -> io::Result<()> {
        table.write(&mut self.out, self.is_styled)
    }

    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// As it is, for answers that come in pieces.
    pub(crate) fn raw(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A hint for people on stderr.
    pub(crate) fn hint(&mut self, line: &str) -> io::Result<()> {
        // So that it stands where it belongs on a terminal.
        self.out.flush()?;
        if self.form == Form::People {
            note(line);
        }
        Ok(())
    }

    /// Tells what was refused, and gives the verdict.
    pub(crate) fn refusals(&mut self, refusals: &[Told]) -> io::Result<Verdict> {
        self.out.flush()?;
        let Some(first) = refusals.first() else { return Ok(Verdict::Yes) };
        match self.form {
            // One object, as for any other fault; the document has the rest, item by item.
            Form::Json => tell(first, true),
            Form::People => {
                refusals.iter().take(TOLD_MAX).for_each(|told| tell(told, false));
                if refusals.len() > TOLD_MAX {
                    note(&format!("error: and {} more were refused", refusals.len() - TOLD_MAX));
                }
            }
        }
        Ok(Verdict::No)
    }

    /// The end of every command.
    pub(crate) fn finish(mut self, done: Result<Verdict, Fault>) -> ExitCode {
        let flushed = self.out.flush().map_err(Fault::from);
        match done.and_then(|verdict| flushed.map(|()| verdict)) {
            Ok(verdict) => verdict.into(),
            Err(fault) => fault.tell(self.form == Form::Json),
        }
    }
}

/// A line, or several, on standard output, for a command that has no [`Output`]. A reader that has gone is no fault.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

fn wants_style() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Shows on a terminal that something goes on, once it has taken a while.
pub(crate) async fn waiting<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = tokio::time::sleep(QUIET_MAX) => {}
    }
    // Draws on stderr, and nothing where that is no terminal.
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}").expect("the template is right");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    bar.finish_and_clear();
    done
}
