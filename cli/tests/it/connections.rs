//! Which connections are admitted on the port for clients: how many, from how many addresses, and
//! how long they may be silent.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::status::from_status;
use proto::v1::{ExistsRequest, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::support::requests::exists;
use crate::support::wire::{Wire, answer, metadata};
use crate::support::{Running, start_with};
use master::CommitRule;

/// The preface of HTTP/2, and empty settings.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects from another address of this host.
async fn dial(from: &str, to: SocketAddr, opening: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.bind(format!("{from}:0").parse().expect("it is an address")).expect("all of 127/8 is this host");
    let mut stream = socket.connect(to).await.expect("it listens");
    stream.write_all(opening).await.expect("it is taken");
    stream
}

/// Until the server has closed it. What came before does not matter.
async fn closes(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    match timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is closed") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

async fn is_open(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 256];
    loop {
        match timeout(Duration::from_millis(50), stream.read(&mut bytes)).await {
            Err(_) => return true,
            Ok(Ok(0) | Err(_)) => return false,
            Ok(Ok(_)) => {}
        }
    }
}

async fn start(connections_max: usize, per_address_max: usize, first_bytes_ms_max: u64) -> Running {
    start_with(CommitRule::Alone, |config| {
        config.serving.connections_max = connections_max;
        config.serving.connections_per_address_max = per_address_max;
        config.serving.first_bytes_ms_max = first_bytes_ms_max;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_are_closed_in_time_and_idle_ones_are_kept() {
    let node = start(64, 64, 500).await;
    let mut client = node.unary().await;
    answer!(Exists, client.call(exists(&["a"])));
    let began = Instant::now();
    let mut silent = Vec::new();
    for opening in [&b""[..], b"PRI * HTTP/2.0\r\n", &OPENING[..24]] {
        silent.push(dial("127.0.0.1", node.address, opening).await);
    }
    let mut idle = dial("127.0.0.1", node.address, OPENING).await;
    for stream in &mut silent {
        closes(stream).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(is_open(&mut idle).await);
    answer!(Exists, client.call(exists(&["a"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_for_those_that_speak() {
    let node = start(8, 8, 60_000).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(dial("127.0.0.1", node.address, b"").await);
    }
    let mut client = node.unary().await;
    answer!(Exists, client.call(exists(&["a"])));
    closes(&mut silent[0]).await;
    assert!(is_open(&mut silent[7]).await, "one is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_full_says_so_at_once_with_the_name_of_the_setting_and_lets_in_again() {
    let node = start(8, 4, 60_000).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(dial("127.0.0.1", node.address, OPENING).await);
    }
    settled(&mut held).await;
    let refused = refusal(node.address).await;
    assert!(refused.contains("connections_per_address_max"), "{refused}");
    // Another address has places of its own, until all are in use.
    for _ in 0..4 {
        held.push(dial("127.0.0.2", node.address, OPENING).await);
    }
    settled(&mut held).await;
    drop(held.drain(..4));
    sleep(Duration::from_millis(200)).await;
    for _ in 0..4 {
        held.push(dial("127.0.0.3", node.address, OPENING).await);
    }
    settled(&mut held).await;
    let refused = refusal(node.address).await;
    assert!(refused.contains("connections_max"), "{refused}");
    drop(held);
    let began = Instant::now();
    loop {
        let answered = Wire::unary(node.address).await.call(exists(&["a"])).await;
        match answered {
            Ok(_) => break,
            Err(_) => assert!(began.elapsed() < PATIENCE, "places are given back"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The server has seen all of them: its own settings have come.
async fn settled(streams: &mut [TcpStream]) {
    for stream in streams {
        assert!(is_open(stream).await);
    }
}

async fn refusal(address: SocketAddr) -> String {
    let began = Instant::now();
    let status = metadata(address).await.exists(ExistsRequest::default()).await.expect_err("there is no room");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let error = from_status(&status);
    assert_eq!(error.reason(), Reason::Overloaded, "{error:?}");
    assert!(error.retry_after_ms > 0);
    error.message
}
