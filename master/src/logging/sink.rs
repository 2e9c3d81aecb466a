//! The bytes of the log on their way to standard error: a bounded queue, and the one thread that
//! writes.
//!
//! ```text
//!   a line ──► queue (1 MiB at most) ──► thread ──► standard error: a file, a pipe, a terminal
//!     │ full: lost, counted                 │ an error: lost, counted
//!     ▼                                     ▼
//!   goes on at once                       "N lines of this log were lost", once a line gets through again
//! ```
//!
//! Invariants: a thread that logs never waits for the reader of the log, and no error of a write
//! ends anything; a line that was not written is counted.
//!
//! Deliberately absent: keeping lost lines for later. A log that cannot be written must not fill
//! the memory instead.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// For the waiting lines, including the overhead of a line beside its text.
pub(super) const QUEUE_BYTES_MAX: usize = 1 << 20;
const LINE_COSTS: usize = 32;
/// If a write would block and the file reports that (`O_NONBLOCK`).
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Sink {
    queue: Mutex<Queue>,
    /// Tells the thread that there is something to write.
    filled: Condvar,
    /// Tells a thread that ends the process that everything is written.
    emptied: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
    /// A line has been taken and is not written yet.
    writing: bool,
    /// The thread must look at its source before it waits.
    look_again: bool,
    /// Lines that were lost since the last report, and why.
    untold: u64,
    why: String,
}

const FULL: &str = "they came faster than they could be written";

impl Sink {
    /// `line`: with its end. False: there was no room.
    pub(super) fn push(&self, line: String) -> bool {
        let mut queue = self.queue.lock();
        let costs = line.len() + LINE_COSTS;
        let is_room = queue.bytes + costs <= QUEUE_BYTES_MAX;
        if is_room {
            queue.bytes += costs;
            queue.lines.push_back(line);
        } else {
            self.note_lost(&mut queue, 1, || FULL.to_owned());
        }
        drop(queue);
        self.filled.notify_one();
        is_room
    }

    fn note_lost(&self, queue: &mut Queue, lines: u64, why: impl FnOnce() -> String) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        if queue.untold == 0 {
            queue.why = why();
        }
        queue.untold += lines;
    }

    /// Lines that were lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Makes the thread look again.
    pub(super) fn wake(&self) {
        self.queue.lock().look_again = true;
        self.filled.notify_one();
    }

    /// Waits until everything is written, but no longer than this. False: some is not.
    pub(super) fn drain(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut queue = self.queue.lock();
        while queue.writing || !queue.lines.is_empty() {
            if self.emptied.wait_until(&mut queue, until).timed_out() {
                return false;
            }
        }
        true
    }

    /// What the thread does next: the next line; `None` after `tick`, or if there is something else
    /// to look at.
    fn next(&self, tick: Option<Duration>) -> Option<String> {
        let mut queue = self.queue.lock();
        queue.writing = false;
        if queue.lines.is_empty() {
            self.emptied.notify_all();
            match tick {
                _ if queue.look_again => {}
                Some(tick) => drop(self.filled.wait_for(&mut queue, tick)),
                None => self.filled.wait(&mut queue),
            }
        }
        queue.look_again = false;
        let line = queue.lines.pop_front()?;
        queue.bytes -= line.len() + LINE_COSTS;
        queue.writing = true;
        Some(line)
    }

    /// Lines that were lost and not reported yet.
    fn untold(&self) -> Option<(u64, String)> {
        let queue = self.queue.lock();
        (queue.untold > 0).then(|| (queue.untold, queue.why.clone()))
    }

    fn told(&self, lines: u64) {
        let mut queue = self.queue.lock();
        queue.untold = queue.untold.saturating_sub(lines);
        if queue.untold > 0 {
            queue.why = FULL.to_owned();
        }
    }
}

/// What the thread asks of the log.
pub(super) trait Source {
    /// Before each line, and now and then. Returns how long the thread may wait for the next line;
    /// `None`: for ever.
    fn look(&self) -> Option<Duration>;

    /// The line which reports that so many were lost.
    fn lost_line(&self, lines: u64, why: &str) -> String;
}

/// The thread, for as long as the process lives.
pub(super) fn run(sink: &Sink, source: &dyn Source, to: impl Write) -> ! {
    let mut end = End { to, is_torn: false };
    loop {
        let tick = source.look();
        // A report is tried again even if no further line comes.
        let tick =
            if sink.untold().is_some() { Some(tick.map_or(TELL_AGAIN, |tick| tick.min(TELL_AGAIN))) } else { tick };
        let line = sink.next(tick);
        write_next(sink, source, &mut end, line);
    }
}

/// Between two attempts to report lost lines.
const TELL_AGAIN: Duration = Duration::from_secs(1);

fn write_next(sink: &Sink, source: &dyn Source, end: &mut End<impl Write>, line: Option<String>) {
    if let Some((lines, why)) = sink.untold()
        && end.put(&source.lost_line(lines, &why)).is_ok()
    {
        sink.told(lines);
    }
    if let Some(line) = line
        && let Err(error) = end.put(&line)
    {
        sink.note_lost(&mut sink.queue.lock(), 1, || error.to_string());
    }
}

struct End<W> {
    to: W,
    /// The last line was written only in part.
    is_torn: bool,
}

impl<W: Write> End<W> {
    fn put(&mut self, line: &str) -> io::Result<()> {
        if self.is_torn {
            self.put_bytes(b"\n")?;
            self.is_torn = false;
        }
        self.put_bytes(line.as_bytes())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
                Err(error) => {
                    self.is_torn |= rest.len() < bytes.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "sink_test.rs"]
mod tests;
