//! No fault of standard error or standard output ends or delays a member, and no client can make
//! its log grow without bound.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::process::command;
use crate::support::requests::exists;
use crate::support::wire::{Wire, answer};

const PATIENCE: Duration = Duration::from_secs(20);

/// `understudy serve`, ended when this is dropped.
struct Node {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _ports: [test_ports::Port; 2],
}

impl Node {
    fn start(args: &[&str], stdout: Stdio, stderr: Stdio) -> Node {
        let ports = [test_ports::free_port(), test_ports::free_port()];
        let [address, admin] = [ports[0].addr(), ports[1].addr()];
        let mut command = command();
        command.args(["serve", "--listen", &address.to_string(), "--admin-listen", &admin.to_string()]).args(args);
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().expect("it can be started");
        let mut member = Node { child, address, admin, _ports: ports };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert_eq!(member.child.try_wait().expect("it is ours"), None, "it has ended");
            assert!(began.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        member
    }

    async fn serves(&self) {
        Wire::unary(self.address).await.call(exists(&["k"])).await.expect("it serves");
    }

    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.admin).expect("it listens");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {page}"));
        line.trim().parse().expect("it is a number")
    }

    fn signal(&self, name: &str) {
        let sent =
            std::process::Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// It is told to end, and ends well and in time.
    async fn stops(mut self) {
        self.signal("TERM");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return assert_eq!(status.code(), Some(0));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it still runs");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("Linux has it").into()
}

/// Both ends of a pipe.
fn pipe() -> (std::io::PipeReader, OwnedFd) {
    let (reader, writer) = std::io::pipe().expect("there are file descriptors");
    (reader, writer.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn member_whose_log_has_no_room_serves_and_stops_well() {
    let member = Node::start(&["--log-level", "debug"], full(), full());
    member.serves().await;
    assert!(member.metric("understudy_log_lines_lost_total") >= 1);
    member.serves().await;
    member.stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_whose_log_is_a_closed_pipe_serves_and_stops_well() {
    let (reader, writer) = pipe();
    let member = Node::start(&["--log-level", "debug"], full(), writer.into());
    drop(reader);
    member.serves().await;
    member.signal("HUP");
    member.serves().await;
    member.stops().await;
}

/// The pipe takes 64 KiB, the member's queue 1 MiB, and then lines are lost. A reader that comes
/// back is told so.
#[tokio::test(flavor = "multi_thread")]
async fn member_whose_log_is_not_read_serves_and_says_later_what_is_lost() {
    let (mut reader, writer) = pipe();
    let member = Node::start(&["--log-level", "trace"], Stdio::null(), writer.into());
    let began = Instant::now();
    while member.metric("understudy_log_lines_lost_total") == 0 {
        assert!(began.elapsed() < PATIENCE, "it has lost nothing");
        for _ in 0..20 {
            member.serves().await;
        }
    }
    member.serves().await;
    let read = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).expect("it is text");
        log
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    member.stops().await;
    let log = read.join().expect("it reads");
    assert!(log.contains("lines of this log were lost: they came faster than they could be written"));
}

/// Once, each of these frames caused a line of its own.
#[tokio::test(flavor = "multi_thread")]
async fn client_cannot_fill_the_log() {
    let log = tempfile::NamedTempFile::new().expect("there is room");
    let member = Node::start(&[], Stdio::null(), log.reopen().expect("it is ours").into());
    let mut stream = TcpStream::connect(member.address).expect("it listens");
    stream.set_nonblocking(false).expect("it is a socket");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("it reads");
    let acks: Vec<u8> = (0..200_000_u64)
        .flat_map(|number| [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &number.to_be_bytes()[..]].concat())
        .collect();
    // It may close the connection for that.
    let sent = stream.write_all(&acks);
    tokio::time::sleep(Duration::from_secs(1)).await;
    member.serves().await;
    let repeated = member.metric("understudy_log_lines_repeated_total");
    member.stops().await;
    let text = std::fs::read_to_string(log.path()).expect("it is text");
    let lines = text.lines().filter(|line| line.contains("PING")).count();
    println!("{sent:?}, {lines} lines, {repeated} counted, {} bytes", text.len());
    assert!(lines >= 1, "it said nothing of it: {text}");
    assert!(text.len() < 20_000, "{} bytes:\n{}", text.len(), &text[..2000]);
}

/// SIGHUP reads the file again, takes the level over, and logs which settings it cannot take over.
#[tokio::test(flavor = "multi_thread")]
async fn hangup_takes_a_new_log_level_over_and_ends_nothing() {
    let dir = tempfile::tempdir().expect("there is room");
    let (settings, log) = (dir.path().join("u.toml"), dir.path().join("log"));
    let write = |text: &str| std::fs::write(&settings, text).expect("there is room");
    write("log_level = \"info\"\n");
    let file = settings.to_str().expect("it is text");
    let member = Node::start(&["--config", file], Stdio::null(), File::create(&log).expect("there is room").into());
    let says = async |text: &str| {
        let began = Instant::now();
        loop {
            let log = std::fs::read_to_string(&log).expect("it is text");
            if log.contains(text) {
                return log;
            }
            assert!(began.elapsed() < PATIENCE, "{text:?} is not in:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    write("log_level = \"debug\"\ntail_entries = 500000\n");
    member.signal("HUP");
    let log = says("tail_entries is 500000 in the settings now").await;
    assert!(log.contains("SIGHUP: log_level is \"debug\" from now on, it was \"info\""), "{log}");
    // Fewer connections than there are: each is kept, and a new one is admitted, until the next
    // start.
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::unary(member.address).await;
        answer!(Exists, wire.call(exists(&["k"])));
        held.push(wire);
    }
    write("log_level = \"debug\"\nconnections_max = 1\n");
    member.signal("HUP");
    says("connections_max is 1 in the settings now; that holds once this member is started again").await;
    for wire in &mut held {
        answer!(Exists, wire.call(exists(&["k"])));
    }
    member.serves().await;
    write("log_level = \"loud\"\n");
    member.signal("HUP");
    says("u.toml:1: log_level: \"loud\" is not understood").await;
    // A connection logs something at that level; an idle node may log nothing.
    member.serves().await;
    says("DEBUG").await;
    member.stops().await;
}
