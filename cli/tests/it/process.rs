//! The binary: what it prints, how it stops, and what it says when something is wrong.

use std::process::Output;
use std::time::Duration;

use proto::v1::Reason;

use crate::support::process::{Master, command};
use crate::support::requests::{Client, exists, segment};
use crate::support::wire::{Session, Wire, answer};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

fn run(args: &[&str]) -> Output {
    command().args(args).output().expect("the binary can be started")
}

fn error_of(output: &Output) -> String {
    error_with(output, 1)
}

fn error_with(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("it is text")
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_ctrl_c_end_it_well_with_sessions_open() {
    for signal in ["TERM", "INT"] {
        let master = Master::start(&[]);
        let mut busy = Wire::session(master.address).await;
        let client = Client::new(1);
        answer!(MountSegment, busy.call(client.mount(vec![segment(1, 1 << 20)])));
        let mut idle = Session::open(master.address).await.expect("it is opened");
        master.signal(signal);
        let (status, took, log) =
            tokio::task::spawn_blocking(|| master.ended_within(FIVE_SECONDS)).await.expect("runs");
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
        assert_eq!(idle.next().await.expect_err("it is told why").reason(), Reason::ShuttingDown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal_ends_it_at_once() {
    let master = Master::start(&["--stop-linger-ms", "4000", "--stop-timeout-ms", "4500"]);
    let mut wire = Wire::unary(master.address).await;
    master.signal("TERM");
    loop {
        match wire.call(exists(&["k"])).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => break assert_eq!(error.reason(), Reason::ShuttingDown),
        }
    }
    master.signal("TERM");
    let (status, took, _) = tokio::task::spawn_blocking(|| master.ended_within(FIVE_SECONDS)).await.expect("runs");
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// Connected, silent, and never reading: such a peer does not delay the stop, either.
#[tokio::test(flavor = "multi_thread")]
async fn stop_is_over_in_time_whatever_the_peers_do() {
    let master = Master::start(&[]);
    let silent = std::net::TcpStream::connect(master.address).expect("it listens");
    tokio::time::sleep(Duration::from_millis(100)).await;
    master.signal("TERM");
    let (status, _, log) = tokio::task::spawn_blocking(|| master.ended_within(FIVE_SECONDS)).await.expect("runs");
    assert_eq!(status.code(), Some(0), "{log}");
    drop(silent);
}

#[test]
fn taken_port_is_named_with_what_to_do() {
    let port = test_ports::free_port();
    let _holder = std::net::TcpListener::bind(port.addr()).expect("the port is ours");
    let text = error_of(&run(&["serve", "--listen", &port.addr().to_string()]));
    assert!(text.contains(&format!("error: cannot listen on {}: the port is taken", port.addr())), "{text}");
    assert!(text.contains("--listen"), "{text}");
}

#[test]
fn address_of_another_host_is_refused() {
    let text = error_of(&run(&["serve", "--listen", "192.0.2.1:7400"]));
    assert!(text.contains("cannot listen on 192.0.2.1:7400: no interface of this host has this address"), "{text}");
}

#[test]
fn bad_settings_are_named() {
    let dir = tempfile::tempdir().expect("there is a temp dir");
    let path = dir.path().join("bad.toml");
    std::fs::write(&path, "tail_entrys = 1").expect("it can be written");
    let file = path.to_str().expect("it is text");
    let text = error_with(&run(&["serve", "--config", file]), 2);
    assert!(
        text.contains(&format!("error: {file}:1: unknown key \"tail_entrys\", did you mean \"tail_entries\"?")),
        "{text}"
    );
    let text = error_with(&run(&["serve", "--config", "/no/such.toml"]), 2);
    assert!(text.contains("error: cannot read /no/such.toml"), "{text}");
    let text = error_with(&run(&["serve", "--tail-bytes", "1"]), 2);
    assert!(text.contains("error: tail_bytes: "), "{text}");
    let text = error_with(&run(&["serve", "--log-level", "loud,,="]), 2);
    assert!(text.contains("log_level"), "{text}");

    let text = error_with(&run(&["serve", "--node-name", "a/b c"]), 2);
    assert!(text.contains("error: node_name: \"a/b c\", must be letters"), "{text}");
    let text = error_with(&run(&["serve", "--etcd-password", "271828"]), 2);
    assert!(text.contains("error: etcd_password: other users of this host") && !text.contains("271828"), "{text}");
    let text = error_with(
        &run(&[
            "serve",
            "--coordinator",
            "etcd:http://127.0.0.1:1",
            "--etcd-user",
            "u",
            "--etcd-password-file",
            "/no/such",
        ]),
        2,
    );
    assert!(text.contains("etcd_password_file: cannot read /no/such"), "{text}");

    let text = error_with(&run(&["serve", "--guarded"]), 2);
    assert!(text.contains("error: guarded: needs other members"), "{text}");
    let text = error_with(&run(&["recover"]), 2);
    assert!(text.contains("error: coordinator: none is named"), "{text}");
    let dir = tempfile::tempdir().expect("there is a temp dir");
    let wrong = dir.path().join("wrong");
    let coordinator = format!("file:{}", wrong.display());
    let text = error_with(&run(&["recover", "--coordinator", &coordinator]), 1);
    assert!(text.contains("no member was ever started with it") && !wrong.exists(), "{text}");

    let output = command().args(["serve"]).env("UNDERSTUDY_CLIENT_TTL_MS", "soon").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && text.contains("'soon'") && text.contains("--client-ttl-ms"), "{text}");
}

#[test]
fn pages_of_the_settings_are_up_to_date() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let output = run(&["docs", "--check", "--dir", docs]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dir = tempfile::tempdir().expect("there is a temp dir");
    let dir = dir.path().to_str().expect("it is text");
    assert!(error_of(&run(&["docs", "--check", "--dir", dir])).contains("cannot read"));
    assert!(run(&["docs", "--dir", dir]).status.success());
    assert!(run(&["docs", "--check", "--dir", dir]).status.success());
    std::fs::write(format!("{dir}/understudy.toml"), "x").expect("it can be written");
    assert!(error_of(&run(&["docs", "--check", "--dir", dir])).contains("understudy.toml is old"));
}
