//! Tests: lost lines are counted and reported, with a bounded queue, on a file that fails.

use std::sync::Arc;

use super::*;

struct Plain;

impl Source for Plain {
    fn look(&self) -> Option<Duration> {
        None
    }

    fn lost_line(&self, lines: u64, why: &str) -> String {
        format!("{lines} lost: {why}\n")
    }
}

/// Accepts so many bytes, then has no room until it gets more.
#[derive(Default)]
struct Disk {
    room: usize,
    written: Vec<u8>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.written.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(sink: &Sink, end: &mut End<Disk>) {
    loop {
        let line = sink.next(Some(Duration::ZERO));
        let is_over = line.is_none();
        write_next(sink, &Plain, end, line);
        if is_over {
            return;
        }
    }
}

#[test]
fn lines_of_a_full_disk_are_counted_and_told_once_there_is_room() {
    let sink = Sink::default();
    let mut end = End { to: Disk { room: 13, ..Disk::default() }, is_torn: false };
    for line in ["first\n", "a torn one\n", "lost\n"] {
        assert!(sink.push(line.to_owned()));
    }
    write_all(&sink, &mut end);
    assert_eq!(sink.lost(), 2);
    assert_eq!(sink.untold().map(|(lines, _)| lines), Some(2));
    end.to.room = 1000;
    sink.push("later\n".to_owned());
    write_all(&sink, &mut end);
    let written = String::from_utf8(end.to.written).expect("it is text");
    assert_eq!(written, "first\na torn \n2 lost: no storage space\nlater\n");
    assert_eq!((sink.lost(), sink.untold()), (2, None));
}

#[test]
fn queue_is_bounded_in_bytes_and_takes_lines_again() {
    let sink = Sink::default();
    let line = "x".repeat(1000) + "\n";
    let taken = (0..5000).filter(|_| sink.push(line.clone())).count();
    assert_eq!(taken, QUEUE_BYTES_MAX / (line.len() + LINE_COSTS));
    assert_eq!(sink.lost(), 5000 - taken as u64);
    let mut end = End { to: Disk { room: usize::MAX, ..Disk::default() }, is_torn: false };
    write_all(&sink, &mut end);
    assert_eq!(sink.queue.lock().bytes, 0);
    let written = String::from_utf8(end.to.written).expect("it is text");
    assert!(written.contains(&format!("{} lost: {FULL}\n", 5000 - taken)), "{}", &written[..200]);
    assert!(sink.push(line));
}

/// Like a pipe that is full and not read.
struct Stuck;

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        loop {
            std::thread::park();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_thread_that_logs_or_ends_the_process_waits_for_nothing() {
    let sink = Arc::new(Sink::default());
    let writer = Arc::clone(&sink);
    std::thread::spawn(move || run(&writer, &Plain, Stuck));
    let began = Instant::now();
    for _ in 0..20_000 {
        sink.push("x".repeat(200));
    }
    assert!(sink.lost() > 10_000, "{}", sink.lost());
    assert!(!sink.drain(Duration::from_millis(50)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn drain_is_over_when_all_is_written() {
    let sink = Arc::new(Sink::default());
    let writer = Arc::clone(&sink);
    sink.push("x\n".to_owned());
    std::thread::spawn(move || run(&writer, &Plain, io::sink()));
    assert!(sink.drain(Duration::from_secs(10)));
}
